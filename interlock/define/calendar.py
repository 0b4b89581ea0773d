"""The calendar as it is declared: when things may move and when not, and who or what is needed.

All windows are local times (ISO, without offset) in `timezone`: one interval, or the first
occurrence of an RFC 5545 rule. "Every Friday at 18:00" stays at 18:00 when the clocks change.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from interlock.define.base import Definition, Name
from interlock.define.durations import Duration

PhaseName = Literal["prepare", "ramp", "soak", "rollback"]
Firmness = Literal["warn", "block"]


class Recurring(Definition):
    """`start` and `end` are local times of the first occurrence, `end` not included."""

    start: str
    end: str
    timezone: str
    rrule: str | None = None
    reason: str = ""


class Freeze(Recurring):
    """No forward move of what `scope` names while it lasts."""

    name: Name
    scope: tuple[str, ...] = ("*",)


class Allow(Recurring):
    """Where one applies to a change, forward moves are made inside of one, and only there."""

    name: Name
    scope: tuple[str, ...] = ("*",)


class Absence(Recurring):
    """A person is not there."""

    person: str


class Resource(Definition):
    """What only so many changes can have at once: a pool of GPUs, a team that stands by.

    A change that writes something `scope` names takes one of `capacity` `during` its phase.
    """

    name: Name
    capacity: int = Field(default=1, ge=1)
    scope: tuple[str, ...] = ("*",)
    during: PhaseName = "prepare"
    action: Firmness = "block"


class Import(Definition):
    """Events of an iCalendar file of the project, as freezes of `scope` or as absences.

    Whole days and floating times are local times of `timezone`.
    """

    file: str
    kind: Literal["freeze", "absence"] = "freeze"
    timezone: str = "UTC"
    scope: tuple[str, ...] = ("*",)
    person: str = ""


class Calendar(Definition):
    """Deny and allow windows, the notice a change must give, and what changes share.

    `prepare` is how long building and training is expected to take. `people` says what an
    absence does: warn, or block.
    """

    file: str = Field(default="", exclude=True)
    freezes: tuple[Freeze, ...] = ()
    allows: tuple[Allow, ...] = ()
    notice: Duration = timedelta(0)
    prepare: Duration = timedelta(hours=1)
    resources: tuple[Resource, ...] = ()
    absences: tuple[Absence, ...] = ()
    people: Firmness = "warn"
    imports: tuple[Import, ...] = ()
