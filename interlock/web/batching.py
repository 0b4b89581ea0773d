"""Requests that wait for the same turn of the event loop are answered together.

Scoring one row costs nearly as much as scoring ten: reading the store, the call into the
model, and the write of the log are paid once a turn. Nobody waits for a neighbour: a turn
takes what is there and never waits for more. What is too much is refused at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import NamedTuple

from interlock.app.asked import Answered, Ask
from interlock.app.serving import Gateway
from interlock.errors import InterlockError, Unavailable

MOST_WAITING = 1024
"""Requests that may wait for a turn; the next is told to come again."""
ROWS_A_TURN = 512
"""Rows after which the loop gets to read what came in meanwhile."""
PATIENCE = 10.0
"""Seconds after which nobody is thought to be waiting for an answer any more."""


class Busy(Unavailable):
    """Too much waits already; `after` seconds from now is a good time to ask again."""

    def __init__(self, message: str, after: int = 1) -> None:
        super().__init__(message, help="ask again later, or start another gateway")
        self.after = after


class _Waiting(NamedTuple):
    ask: Ask
    until: float
    answered: asyncio.Future[Answered]


class Batcher:
    """One gateway's waiting room. Used from one event loop only."""

    def __init__(self, gateway: Gateway, most: int = MOST_WAITING) -> None:
        self._gateway = gateway
        self._most = most
        self._waiting: deque[_Waiting] = deque()

    def waiting(self) -> int:
        """How many requests wait for a turn."""
        return len(self._waiting)

    async def answer(self, ask: Ask, patience: float = PATIENCE) -> Answered:
        """As `Gateway.answer`; raises `Busy` when too many wait, or `patience` (s) ran out."""
        if len(self._waiting) >= self._most:
            self._gateway.count("refused")
            raise Busy(f"{self._most} requests are waiting already")
        loop = asyncio.get_running_loop()
        one = _Waiting(ask, time.perf_counter() + patience, loop.create_future())
        if not self._waiting:
            loop.call_soon(self._turn, loop)
        self._waiting.append(one)
        return await one.answered

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        taken = self._take()
        try:
            found = self._gateway.answers([one.ask for one in taken])
        except InterlockError as error:  # nothing is loaded: it is true for all of them
            found = [error] * len(taken)
        finally:
            if self._waiting:
                loop.call_soon(self._turn, loop)
        for one, got in zip(taken, found, strict=True):
            if one.answered.done():
                continue  # the caller has gone
            if isinstance(got, InterlockError):
                one.answered.set_exception(got)
            else:
                one.answered.set_result(got)

    def _take(self) -> list[_Waiting]:
        """The oldest that still wait, up to a turn's rows; at least one of them."""
        taken: list[_Waiting] = []
        rows, now = 0, time.perf_counter()
        while self._waiting and (not taken or rows + self._waiting[0].ask.count <= ROWS_A_TURN):
            one = self._waiting.popleft()
            if one.answered.done():
                continue
            if one.until < now:
                self._gateway.count("too_late")
                one.answered.set_exception(Busy("the answer would have come too late"))
                continue
            taken.append(one)
            rows += one.ask.count
        return taken
