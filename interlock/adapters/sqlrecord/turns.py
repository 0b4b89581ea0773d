"""By which connection a write goes in, and who writes when.

On SQLite a process writes by one connection of its own, which its threads take in turns: SQLite
lets one writer in anyhow, and to fetch a connection for every write takes longer than the
write. On a server every write fetches one, because the server may have ended those that are
kept.
"""

from __future__ import annotations

import threading

import sqlalchemy as sa

from interlock.adapters.sqlrecord.connect import BUSY_SECONDS, Place
from interlock.errors import Unavailable


class Turns:
    """Hands out connections to write by; who takes one gives it back."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._kept: sa.Connection | None = None

    def take(self) -> sa.Connection:
        """A connection in no transaction; on SQLite nobody else has one. Raises `Unavailable`."""
        if self._place.server:
            return self._place.engine.connect()
        if not self._lock.acquire(timeout=BUSY_SECONDS):
            said = f"the record {self._place.name} is being written by another thread"
            raise Unavailable(said, help="try again")
        try:
            if self._kept is None:
                self._kept = self._place.engine.connect()
            return self._kept
        except BaseException:
            self._lock.release()
            raise

    def give(self, connection: sa.Connection, whole: bool) -> None:
        """Back after a write; one that is not `whole` leaves nothing behind in its connection."""
        if self._place.server:
            connection.close()
            return
        try:
            if not whole:
                self._drop()
        finally:
            self._lock.release()

    def close(self) -> None:
        """Put the kept connection away; waits for who writes."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()  # rolls back what is open
