"""When something is due again: every so often, daily at a wall time, or by an RFC 5545 rule.

The one type for everything that runs by the clock, and the instants that it names. `every`
counts exact time from 1970 on; the others are wall times in a zone, so that 06:00 stays
06:00 when the clocks change. A wall time that occurs twice counts once, the first time; one
that is left out comes as much later as the clocks went on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import GetJsonSchemaHandler, field_validator, model_validator
from pydantic_core import CoreSchema

from interlock.define.base import Definition
from interlock.define.durations import Duration, format_duration
from interlock.define.held import things
from interlock.define.recurrence import beginnings

if TYPE_CHECKING:
    from interlock.define.environment import Environment
    from interlock.define.project import Project

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHORTEST = timedelta(minutes=1)
_FIRST = "2000-01-01T00:00:00"
_DAY = timedelta(days=1)
# How far an occurrence is looked for, the nearest first: most are found at once.
_REACH = (2 * _DAY, 40 * _DAY, 3660 * _DAY)


class Schedule(Definition):
    """One of `every`, `daily`, `rrule`, `never`; `1h` is `{every: 1h}` and `never` is itself.

    `start` is the first local time that a rule counts from, in `timezone`.
    """

    every: Duration | None = None
    daily: str | None = None
    rrule: str | None = None
    never: bool = False
    start: str = _FIRST
    timezone: str = "UTC"

    @model_validator(mode="before")
    @classmethod
    def _short(cls, said: Any) -> Any:
        if said == "never":
            return {"never": True}
        return said if isinstance(said, Mapping | Schedule) else {"every": said}

    @model_validator(mode="after")
    def _sound(self) -> Self:
        ways = [way for way in ("every", "daily", "rrule", "never") if getattr(self, way)]
        if len(ways) != 1:
            said = " and ".join(ways) or "nothing that says when"
            raise ValueError(f"has {said}; give one of every, daily, rrule, never")
        if self.every is not None and self.every < SHORTEST:
            raise ValueError("is shorter than 1m; rows that cannot wait are pushed")
        if self.daily is not None or self.rrule is not None:
            self._wall()
        return self

    @field_validator("daily", mode="before")
    @classmethod
    def _quoted(cls, said: Any) -> Any:
        if isinstance(said, int):  # what YAML makes of 10:30
            raise ValueError(f"{said} was a time of day before YAML read it; write '06:00', quoted")
        return said

    def _wall(self) -> None:
        try:
            zone = ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{self.timezone!r} is no time zone; write Europe/Berlin") from error
        if self.daily is not None and _clock(self.daily) is None:
            raise ValueError(f"{self.daily!r} is not a time of day; write '06:00', in quotes")
        if self.rrule is not None:
            first = datetime.fromisoformat(self.start)
            if first.tzinfo:
                raise ValueError("start is a local time without offset; `timezone` says where")
            tried = (beginnings(self.rrule, first, first, first + reach, zone) for reach in _REACH)
            if not any(tried):
                raise ValueError(f"{self.rrule} does not occur within ten years of {self.start}")

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = handler.resolve_ref_schema(handler(core_schema))
        made["type"] = ["object", "string"]
        return made

    def __str__(self) -> str:
        if self.never:
            return "never"
        if self.every is not None:
            return f"every {format_duration(self.every)}"
        wall = f"daily at {self.daily}" if self.daily else f"by {self.rrule}"
        return f"{wall} {self.timezone}"


def occurrences(schedule: Schedule, start: datetime, end: datetime) -> tuple[datetime, ...]:
    """Every instant in [start, end) that `schedule` names, UTC, in order, each once."""
    if schedule.every is not None:
        return tuple(_steps(schedule.every, start, end))
    found = {at for at in _walls(schedule, start, end) if start <= at < end}
    return tuple(sorted(found))


def latest(schedule: Schedule, at: datetime) -> datetime | None:
    """The last occurrence that is not after `at`, UTC; None where there is none in ten years."""
    until = at + timedelta(microseconds=1)
    tried = (occurrences(schedule, at - reach, until) for reach in _reaches(schedule))
    return next((found[-1] for found in tried if found), None)


def following(schedule: Schedule, at: datetime) -> datetime | None:
    """The first occurrence after `at`, UTC; None where there is none in ten years."""
    since = at + timedelta(microseconds=1)
    tried = (occurrences(schedule, since, since + reach) for reach in _reaches(schedule))
    return next((found[0] for found in tried if found), None)


def refreshes(project: Project, environment: str) -> dict[str, Schedule]:
    """By name of table, when its file is looked at again in `environment`.

    Only tables that are read from files: what stands on them follows at the same time.
    """
    default, tables = _default(project.environments.get(environment)), things(project.tables)
    read = [name for name in tables if tables.held(name).says("source")]
    found = {
        name: tables[name].refresh if tables.held(name).says("refresh") else default
        for name in read
    }
    return {name: at for name, at in found.items() if at is not None and not at.never}


def _default(environment: Environment | None) -> Schedule | None:
    return environment.refresh if environment else None


def _reaches(schedule: Schedule) -> tuple[timedelta, ...]:
    if schedule.every is not None:
        return (schedule.every,)
    return () if schedule.never else _REACH


def _steps(every: timedelta, start: datetime, end: datetime) -> Iterator[datetime]:
    number = -((EPOCH - start) // every)  # rounded up: the first that is not before `start`
    while (at := EPOCH + number * every) < end:
        yield at.astimezone(UTC)
        number += 1


def _walls(schedule: Schedule, start: datetime, end: datetime) -> Iterator[datetime]:
    zone = ZoneInfo(schedule.timezone)
    # A day to both sides: offsets change, and are at most 14 hours.
    low, high = (
        at.astimezone(zone).replace(tzinfo=None) + days
        for at, days in ((start, -_DAY), (end, _DAY))
    )
    for wall in _local(schedule, low, high, zone):
        yield wall.replace(tzinfo=zone).astimezone(UTC)


def _local(schedule: Schedule, low: datetime, high: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    if schedule.rrule is not None:
        first = datetime.fromisoformat(schedule.start)
        yield from beginnings(schedule.rrule, first, low, high, zone)
    elif schedule.daily is not None and (clock := _clock(schedule.daily)):
        for day in range((high - low).days + 1):
            yield datetime.combine((low + day * _DAY).date(), clock)


def _clock(text: str) -> time | None:
    try:
        found = time.fromisoformat(text)
    except ValueError:
        return None
    return None if found.tzinfo else found
