"""Work that only one process may do at a time, and that dies with the process that does it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from interlock.errors import Conflict, Unavailable
from interlock.ports import Record

# A killed process is missed for this long. Safety does not rest on it: every write is a
# compare-and-swap, and everything built is named by what it means.
LEASE_S = 10.0


def holder() -> str:
    """Who this process is, for leases and audit lines; a thread beside the main one is another."""
    here = threading.current_thread()
    beside = "" if here is threading.main_thread() else f":{here.name}"
    return f"{socket.gethostname()}:{os.getpid()}{beside}"


@contextmanager
def leased(record: Record, name: str, seconds: float, what: str) -> Iterator[Lease]:
    """The lease `name` while the block runs; `Conflict` when another process holds it.

    It is renewed beside the work, so that a long step keeps it and a killed process loses it
    within `seconds`.
    """
    me = holder()
    fence = record.claim(name, me, seconds)
    if fence is None:
        raise Conflict(
            f"another process {what}",
            help=f"wait until it is done; if it was killed, try again in {seconds:g} s",
        )
    lease = Lease(record, name, me, fence, seconds)
    try:
        with lease.kept():
            yield lease
    finally:
        record.release(name, me)


class Lease:
    """A held lease. `fence` grows with every holder, so that an older one can be told apart."""

    def __init__(self, record: Record, name: str, me: str, fence: int, seconds: float) -> None:
        self.fence = fence
        self._record, self._name, self._me, self._seconds = record, name, me, seconds
        self._over = threading.Event()

    def still_held(self) -> None:
        """Renew it; raises `Unavailable` when it was lost and taken by somebody else."""
        if self._record.claim(self._name, self._me, self._seconds) != self.fence:
            raise Unavailable(
                f"the lease {self._name} was lost: this process stood still for too long",
                help="what was done is kept; run this again",
            )

    @contextmanager
    def kept(self) -> Iterator[None]:
        beat = threading.Thread(target=self._beat, daemon=True)
        beat.start()
        try:
            yield
        finally:
            self._over.set()
            beat.join()

    def _beat(self) -> None:
        while not self._over.wait(self._seconds / 4):
            try:
                self.still_held()
            except Unavailable:
                return  # who works asks again before every commit, and is told
