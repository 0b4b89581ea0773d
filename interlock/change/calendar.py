"""When a change may move: freezes, bookings, and the next free slot.

Freezes are RFC 5545 rules in local wall time, so "every Friday at 18:00" stays at 18:00
when the clocks change. Everything that comes out is UTC. The way back is never asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from interlock.define.calendar import Calendar, Freeze
from interlock.define.recurrence import beginnings
from interlock.define.refs import Ref
from interlock.errors import Invalid, Problem, Refused

HORIZON = timedelta(days=366)


@dataclass(frozen=True, order=True)
class Interval:
    """[start, end) in UTC."""

    start: datetime
    end: datetime

    def overlaps(self, other: Interval) -> bool:
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True)
class Booking:
    """`change` writes `refs` during `time`: nothing else may write them then."""

    change: str
    refs: tuple[Ref, ...]
    time: Interval
    title: str = ""


# --- freezes ------------------------------------------------------------------------


def problems_in(calendar: Calendar) -> tuple[Problem, ...]:
    """Freezes that cannot be read: an unknown time zone, a rule that is none."""
    found = []
    for freeze in calendar.freezes:
        try:
            next(_occurrences(freeze, Interval(_EPOCH, _EPOCH)), None)
        except (ValueError, KeyError, ZoneInfoNotFoundError) as error:
            fix = "write an RFC 5545 rule (FREQ=WEEKLY;BYDAY=FR) and a zone (Europe/Berlin)"
            found.append(Problem(calendar.file, 0, f"freeze {freeze.name}: {error}", fix))
    return tuple(found)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def frozen(calendar: Calendar, refs: Sequence[Ref], at: datetime) -> list[str]:
    """Why nothing of `refs` may move forward at `at`, one sentence per freeze."""
    moment = Interval(at.astimezone(UTC), at.astimezone(UTC) + timedelta(microseconds=1))
    return [
        f"frozen by {freeze.name} until {_hour(held.end)} UTC"
        + (f": {' '.join(freeze.reason.split())}" if freeze.reason else "")
        for freeze, held in _freezes(calendar, refs, moment)
    ]


def freezes_within(
    calendar: Calendar, refs: Sequence[Ref], window: Interval
) -> list[tuple[Freeze, Interval]]:
    """Every occurrence of a freeze on `refs` that touches `window`, earliest first."""
    return sorted(_freezes(calendar, refs, window), key=lambda found: found[1])


def _freezes(
    calendar: Calendar, refs: Sequence[Ref], window: Interval
) -> Iterator[tuple[Freeze, Interval]]:
    broken = problems_in(calendar)
    if broken:
        # A freeze that cannot be read must not be a freeze that does not hold.
        raise Invalid.of(broken)
    for freeze in calendar.freezes:
        if _touches(freeze.scope, refs):
            yield from ((freeze, held) for held in _occurrences(freeze, window))


def _touches(scope: Sequence[str], refs: Sequence[Ref]) -> bool:
    texts = {str(ref) for ref in refs} | {str(holder(ref)) for ref in refs}
    return any(
        pattern == "*" or any(fnmatchcase(text, pattern) for text in texts) for pattern in scope
    )


def _occurrences(freeze: Freeze, window: Interval) -> Iterator[Interval]:
    zone = ZoneInfo(freeze.timezone)
    start, end = datetime.fromisoformat(freeze.start), datetime.fromisoformat(freeze.end)
    if start.tzinfo or end.tzinfo or end <= start:
        raise ValueError("start and end are local times without offset, start first")
    for begins in _beginnings(freeze, start, end - start, window, zone):
        # Wall times; an hour that occurs twice belongs to the freeze both times.
        ends = (begins + (end - start)).replace(tzinfo=zone, fold=1)
        held = Interval(begins.replace(tzinfo=zone).astimezone(UTC), ends.astimezone(UTC))
        if held.overlaps(window) or held.start <= window.start < held.end:
            yield held


def _beginnings(
    freeze: Freeze, start: datetime, length: timedelta, window: Interval, zone: ZoneInfo
) -> Sequence[datetime]:
    if freeze.rrule is None:
        return [start]
    day = timedelta(days=1)
    low = window.start.astimezone(zone).replace(tzinfo=None) - length - day
    high = window.end.astimezone(zone).replace(tzinfo=None) + day
    return beginnings(freeze.rrule, start, low, high, zone)


# --- bookings -----------------------------------------------------------------------


def holder(ref: Ref) -> Ref:
    """The thing that is written when `ref` is: a column's table, a feature's view."""
    if ref.kind == "column":
        return Ref("table", ref.name.rpartition(".")[0])
    if ref.kind == "feature":
        return Ref("view", ref.name, ref.version)
    return ref


def conflicts(bookings: Sequence[Booking], wanted: Booking) -> tuple[str, ...]:
    """Who holds what `wanted` would write, and until when; a change never conflicts with itself."""
    mine = {holder(ref) for ref in wanted.refs}
    return tuple(
        f"{held.change} already holds {_names(shared)} until {_hour(held.time.end)} UTC"
        for held in sorted(bookings, key=lambda booking: booking.time)
        if held.change != wanted.change and held.time.overlaps(wanted.time)
        if (shared := sorted({ref for ref in held.refs if holder(ref) in mine}))
    )


def book(
    calendar: Calendar, bookings: Sequence[Booking], wanted: Booking, now: datetime
) -> tuple[Booking, ...]:
    """The bookings with `wanted` among them; refuses with a name and an hour."""
    said = [*conflicts(bookings, wanted)]
    said += [
        f"{freeze.name} forbids forward moves from {_hour(held.start)} to {_hour(held.end)} UTC"
        for freeze, held in freezes_within(calendar, wanted.refs, wanted.time)
    ]
    if wanted.time.start < now + calendar.notice:
        said.append(f"the calendar asks for notice: not before {_hour(now + calendar.notice)} UTC")
    if said:
        length = wanted.time.end - wanted.time.start
        free = next_free_slot(
            calendar, [b for b in bookings if b.change != wanted.change], wanted.refs, length, now
        )
        help = f"the next free slot begins at {_hour(free.start)} UTC"
        raise Refused(f"{wanted.change} cannot be booked then", help, said)
    return (*(held for held in bookings if held.change != wanted.change), wanted)


def next_free_slot(
    calendar: Calendar,
    bookings: Sequence[Booking],
    refs: Sequence[Ref],
    duration: timedelta,
    after: datetime,
) -> Interval:
    """The first interval of `duration`, not before `after` plus notice, that nothing blocks."""
    start = after.astimezone(UTC) + calendar.notice
    horizon = Interval(start, start + HORIZON)
    mine = {holder(ref) for ref in refs}
    blocked = [held for _, held in _freezes(calendar, refs, horizon)]
    blocked += [b.time for b in bookings if mine & {holder(ref) for ref in b.refs}]
    for held in sorted(blocked):
        if held.start >= start + duration:
            break
        start = max(start, held.end)
    if start + duration > horizon.end:
        raise Refused(
            f"no free slot of {duration} within {HORIZON.days} days",
            help="shorten the rollout, or ask for a freeze to be lifted",
        )
    return Interval(start, start + duration)


def _names(refs: Sequence[Ref]) -> str:
    return ", ".join(map(str, refs))


def _hour(at: datetime) -> str:
    return f"{at.astimezone(UTC):%d %b %Y %H:%M}"
