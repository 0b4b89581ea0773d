"""`POST /v1/push/{table}`: rows into a table's log, acknowledged when they are on the disk."""

from __future__ import annotations

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from interlock.app.push import RETRY_AFTER, Full, Pushed
from interlock.app.serving import Gateway
from interlock.errors import InterlockError, NotFound, Unavailable, Unusable
from interlock.serve.request import instant
from interlock.web.bodies import read_body
from interlock.web.predictions import Slow, TooLarge

LARGEST_BODY = 8 * 1024 * 1024
SLOWEST_BODY = 20.0  # seconds


def routes(gateway: Gateway) -> list[Route]:
    """The one route. `{"rows": [{column: value}], "at": instant}`; `at` in replayed time only."""

    async def push(request: Request) -> Response:
        try:
            body = await read_body(request.receive, LARGEST_BODY, SLOWEST_BODY)
            if body is None:
                return Response(status_code=499)  # nobody is there to read it
            # It waits for the disk: predictions go on meanwhile.
            done = await run_in_threadpool(_push, gateway, request.path_params["table"], body)
        except InterlockError as error:
            return _refused(error)
        return Response(orjson.dumps(done.to_json()), 200, media_type="application/json")

    return [Route("/v1/push/{table}", push, methods=["POST"])]


def _push(gateway: Gateway, table: str, body: bytes) -> Pushed:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unusable(f"the body is not JSON: {error}") from error
    if not isinstance(said, dict) or not isinstance(said.get("rows"), list):
        raise Unusable('send {"rows": [{column: value, ...}, ...]}')
    at = said.get("at")
    if not isinstance(at, str | None):
        raise Unusable("`at` must be text")
    return gateway.push(table, said["rows"], None if at is None else instant(at, "at"))


def _refused(error: InterlockError) -> Response:
    said = {"error": error.message, "help": error.help, "objections": error.objections}
    headers = {"retry-after": str(RETRY_AFTER)} if isinstance(error, Full) else {}
    if isinstance(error, Slow | TooLarge):  # what still comes belongs to no request
        headers["connection"] = "close"
    return Response(orjson.dumps(said), _status(error), headers, "application/json")


def _status(error: InterlockError) -> int:
    if isinstance(error, Full):
        return 429
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, Slow | TooLarge):
        return 408 if isinstance(error, Slow) else 413
    return 503 if isinstance(error, Unavailable) else 400
