"""What the desk reads: entries of the record, and definitions without understanding their SQL.

Releases, evidence and old versions of a change never change, so each is read once.
Nothing here plans or parses SQL: a page must not make a prediction wait.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

from interlock.app.files import read_folder
from interlock.app.workspace import ReplayClock, WallClock, Workspace
from interlock.change.agenda import Booked
from interlock.change.change import Change
from interlock.change.evidence import Evidence
from interlock.define.environment import Environment
from interlock.define.load import read
from interlock.define.project import Project
from interlock.define.refs import Kind, Ref
from interlock.errors import InterlockError, NotFound
from interlock.ports import Clock, Entry, Json
from interlock.web.desk_moves import moves_between
from interlock.web.views import Move


@dataclass(frozen=True)
class Stored:
    """A change as its newest entry has it."""

    change: Change
    version: int
    written_at: datetime


@dataclass
class _Told:
    """The timeline of one change so far, and the entry it ends with."""

    last: Entry | None = None
    moves: list[Move] = field(default_factory=list)


class Ledger:
    """One environment's record, for pages. Safe to ask from many threads."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._projects: dict[str, Project | None] = {}
        self._releases: dict[str, Json] = {}
        self._evidence: dict[str, Entry] = {}
        self._told: dict[str, _Told] = {}
        self._telling = threading.Lock()
        # Acts ask the workspace for the time: given one here, it need not learn the project.
        workspace.clock = self._clock()

    # --- definitions ------------------------------------------------------------------

    def project(self) -> Project:
        """The definitions that run; before the first release, those of the newest change."""
        found = (self.project_of(release) for release in self._candidates() if release)
        running = next((project for project in found if project is not None), None)
        return running or self._of_folder()

    def _candidates(self) -> Iterator[str | None]:
        yield self.workspace.route().stable
        yield from (one.change.release for one in self.changes())

    def project_of(self, release: str) -> Project | None:
        """The definitions `release` was made from; None if it, or they, cannot be read."""
        if release not in self._projects:
            body = self.release(release)
            if body is None:
                return None
            texts = json.loads(self.workspace.artifacts.get(body["definitions"]))
            self._projects[release] = read(texts).project
        return self._projects[release]

    def _of_folder(self) -> Project:
        """The files as they are; a project that cannot be read yet is one without definitions."""
        try:
            reading = read(read_folder(self.workspace.folder))
        except InterlockError:
            reading = None
        if reading is not None and reading.project is not None:
            return reading.project
        return Project(name=self.workspace.folder.name, environments={})

    @property
    def environment(self) -> Environment:
        """The environment's definition; raises `NotFound` naming those that exist."""
        for project in (self.project(), self._of_folder()):
            if self.workspace.environment in project.environments:
                return project.environments[self.workspace.environment]
        known = ", ".join(sorted(self._of_folder().environments)) or "none"
        raise NotFound(
            f"no environment {self.workspace.environment!r} in interlock.yaml",
            help=f"environments: {known}",
        )

    def _clock(self) -> Clock:
        if self.environment.clock == "wall":
            return WallClock()
        models = self._of_folder().models or self.project().models
        first = max((model.evaluation.end for model in models.values()), default=date(1970, 1, 1))
        return ReplayClock(self.workspace, datetime.combine(first, time(), UTC))

    def now(self) -> datetime:
        return self.workspace.clock.now()

    # --- entries ----------------------------------------------------------------------

    def get(self, kind: Kind, name: str) -> Entry | None:
        return self.workspace.record.get(Ref(kind, name))

    def release(self, digest: str) -> Json | None:
        """What the record holds of a release."""
        if digest not in self._releases:
            entry = self.get("release", digest)
            if entry is None:
                return None
            self._releases[digest] = entry.body
        return self._releases[digest]

    def changes(self) -> list[Stored]:
        """Every change of this environment, newest first."""
        found = [_stored(entry) for entry in self.workspace.record.list("change")]
        mine = [one for one in found if one.change.environment == self.workspace.environment]
        return sorted(mine, key=lambda one: _number(one.change.id), reverse=True)

    def booked(self) -> list[Booked]:
        """Every booking of this environment, over and cancelled ones too."""
        found = map(Booked.read, self.workspace.record.list("booking"))
        return [one for one in found if one.environment == self.workspace.environment]

    def change(self, id: str) -> Stored | None:
        entry = self.get("change", id)
        return _stored(entry) if entry else None

    def evidence(self, digest: str) -> tuple[Evidence, str] | None:
        """A piece of evidence, and who wrote it down."""
        if digest not in self._evidence:
            entry = self.get("evidence", digest)
            if entry is None:
                return None
            self._evidence[digest] = entry
        entry = self._evidence[digest]
        return Evidence.from_json(entry.body), entry.by

    def evidence_of(self, change: Change) -> list[Evidence]:
        """The evidence of a change, in the order it was made."""
        found = (self.evidence(digest) for digest in change.evidence)
        return [held[0] for held in found if held is not None]

    def judgement(self, id: str) -> Mapping[str, Any] | None:
        """What the judge said last."""
        entry = self.get("judgement", id)
        return entry.body if entry else None

    def timeline(self, id: str) -> tuple[Move, ...]:
        """What happened to a change, newest first. Only versions not seen before are read."""
        with self._telling:
            told = self._told.setdefault(id, _Told())
            seen = told.last.version if told.last else 0
            for entry in self.workspace.record.history(Ref("change", id), after=seen):
                told.moves += moves_between(told.last, entry)
                told.last = entry
            return tuple(reversed(told.moves))


def _stored(entry: Entry) -> Stored:
    return Stored(Change.from_json(entry.body), entry.version, entry.written_at)


def _number(id: str) -> int:
    number = id.rpartition("-")[2]
    return int(number) if number.isdigit() else 0
