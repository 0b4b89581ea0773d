"""The data plane: Open Inference Protocol v2 and OFREP 0.3 over one `Gateway`.

Scoring is a bare ASGI handler, because a framework's routing and response objects cost
as much as the prediction itself; everything rarer goes through Starlette.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from interlock import __version__
from interlock.app.releases import Live
from interlock.app.serving import Gateway
from interlock.errors import InterlockError, Unavailable
from interlock.serve.scoring import Loaded
from interlock.web import metrics, ofrep, oip, published, push
from interlock.web.batching import MOST_WAITING, Batcher
from interlock.web.bodies import read_body
from interlock.web.metrics import Meter
from interlock.web.predictions import Question, Reply, Said, refusal
from interlock.web.room import Room
from interlock.web.upstream import Upstream, upstream_of

LARGEST_BODY = 8 * 1024 * 1024
SLOWEST_BODY = 20.0  # seconds
GONE = 499  # for the count of how requests ended; nobody is told
_INFER = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
_TYPE = "application/json"
Headers = list[tuple[bytes, bytes]]


class DataPlane:
    """The ASGI application of `gateway`, which is started and stopped by its owner."""

    def __init__(self, gateway: Gateway, most_waiting: int = MOST_WAITING) -> None:
        self.gateway = gateway
        self.batcher, self.meter = Batcher(gateway, most_waiting), Meter()
        self.room = Room()
        self.upstream, self._flags = Upstream(gateway), ofrep.Flags(gateway)
        others = [*push.routes(gateway), *published.routes(gateway)]
        others.append(metrics.route(gateway, self.meter, self.batcher.waiting))
        self._rest = Starlette(
            routes=[*_routes(gateway), *others], exception_handlers={HTTPException: _no}
        )
        self._rest.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            found = _INFER.fullmatch(scope["path"]) if scope["method"] == "POST" else None
            if found:
                await self._predict(found[1], found[2], scope["headers"], receive, send)
                return
            if scope["path"].startswith(ofrep.PATH):
                await self._flags(scope, receive, send)
                return
        await self._rest(scope, receive, send)

    async def _predict(
        self, model: str, version: str | None, headers: Headers, receive: Receive, send: Send
    ) -> None:
        carried = upstream_of(headers)
        if carried is not None:
            await self.upstream.reach(carried)
        said = Said(model, version, headers, carried, time.perf_counter())
        reply = await self._reply(said, receive)
        if reply is not None:
            status, answered, body = reply
            await send({"type": "http.response.start", "status": status, "headers": answered})
            await send({"type": "http.response.body", "body": body})
        self.meter.note(reply.status if reply else GONE, time.perf_counter() - said.arrived)

    async def _reply(self, said: Said, receive: Receive) -> Reply | None:
        """None when nobody was there any more before all of the request had come."""
        told: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        try:
            body = await read_body(receive, LARGEST_BODY, SLOWEST_BODY)
            if body is None:
                return None
            self.batcher.put(Question(said, body, told.set_result, told.done))
        except InterlockError as error:
            return refusal(error)
        return await told


def gateway_app(gateway: Gateway, most_waiting: int = MOST_WAITING) -> DataPlane:
    """The ASGI application of `gateway`, which is started and stopped by its owner."""
    return DataPlane(gateway, most_waiting)


def _routes(gateway: Gateway) -> list[Route]:
    async def server(_: Request) -> Response:
        return _reply(
            {"name": "interlock", "version": __version__, "extensions": ["binary_tensor_data"]}
        )

    async def alive(_: Request) -> Response:
        return _reply({"live": True})

    async def ready(_: Request) -> Response:
        # The store and the disk are tried: not in the loop that answers.
        why = await run_in_threadpool(gateway.objections)
        said = {"ready": not why, **({"why": why} if why else {})}
        stores = {"stores": gateway.stores} if gateway.stores else {}
        return _reply({**said, **stores}, 503 if why else 200)

    async def status(_: Request) -> Response:
        return _reply(await run_in_threadpool(gateway.status))

    async def infer(_: Request) -> Response:
        # Those go another way: this is for the answer to who does not send POST.
        raise HTTPException(404)

    async def model(request: Request) -> Response:
        return _described(gateway, **request.path_params)

    async def model_ready(request: Request) -> Response:
        return _model_ready(gateway, **request.path_params)

    return [
        Route("/v2", server),
        Route("/v2/health/live", alive),
        Route("/v2/health/ready", ready),
        Route("/v2/models/{model}", model),
        Route("/v2/models/{model}/ready", model_ready),
        Route("/v2/models/{model}/versions/{version}", model),
        Route("/v2/models/{model}/versions/{version}/ready", model_ready),
        Route("/v2/models/{model}/infer", infer, methods=["POST"]),
        Route("/v2/models/{model}/versions/{version}/infer", infer, methods=["POST"]),
        Route("/interlock/status", status),
    ]


def _described(gateway: Gateway, model: str, version: str | None = None) -> Response:
    try:
        live = gateway.live()
    except Unavailable as error:
        return _reply({"error": error.message}, 503)
    versions = list(_served(live, model))
    if version is not None and version not in versions:
        versions = []
    if not versions:
        return _reply({"error": _nobody(live, model, version)}, 404)
    takes = live.takes[model]
    columns = {column: takes.types[column] for column in takes.required}
    return _reply(oip.metadata(model, columns, versions))


def _model_ready(gateway: Gateway, model: str, version: str | None = None) -> Response:
    live = gateway.releases.live
    if live is None:
        return _reply({"name": model, "ready": False}, 503)
    served = _served(live, model)
    version = version or next(iter(served), None)
    if version not in served:
        return _reply({"error": _nobody(live, model, version)}, 404)
    ready = model in served[version].scorers
    return _reply({"name": model, "ready": ready}, 200 if ready else 503)


def _served(live: Live, model: str) -> dict[str, Loaded]:
    """The releases that have `model`, by the version of it that they have; the stable one first."""
    releases = (*reversed([*live.candidates.values()]), live.stable)
    found = {one.spec.models[model].version: one for one in releases if model in one.spec.models}
    return dict(reversed(found.items()))


def _nobody(live: Live, model: str, version: str | None) -> str:
    if model not in live.takes:
        return f"no model {model!r} here; known: {', '.join(sorted(live.takes))}"
    known = ", ".join(_served(live, model))
    return f"no model {model!r} here in version {version!r}; known: {known}"


async def _no(request: Request, error: Exception) -> Response:
    """What is no path, or asked in a wrong way, as the protocol says no to everything."""
    assert isinstance(error, HTTPException)
    ways = (error.headers or {}).get("Allow")
    why = f"send {ways}" if ways else f"there is nothing at {request.url.path}; try /v2"
    return Response(orjson.dumps({"error": why}), error.status_code, error.headers, _TYPE)


def _reply(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type=_TYPE)
