"""What anybody may send: how much, how deep, how slowly and how often.

Bodies are read here, whole and within a time, before anything looks into them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interlock.errors import InterlockError, Unavailable, Unusable
from interlock.web.api.problems import response

LARGEST_BODY = 16 * 1024 * 1024  # the definitions of a project, and then some
DEEPEST = 40
SLOWEST_SECONDS = 20.0
RATE, BURST = 20.0, 200.0  # requests a second, and how many may come at once
STRANGERS_RATE, STRANGERS_BURST = 0.5, 20.0  # without a token that counts
_MOST_CALLERS = 10_000


@dataclass(frozen=True)
class Limits:
    """`slowest` is seconds for a whole body; `largest` is bytes."""

    largest: int = LARGEST_BODY
    slowest: float = SLOWEST_SECONDS
    deepest: int = DEEPEST


class Limited:
    """An ASGI application behind the limits."""

    def __init__(self, app: ASGIApp, limits: Limits | None = None) -> None:
        self.app = app
        self.limits = limits or Limits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            body = await asyncio.wait_for(self._read(receive), self.limits.slowest)
            if body:
                refuse_deep(body, self.limits.deepest)
        except TimeoutError:
            said = f"the body did not arrive within {self.limits.slowest:g} seconds"
            await _no(Unavailable(said, "send it faster"), 408, (scope, receive, send))
        except _TooLarge:
            said = f"the body is larger than {self.limits.largest} bytes"
            await _no(Unusable(said, "send less at once"), 413, (scope, receive, send))
        except InterlockError as error:
            await _no(error, 422, (scope, receive, send))
        else:
            await self.app(scope, _replayed(body, receive), send)

    async def _read(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return b""
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.limits.largest:
                raise _TooLarge
            more = message.get("more_body", False)
        return b"".join(parts)


class _TooLarge(Exception):
    """More than anybody may send."""


async def _no(error: InterlockError, status: int, door: tuple[Scope, Receive, Send]) -> None:
    # The rest of the body is not read: the connection cannot be used again.
    answer = response(error, door[0]["path"], status, {"Connection": "close"})
    await answer(*door)


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def once() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once


def refuse_deep(body: bytes, deepest: int) -> None:
    """Raises `Unusable` for what is no JSON, for half a letter in it, and for a tower of brackets.

    Depth is counted before anything is parsed, brackets in texts included: that errs on the
    side of the server only for texts with many of them, so those are parsed and counted well.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unusable(f"the body is not JSON: {error}", "send JSON in UTF-8") from error
    level: list[Any] = [value]
    for _ in range(deepest + 1):
        level = [below for one in level for below in _below(one)]
        if not level:
            return
    raise Unusable(f"the body is nested deeper than {deepest}", "send something flatter")


def _below(value: Any) -> list[Any]:
    if isinstance(value, dict):
        if any("\0" in name for name in value):
            raise Unusable("a name in the body holds a zero character", "leave it out")
        return list(value.values())
    if isinstance(value, str) and "\0" in value:
        raise Unusable("a text in the body holds a zero character", "leave it out")
    return value if isinstance(value, list) else []


@dataclass
class Pace:
    """How often each caller may come: `rate` times a second, `burst` times at once."""

    rate: float = RATE
    burst: float = BURST
    wall: Callable[[], float] = time.monotonic
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, caller: str) -> float:
        """Seconds after which `caller` may come; 0: now, and that is counted."""
        now = self.wall()
        with self._lock:
            left, since = self._left.get(caller, (self.burst, now))
            left = min(self.burst, left + (now - since) * self.rate)
            if left < 1:
                return (1 - left) / self.rate
            if len(self._left) >= _MOST_CALLERS:
                self._left.clear()  # strangers in a crowd: nobody is remembered for it
            self._left[caller] = (left - 1, now)
            return 0.0
