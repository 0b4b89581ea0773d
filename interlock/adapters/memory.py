"""Engines that live and end with the process: for trying things out, and for tests.

They keep the same promises as the engines on disk; the same contract suites hold them.
"""

from __future__ import annotations

import copy
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from interlock.change.audit import leaf_of
from interlock.change.names import (
    SALT_BYTES,
    hidden,
    new_name,
    nobody,
    people_in,
    shown,
    unknown,
)
from interlock.change.tree import Peaks
from interlock.define.digest import canonical, digest_bytes
from interlock.define.refs import Kind, Ref
from interlock.errors import NotFound, Stale, Unusable
from interlock.ports import (
    Bucket,
    Checkpoint,
    Entry,
    Json,
    Named,
    OnlineRow,
    Put,
    Span,
    Stored,
    Written,
)
from interlock.serve.packed import due, moved, order, pack, unpack_all

_Address = tuple[str, str, str, int, str]


class MemoryRecord:
    """The Record port in memory. `wall` gives seconds for leases, `source` is where writes
    come from."""

    def __init__(self, wall: Callable[[], float] = time.time, source: str = "memory") -> None:
        self._wall = wall
        self._source = source
        self._lock = threading.RLock()
        self._things: dict[str, tuple[Stored, ...]] = {}
        self._buckets: dict[str, dict[_Address, Bucket]] = {}
        self._leaves: list[Json] = []
        self._peaks = Peaks()
        self._names: dict[str, Named] = {}
        self._leases: dict[str, tuple[str, int, float]] = {}
        self._origin = f"interlock/{secrets.token_hex(8)}"

    def get(self, ref: Ref) -> Entry | None:
        with self._lock:
            found = self._things.get(str(ref))
            return self._entry(found[-1]) if found else None

    def list(self, kind: Kind) -> tuple[Entry, ...]:
        with self._lock:
            found = [many[-1] for ref, many in self._things.items() if ref.startswith(f"{kind}:")]
            return tuple(map(self._entry, found))

    def history(self, ref: Ref, after: int = 0) -> tuple[Entry, ...]:
        with self._lock:
            return tuple(map(self._entry, self._things.get(str(ref), ())[after:]))

    def parts(self, kind: Kind, of: Sequence[str], since: datetime) -> tuple[Entry, ...]:
        with self._lock:
            things = [many for ref, many in self._things.items() if ref.startswith(f"{kind}:")]
            entries = (self._entry(one) for many in things for one in many)
            found = [
                replace(one, body={path: _part(one.body, path) for path in of})
                for one in entries
                if one.written_at >= since
            ]
        return tuple(sorted(found, key=lambda one: (str(one.ref), one.version)))

    def buckets(self, change: str) -> tuple[Bucket, ...]:
        with self._lock:
            return tuple(bucket for _, bucket in sorted(self._buckets.get(change, {}).items()))

    def audit(self) -> tuple[Json, ...]:
        with self._lock:
            return tuple(dict(row) for row in self._leaves)

    def written(self, after: int | None = None) -> Iterator[Written]:
        with self._lock:
            leaves, things = self.audit(), dict(self._things)
        for leaf in leaves[after or 0 :]:
            yield Written(leaf, things[leaf["ref"]][leaf["version"] - 1])

    def head(self) -> Checkpoint:
        with self._lock:
            return self._peaks.checkpoint()

    def origin(self) -> str:
        return self._origin

    def names(self) -> tuple[Named, ...]:
        with self._lock:
            return tuple(self._names.values())

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
        bodies = [_plain(put) for put in puts]
        with self._lock:
            self._refuse_moved(puts)
            kept = [
                self._stored(put, body, by, at.astimezone(UTC).isoformat())
                for put, body in zip(puts, bodies, strict=True)
            ]
            for stored in kept:
                self._things[stored.ref] = (*self._things.get(stored.ref, ()), stored)
                self._leaves.append(leaf_of(self._peaks.size + 1, stored))
                self._peaks.add(bytes.fromhex(self._leaves[-1]["leaf"]))
            for change, many in (buckets or {}).items():
                mine = self._buckets.setdefault(change, {})
                mine.update({(b.stage, b.metric, b.arm, b.at, b.slice): b for b in many})
            return tuple(map(self._entry, kept))

    def forget(self, name: str, *, by: str, at: datetime) -> str:
        with self._lock:
            if name not in self._names:
                raise nobody(name)
            gone = self._names.pop(name).pseudonym
            self.write([Put(Ref("erasure", gone), {"pseudonym": gone}, 0)], by=by, at=at)
        return gone

    def _stored(self, put: Put, body: Json, by: str, at: str) -> Stored:
        known = self._known({by, self._source, *people_in(body)})
        text = hidden(body, known, canonical(body).decode())
        who, where = known.get(by, by), known.get(self._source, self._source)
        return Stored(str(put.ref), put.expected + 1, text, at, who, where)

    def _known(self, names: set[str]) -> dict[str, str]:
        known = {named.name: named.pseudonym for named in self._names.values()}
        for name in unknown(names, known):
            named = new_name(name, secrets.token_bytes(SALT_BYTES))
            self._names[name], known[name] = named, named.pseudonym
        return known

    def _entry(self, kept: Stored) -> Entry:
        # Parsed anew each time: a reader may change what it got.
        names = {named.pseudonym: named.name for named in self._names.values()}
        body, at = json.loads(shown(kept.body, names)), datetime.fromisoformat(kept.written_at)
        by, source = names.get(kept.by, kept.by), names.get(kept.source, kept.source)
        return Entry(Ref.parse(kept.ref), kept.version, body, at, by, source)

    def _refuse_moved(self, puts: Sequence[Put]) -> None:
        newest: dict[Ref, int] = {}
        moved: dict[str, str] = {}
        for put in puts:
            version = newest.get(put.ref, len(self._things.get(str(put.ref), ())))
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

    def written_from(self, source: str) -> MemoryRecord:
        other = copy.copy(self)
        other._source = source
        return other

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


class MemoryOnlineStore:
    """The OnlineStore port in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, dict[str, bytes]] = {}
        self._marks: dict[str, float] = {}

    def write(
        self, view: str, rows: Iterable[tuple[str, OnlineRow]], span: Span | None = None
    ) -> int:
        kept = 0
        arrived = [(key, pack(row)) for key, row in due(rows, span)]
        with self._lock:
            mine = self._rows.setdefault(view, {})
            for key, data in arrived:
                before = mine.get(key)
                if before is None or order(data) >= order(before):
                    mine[key] = data
                    kept += 1
            at = moved(self._marks.get(view), span)
            if at is not None:
                self._marks[view] = at
        return kept

    def read(self, wanted: Sequence[tuple[str, str]]) -> list[OnlineRow | None]:
        return unpack_all(self.packed(wanted))

    def packed(self, wanted: Sequence[tuple[str, str]]) -> list[bytes | None]:
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

    def check(self) -> None:
        """Memory takes rows as long as the process lives."""

    def read(self, after: Json) -> tuple[list[Json], Json]:
        with self._lock:
            lines = self._lines[int(after.get("line", 0)) :]
            end = len(self._lines)
        return [json.loads(line) for line in lines], {"line": end}

    def find(self, id: str) -> list[Json]:
        """Every row with this id."""
        rows, _ = self.read({})
        return [row for row in rows if row.get("id") == id]


def _part(body: Json, path: str) -> Any:
    held: Any = body
    for name in path.split("."):
        held = held.get(name) if isinstance(held, Mapping) else None
    return held
