"""The online stores of an environment: opened by address, and one standing in for another.

Every store takes every write. Reads go to the first that answers and has missed nothing; a
store that fails is left alone until a watcher, which no request waits for, finds it healthy
and caught up.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from interlock.errors import Corrupt, InterlockError, Unavailable, Unusable
from interlock.ports import Json, OnlineRow, OnlineStore, Span
from interlock.serve.packed import unpack_all

if TYPE_CHECKING:
    from interlock.adapters.objects import ObjectFolder
    from interlock.app.workspace import Workspace
    from interlock.serve.assemble import Read

READ_TIMEOUT, WRITE_TIMEOUT = 0.1, 10.0  # seconds; a request must not wait long for a store
POLL = 0.25  # seconds between two looks of the watcher
NAMES = ("primary", "secondary")
# Who pushes writes a few rows within a request; who writes brings everything, and can wait.
Mode = Literal["read", "push", "write"]
_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Places:
    """Where a project's stores are: its folder, and the prefix of this environment's rows."""

    folder: Path
    prefix: str

    def open(self, url: str, mode: Mode) -> OnlineStore:
        """The store at `url`; raises `Unavailable` when it is not there."""
        text = expanded(url)
        scheme, _, rest = text.partition("://")
        if scheme == "lmdb":
            return _lmdb(self.folder / (rest or ".interlock/online"), mode == "read")
        from interlock.adapters.redis import RedisOnlineStore

        address = f"{scheme.replace('valkey', 'redis')}://{rest}"
        timeout = WRITE_TIMEOUT if mode == "write" else READ_TIMEOUT
        return RedisOnlineStore(address, self.prefix, timeout)


def expanded(url: str, what: str = "the online store") -> str:
    """`${NAME}` from the process's environment: secrets are never in files."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise Unusable(f"${found[1]} is not set", help=f"{what} is at {url}")
        return os.environ[found[1]]

    return _VARIABLE.sub(value, url)


def open_elsewhere(url: str | None, name: str) -> ObjectFolder | None:
    """The files `name` at `url`; None where everything stays here. Raises `Unavailable`."""
    if url is None:
        return None
    from interlock.adapters.objects import ObjectFolder

    return ObjectFolder(expanded(url, "the log"), name)


def _lmdb(folder: Path, readonly: bool) -> OnlineStore:
    from interlock.adapters.lmdb import LmdbOnlineStore

    # The rows can be pushed again from the warehouse at any time, so a commit need not
    # wait for the disk.
    if readonly and (folder / "data.mdb").exists():
        return LmdbOnlineStore(folder, readonly=True)
    store = LmdbOnlineStore(folder, sync=False)
    if not readonly:
        return store
    # Nothing was released yet: the first release will write here while we read.
    store.close()
    return LmdbOnlineStore(folder, readonly=True)


def open_online(urls: Sequence[str], places: Places, mode: Mode = "write") -> OnlineStore:
    """The store of an environment. One local folder needs nothing around it."""
    wanted = tuple(urls) or ("lmdb://",)
    if len(wanted) == 1 and wanted[0].startswith("lmdb://"):
        return places.open(wanted[0], mode)
    return RedundantStore([_opener(places, url, mode) for url in wanted])


def _opener(places: Places, url: str, mode: Mode) -> Callable[[], OnlineStore]:
    return lambda: places.open(url, mode)


class Told(NamedTuple):
    """Which store answered, and by how many seconds it stands behind what is known elsewhere."""

    store: str
    behind: float = 0.0

    @property
    def text(self) -> str:
        return f"{self.store}, {self.behind:.0f} s behind" if self.behind else self.store


@dataclass
class _Part:
    """One of the stores. `error` says why it is left alone; `marks` are its last known ones."""

    name: str
    open: Callable[[], OnlineStore]
    store: OnlineStore | None = None
    error: str | None = None
    marks: Mapping[str, float] = field(default_factory=dict)
    opening: threading.Lock = field(default_factory=threading.Lock)

    def reached(self) -> OnlineStore:
        with self.opening:
            if self.store is None:
                self.store = self.open()
            return self.store

    def asked(self) -> tuple[Mapping[str, float], str | None]:
        """Its watermarks now, or those it had and why it does not answer."""
        try:
            return self.reached().watermarks(), None
        except InterlockError as error:
            return self.marks, error.message


class RedundantStore:
    """OnlineStore over several. Thread-safe; a watcher starts with the first read."""

    def __init__(self, opens: Sequence[Callable[[], OnlineStore]], poll: float = POLL) -> None:
        names = [*NAMES, *(f"store {n}" for n in range(3, len(opens) + 1))]
        self._parts = [_Part(name, one) for name, one in zip(names, opens, strict=False)]
        self._poll = poll
        self._lock = threading.Lock()
        self._views: frozenset[str] = frozenset()
        # Swapped as one value: (part, its store, what to tell), best first. Only healthy ones.
        self._order: tuple[tuple[_Part, OnlineStore, Told], ...] = ()
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    def read(self, wanted: Sequence[tuple[str, str]]) -> list[OnlineRow | None]:
        """One answer per (view, key), all from one store."""
        return unpack_all(self.packed(wanted))

    def packed(self, wanted: Sequence[tuple[str, str]]) -> list[bytes | None]:
        """As `read`, each row as it is stored."""
        return self.packed_from(wanted)[0]

    def packed_from(self, wanted: Sequence[tuple[str, str]]) -> tuple[list[bytes | None], Told]:
        """The rows, and which store gave them. Costs no waiting for a store known to be dead."""
        views = {view for view, _ in wanted}
        if self._watcher is None or not views <= self._views:
            self._first_look(views)
        errors = {part.name: part.error for part in self._parts}
        for part, store, told in self._order:
            try:
                return store.packed(wanted), told
            except Unavailable as error:
                errors[part.name] = error.message
                if not isinstance(error, Corrupt):  # one row: the others are read here still
                    self._fail(part, error.message)
        raise Unavailable(
            "no online store answers: " + "; ".join(f"{n}: {why}" for n, why in errors.items()),
            help="rows can be pushed again; start a store and run `interlock tick`",
        )

    def write(
        self, view: str, rows: Iterable[tuple[str, OnlineRow]], span: Span | None = None
    ) -> int:
        """To every store that answers, the primary first. One that does not keeps its watermark,
        and so is known to have missed this."""
        arrived, kept = list(rows), []
        for part in self._parts:
            try:
                kept.append(part.reached().write(view, arrived, span))
                part.error = None
            except Unavailable as error:
                part.error = error.message
        if not kept:
            raise Unavailable(f"no online store took rows: {self._parts[0].error}")
        return max(kept)

    def watermarks(self) -> dict[str, float]:
        """The lowest of every store that answers: from there on, something may be missing."""
        self.look()
        known = [part.marks for part in self._parts if part.error is None]
        shared = set.intersection(*(set(marks) for marks in known)) if known else set()
        return {view: min(marks[view] for marks in known) for view in shared}

    def drop(self, view: str) -> None:
        for part in self._parts:
            try:
                part.reached().drop(view)
            except Unavailable as error:
                part.error = error.message

    def close(self) -> None:
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join(timeout=5)
        for part in self._parts:
            if part.store is not None:
                part.store.close()

    def look(self) -> None:
        """Ask every store how far it is, and decide anew which one is read."""
        # The primary is written first and asked last: it never seems to be behind only
        # because a write came in between. Nobody waits for an answer while holding the lock.
        found = [(part, part.asked()) for part in reversed(self._parts)]
        with self._lock:
            for part, said in found:
                part.marks, part.error = said
            self._arrange()

    def look_at_everything(self) -> None:
        """`look`, with every view that any store has as one in use."""
        self.look()
        with self._lock:
            self._views = frozenset(view for part in self._parts for view in part.marks)
            self._arrange()

    def _arrange(self) -> None:
        order = [
            (part, part.store, Told(part.name, self._behind(part)))
            for part in self._parts
            if part.error is None and part.store is not None
        ]
        # Sorting keeps the declared order of those that have missed equally much.
        self._order = tuple(sorted(order, key=lambda one: one[2].behind))

    def _behind(self, part: _Part) -> float:
        """Seconds that the worst of the views in use stands behind its newest known watermark.

        Remembered watermarks of a dead store count: what it knew is not known here.
        """
        most = 0.0
        for view in self._views:
            best = max((p.marks[view] for p in self._parts if view in p.marks), default=None)
            if best is not None:
                most = max(most, best - part.marks.get(view, float("-inf")))
        return most

    def _first_look(self, views: set[str]) -> None:
        """Views never asked for before: how far they are must be known before they are trusted."""
        with self._lock:
            self._views |= views
            if self._watcher is None:
                self._watcher = threading.Thread(
                    target=self._watch, name="interlock-stores", daemon=True
                )
                self._watcher.start()
        self.look()

    def _watch(self) -> None:
        while not self._stop.wait(self._poll):
            self.look()

    def _fail(self, part: _Part, why: str) -> None:
        with self._lock:
            part.error = why
            self._arrange()

    def standing(self) -> list[Json]:
        """Each store: its name, whether it is healthy, what it missed, and which one is read."""
        first = self._order[0][0] if self._order else None
        behind = {part.name: told.behind for part, _, told in self._order}
        return [
            {
                "store": part.name,
                "healthy": part.error is None,
                "reading": part is first,
                "behind_s": _finite(behind.get(part.name)),
                "error": part.error,
            }
            for part in self._parts
        ]

    def sentences(self) -> list[str]:
        """What is not as it should be; nothing when every store is healthy and caught up."""
        said = [
            f"online store {part.name} does not answer: {part.error}"
            for part in self._parts
            if part.error is not None
        ]
        for part, _, told in self._order:
            if told.behind:
                missed = "everything" if told.behind == float("inf") else f"{told.behind:.0f} s"
                said.append(f"online store {part.name} has missed {missed} and is being caught up")
        if said and self._order:
            said.append(f"features are read from the {self._order[0][2].text}")
        return said


class Reading:
    """The reads of one request, and which store answered them; nothing is told of a lone store.

    `took` are the seconds that were waited for the store.
    """

    __slots__ = ("_read", "_store", "told", "took")

    def __init__(self, store: OnlineStore) -> None:
        self._store = store
        self.told = Told("")
        self.took = 0.0
        self._read: Read = self._noted if isinstance(store, RedundantStore) else store.packed

    def read(self, wanted: Sequence[tuple[str, str]]) -> list[bytes | None]:
        began = time.perf_counter()
        rows = self._read(wanted)
        self.took += time.perf_counter() - began
        return rows

    def _noted(self, wanted: Sequence[tuple[str, str]]) -> list[bytes | None]:
        assert isinstance(self._store, RedundantStore)
        rows, told = self._store.packed_from(wanted)
        if not self.told.store or told.behind >= self.told.behind:
            self.told = told
        return rows


def standing_of(store: OnlineStore) -> list[Json]:
    """How each of several stores stands; a lone folder beside us has nothing to tell."""
    return store.standing() if isinstance(store, RedundantStore) else []


class Stores(NamedTuple):
    """How the stores of an environment stand, and in words what is not as it should be."""

    standing: tuple[Json, ...] = ()
    sentences: tuple[str, ...] = ()


NO_STORES = Stores()


def stores_now(workspace: Workspace) -> Stores:
    """Ask every store of what runs; nothing before the first release. Writes nothing."""
    if not workspace.route().stable:
        return NO_STORES
    # LMDB lets a process open a folder once: who writes here already, asks itself.
    ours: OnlineStore | None = workspace.__dict__.get("online")
    store = ours or workspace.open_online("read")
    try:
        if not isinstance(store, RedundantStore):
            return NO_STORES
        store.look_at_everything()
        return Stores(tuple(store.standing()), tuple(store.sentences()))
    finally:
        if ours is None:
            store.close()


def _finite(seconds: float | None) -> float | None:
    """For JSON; a store that has nothing of a view says -1."""
    return -1.0 if seconds == float("inf") else seconds
