"""What one connection may cost a server: room for another, and patience with who is slow.

uvicorn waits for ever for the head of a request, reads as much of one as comes, and keeps whoever
reads nothing. A few hundred such connections take every file that a process may open: then nobody
is answered, and the Route and the log cannot be read or written either.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Protocol

LARGEST_HEAD = 64 * 1024
"""Bytes of a request line with its headers, and of trailers."""
SLOWEST_HEAD = 10.0
"""Seconds from the connection, or the first byte of a request, to the end of its headers."""
SLOWEST_REQUEST = 60.0
"""Seconds to the end of its body; who takes predictions is less patient (`gateway`)."""
SLOWEST_READER = 60.0
"""Seconds in which somebody may read nothing of what he is told."""
SPARE = 256
"""Files that are not for connections: the record, online rows, logs, models, a mirror."""
LEAST, MOST_FILES = 16, 1 << 16
LOOK = 1.0  # seconds between two looks at all connections


class Guest(Protocol):
    """A connection. `look` ends it when its time is over; `now` is by the loop's clock."""

    @property
    def is_idle(self) -> bool: ...
    def look(self, now: float) -> None: ...
    def give_way(self) -> None: ...


class Room:
    """The connections of one server. Used from its event loop only."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._here: dict[Guest, None] = {}  # in the order they came
        self._looks = False

    def enter(self, one: Guest, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether there is room for one more: who asks nothing gives way. `leave` comes after."""
        if self._most is None:
            self._most = max(open_files() - SPARE, LEAST)
        if len(self._here) >= self._most:
            idle = next((other for other in self._here if other.is_idle), None)
            if idle is None:
                return False
            self.leave(idle)
            idle.give_way()
        self._here[one] = None
        if not self._looks:
            self._looks = True
            loop.call_later(LOOK, self._look, loop)
        return True

    def leave(self, one: Guest) -> None:
        self._here.pop(one, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looks = bool(self._here)
        if self._looks:
            loop.call_later(LOOK, self._look, loop)
        now = loop.time()
        for one in tuple(self._here):
            one.look(now)


def open_files() -> int:
    """How many files this process may open at once."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def open_more_files() -> None:
    """As many as the system lets us without asking anybody, up to `MOST_FILES`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if resource.RLIM_INFINITY != soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
