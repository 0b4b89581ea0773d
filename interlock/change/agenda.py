"""What is on the calendar: changes by phase, freezes, allow windows, refreshes and retraining.

One list of lines serves the terminal, the page and the feed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from interlock.change.change import Change
from interlock.change.conflicts import Booking
from interlock.change.footprint import Footprint, Phases
from interlock.change.windows import Interval, occurrences
from interlock.define.calendar import Calendar, PhaseName, Recurring
from interlock.define.project import Project
from interlock.define.schedules import Schedule, refreshes
from interlock.define.schedules import occurrences as instants
from interlock.ports import Entry, Json

Standing = Literal["held", "started", "committed", "over", "cancelled"]
Kind = Literal["change", "freeze", "allow", "absence", "refresh", "retrain"]
OPEN: frozenset[str] = frozenset(get_args(Standing)) - {"over", "cancelled"}
PHASES: tuple[PhaseName, ...] = get_args(PhaseName)
# An hourly refresh is a fact about the table, not two hundred lines of a calendar.
MOST = 40
# A rollout that is not through when its time is over still holds what it writes.
_LONGER = timedelta(hours=1)


@dataclass(frozen=True)
class Booked:
    """One booking in the record, where it stands, and how often and when it was written."""

    booking: Booking
    standing: Standing
    environment: str
    why: str
    revision: int
    written_at: datetime

    @property
    def open(self) -> bool:
        return self.standing in OPEN

    def lasting(self, now: datetime) -> Booking:
        """With the time that a rollout takes which is longer than was booked."""
        times = self.booking.phases
        if self.standing != "started" or times.commit > now:
            return self.booking
        late = now + _LONGER - times.commit
        return self.booking.lasting(late)

    @classmethod
    def read(cls, entry: Entry) -> Booked:
        body = entry.body
        booking = Booking(
            entry.ref.name,
            Footprint.from_json(body["footprint"]),
            Phases.from_json(body["phases"]),
            body["title"],
            body["owner"],
            body["after"],
            body["emergency"],
            tuple(body["group"]),
            body.get("experiment", ""),
        )
        return cls(booking, body["standing"], body["environment"], body["why"],
                   entry.version, entry.written_at)  # fmt: skip


def booking_body(booking: Booking, environment: str, standing: Standing, why: str) -> Json:
    """What the record holds of a booking; `Booked.read` reads it back."""
    return {
        "environment": environment,
        "standing": standing,
        "why": why,
        "title": booking.title,
        "owner": booking.owner,
        "after": booking.after,
        "emergency": booking.emergency,
        "group": list(booking.group),
        "experiment": booking.experiment,
        "phases": booking.phases.to_json(),
        "footprint": booking.footprint.to_json(),
    }


@dataclass(frozen=True)
class Line:
    """One thing on the calendar, in [start, end).

    `phases` are those of a change, by name. `owners` are the teams that answer for it,
    `after` what it waits for, `criteria` when it counts as done and when it is taken back.
    """

    kind: Kind
    name: str
    title: str
    start: datetime
    end: datetime
    standing: str = ""
    by: str = ""
    owners: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    criteria: tuple[str, ...] = ()
    phases: tuple[tuple[PhaseName, Interval], ...] = ()
    group: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain data; times are UTC."""
        phases = {n: [t.start.isoformat(), t.end.isoformat()] for n, t in self.phases}
        lists = {n: list(getattr(self, n)) for n in ("owners", "after", "criteria", "group")}
        return {
            **self.__dict__, **lists, "phases": phases,
            "start": self.start.isoformat(), "end": self.end.isoformat(),
        }  # fmt: skip


@dataclass(frozen=True)
class Sources:
    """What a calendar is drawn from."""

    project: Project
    environment: str
    changes: Sequence[Change]
    booked: Sequence[Booked]


def lines(sources: Sources, window: Interval, now: datetime) -> tuple[Line, ...]:
    """Everything that touches `window`, changes first, then kind by kind, by time."""
    found = [
        *_changes(sources, now),
        *_windows(sources.project.calendar, window),
        *_schedules(sources, window),
    ]
    touching = [one for one in found if Interval(one.start, one.end).overlaps(window)]
    kinds = get_args(Kind)
    return tuple(sorted(touching, key=lambda one: (kinds.index(one.kind), one.start, one.name)))


def _changes(sources: Sources, now: datetime) -> Iterator[Line]:
    booked = {one.booking.change: one for one in sources.booked}
    for change in sources.changes:
        held = booked.get(change.id)
        if change.environment != sources.environment:
            continue
        if held is not None and held.standing != "cancelled":
            yield _booked_line(change, held, now)
        elif change.open and held is None and (slot := _slot(change)):
            yield _line(change, slot, change.state.lower())


def _booked_line(change: Change, held: Booked, now: datetime) -> Line:
    booking = held.lasting(now)
    named = tuple((name, booking.phases.phase(name)) for name in PHASES)
    phases = tuple((name, time) for name, time in named if time.length)
    return _line(change, booking.phases.whole, held.standing, phases, booking.group)


def _line(
    change: Change,
    time: Interval,
    standing: str,
    phases: tuple[tuple[PhaseName, Interval], ...] = (),
    group: tuple[str, ...] = (),
) -> Line:
    plan = change.plan or {}
    teams = dict.fromkeys(r["team"] for r in plan.get("requirements", ()))
    after = plan.get("after")
    return Line(
        "change", change.id, change.title, time.start, time.end, standing, change.author,
        tuple(teams), (after,) if after else (), tuple(criteria(change)), phases, group,
    )  # fmt: skip


def criteria(change: Change) -> Iterator[str]:
    """When a change counts as done, and when it is taken back, in its author's words."""
    if change.expected.strip():
        yield change.expected.strip()
    yield from change.bounds
    if change.rollback_criteria.strip():
        yield f"taken back when {change.rollback_criteria.strip()}"


def _slot(change: Change) -> Interval | None:
    slot = (change.plan or {}).get("slot")
    return Interval(*map(datetime.fromisoformat, slot)) if slot else None


def _windows(calendar: Calendar, window: Interval) -> Iterator[Line]:
    for freeze in calendar.freezes:
        yield from _of("freeze", freeze.name, freeze, window, freeze.scope)
    for allow in calendar.allows:
        yield from _of("allow", allow.name, allow, window, allow.scope)
    for absence in calendar.absences:
        yield from _of("absence", absence.person, absence, window)


def _of(
    kind: Kind, name: str, declared: Recurring, window: Interval, scope: Sequence[str] = ()
) -> Iterator[Line]:
    reason = " ".join(declared.reason.split())
    owners = () if tuple(scope) == ("*",) else tuple(scope)
    for held in occurrences(declared, window):
        yield Line(kind, name, reason or name, held.start, held.end, owners=owners)


def _schedules(sources: Sources, window: Interval) -> Iterator[Line]:
    project = sources.project
    for name, schedule in refreshes(project, sources.environment).items():
        owner = project.tables[name].owner
        yield from _runs("refresh", f"table:{name}", schedule, window, owner)
    for ref, schedule in retrainings(project).items():
        owner = project.models[ref.removeprefix("model:")].owner
        yield from _runs("retrain", ref, schedule, window, owner)


def retrainings(project: Project) -> Mapping[str, Schedule]:
    """By address of model, the first schedule by which it is trained again."""
    return {
        str(model.ref): trigger.at
        for model in project.models.values()
        for trigger in reversed(model.triggers)
        if trigger.at is not None
    }


def _runs(
    kind: Kind, name: str, schedule: Schedule, window: Interval, owner: str
) -> Iterator[Line]:
    found = instants(schedule, window.start, window.end)
    title = f"{name} {schedule}"
    if len(found) > MOST:
        yield Line(kind, name, title, window.start, window.end, owners=(owner,))
        return
    for at in found:
        yield Line(kind, name, title, at, at + timedelta(minutes=1), owners=(owner,))


def open_bookings(booked: Iterable[Booked], now: datetime) -> tuple[Booking, ...]:
    """What approved and running changes hold, and until when."""
    return tuple(one.lasting(now) for one in booked if one.open)
