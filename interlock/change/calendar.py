"""May a change have this time: all bookings, every rule, and the next free slot.

Bookings are sorted once; a question looks only at those near its time. The answer never
depends on the order in which bookings are listed. The way back is never asked.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from interlock.change.conflicts import (
    PAIRS,
    Booking,
    Conflict,
    Pair,
    World,
    action_of,
    between,
    cycle,
    span,
)
from interlock.change.footprint import Crew, Need
from interlock.change.windows import (
    Interval,
    closed_at,
    freezes_of,
    frozen_by,
    hour,
    merged,
    occurrences,
    openings,
)
from interlock.define.calendar import Resource
from interlock.errors import Refused

HORIZON = timedelta(days=366)
STOPS = frozenset({"block", "defer"})
# What another hour alone does not answer: people have to order, merge or agree first.
DECIDED = frozenset({"X1", "X2", "X6", "X10", "X11"})
_NOW = timedelta(microseconds=1)


class Agenda:
    """Bookings of one environment, sorted once, for any number of questions."""

    def __init__(self, bookings: Iterable[Booking]) -> None:
        self.bookings = tuple(sorted(bookings, key=lambda b: (b.phases.start, b.change)))
        self._starts = [booking.phases.start for booking in self.bookings]
        lengths = (booking.phases.whole.length for booking in self.bookings)
        self._longest = max(lengths, default=timedelta(0))
        # Few changes wait for another; who does stands in line whatever the time.
        waited = {one.after for one in self.bookings if one.after}
        self.lines = tuple(b for b in self.bookings if b.after or b.change in waited)

    def around(self, window: Interval) -> tuple[Booking, ...]:
        """Those that touch `window`, rollback window included, earliest first."""
        low = bisect_left(self._starts, window.start - self._longest)
        high = bisect_right(self._starts, window.end)
        near = self.bookings[low:high]
        return tuple(one for one in near if one.phases.over > window.start)


# --- at one time ---------------------------------------------------------------------


def conflicts(agenda: Agenda, wanted: Booking, world: World) -> tuple[Conflict, ...]:
    """Every rule that holds for `wanted` at its time, what stops it first."""
    near = agenda.around(wanted.phases.whole)
    found = [*_alone(wanted, world), *_needs(near, wanted, world)]
    for other in near:
        found += between(wanted, other, world)
    ring = cycle(wanted, (*near, *agenda.lines))
    if ring:
        said = f"{' after '.join((*ring, ring[0]))}: none of them can be first"
        found.append(Conflict("X10", said, "block", ring[1] if len(ring) > 1 else ""))
    return tuple(sorted(set(found), key=lambda one: (one.action not in STOPS, one)))


def _alone(wanted: Booking, world: World) -> Iterator[Conflict]:
    """X7, X8 and X12, and who is away: what needs no other change."""
    yield from _frozen(wanted, world, wanted.phases.active)
    yield from _closed(wanted, world, wanted.phases.start)
    yield from _away(wanted, world)
    late = sorted(wanted.footprint.loads & set(world.late))
    if late and span(wanted.phases, "live").overlaps(Interval(world.now, world.now + _NOW)):
        yield Conflict("X12", "; ".join(world.late[name] for name in late), "hold")


def moving(wanted: Booking, world: World) -> tuple[Conflict, ...]:
    """X7, X8 and X12 at this moment: asked again before every forward move."""
    held = [
        *_frozen(wanted, world, Interval(world.now, world.now + _NOW)),
        *_closed(wanted, world, world.now),
    ]
    late = sorted(wanted.footprint.loads & set(world.late))
    said = [Conflict("X12", "; ".join(world.late[name] for name in late), "hold")] if late else []
    return tuple(sorted({*held, *said}))


def _frozen(wanted: Booking, world: World, when: Interval) -> Iterator[Conflict]:
    for freeze, held in freezes_of(world.calendar, wanted.footprint.guarded, when):
        yield Conflict("X7", frozen_by(freeze, held), "warn" if wanted.emergency else "block")


def _closed(wanted: Booking, world: World, at: datetime) -> Iterator[Conflict]:
    for said in closed_at(world.calendar, wanted.footprint.writes, at):
        yield Conflict("X8", said, "warn" if wanted.emergency else "block")


def _needs(near: Sequence[Booking], wanted: Booking, world: World) -> Iterator[Conflict]:
    """X9 for things: more want one than there are."""
    for need, resource in _declared(wanted, world):
        mine = wanted.phases.phase(need.during)
        users = _users(near, wanted, need)
        if mine.length and _peak(mine, [held for _, held in users]) >= resource.capacity:
            names = sorted({one for one, held in users if held.overlaps(mine)})
            until = hour(max(held.end for _, held in users if held.overlaps(mine)))
            said = f"{', '.join(names)} have {need.name} ({resource.capacity}) until {until} UTC"
            yield Conflict("X9", said, resource.action, names[0])


def _declared(wanted: Booking, world: World) -> list[tuple[Need, Resource]]:
    known = {one.name: one for one in world.calendar.resources}
    return [(need, known[need.name]) for need in wanted.footprint.needs if need.name in known]


def _users(near: Iterable[Booking], wanted: Booking, need: Need) -> list[tuple[str, Interval]]:
    return [
        (one.change, one.phases.phase(theirs.during))
        for one in near
        if not one.with_(wanted)
        for theirs in one.footprint.needs
        if theirs.name == need.name
    ]


def _peak(window: Interval, held: Iterable[Interval]) -> int:
    """The most of `held` that there are at one instant of `window`."""
    events = []
    for one in held:
        if one.overlaps(window):
            events += [(max(one.start, window.start), 1), (one.end, -1)]
    most = now = 0
    for _, step in sorted(events):  # at one instant, ends come before beginnings
        now += step
        most = max(most, now)
    return most


def _away(wanted: Booking, world: World) -> Iterator[Conflict]:
    """X9 for people: nobody of a crew is there while traffic moves."""
    live = wanted.phases.live
    for crew in wanted.footprint.crews:
        for gone in away(crew, world, live):
            who = ", ".join(crew.people) or "nobody"
            said = f"{crew.label} ({who}) is away from {hour(gone.start)} to {hour(gone.end)} UTC"
            yield Conflict("X9", said, world.calendar.people)


def away(crew: Crew, world: World, within: Interval) -> list[Interval]:
    """When none of a crew is there."""
    left: list[Interval] | None = None
    for person in crew.people:
        own = [a for a in world.calendar.absences if a.person == person]
        gone = merged(held for one in own for held in occurrences(one, within))
        left = gone if left is None else _both(left, gone)
    return left or []


def _both(some: Sequence[Interval], others: Sequence[Interval]) -> list[Interval]:
    shared = (Interval(max(a.start, b.start), min(a.end, b.end)) for a in some for b in others)
    return [one for one in shared if one.start < one.end]


# --- the next free one -----------------------------------------------------------------


def next_free_slot(agenda: Agenda, wanted: Booking, world: World, after: datetime) -> Booking:
    """`wanted` at the first time, not before `after`, at which nothing stops it.

    Raises `Refused` when there is none within a year.
    """
    start = after.astimezone(UTC)
    end = start + HORIZON
    length = wanted.phases.active.length
    shut = _forbidden(agenda, wanted, world, Interval(start, end + length))
    open_ = openings(world.calendar, wanted.footprint.writes, Interval(start, end))
    if wanted.emergency:
        open_ = [Interval(start, end)]
    found = _first(start, shut, open_)
    if found is None or found + length > end:
        names = ", ".join(allow.name for allow in world.calendar.allows)
        raise Refused(
            f"no free slot of {length} within {HORIZON.days} days",
            help="shorten the rollout, ask for a freeze to be lifted"
            + (f", or for {names} to be open when it is free" if names else ""),
        )
    return replace(wanted, phases=wanted.phases.at(found))


def _first(start: datetime, shut: Sequence[Interval], open_: Sequence[Interval]) -> datetime | None:
    """The first instant from `start` on that lies in `open_` and strictly inside no `shut`."""
    at, i = start, 0
    for window in open_:
        at = max(at, window.start)
        while i < len(shut) and shut[i].start < at:
            at = max(at, shut[i].end)
            i += 1
        if at < window.end:
            return at
    return None


def _forbidden(agenda: Agenda, wanted: Booking, world: World, when: Interval) -> list[Interval]:
    """Open intervals of starts at which something stops it, in order of their start.

    A span of mine that begins `a` and ends `b` after my start meets theirs, [c, d), exactly
    when I start between c - b and d - a.
    """
    found = [
        *(_starts(wanted, wanted.phases.active, held) for held in _shut(wanted, world, when)),
        *_taken(agenda, wanted, world, when),
        *_missing(wanted, world, when),
    ]
    for other in agenda.around(Interval(when.start - HORIZON, when.end)):
        if not other.with_(wanted):
            found += (
                _starts(wanted, span(wanted.phases, pair.mine), span(other.phases, pair.theirs))
                for pair in _stopping(wanted, other, world)
            )
    return sorted(found)


def _stopping(wanted: Booking, other: Booking, world: World) -> Iterator[Pair]:
    for pair in PAIRS:
        names = pair.shared(wanted.footprint, other.footprint)
        if names and action_of(pair, names, wanted, other, world) in STOPS:
            yield pair


def _starts(wanted: Booking, mine: Interval, theirs: Interval) -> Interval:
    begins, ends = mine.start - wanted.phases.start, mine.end - wanted.phases.start
    if begins == ends or theirs.start >= theirs.end:
        return Interval(theirs.start, theirs.start)
    return Interval(theirs.start - ends, theirs.end - begins)


def _shut(wanted: Booking, world: World, when: Interval) -> list[Interval]:
    if wanted.emergency:
        return []
    return [held for _, held in freezes_of(world.calendar, wanted.footprint.guarded, when)]


def _taken(agenda: Agenda, wanted: Booking, world: World, when: Interval) -> Iterator[Interval]:
    """Where everything there is of a resource is taken."""
    near = agenda.around(Interval(when.start - HORIZON, when.end))
    for need, resource in _declared(wanted, world):
        if resource.action == "block":
            mine = wanted.phases.phase(need.during)
            users = [held for _, held in _users(near, wanted, need)]
            for full in _full(users, resource.capacity):
                yield _starts(wanted, mine, full)


def _full(held: Iterable[Interval], capacity: int) -> Iterator[Interval]:
    """Where at least `capacity` of `held` are at once."""
    events = sorted(e for one in held if one.length for e in ((one.start, 1), (one.end, -1)))
    now, since = 0, None
    for at, step in events:
        now += step
        if now >= capacity and since is None:
            since = at
        elif now < capacity and since is not None:
            yield Interval(since, at)
            since = None


def _missing(wanted: Booking, world: World, when: Interval) -> Iterator[Interval]:
    if world.calendar.people == "block":
        for crew in wanted.footprint.crews:
            for gone in away(crew, world, Interval(when.start, when.end)):
                yield _starts(wanted, wanted.phases.live, gone)


# --- asking for a time ---------------------------------------------------------------


def reserved(agenda: Agenda, wanted: Booking, world: World) -> tuple[Booking, tuple[Conflict, ...]]:
    """`wanted` where it asks to be, or where it is free next; and what to know about it.

    What only another hour answers moves it there. What people have to decide is refused with
    every reason and the next free slot.
    """
    found = conflicts(agenda, wanted, world)
    if any(one.action in STOPS and one.rule in DECIDED for one in found):
        raise refusal(agenda, wanted, world, found)
    if any(one.action in STOPS for one in found):
        wanted = next_free_slot(agenda, wanted, world, wanted.phases.start)
        found = conflicts(agenda, wanted, world)
    return with_group(wanted, found), found


def booked_at(agenda: Agenda, wanted: Booking, world: World) -> Booking:
    """`wanted` exactly where it asks to be; `Refused` with every reason and the next free slot."""
    found = conflicts(agenda, wanted, world)
    stops = [one for one in found if one.action in STOPS]
    early = not wanted.emergency and wanted.phases.start < world.now + world.calendar.notice
    if stops or early:
        raise refusal(agenda, wanted, world, found, early)
    return with_group(wanted, found)


def forbids(
    bookings: Iterable[Booking], wanted: Booking, world: World, earliest: datetime | None = None
) -> tuple[str, ...]:
    """Why `wanted` may not begin at its time, in sentences.

    A freeze that begins later stops nothing yet: the rollout waits there by itself.
    """
    found = [*moving(wanted, world)]
    found += [
        one
        for one in conflicts(Agenda(bookings), wanted, world)
        if one.rule not in ("X7", "X8", "X12")
    ]
    said = [one.sentence for one in found if one.action in STOPS]
    if earliest and world.now < earliest and world.calendar.notice and not wanted.emergency:
        said.append(f"the calendar asks for notice: not before {hour(earliest)} UTC")
    return tuple(said)


def _told(one: Conflict) -> str:
    return f"{one.sentence} [{one.rule}]"


def refusal(
    agenda: Agenda, wanted: Booking, world: World, found: Sequence[Conflict], early: bool = False
) -> Refused:
    """Every reason with its rule, what to do about each, and where it would be free."""
    stops = [one for one in found if one.action in STOPS]
    said = [_told(one) for one in stops]
    first = world.now + world.calendar.notice
    if early:
        said.append(f"the calendar asks for notice: not before {hour(first)} UTC")
    helps = list(dict.fromkeys(one.help for one in stops))
    try:
        after = max(wanted.phases.start, first)
        free = next_free_slot(agenda, wanted, world, after)
        helps.append(f"the next free slot begins at {hour(free.phases.start)} UTC")
    except Refused as none:
        helps.append(none.message)
    return Refused(f"{wanted.change} cannot be booked then", "; ".join(helps), said)


def with_group(booking: Booking, found: Iterable[Conflict]) -> Booking:
    """X5, written down: which changes a rollback would take together."""
    group = sorted({one.other for one in found if one.rule == "X5"})
    return replace(booking, group=tuple(group))
