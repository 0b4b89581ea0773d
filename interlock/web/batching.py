"""Requests that wait for the same turn of the event loop are answered together.

Scoring one row costs nearly as much as scoring ten: reading the store, the call into the
model, and the write of the log are paid once a turn. Nobody waits for a neighbour: a turn
takes what is there and never waits for more. What is too much is refused at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Protocol

from interlock.app.asked import Answered, Ask
from interlock.app.serving import Found, Gateway
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


class Waiting(Protocol):
    """Somebody who waits for a turn. `ask` raises `InterlockError` for what is no request."""

    def gone(self) -> bool: ...
    def ask(self) -> Ask: ...
    def told(self, found: Answered | InterlockError) -> None: ...


class Batcher:
    """One gateway's waiting room. Used from one event loop only."""

    def __init__(self, gateway: Gateway, most: int = MOST_WAITING) -> None:
        self._gateway = gateway
        self._most = most
        self._waiting: deque[tuple[float, Ask, Waiting]] = deque()

    def waiting(self) -> int:
        """How many requests wait for a turn."""
        return len(self._waiting)

    def put(self, one: Waiting, patience: float = PATIENCE) -> None:
        """`one` is told soon: `Busy` when `patience` (s) ran out.

        Raises that when too many wait, and what `ask` raises: then it does not wait.
        """
        if len(self._waiting) >= self._most:
            self._gateway.count("refused")
            raise Busy(f"{self._most} requests are waiting already")
        ask = one.ask()
        if not self._waiting:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._turn, loop)
        self._waiting.append((time.perf_counter() + patience, ask, one))

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        taken: deque[Waiting] = deque()
        try:
            self._answer(taken, self._take(taken))
        finally:
            if self._waiting:
                loop.call_soon(self._turn, loop)
            # Only a mistake of ours leaves somebody: it is in the log, and nobody waits for ever.
            for one in taken:
                one.told(Unavailable("this request could not be answered"))

    def _answer(self, taken: deque[Waiting], asks: list[Ask]) -> None:
        def tell(found: Found) -> None:
            for got in found:
                taken[0].told(got)
                taken.popleft()

        try:
            self._gateway.answers(asks, tell)
        except InterlockError as error:  # nothing is loaded: it is true for all of them
            tell([error] * len(taken))

    def _take(self, taken: deque[Waiting]) -> list[Ask]:
        """What the oldest ask who still wait, up to a turn's rows; at least one of them."""
        asks: list[Ask] = []
        rows, now = 0, time.perf_counter()
        while self._waiting and (not asks or rows + self._waiting[0][1].count <= ROWS_A_TURN):
            until, ask, one = self._waiting.popleft()
            if one.gone():
                continue
            if until < now:
                self._gateway.count("too_late")
                one.told(Busy("the answer would have come too late"))
                continue
            taken.append(one)
            asks.append(ask)
            rows += ask.count
        return asks
