"""One project folder with its engines, opened when first asked for.

Everything mutable lives in `<folder>/.interlock/`; definitions are files of the folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.app.files import news, read_folder
from interlock.define.load import read
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.errors import Corrupt, Invalid, NotFound, Unavailable
from interlock.ports import Clock, OnlineStore, Put, Warehouse

if TYPE_CHECKING:
    from interlock.adapters.files import FileArtifacts
    from interlock.adapters.memory import MemoryRecord
    from interlock.adapters.predictions import JsonLinesLog
    from interlock.adapters.sqlrecord import SqlRecord
    from interlock.adapters.sqlrecord.looking import LookedAt
    from interlock.app.kept import KeptFolder
    from interlock.app.push import Pusher
    from interlock.app.scheduled import Beside
    from interlock.app.stores import Mode, Places
    from interlock.app.versions import Version
    from interlock.define.environment import Environment
    from interlock.define.project import Project
    from interlock.impact.facts import Facts

CONTROLLER = "controller"
EMBEDDED = "embedded"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WallClock:
    """The time on the wall."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251  # this is the clock the rule points to


@dataclass
class ReplayClock:
    """The moment the recorded traffic has reached; kept in the record, so every process agrees."""

    workspace: Workspace
    start: datetime

    def now(self) -> datetime:
        entry = self.workspace.record.get(self._ref)
        return datetime.fromisoformat(entry.body["now"]) if entry else self.start

    def advance(self, to: datetime) -> None:
        """Move forward to `to`; time never runs backward."""
        entry = self.workspace.record.get(self._ref)
        if to <= (datetime.fromisoformat(entry.body["now"]) if entry else self.start):
            return
        put = Put(self._ref, {"now": to.isoformat()}, entry.version if entry else 0)
        self.workspace.record.write([put], by="traffic", at=to)

    @property
    def _ref(self) -> Ref:
        return Ref("clock", self.workspace.environment)


@dataclass
class Workspace:
    """The project in `folder`, seen from one environment. Engines open lazily, close together."""

    folder: Path
    environment: str = "prod"
    # Who only looks leaves no trace: no state folder appears because of it.
    looking: bool = False
    # By which door this process came in: the audit keeps it, with the machine, for each write.
    door: str = "python"
    # Where writes come from: a process here, where names are as given, or `token:<id>`.
    source: str = EMBEDDED
    # Definitions that were sent here, instead of those of the folder.
    texts: Mapping[str, str] | None = None
    # Releases never change, so reading one twice is waste; filled by `versions.stored`.
    versions: dict[str, Version] = field(default_factory=dict)
    _read: dict[str, Project] = field(default_factory=dict)
    # Wall seconds at which this process last decided to move the route; 0: never.
    decided_at: float = 0.0

    @property
    def state(self) -> Path:
        return self.folder / ".interlock"

    @cached_property
    def _learned(self) -> tuple[Project, Facts]:
        return self.learn(read_folder(self.folder) if self.texts is None else self.texts)

    @property
    def project(self) -> Project:
        """The definitions as the files say now; raises `Invalid` with every problem at once."""
        return self._learned[0]

    @property
    def facts(self) -> Facts:
        """What `project` means."""
        return self._learned[1]

    def reread(self) -> None:
        """The files have changed: forget what they said."""
        self.__dict__.pop("_learned", None)

    def learn(self, texts: Mapping[str, str]) -> tuple[Project, Facts]:
        """Definitions and what they mean, from a folder's texts or a stored snapshot."""
        from interlock.change.windows import problems_in
        from interlock.impact.facts import learn

        reading = read(texts, memory=self.kept.memory)
        facts, more = learn(reading.partial, self.kept.memory)
        more = (*more, *problems_in(reading.partial.calendar))
        problems = [*reading.problems, *news(more, reading.problems, reading.hidden)]
        self.kept.save()
        if problems:
            raise Invalid.of(problems)
        return reading.partial, facts

    @cached_property
    def kept(self) -> KeptFolder:
        """What earlier commands read and understood; no part of the state."""
        from interlock.app.kept import KeptFolder

        return KeptFolder(self.state)

    def with_texts(self, texts: Mapping[str, str]) -> Workspace:
        """The same engines and record, seen with other definitions than the folder's.

        Opened engines are shared: close the original, never this one.
        """
        other = Workspace(
            self.folder, self.environment, door=self.door, source=self.source,
            versions=self.versions,
        )  # fmt: skip
        shared = "record artifacts warehouse online predictions mirrored clock kept"
        for name in shared.split():
            other.__dict__[name] = getattr(self, name)
        other.__dict__["_learned"] = self.learn(texts)
        return other

    def acting(self, source: str, texts: Mapping[str, str] | None = None) -> Workspace:
        """The same engines, for somebody whose writes come from `source`, with their `texts`.

        Close the original, never this one. It reads the folder again, when it is asked to.
        """
        other = Workspace(
            self.folder, self.environment, source=source, texts=texts, versions=self.versions
        )
        shared = ("artifacts", "clock", "kept", *(["online"] if "online" in self.__dict__ else []))
        for name in shared:
            other.__dict__[name] = getattr(self, name)
        known = self.record
        other.__dict__["record"] = known if source == self.source else known.written_from(source)
        return other

    @property
    def settings(self) -> Environment:
        """The environment's definition; raises `NotFound` naming those that exist."""
        return self._settings_in(self.project)

    @property
    def declared(self) -> Environment:
        """The environment as the release that runs declares it; before the first, as the files."""
        return self._settings_in(self._trusted)

    def _settings_in(self, project: Project) -> Environment:
        known = project.environments
        if self.environment not in known:
            raise NotFound(
                f"no environment {self.environment!r} in interlock.yaml",
                help=f"environments: {', '.join(sorted(known))}",
            )
        return known[self.environment]

    def _make_state(self) -> None:
        try:
            self.state.mkdir(exist_ok=True)
        except OSError as error:
            raise Unavailable(
                f"{self.state} cannot be made: {error.strerror}",
                help="may this user write to the project's folder?",
            ) from error

    @cached_property
    def record(self) -> SqlRecord | MemoryRecord | LookedAt:
        from interlock.adapters.memory import MemoryRecord
        from interlock.app.records import (
            address_of,
            file_of,
            is_beside,
            look_into,
            open_record,
            source_of,
        )

        address = address_of(self.folder, self.state, self.environment)
        source = source_of(self.door) if self.source == EMBEDDED else self.source
        if self.looking and is_beside(address):
            file = file_of(address, self.folder, self.state)
            return look_into(file, source) if file.exists() else MemoryRecord()
        self._make_state()
        return open_record(address, self.folder, self.state, self.environment, source)

    @cached_property
    def artifacts(self) -> FileArtifacts:
        from interlock.adapters.files import FileArtifacts

        return FileArtifacts(self.state / "artifacts")

    @cached_property
    def warehouse(self) -> Warehouse:
        from interlock.app.engines import open_warehouse

        self._make_state()
        declared = self.declared.warehouse
        return open_warehouse(declared, self.folder, self.state)

    @cached_property
    def online(self) -> OnlineStore:
        """The online store that the release which runs declares, to write to."""
        return self.open_online()

    def open_online(self, mode: Mode = "write") -> OnlineStore:
        """The same for a process that only reads, or pushes: neither must wait long."""
        from interlock.app.stores import open_online

        return open_online(*self.online_places, mode)

    @property
    def online_places(self) -> tuple[tuple[str, ...], Places]:
        """The addresses of the stores, and what they are relative to."""
        from interlock.app.stores import Places

        project = self._trusted
        places = Places(self.folder, f"{project.name}.{self.environment}")
        return tuple(self._settings_in(project).online), places

    @cached_property
    def pusher(self) -> Pusher:
        """Takes rows that are pushed from this process, and reads those that any took."""
        from interlock.app.push import Pusher

        return Pusher(self.state, self.online)

    @cached_property
    def predictions(self) -> JsonLinesLog:
        """Every answer that was given by request."""
        return self._log("predictions")

    @cached_property
    def mirrored(self) -> JsonLinesLog:
        """What the other release would have said, by the id of the answer that was given."""
        return self._log("mirrored")

    def _log(self, name: str) -> JsonLinesLog:
        from interlock.adapters.predictions import JsonLinesLog
        from interlock.app.stores import open_elsewhere

        elsewhere = open_elsewhere(self.declared.log, name)
        return JsonLinesLog(self.state / name, name="reader", elsewhere=elsewhere)

    @cached_property
    def clock(self) -> Clock:
        """The environment's clock, as the release that runs declares it.

        The folder is asked only before the first release: somebody's broken edit must not
        stand in the way of a rollback.
        """
        project = self.released or self._starting or self._trusted
        if self._settings_in(project).clock == "wall":
            return WallClock()
        days = [model.evaluation.end for model in project.models.values()]
        start = datetime.combine(max(days), time(), UTC) if days else _EPOCH
        return ReplayClock(self, start)

    @property
    def _trusted(self) -> Project:
        """Who says where engines are: the release that runs; before the first, the folder.

        Never files that were sent here: addresses hold the secrets of this process.
        """
        released = self.released
        if released is not None or self.texts is None:
            return released or self.project
        return self.learn(read_folder(self.folder))[0]

    @property
    def released(self) -> Project | None:
        """The definitions of the stable release, read without understanding their SQL.

        None before the first, and where they are damaged: a way back must not need them.
        """
        stable = self.route().stable
        if stable in self.versions:
            return self.versions[stable].project
        if stable is not None and stable not in self._read:
            found = self._definitions(stable)
            if found is None:
                return None
            self._read[stable] = found  # looks ask for it again and again
        return self._read.get(stable or "")

    def _definitions(self, release: str) -> Project | None:
        entry = self.record.get(Ref("release", release))
        if entry is None:
            return None
        try:
            texts = json.loads(self.artifacts.get(entry.body["definitions"]))
        except (Corrupt, NotFound):
            return None
        return read(texts, memory=self.kept.memory).project

    @cached_property
    def refreshing(self) -> Beside:
        """What this controller refreshes beside its looks."""
        from interlock.app.scheduled import Beside

        return Beside()

    def beside(self) -> Workspace:
        """The same engines for a thread beside this one; releases that are understood already."""
        other = Workspace(self.folder, self.environment, source=self.source, versions=self.versions)
        for name in ("record", "artifacts", "warehouse", "online", "clock"):
            other.__dict__[name] = getattr(self, name)
        return other

    @property
    def _starting(self) -> Project | None:
        """The definitions of a first release under way: it can be taken back whatever the
        folder says by then.
        """
        under_way = ("PREPARING", "SHADOW", "STEP", "SOAKING", "ABORTING")
        for entry in self.record.list("change"):
            mine = entry.body["environment"] == self.environment
            if mine and entry.body["state"] in under_way:
                return self._definitions(entry.body["release"])
        return None

    def now(self) -> datetime:
        return self.clock.now()

    def advance(self, to: datetime) -> None:
        """Tell a replayed environment what time it is; a wall clock needs no telling."""
        if isinstance(self.clock, ReplayClock):
            self.clock.advance(to)

    def route(self) -> Route:
        """The Route of this environment; before the first release, an empty one at epoch 0."""
        entry = self.record.get(self.route_ref)
        if entry is None:
            return Route(self.environment)
        return Route.from_json({**entry.body, "epoch": entry.version})

    @property
    def route_ref(self) -> Ref:
        return Ref("route", self.environment)

    def close(self) -> None:
        """Close every engine that was opened."""
        for name in (
            "refreshing",
            "warehouse",
            "pusher",
            "online",
            "predictions",
            "mirrored",
            "record",
        ):
            if name in self.__dict__:
                self.__dict__.pop(name).close()
