"""Bytes of chance for ids, fetched from the system many at a time: once per request was a call
that cost as much as reading a row."""

from __future__ import annotations

import os
import threading

_AT_ONCE = 4096


class Chance:
    """Unpredictable bytes, none given out twice. Safe to use from several threads, and forked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()
        # A child must not give out what its parent does, nor wait for a lock nobody holds there.
        os.register_at_fork(after_in_child=self._renew)

    def _forget(self) -> None:
        self._held, self._at = b"", 0

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def take(self, count: int) -> bytes:
        """The next `count` bytes, at most 4096."""
        with self._lock:
            at, end = self._at, self._at + count
            if end > len(self._held):
                self._held, at, end = os.urandom(_AT_ONCE), 0, count
            self._at = end
            return self._held[at:end]


chance = Chance().take
"""The bytes of this process."""
