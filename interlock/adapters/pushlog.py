"""Which pushed rows were seen, and how much waits: one small LMDB folder beside the segments.

Its write lock orders all processes that take rows: within it a row is given its arrival,
written to a segment that is flushed to the disk, and remembered. So arrivals only grow, and
whoever holds the lock for a moment knows that every earlier arrival is in a segment.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from interlock.errors import Unavailable

_DOUBLE = struct.Struct("<d")
_LAST, _WAITING, _FORGOT = b"\0last", b"\0waiting", b"\0forgot"
_ID = 16  # bytes of a row's id
_PAGE = 20_000  # rows
STEP = 1e-6  # the next instant a timestamp can tell apart


class Taken(NamedTuple):
    """The places of the rows that were taken, and when they arrived.

    Of rows that happened before `sure_since` some were forgotten: one of them may have been
    taken before.
    """

    places: list[int]
    arrived: float
    sure_since: float


class PushLog:
    """The memory of one table's log. `write` appends rows, durably, and returns their bytes."""

    def __init__(self, folder: Path | str, map_size: int = 1 << 34) -> None:
        self._path = Path(folder)
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            # The file is as large as what is in it; the map is only room to grow.
            self._env: Any = lmdb.open(str(self._path), map_size=map_size, max_readers=510)
        except (lmdb.Error, OSError) as error:
            raise Unavailable(
                f"the push log at {self._path} cannot be opened: {error}",
                help="is the folder writable, and the disk not full?",
            ) from error

    def take(
        self,
        ids: Sequence[bytes],
        times: Sequence[float],
        now: float,
        limit: int,
        write: Callable[[list[int], float], int],
    ) -> Taken | None:
        """The rows not seen before, and their arrival; None when it is full.

        `times` are those of the rows' events: one of the future is remembered as long as one
        that arrives then.
        A kill after `write` and before the end leaves rows that are written and not
        remembered: pushed again they are written again, and read once.
        """
        with self._answering(), self._env.begin(write=True) as txn:
            fresh = _fresh(txn, ids)
            arrived = round(max(now, _number(txn, _LAST) + STEP) * 1e6) / 1e6
            waiting = _number(txn, _WAITING)
            if not fresh:
                return Taken([], arrived, arrived)
            if waiting >= limit:
                return None
            waiting += write(fresh, arrived)
            for place in fresh:
                txn.put(ids[place], _DOUBLE.pack(max(arrived, times[place])))
            txn.put(_LAST, _DOUBLE.pack(arrived))
            txn.put(_WAITING, _DOUBLE.pack(waiting))
            return Taken(fresh, arrived, _number(txn, _FORGOT))

    def settle(self, waiting: Callable[[], int]) -> None:
        """Wait for rows on their way; then say how many bytes are still to be read."""
        with self._answering(), self._env.begin(write=True) as txn:
            txn.put(_WAITING, _DOUBLE.pack(float(waiting())))

    def forget(self, keep: float) -> int:
        """Forget rows that happened and arrived `keep` seconds before the last one did; how many.

        A page at a time, so that nobody who pushes waits for all of it.
        """
        count, key = 0, b""
        while True:
            with self._answering(), self._env.begin(write=True) as txn:
                before = max(_number(txn, _LAST) - keep, _number(txn, _FORGOT))
                txn.put(_FORGOT, _DOUBLE.pack(before))
                page, key = _page(txn, key)
                old = [one for one, at in page if at < before]
                for one in old:
                    txn.delete(one)
            count += len(old)
            if not key:
                return count

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except lmdb.Error as error:
            raise Unavailable(
                f"the push log at {self._path} did not answer: {error}",
                help="is the disk full? Rows that were acknowledged are safe",
            ) from error

    def close(self) -> None:
        self._env.close()


def _fresh(txn: Any, ids: Sequence[bytes]) -> list[int]:
    """Places of ids never seen; of equal ones in this batch, the first."""
    found: dict[bytes, int] = {}
    for place, one in enumerate(ids):
        if one not in found and txn.get(one) is None:
            found[one] = place
    return list(found.values())


def _page(txn: Any, after: bytes) -> tuple[list[tuple[bytes, float]], bytes]:
    """Some of the remembered rows from the key `after` on, and where to go on; empty: the end."""
    found: list[tuple[bytes, float]] = []
    cursor = txn.cursor()
    if not cursor.set_range(after):
        return found, b""
    for key, value in cursor:
        if len(found) == _PAGE:
            return found, bytes(key)
        if not key.startswith(b"\0") or len(key) == _ID:
            found.append((bytes(key), float(_DOUBLE.unpack(value)[0])))
    return found, b""


def _number(txn: Any, key: bytes) -> float:
    stored = txn.get(key)
    return 0.0 if stored is None else float(_DOUBLE.unpack(stored)[0])
