"""Engines that live and end with the process: for trying things out, and for tests.

They keep the same promises as the engines on disk; the same contract suites hold them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from interlock.change.audit import leaf_of
from interlock.define.digest import canonical, digest_bytes
from interlock.define.refs import Kind, Ref
from interlock.errors import NotFound, Stale, Unusable
from interlock.ports import Bucket, Entry, Json, OnlineRow, Put, Span
from interlock.serve.packed import due, moved, pack, unpack

_Address = tuple[str, str, str, int, str]


class MemoryRecord:
    """The Record port in memory. `wall` gives seconds for leases."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._lock = threading.RLock()
        self._things: dict[Ref, tuple[Entry, ...]] = {}
        self._buckets: dict[str, dict[_Address, Bucket]] = {}
        self._leaves: list[Json] = []
        self._leases: dict[str, tuple[str, int, float]] = {}

    def get(self, ref: Ref) -> Entry | None:
        with self._lock:
            found = self._things.get(ref)
        return _copy(found[-1]) if found else None

    def list(self, kind: Kind) -> tuple[Entry, ...]:
        with self._lock:
            found = [many[-1] for ref, many in self._things.items() if ref.kind == kind]
        return tuple(map(_copy, found))

    def history(self, ref: Ref, after: int = 0) -> tuple[Entry, ...]:
        with self._lock:
            return tuple(map(_copy, self._things.get(ref, ())[after:]))

    def buckets(self, change: str) -> tuple[Bucket, ...]:
        with self._lock:
            return tuple(bucket for _, bucket in sorted(self._buckets.get(change, {}).items()))

    def audit(self) -> tuple[Json, ...]:
        with self._lock:
            return tuple(dict(row) for row in self._leaves)

    def write(
        self,
        puts: Sequence[Put],
        *,
        by: str,
        at: datetime,
        buckets: Mapping[str, Sequence[Bucket]] | None = None,
    ) -> tuple[Entry, ...]:
        if at.tzinfo is None:
            raise Unusable(f"{at} has no time zone", help="pass an aware instant")
        entries = [
            Entry(put.ref, put.expected + 1, _plain(put), at.astimezone(UTC), by) for put in puts
        ]
        with self._lock:
            self._refuse_moved(puts)
            for entry in entries:
                self._things[entry.ref] = (*self._things.get(entry.ref, ()), entry)
                self._leaves.append(leaf_of(len(self._leaves) + 1, entry))
            for change, many in (buckets or {}).items():
                kept = self._buckets.setdefault(change, {})
                kept.update({(b.stage, b.metric, b.arm, b.at, b.slice): b for b in many})
        return tuple(map(_copy, entries))

    def _refuse_moved(self, puts: Sequence[Put]) -> None:
        newest: dict[Ref, int] = {}
        moved: dict[str, str] = {}
        for put in puts:
            version = newest.get(put.ref, len(self._things.get(put.ref, ())))
            if version != put.expected:
                moved[str(put.ref)] = f"{put.ref} is at version {version}, expected {put.expected}"
            newest[put.ref] = version + 1
        if moved:
            raise Stale(
                f"{', '.join(moved)} moved since it was read; nothing was written",
                help="read again, look at what changed, and retry",
                objections=tuple(moved.values()),
            )

    def claim(self, name: str, holder: str, seconds: float) -> int | None:
        now = self._wall()
        with self._lock:
            by, fence, until = self._leases.get(name, ("", 0, 0.0))
            if until > now and by != holder:
                return None
            fence += 0 if until > now else 1
            self._leases[name] = (holder, fence, now + seconds)
            return fence

    def release(self, name: str, holder: str) -> None:
        with self._lock:
            by, fence, _ = self._leases.get(name, ("", 0, 0.0))
            if by == holder and fence:
                self._leases[name] = (holder, fence, 0.0)

    def close(self) -> None:
        """Nothing to close."""


def _plain(put: Put) -> Json:
    try:
        body: Json = json.loads(canonical(put.body))
    except (TypeError, ValueError) as error:
        raise Unusable(
            f"the body of {put.ref} is not JSON: {error}", help="keep plain values in it"
        ) from error
    return body


def _copy(entry: Entry) -> Entry:
    # A reader may change what it got; the record must not change with it.
    body = json.loads(canonical(entry.body))
    return Entry(entry.ref, entry.version, body, entry.written_at, entry.by)


class MemoryOnlineStore:
    """The OnlineStore port in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, dict[str, OnlineRow]] = {}
        self._marks: dict[str, float] = {}

    def write(
        self, view: str, rows: Iterable[tuple[str, OnlineRow]], span: Span | None = None
    ) -> int:
        kept = 0
        arrived = [(key, unpack(pack(row))) for key, row in due(rows, span)]
        with self._lock:
            mine = self._rows.setdefault(view, {})
            for key, row in arrived:
                before = mine.get(key)
                if before is None or row.order >= before.order:
                    mine[key] = row
                    kept += 1
            at = moved(self._marks.get(view), span)
            if at is not None:
                self._marks[view] = at
        return kept

    def read(self, wanted: Sequence[tuple[str, str]]) -> list[OnlineRow | None]:
        with self._lock:
            return [self._rows.get(view, {}).get(key) for view, key in wanted]

    def watermarks(self) -> dict[str, float]:
        with self._lock:
            return dict(self._marks)

    def drop(self, view: str) -> None:
        with self._lock:
            self._rows.pop(view, None)
            self._marks.pop(view, None)

    def close(self) -> None:
        """Nothing to close."""


class MemoryArtifacts:
    """The Artifacts port in memory."""

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        digest = digest_bytes(data)
        self._data[digest] = bytes(data)
        return digest

    def get(self, digest: str) -> bytes:
        if digest not in self._data:
            raise NotFound(f"no artifact {digest} in memory", help="an address is 64 hex digits")
        return self._data[digest]

    def has(self, digest: str) -> bool:
        return digest in self._data


class MemoryPredictionLog:
    """The PredictionLog port in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: list[str] = []

    def append(self, rows: Sequence[Json]) -> None:
        lines = [json.dumps(row, allow_nan=False) for row in rows]
        with self._lock:
            self._lines.extend(lines)

    def read(self, after: Json) -> tuple[list[Json], Json]:
        with self._lock:
            lines = self._lines[int(after.get("line", 0)) :]
            end = len(self._lines)
        return [json.loads(line) for line in lines], {"line": end}
