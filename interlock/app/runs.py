"""Refreshes as they are written down: one row per environment, a version of it for every turn.

`refresh:prod` holds the run that is under way or was the last, and per table how it stands:
when it was last brought up, and how often it has failed since. Its history is the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from interlock.app.leases import holder
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.errors import InterlockError, Unavailable
from interlock.ports import Entry, Json, Put, RecordReader

WRITER = "refresh"
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True)
class Standing:
    """One table: brought up at `done`; or failed `failures` times, and not tried before `again`."""

    done: datetime | None = None
    failures: int = 0
    again: datetime | None = None
    failed: str = ""

    def to_json(self) -> Json:
        return {**self.__dict__, "done": _text(self.done), "again": _text(self.again)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Standing:
        times = {name: _instant(body[name]) for name in ("done", "again")}
        return cls(**{**body, **times})

    def after_failure(self, at: datetime, said: str, alone: bool) -> Standing:
        """Each failure doubles the wait. Of several that failed together nobody knows which one
        it was: each is tried by itself, and at once."""
        wait = min(FIRST_WAIT * 2 ** min(self.failures, 16), LONGEST_WAIT)
        return Standing(self.done, self.failures + 1, at + wait if alone else at, said)


@dataclass(frozen=True)
class Run:
    """One refresh: of which tables, since when, by which process, and how it ended.

    `parts` are the tables and views that moved: rows added and removed, rows now, watermark.
    """

    tables: tuple[str, ...]
    started: datetime
    by: str
    scheduled: bool = False
    ended: datetime | None = None
    state: Literal["running", "done", "failed"] = "running"
    parts: tuple[Json, ...] = ()
    online: int = 0
    failure: str = ""

    def to_json(self) -> Json:
        return {**self.__dict__, "started": _text(self.started), "ended": _text(self.ended)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Run:
        times = {name: _instant(body[name]) for name in ("started", "ended")}
        more = {"tables": tuple(body["tables"]), "parts": tuple(body["parts"])}
        return cls(**{**body, **times, **more})


@dataclass(frozen=True)
class Journal:
    """The newest version of the row: the last run, and every table that a run was asked for."""

    run: Run | None = None
    tables: Mapping[str, Standing] = field(default_factory=dict)

    def of(self, table: str) -> Standing:
        return self.tables.get(table, Standing())

    def to_json(self) -> Json:
        return {
            "run": self.run.to_json() if self.run else None,
            "tables": {name: one.to_json() for name, one in self.tables.items()},
        }

    def begun(self, tables: Iterable[str], at: datetime, scheduled: bool) -> Journal:
        return replace(self, run=Run(tuple(sorted(tables)), at, holder(), scheduled))

    def done(self, at: datetime, parts: Sequence[Json], online: int) -> Journal:
        """A table counts as brought up when its run began: later rows may not be in it."""
        assert self.run is not None
        run = replace(self.run, ended=at, state="done", parts=tuple(parts), online=online)
        stand = {name: Standing(self.run.started) for name in self.run.tables}
        return Journal(run, {**self.tables, **stand})

    def failed(self, at: datetime, said: str) -> Journal:
        assert self.run is not None
        run, alone = self.run, len(self.run.tables) == 1
        stand = {name: self.of(name).after_failure(at, said, alone) for name in run.tables}
        ended = replace(run, ended=at, state="failed", failure=said)
        return Journal(ended, {**self.tables, **stand})


def journal(record: RecordReader, environment: str) -> Journal:
    """What is known of the refreshes of an environment."""
    return _read(record.get(Ref("refresh", environment)))


def runs(record: RecordReader, environment: str) -> tuple[Run, ...]:
    """Every run that ended, oldest first; one that was cut off stands as running until the next."""
    entries = record.history(Ref("refresh", environment))
    found = [_read(entry).run for entry in entries]
    return tuple(run for run in found if run and run.state != "running")


def keep(workspace: Workspace, after: Journal) -> None:
    """Write the row. Only who holds the lease of refreshing does, so nobody is in between."""
    ref = Ref("refresh", workspace.environment)
    entry = workspace.record.get(ref)
    put = Put(ref, after.to_json(), entry.version if entry else 0)
    workspace.record.write([put], by=WRITER, at=workspace.now())


def said_of(error: BaseException) -> str:
    """Why a run failed, in one line, with everything it objected to."""
    if not isinstance(error, InterlockError):
        return f"a mistake in Interlock: {type(error).__name__}: {error}"
    more = f": {'; '.join(error.objections)}" if error.objections else ""
    away = f" ({error.help})" if isinstance(error, Unavailable) and error.help else ""
    return f"{error.message}{more}{away}"


def _read(entry: Entry | None) -> Journal:
    if entry is None:
        return Journal()
    run, tables = entry.body["run"], entry.body["tables"]
    stand = {name: Standing.from_json(body) for name, body in tables.items()}
    return Journal(Run.from_json(run) if run else None, stand)


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
