"""The Route for services: asked for, or told at each move by server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from interlock.app.serving import Gateway
from interlock.client.elapsed import elapsed
from interlock.client.follow import EVENTS, ROUTE
from interlock.errors import Unavailable

HEARTBEAT = 0.5
"""Seconds after which the same Route is told again: a service's lease lives on it."""
MOST_FOLLOWERS = 1000
NEVER = {"cache-control": "no-store", "x-accel-buffering": "no"}


def routes(gateway: Gateway) -> list[Route]:
    """`GET /interlock/route`, and the same as events."""
    following = 0

    async def now(_: Request) -> Response:
        try:
            return Response(said(gateway), 200, NEVER, "application/json")
        except Unavailable as error:
            return _refused(error.message)

    async def events(_: Request) -> Response:
        if following >= MOST_FOLLOWERS:
            return _refused(f"{MOST_FOLLOWERS} services follow this gateway already")
        return StreamingResponse(counted(), 200, NEVER, "text/event-stream")

    async def counted() -> AsyncIterator[bytes]:
        nonlocal following
        following += 1
        try:
            async for one in _events(gateway):
                yield one
        finally:
            following -= 1

    return [Route(ROUTE, now), Route(EVENTS, events)]


def said(gateway: Gateway) -> bytes:
    """The Route as answers follow it here, in seconds of this process. Raises `Unavailable`.

    `seen` is when it was read from the record, `now` is now, both by the same clock.
    """
    seen = gateway.releases.seen  # before the Route: never newer than what is said of it
    live = gateway.live()
    body = live.published.to_json()
    return orjson.dumps({**body, "seen": seen, "now": elapsed()})


async def _events(gateway: Gateway) -> AsyncIterator[bytes]:
    moved, loop = asyncio.Event(), asyncio.get_running_loop()
    unwatch = gateway.releases.watch(lambda: _wake(loop, moved))
    try:
        while not (gateway.releases.stopped or gateway.draining):
            moved.clear()
            # Nothing loaded is nothing to tell: a service without news keeps asking elsewhere.
            with suppress(Unavailable):
                yield b"data: " + said(gateway) + b"\n\n"
            with suppress(TimeoutError):
                await asyncio.wait_for(moved.wait(), HEARTBEAT)
    finally:
        unwatch()


def _wake(loop: asyncio.AbstractEventLoop, moved: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop has ended, and with it everybody who listened
        loop.call_soon_threadsafe(moved.set)


def _refused(why: str) -> Response:
    body = orjson.dumps({"error": why})
    return Response(body, 503, {**NEVER, "retry-after": "1"}, "application/json")
