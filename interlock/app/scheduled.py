"""Refreshes by the clock: what is due, brought up beside the rollout and never in its way.

Each look of the controller asks what is due and begins it in a thread of its own, under the
lease of refreshing; the looks go on meanwhile. What was missed while nobody looked is made
good once. A table that failed waits, longer each time, and says so; the others go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from interlock.app.leases import LEASE_S, leased
from interlock.app.runs import Run, Standing, journal, keep, said_of
from interlock.define.schedules import Schedule, following, latest, refreshes
from interlock.errors import Conflict, InterlockError

if TYPE_CHECKING:
    from interlock.app.workspace import Workspace
    from interlock.define.project import Project


@dataclass(frozen=True)
class Planned:
    """One table of the release that runs: when it is refreshed, how it stands, what comes next."""

    table: str
    schedule: Schedule
    standing: Standing
    due: bool
    next: datetime | None

    @property
    def sentence(self) -> str:
        done = f", last {_hour(self.standing.done)}" if self.standing.done else ", not yet"
        return f"{self.table}: {self.schedule}{done}{self._next}{self._failed}"

    def note(self, before: str) -> str:
        """What the catalog says of the table, behind what it said `before`."""
        return f"{before}, {self.sentence.partition(': ')[2]}"

    @property
    def _next(self) -> str:
        if self.due:
            return ", due now"
        return f", next {_hour(self.next)}" if self.next else ", never again"

    @property
    def _failed(self) -> str:
        return f"; failed {self._times}: {self.standing.failed}" if self.standing.failures else ""

    @property
    def _times(self) -> str:
        n = self.standing.failures
        return "once" if n == 1 else f"{n} times"

    @property
    def waits(self) -> str:
        """That it failed and is not tried before when; empty where it does not wait."""
        if not self.standing.failures or self.due:
            return ""
        return f"{self.table} could not be refreshed {self._times}, again {_hour(self.next)}"


def planned(workspace: Workspace, project: Project | None = None) -> tuple[Planned, ...]:
    """Every scheduled table of the release that runs, by name; `project`: its definitions."""
    project = project or workspace.released
    if project is None:
        return ()
    schedules, now = refreshes(project, workspace.environment), workspace.now()
    if not schedules:
        return ()
    told = journal(workspace.record, workspace.environment)
    return tuple(
        _planned(name, schedule, told.of(name), now) for name, schedule in sorted(schedules.items())
    )


def _planned(name: str, schedule: Schedule, standing: Standing, now: datetime) -> Planned:
    if standing.failures and standing.again:
        waiting = standing.again > now
        return Planned(name, schedule, standing, not waiting, standing.again)
    last = latest(schedule, now)
    # Brought up in the future: the clock went back, and nobody knows what it said then.
    stands = standing.done if standing.done and standing.done <= now else None
    due = last is not None and (stands is None or stands < last)
    return Planned(name, schedule, standing, due, following(schedule, now))


def due(tables: Sequence[Planned]) -> tuple[str, ...]:
    """What to bring up next: all that is due together; one that failed before, by itself."""
    now = [one for one in tables if one.due]
    sound = tuple(one.table for one in now if not one.standing.failures)
    return sound or tuple(one.table for one in now[:1])


class Beside:
    """At most one refresh, in a thread beside the looks of one controller."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="refresh")
        self._running: Future[str] | None = None

    @property
    def busy(self) -> bool:
        return self._running is not None

    def look(self, workspace: Workspace) -> str:
        """Begin what is due, or say how it went; one line, empty where there is nothing to say."""
        said = self._ended(workspace)
        found = planned(workspace)
        tables = due(found)
        if tables and not self.busy:
            from interlock.app.refresh import live_versions

            live_versions(workspace)  # understood here: threads do not learn side by side
            self._running = self._pool.submit(run_due, workspace.beside())
        going = f"refreshing {', '.join(tables)}" if self.busy else ""
        return "; ".join(filter(None, [said, going, *(one.waits for one in found)]))

    def _ended(self, workspace: Workspace) -> str:
        """What became of the refresh that has just ended."""
        running = self._running
        if running is None or not running.done():
            return ""
        self._running, error = None, running.exception()
        if error is None:
            return running.result()
        if not isinstance(error, InterlockError):
            # Ours were written down where they were met. A mistake must not end the looks.
            told = journal(workspace.record, workspace.environment)
            keep(workspace, told.failed(workspace.now(), said_of(error)))
        return f"the refresh failed: {said_of(error)}"

    def close(self) -> None:
        """Wait for what is under way: a command that ends in the middle would only begin again."""
        self._pool.shutdown()


def run_due(workspace: Workspace) -> str:
    """One refresh of all that is due, under the lease and written down; what it did, in a line."""
    from interlock.app.refresh import recorded

    what, name = f"is refreshing {workspace.environment}", f"refresh:{workspace.environment}"
    try:
        with leased(workspace.record, name, LEASE_S, what) as lease:
            # Asked again under the lease: another controller may just have done it.
            tables = due(planned(workspace))
            if not tables:
                return ""
            report = recorded(workspace, lease, tables, scheduled=True)
            moved = sum(bool(part.difference.spans) for part in report.parts)
            return f"refreshed {', '.join(tables)}: {moved} tables and views moved"
    except Conflict:
        return "a refresh runs elsewhere"


def refreshing(workspace: Workspace) -> tuple[str, ...]:
    """What people are told: the run under way and how far it is, then every scheduled table."""
    run = journal(workspace.record, workspace.environment).run
    return (*_going_on(workspace, run), *(one.sentence for one in planned(workspace)))


def _going_on(workspace: Workspace, run: Run | None) -> Iterator[str]:
    if run is None or run.state != "running":
        return
    at = [
        f"{e.body['of']}, {len(e.body['doing']['done'])} of {len(e.body['doing']['todo'])} ranges"
        for e in workspace.record.list("ledger")
        if e.body["doing"]
    ]
    names, how_far = ", ".join(run.tables), "; ".join(at) or "reading files"
    yield f"refreshing {names} since {_hour(run.started)}: {how_far}"


def _hour(at: datetime | None) -> str:
    return f"{at:%d %b %H:%M} UTC" if at else "never"
