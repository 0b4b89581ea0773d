"""Declared windows as instants: what is frozen, what is open, who is away.

Windows are RFC 5545 rules in local wall time; everything that comes out is UTC. A window
that cannot be read, or that never opens, is a mistake and never means free.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from interlock.define.calendar import Allow, Calendar, Freeze, Recurring
from interlock.define.recurrence import beginnings
from interlock.define.refs import Ref
from interlock.errors import Invalid, Problem

# A rule for 29 February may be silent for eight years; one that is longer never opens.
_LONGEST_SILENCE = timedelta(days=366 * 9)
_DAY = timedelta(days=1)
Scoped = TypeVar("Scoped", Freeze, Allow)


@dataclass(frozen=True, order=True)
class Interval:
    """[start, end) in UTC; empty when they are the same, and then it overlaps nothing."""

    start: datetime
    end: datetime

    def overlaps(self, other: Interval) -> bool:
        if self.start >= other.end or other.start >= self.end:
            return False
        return self.start < self.end and other.start < other.end

    @property
    def length(self) -> timedelta:
        return self.end - self.start


def hour(at: datetime) -> str:
    """As people read it: `02 May 2013 13:00`, UTC."""
    return f"{at.astimezone(UTC):%d %b %Y %H:%M}"


# --- what is declared ----------------------------------------------------------------


def problems_in(calendar: Calendar) -> tuple[Problem, ...]:
    """Windows that cannot be read or never open: an unknown zone, a rule that is none."""
    return tuple(
        Problem(calendar.file, 0, f"{_named(window)}: {said}", fix)
        for window in (*calendar.freezes, *calendar.allows, *calendar.absences)
        for said, fix in _wrong(window)
    )


@lru_cache(maxsize=4096)
def _wrong(window: Recurring) -> tuple[tuple[str, str], ...]:
    fix = "write an RFC 5545 rule (FREQ=WEEKLY;BYDAY=FR) and a zone (Europe/Berlin)"
    try:
        start = datetime.fromisoformat(window.start)
        local = Interval(start.replace(tzinfo=UTC), start.replace(tzinfo=UTC) + _LONGEST_SILENCE)
        opens = next(_occurrences(window, local), None)
    except (ValueError, KeyError, OverflowError, ZoneInfoNotFoundError) as error:
        return ((str(error), fix),)
    if opens is None:
        return ((f"{window.rrule} never opens", "write a rule that names days that exist"),)
    return ()


def _named(window: Recurring) -> str:
    kind = type(window).__name__.lower()
    return f"{kind} {getattr(window, 'name', '') or getattr(window, 'person', '')}"


def touches(scope: Iterable[str], names: Iterable[str]) -> bool:
    """Whether a scope (`*`, `service:*`, `table:wh.flights`) names any of these addresses."""
    known = tuple(names)
    return any(
        pattern == "*" or any(fnmatchcase(name, pattern) for name in known) for pattern in scope
    )


def names_of(refs: Iterable[Ref]) -> frozenset[str]:
    """Addresses with what holds them: a freeze of a table is one of its columns."""
    return frozenset(str(one) for ref in refs for one in (ref, holder(ref)))


def holder(ref: Ref) -> Ref:
    """The thing that is written when `ref` is: a column's table, a feature's view."""
    if ref.kind == "column":
        return Ref("table", ref.name.rpartition(".")[0])
    if ref.kind == "feature":
        return Ref("view", ref.name, ref.version)
    return ref


# --- as instants ---------------------------------------------------------------------


def frozen(calendar: Calendar, refs: Sequence[Ref], at: datetime) -> list[str]:
    """Why nothing of `refs` may move forward at `at`, one sentence per freeze."""
    return [frozen_by(freeze, held) for freeze, held in freezes_within(calendar, refs, _moment(at))]


def frozen_by(freeze: Freeze, held: Interval) -> str:
    """One freeze in words."""
    reason = f": {' '.join(freeze.reason.split())}" if freeze.reason else ""
    return f"frozen by {freeze.name} until {hour(held.end)} UTC{reason}"


def closed(calendar: Calendar, refs: Sequence[Ref], at: datetime) -> list[str]:
    """Why `at` is outside of every allow window of `refs`, with when the next one opens."""
    return closed_at(calendar, names_of(refs), at)


def closed_at(calendar: Calendar, names: frozenset[str], at: datetime) -> list[str]:
    """`closed`, for texts of Refs."""
    allows = applying(calendar.allows, names)
    if not allows or any(_instants(allows, _moment(at))):
        return []
    opens = next(iter(openings(calendar, names, Interval(at, at + 366 * _DAY))), None)
    when = f"the next opens at {hour(opens.start)} UTC" if opens else "none opens within a year"
    return [f"outside of {', '.join(allow.name for allow in allows)}: {when}"]


def freezes_within(
    calendar: Calendar, refs: Sequence[Ref], window: Interval
) -> list[tuple[Freeze, Interval]]:
    """Every occurrence of a freeze on `refs` that touches `window`, earliest first."""
    return freezes_of(calendar, names_of(refs), window)


def freezes_of(
    calendar: Calendar, names: frozenset[str], window: Interval
) -> list[tuple[Freeze, Interval]]:
    """`freezes_within`, for texts of Refs."""
    freezes = applying(calendar.freezes, names)
    _refuse_broken(freezes, calendar)
    found = [(freeze, held) for freeze in freezes for held in occurrences(freeze, window)]
    return sorted(found, key=lambda pair: pair[1])


def applying(windows: Iterable[Scoped], names: frozenset[str]) -> tuple[Scoped, ...]:
    """Those whose scope names one of `names`."""
    return tuple(window for window in windows if touches(window.scope, names))


def openings(calendar: Calendar, names: frozenset[str], window: Interval) -> list[Interval]:
    """When forward moves are allowed in `window`, merged; all of it where no window applies."""
    allows = applying(calendar.allows, names)
    _refuse_broken(allows, calendar)
    return merged(_instants(allows, window)) if allows else [window]


def occurrences(window: Recurring, within: Interval) -> Iterator[Interval]:
    """Every occurrence of a window that touches `within`."""
    return _occurrences(window, within)


def _instants(windows: Iterable[Recurring], within: Interval) -> Iterator[Interval]:
    for window in windows:
        yield from _occurrences(window, within)


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """In order, those that touch as one."""
    found: list[Interval] = []
    for one in sorted(intervals):
        if found and one.start <= found[-1].end:
            found[-1] = Interval(found[-1].start, max(found[-1].end, one.end))
        else:
            found.append(one)
    return found


def _refuse_broken(windows: Iterable[Recurring], calendar: Calendar) -> None:
    # A freeze that cannot be read must not be a freeze that does not hold.
    if any(_wrong(window) for window in windows):
        raise Invalid.of(problems_in(calendar))


def _occurrences(window: Recurring, within: Interval) -> Iterator[Interval]:
    zone = ZoneInfo(window.timezone)
    start, end = datetime.fromisoformat(window.start), datetime.fromisoformat(window.end)
    if start.tzinfo or end.tzinfo or end <= start:
        raise ValueError("start and end are local times without offset, start first")
    for begins in _beginnings(window, start, end - start, within, zone):
        # Wall times; an hour that occurs twice belongs to the window both times.
        ends = (begins + (end - start)).replace(tzinfo=zone, fold=1)
        held = Interval(begins.replace(tzinfo=zone).astimezone(UTC), ends.astimezone(UTC))
        if held.overlaps(within):
            yield held


def _beginnings(
    window: Recurring, start: datetime, length: timedelta, within: Interval, zone: ZoneInfo
) -> Sequence[datetime]:
    if window.rrule is None:
        return [start]
    low = within.start.astimezone(zone).replace(tzinfo=None) - length - _DAY
    high = within.end.astimezone(zone).replace(tzinfo=None) + _DAY
    return beginnings(window.rrule, start, low, high, zone)


def _moment(at: datetime) -> Interval:
    start = at.astimezone(UTC)
    return Interval(start, start + timedelta(microseconds=1))
