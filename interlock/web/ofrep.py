"""OFREP 0.3: the release of a subject as flags, for services that only need to know the version.

`<service>.release` is the release digest, `<service>.candidate` whether it is the
candidate. The targeting key is the subject, exactly as scoring would join it.
"""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from interlock.app.serving import Gateway
from interlock.define.digest import digest
from interlock.errors import Unavailable


class Wrong(Exception):
    """An error of the protocol: its code, a status, and words."""

    def __init__(self, code: str, status: int, details: str) -> None:
        super().__init__(details)
        self.code, self.status, self.details = code, status, details


def routes(gateway: Gateway) -> list[Route]:
    async def one(request: Request) -> Response:
        key = request.path_params["key"]
        try:
            subject = _subject(await request.body())
            flags = _flags(gateway, subject)
            if key not in flags:
                raise Wrong("FLAG_NOT_FOUND", 404, f"known flags: {', '.join(sorted(flags))}")
        except (Wrong, Unavailable) as wrong:
            return _refusal(wrong, key)
        return _json(flags[key])

    async def many(request: Request) -> Response:
        try:
            flags = _flags(gateway, _subject(await request.body()))
        except (Wrong, Unavailable) as wrong:
            return _refusal(wrong)
        body = {"flags": [flags[key] for key in sorted(flags)]}
        tag = f'"{digest(body)[:32]}"'
        if tag in [said.strip() for said in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers={"etag": tag})
        return _json(body, headers={"etag": tag})

    path = "/ofrep/v1/evaluate/flags"
    return [Route(path, many, methods=["POST"]), Route(path + "/{key}", one, methods=["POST"])]


def _subject(body: bytes) -> str:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Wrong("PARSE_ERROR", 400, f"the body is not JSON: {error}") from error
    context = said.get("context") if isinstance(said, dict) else None
    if not isinstance(context, dict):
        raise Wrong("INVALID_CONTEXT", 400, "the body needs an object `context`")
    key = context.get("targetingKey")
    if not isinstance(key, str) or not key:
        raise Wrong("TARGETING_KEY_MISSING", 400, "context.targetingKey is the subject")
    return key


def _flags(gateway: Gateway, subject: str) -> dict[str, Any]:
    live = gateway.live()
    release, chosen, epoch = gateway.assign(subject)
    split = live.candidate is not None and 0 < live.route.weight < 1
    shared = {
        "reason": "SPLIT" if split else "STATIC",
        "variant": chosen,
        "metadata": {"epoch": epoch, "release": release},
    }
    flags: dict[str, Any] = {}
    for service in live.stable.spec.services:
        for name, value in (("release", release), ("candidate", chosen == "candidate")):
            key = f"{service}.{name}"
            flags[key] = {"key": key, "value": value, **shared}
    return flags


def _refusal(wrong: Wrong | Unavailable, key: str | None = None) -> Response:
    if isinstance(wrong, Unavailable):
        wrong = Wrong("PROVIDER_NOT_READY" if key is None else "GENERAL", 503, wrong.message)
    body = {"errorCode": wrong.code, "errorDetails": wrong.details}
    return _json({"key": key, **body} if key is not None else body, status=wrong.status)


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers=headers, media_type="application/json")
