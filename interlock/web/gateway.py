"""The data plane: Open Inference Protocol v2 and OFREP 0.3 over one `Gateway`.

Scoring is a bare ASGI handler, because a framework's routing and response objects cost
as much as the prediction itself; everything rarer goes through Starlette.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any, NamedTuple

import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from interlock import __version__
from interlock.app.asked import Answered
from interlock.app.chance import chance
from interlock.app.releases import Live
from interlock.app.serving import Gateway
from interlock.errors import InterlockError, NotFound, Unavailable, Unusable
from interlock.serve import traced
from interlock.serve.carried import Carried
from interlock.serve.scoring import Loaded
from interlock.web import metrics, ofrep, oip, published, push, tensors
from interlock.web.batching import MOST_WAITING, Batcher, Busy
from interlock.web.metrics import Meter
from interlock.web.upstream import Upstream, upstream_of

LARGEST_BODY = 8 * 1024 * 1024
SLOWEST_BODY = 20.0  # seconds
GONE = 499  # for the count of how requests ended; nobody is told
RELEASE_HEADER = b"x-interlock-release"
_INFER = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
_TRACE, _TRACED = traced.HEADER.encode(), traced.RESPONSE.encode()
_JSON = (b"content-type", b"application/json")
_BYTES = (b"content-type", b"application/octet-stream")


class Said(NamedTuple):
    """A prediction's request line and headers; `carried` is the release in them, if any."""

    model: str
    version: str | None
    headers: list[tuple[bytes, bytes]]
    carried: Carried | None


class Slow(Unusable):
    """The caller began a request and did not go on with it."""


class TooLarge(Unusable):
    """More bytes than any request needs."""


def gateway_app(gateway: Gateway, most_waiting: int = MOST_WAITING) -> ASGIApp:
    """The ASGI application of `gateway`, which is started and stopped by its owner."""
    batcher, meter = Batcher(gateway, most_waiting), Meter()
    upstream, flags = Upstream(gateway), ofrep.Flags(gateway)
    others = [*push.routes(gateway), *published.routes(gateway)]
    others.append(metrics.route(gateway, meter, batcher.waiting))
    rest = Starlette(routes=[*_routes(gateway), *others])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            found = _INFER.fullmatch(scope["path"]) if scope["method"] == "POST" else None
            if found:
                carried = upstream_of(scope["headers"])
                if carried is not None:
                    await upstream.reach(carried)
                began = time.perf_counter()
                said = Said(found[1], found[2], scope["headers"], carried)
                status = await _infer(batcher, said, receive, send)
                meter.note(status, time.perf_counter() - began)
                return
            if scope["path"].startswith(ofrep.PATH):
                await flags(scope, receive, send)
                return
        await rest(scope, receive, send)

    return app


async def _infer(batcher: Batcher, asked: Said, receive: Receive, send: Send) -> int:
    """Answer one request; its status, `GONE` when nobody was there any more."""
    headers = [_JSON]
    try:
        door = _door(asked)
        body = await _body(receive)
        if body is None:
            return GONE
        inquiry = oip.parse(door, body)
        trace = inquiry.ask.trace
        if trace is not None:
            headers.append((_TRACED, trace.text.encode()))
        answered = await batcher.answer(inquiry.ask)
        status, said, json_length = _reply_to(inquiry, answered)
        header = _release_header(answered)
        if header is not None:
            headers.append((RELEASE_HEADER, header))
        if json_length is not None:
            headers[0] = _BYTES
            headers.append((tensors.HEADER, str(json_length).encode()))
    except InterlockError as error:
        status, said = _status(error), orjson.dumps({"error": error.message})
        if isinstance(error, Busy):
            headers.append((b"retry-after", str(error.after).encode()))
        if isinstance(error, Slow | TooLarge):  # what still comes belongs to no request
            headers.append((b"connection", b"close"))
    headers.append((b"content-length", str(len(said)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": said})
    return status


def _reply_to(inquiry: oip.Inquiry, answered: Answered) -> tuple[int, bytes, int | None]:
    reasons = answered.column("reasons")
    if "error" in reasons and all(reason == "error" for reason in reasons):
        # Nothing could be said about any row, and no fallback is declared.
        return 503, orjson.dumps({"error": answered.column("errors")[0]}), None
    return 200, *oip.reply(inquiry, answered)


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None when the caller left before all of it had come."""
    try:
        async with asyncio.timeout(SLOWEST_BODY):
            return await _whole(receive)
    except TimeoutError as error:
        raise Slow(f"the body did not come within {SLOWEST_BODY:.0f} s") from error


async def _whole(receive: Receive) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > LARGEST_BODY:
            raise TooLarge(f"the body is larger than {LARGEST_BODY} bytes")
        if not message.get("more_body", False):
            return b"".join([*parts, part]) if parts else part
        parts.append(part)


def _door(asked: Said) -> oip.Door:
    said = dict(asked.headers)
    if said.get(b"content-encoding", b"identity") != b"identity":
        raise Unusable("the body is compressed; send it as it is, without content-encoding")
    length, traces = said.get(tensors.HEADER), []
    if _TRACE in said:
        traces = [v.decode("latin-1") for k, v in asked.headers if k == _TRACE]
    return oip.Door(
        asked.model, asked.version, asked.carried and asked.carried.text,
        time.perf_counter(), None if length is None else length.decode("latin-1"),
        traced.entered(traces, chance(traced.NOISE)),
    )  # fmt: skip


def _release_header(answered: Answered) -> bytes | None:
    """Only when one release answered the whole request: downstream must not have to guess."""
    if len(answered.shares) != 1:
        return None
    return f"{answered.shares[0][1].release};e={answered.epoch}".encode()


def _status(error: InterlockError) -> int:
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, Busy):
        return 429
    if isinstance(error, Slow):
        return 408
    if isinstance(error, TooLarge):
        return 413
    return 503 if isinstance(error, Unavailable) else 400


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
        return _reply({"error": _nobody(model, version)}, 404)
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
        return _reply({"error": _nobody(model, version)}, 404)
    ready = model in served[version].scorers
    return _reply({"name": model, "ready": ready}, 200 if ready else 503)


def _served(live: Live, model: str) -> dict[str, Loaded]:
    """The releases that have `model`, by the version of it that they have; the stable one first."""
    releases = (*reversed([*live.candidates.values()]), live.stable)
    found = {one.spec.models[model].version: one for one in releases if model in one.spec.models}
    return dict(reversed(found.items()))


def _nobody(model: str, version: str | None) -> str:
    return f"no model {model!r} here" + ("" if version is None else f" in version {version!r}")


def _reply(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
