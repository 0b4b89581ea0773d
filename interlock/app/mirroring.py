"""What the other releases would have said: handed on after the answer was given, never waited for.

Mirrored rows are scored by a process of their own (`interlock.app.mirror`). What hangs,
crashes or is slow there costs the caller a message to a socket and nothing else. A row that
found no room is counted and is missing for the judge; a row on which the process died is an
error of the release that scored it.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

from interlock.adapters.files import FileArtifacts
from interlock.adapters.predictions import JsonLinesLog, new_writer
from interlock.app.releases import Live
from interlock.errors import InterlockError
from interlock.ports import Artifacts

if TYPE_CHECKING:
    from interlock.app.workspace import Workspace

COMMAND = (sys.executable, "-m", "interlock.app.mirror")
LENGTH = struct.Struct("<I")
"""In front of each message: its length in bytes."""
DONE = struct.Struct("<Q")
"""What comes back: the number of the newest message that is scored and logged; 0: it is ready."""
PREFIX = "interlock-mirror-"  # of the folder in which a process finds what it needs
ROOM = 1 << 20  # bytes of the socket's buffer; the system may give less
LOOK = 0.05  # seconds between two looks at the process and at the Route
AGAIN = 1.0  # seconds before a process that died is started again
REPLAY_PATIENCE = 30.0  # seconds; replayed time waits for its mirrors


@dataclass(frozen=True)
class MirrorPlaces:
    """Where the process finds rows and leaves scores: all that it is told besides the releases."""

    stores: tuple[str, ...]
    folder: str
    prefix: str
    log: str


class Mirrored(NamedTuple):
    """Rows for the release that did not answer them, of requests of these `sizes`."""

    release: str
    ids: Sequence[str]
    sizes: Sequence[int]
    columns: Mapping[str, Sequence[object]]


class _Sent(NamedTuple):
    number: int
    release: str
    ids: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.ids)


@dataclass
class _Worker:
    """One process for the releases of a Route, our end of the socket, and what it has not done.

    The stable one is the first of `releases`.
    """

    releases: tuple[str, ...]
    process: subprocess.Popen[bytes]
    link: socket.socket
    home: tempfile.TemporaryDirectory[str]
    rest: bytes = b""
    number: int = 0
    is_ready: bool = False
    is_ended: bool = False
    is_given_up: bool = False  # by us, as too slow: it broke on nothing
    waiting: deque[_Sent] = field(default_factory=deque)

    def send(self, said: bytes) -> bool:
        """Whether all of it will arrive; what only fits in part goes on with the next look."""
        if not self.flush():
            return False
        try:
            taken = self.link.send(said)
        except OSError:  # full, or nobody is there: the look finds out which
            return False
        self.rest = said[taken:]
        return True

    def flush(self) -> bool:
        while self.rest:
            try:
                self.rest = self.rest[self.link.send(self.rest) :]
            except OSError:
                return False
        return True

    def wait(self, seconds: float) -> None:
        """For something to be said; not by `select`, which knows the first 1024 files only."""
        heard = select.poll()
        heard.register(self.link, select.POLLIN)
        heard.poll(seconds * 1000)

    def holds(self, wanted: Sequence[str]) -> bool:
        """Whether it can score by all of them. One that was given up is no reason to end it:
        the rows of the others would be missing while the next process starts."""
        return wanted[:1] == self.releases[:1] and set(wanted) <= set(self.releases)

    def end(self) -> None:
        """No more is sent; what was sent is scored, and then the process ends by itself."""
        if not self.is_ended and self.flush():
            self.is_ended = True
            with suppress(OSError):  # it is dead already
                self.link.shutdown(socket.SHUT_WR)


class Mirrors:
    """The mirroring of one gateway. Safe to use from several threads."""

    def __init__(
        self, places: MirrorPlaces, artifacts: Artifacts, command: Sequence[str] = COMMAND
    ) -> None:
        self._places = places
        self._artifacts = artifacts
        self._command = tuple(command)
        self._log = JsonLinesLog(places.log, new_writer("gateway"))
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._ending: list[_Worker] = []
        self._again = float("-inf")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._behind = False
        self.counts: Counter[str] = Counter()
        self.error: str | None = None

    def start(self, live: Callable[[], Live | None], replayed: bool = False) -> None:
        """Follow `live`: while it mirrors, a process for its releases stands ready.

        Answers come first on the machine, except in replayed time, where they wait for it.
        """
        self._behind = not replayed

        def watch() -> None:
            while not self._stop.wait(LOOK):
                self.look(live())

        self._thread = threading.Thread(target=watch, name="interlock-mirrors", daemon=True)
        self._thread.start()

    def offer(
        self, live: Live, model: str, at: float, rows: Sequence[Mirrored], wait: bool = False
    ) -> None:
        """Hand `rows` on; those for which there is no room are counted and forgotten.

        `at` is the asking instant (seconds since 1970 UTC). With `wait` this returns when
        they are scored: replayed time must not run ahead of them.
        """
        # One message for each release: the one that breaks the process is told apart.
        releases = dict.fromkeys(one.release for one in rows)
        parts = [[one for one in rows if one.release == release] for release in releases]
        with self._lock:
            if wait:
                self._look(live)
            number = self._handed(live, model, at, parts)
            if number is None:
                self.counts["mirror_drops"] += sum(len(one.ids) for one in rows)
            elif wait:
                self._settle(number)

    def _handed(
        self, live: Live, model: str, at: float, parts: Sequence[Sequence[Mirrored]]
    ) -> int | None:
        worker = self._worker
        if worker is None or not worker.holds(live.releases):
            return None
        # All of it or nothing: without room no candidate loses more rows than the others. What
        # is done is found out by the look: asking the socket here would cost the caller.
        if not worker.send(b"".join(_message(model, at, part) for part in parts)):
            return None
        for part in parts:
            worker.number += 1
            ids = tuple(chain.from_iterable(one.ids for one in part))
            worker.waiting.append(_Sent(worker.number, part[0].release, ids))
        return worker.number

    def _settle(self, number: int) -> None:
        until = time.monotonic() + REPLAY_PATIENCE
        while (worker := self._worker) and worker.waiting and time.monotonic() < until:
            if worker.waiting[0].number > number:
                return
            worker.flush()
            worker.wait(LOOK)
            self._collect(worker)
            self._bury_dead()

    def look(self, live: Live | None) -> None:
        """Start what is wanted, end what is not, and see what became of the rest."""
        with self._lock:
            self._look(live)

    def _look(self, live: Live | None) -> None:
        for worker in self._all():
            worker.flush()
            self._collect(worker)
        self._bury_dead()
        wanted = live.releases if live and live.route.mirror and live.candidates else ()
        if self._worker and not (wanted and self._worker.holds(wanted)):
            self._ending.append(self._worker)
            self._worker = None
        for worker in self._ending:
            worker.end()
        if live and wanted and self._worker is None and time.monotonic() >= self._again:
            self._begin(live)

    def _begin(self, live: Live) -> None:
        try:
            self._worker, self.error = self._begun(live), None
        except (InterlockError, OSError) as error:  # a full disk, no file or process to be had
            self.error, self._again = str(error), time.monotonic() + AGAIN

    def _begun(self, live: Live) -> _Worker:
        with ExitStack() as undone:
            home = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
            undone.callback(home.cleanup)
            self._pack(live, Path(home.name))
            ours, theirs = socket.socketpair()
            undone.callback(ours.close)
            with theirs:
                command = [*self._command, home.name, str(theirs.fileno())]
                process = subprocess.Popen(
                    command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
                )
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
            undone.pop_all()
        return _Worker(live.releases, process, ours, home)

    def _pack(self, live: Live, home: Path) -> None:
        """The releases and every place, for a process that asks nobody else."""
        kept = FileArtifacts(home / "artifacts")
        releases = [one.spec for one in (live.stable, *live.candidates.values())]
        for spec in releases:
            for model in spec.models.values():
                kept.put(self._artifacts.get(model.artifact))
        said = {
            "places": asdict(self._places),
            "releases": [spec.to_json() for spec in releases],
            "behind": self._behind,
        }
        (home / "mirror.json").write_text(json.dumps(said))

    def _collect(self, worker: _Worker) -> None:
        """Take note of what is done."""
        try:
            said = worker.link.recv(1 << 16)
        except OSError:  # nothing was said
            return
        if len(said) < DONE.size:
            return
        worker.is_ready = True
        (done,) = DONE.unpack(said[-DONE.size :])
        while worker.waiting and worker.waiting[0].number <= done:
            self.counts["mirrored"] += worker.waiting.popleft().size

    def _bury_dead(self) -> None:
        for worker in self._all():
            code = worker.process.poll()
            if code is None:
                continue
            self._collect(worker)
            self._accuse(worker, code)
            worker.link.close()
            worker.home.cleanup()
            if worker is self._worker:
                self._worker, self._again = None, time.monotonic() + AGAIN
            else:
                self._ending.remove(worker)

    def _all(self) -> list[_Worker]:
        return [*self._ending, *([self._worker] if self._worker else ())]

    def _accuse(self, worker: _Worker, code: int) -> None:
        """The message on which it died is an error of the release; those behind it were unlucky."""
        behind = list(worker.waiting)
        if worker.is_ready and behind and code and not worker.is_given_up:
            self._broke(behind.pop(0), code)
        self.counts["mirror_drops"] += sum(one.size for one in behind)

    def _broke(self, on: _Sent, code: int) -> None:
        self.error = f"the process that mirrors ended with {code}"
        said = {"score": None, "error": self.error, "fallback": False, "latency_us": None}
        try:
            self._log.append([{"id": id, "release": on.release, **said} for id in on.ids])
            self.counts["mirror_broken"] += on.size
        except InterlockError:
            self.counts["mirror_drops"] += on.size

    @property
    def waiting(self) -> int:
        """Rows handed on and not yet scored."""
        worker = self._worker
        return sum(one.size for one in tuple(worker.waiting)) if worker else 0

    def stop(self, patience: float = 5.0) -> None:
        """Let what was handed on be scored, at most `patience` seconds, and end the process."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        until = time.monotonic() + patience
        self.look(None)
        while self._ending and time.monotonic() < until:
            time.sleep(0.01)
            self.look(None)
        for worker in self._ending:
            worker.is_given_up = True
            worker.process.kill()
            worker.process.wait()
        self.look(None)
        self._log.close()


def _message(model: str, at: float, rows: Sequence[Mirrored]) -> bytes:
    said = orjson.dumps({"model": model, "at": at, "rows": [one._asdict() for one in rows]})
    return LENGTH.pack(len(said)) + said


def mirrors_of(workspace: Workspace) -> Mirrors:
    """Mirrors of a gateway over the places of `workspace`."""
    urls, places = workspace.online_places
    log = str(workspace.state / "mirrored")
    found = MirrorPlaces(urls, str(places.folder), places.prefix, log)
    return Mirrors(found, workspace.artifacts)
