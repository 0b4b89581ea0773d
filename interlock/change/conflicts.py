"""The twelve rules of the calendar: what two changes, or a change and a window, may not do at once.

One table, and small functions over footprints that name what is shared. Each pair of phases
a rule looks at is in the table too, so that the same table finds conflicts and free slots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from interlock.change.footprint import Footprint, Names, Phases
from interlock.change.windows import Interval
from interlock.define.calendar import Calendar

Action = Literal["block", "defer", "hold", "rerun", "warn"]
"""block: not then; defer: not then, and another hour will do; hold: it waits by itself, when it
is under way; rerun: evidence is made again, the slot is kept; warn: go on, knowing this."""
Span = Literal["active", "live", "rollback", "whole", "gone"]


@dataclass(frozen=True)
class Rule:
    """`overlap` is what must not meet; `help` is what to do about it."""

    id: str
    overlap: str
    action: Action
    help: str


RULES: Mapping[str, Rule] = {
    rule.id: rule
    for rule in (
        Rule("X1", "two changes write the same thing", "block",
             "make them one change, or book this one after the other"),
        Rule("X2", "one writes what the other reads, and is not proven compatible", "block",
             "propose the reader with --after the writer"),
        Rule("X3", "one writes what the evidence of the other stood on", "rerun",
             "its evidence is made again when the other is through; the slot is kept"),
        Rule("X4", "both are measured on the same subjects while traffic moves", "defer",
             "one after the other: the next free slot is taken"),
        Rule("X5", "one builds on what the other may still take back", "warn",
             "a rollback of the first takes the second with it"),
        Rule("X6", "one retires what a live or a rollback release holds", "block",
             "retire it once the other's rollback window is over"),
        Rule("X7", "a freeze on what is written, or on a tier-1 service that is moved", "block",
             "wait, or open an emergency change: one more role, and a review afterwards"),
        Rule("X8", "outside of every allow window that applies", "block",
             "wait for the next one, or book its hour"),
        Rule("X9", "something that only so many can have is taken, or somebody is away", "block",
             "book another hour, or raise the capacity in calendar.yaml"),
        Rule("X10", "each has to come after the other", "block", "make them one change"),
        Rule("X11", "both reach the same service, each through something else", "warn",
             "look at both together; over the error budget, book this one after the other"),
        Rule("X12", "traffic would move while data is late or being loaded again", "hold",
             "wait until it is fresh; it goes on by itself"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Booking:
    """A change on the calendar. `after` is the change it builds on, if it waits for one.

    `group` are changes that a rollback of `change` takes back with it, or it with them. Bookings
    of one `experiment` are one rollout: no rule stands between them.
    """

    change: str
    footprint: Footprint
    phases: Phases
    title: str = ""
    owner: str = ""
    after: str = ""
    emergency: bool = False
    group: tuple[str, ...] = ()
    experiment: str = ""

    @property
    def time(self) -> Interval:
        """From the first build to the commit."""
        return self.phases.active

    def with_(self, other: Booking) -> bool:
        """Whether both are one change, or walk together."""
        together = bool(self.experiment) and self.experiment == other.experiment
        return together or self.change == other.change

    def lasting(self, longer: timedelta) -> Booking:
        """The same, committed so much later than was booked."""
        times = self.phases
        phases = replace(times, commit=times.commit + longer, over=times.over + longer)
        return replace(self, phases=phases)


@dataclass(frozen=True)
class World:
    """What decides beside the bookings.

    `late` are tables whose newest load is late or being made again, with why. `budgets` is
    what is left of the error budget of a service, 0 to 1; unknown is not in it.
    """

    now: datetime
    calendar: Calendar = field(default_factory=Calendar)
    late: Mapping[str, str] = field(default_factory=dict)
    budgets: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, order=True)
class Conflict:
    """One rule that holds. `other` is the change on the other side, if there is one."""

    rule: str
    sentence: str
    action: Action
    other: str = ""

    @property
    def help(self) -> str:
        return RULES[self.rule].help


# --- what two footprints share ---------------------------------------------------------


def both_write(mine: Footprint, theirs: Footprint) -> Names:
    """X1."""
    return mine.writes & theirs.writes


def reads_what_they_break(mine: Footprint, theirs: Footprint) -> Names:
    """X2, as the reader."""
    return mine.reads & theirs.breaking


def breaks_what_they_read(mine: Footprint, theirs: Footprint) -> Names:
    """X2, as the writer."""
    return theirs.reads & mine.breaking


def evidence_on_theirs(mine: Footprint, theirs: Footprint) -> Names:
    """X3: mine is made again. What is also written or read and broken is said by X1 and X2."""
    return (mine.evidence & theirs.writes) - mine.writes - reads_what_they_break(mine, theirs)


def evidence_on_mine(mine: Footprint, theirs: Footprint) -> Names:
    """X3: theirs is made again."""
    return evidence_on_theirs(theirs, mine)


def same_subjects(mine: Footprint, theirs: Footprint) -> Names:
    """X4. Cohorts that do not overlap do not meet."""
    shared = mine.metrics & theirs.metrics
    return frozenset(
        one.metric
        for one in mine.measures
        for other in theirs.measures
        if shared and one.metric == other.metric
        if max(one.low, other.low) < min(one.high, other.high)
    )


def builds_on_theirs(mine: Footprint, theirs: Footprint) -> Names:
    """X5: what they may still take back is under me."""
    return (mine.writes | mine.reads) & theirs.writes


def they_build_on_mine(mine: Footprint, theirs: Footprint) -> Names:
    """X5: what I may still take back is under them."""
    return builds_on_theirs(theirs, mine)


def retires_theirs(mine: Footprint, theirs: Footprint) -> Names:
    """X6, as the one that retires."""
    return mine.retires & (theirs.writes | theirs.reads | theirs.evidence)


def they_retire_mine(mine: Footprint, theirs: Footprint) -> Names:
    """X6, as the one that needs it."""
    return retires_theirs(theirs, mine)


def only_impact(mine: Footprint, theirs: Footprint) -> Names:
    """X11: services both reach, where nothing closer is shared."""
    shared = mine.services & theirs.services
    closer = shared and (
        both_write(mine, theirs) or builds_on_theirs(mine, theirs) or builds_on_theirs(theirs, mine)
    )
    return frozenset() if closer else shared


@dataclass(frozen=True)
class Pair:
    """One rule between two changes: in which of their spans, what is shared, how it is said.

    The sentence may use `{other}`, `{names}` and `{until}`.
    """

    rule: str
    mine: Span
    theirs: Span
    shared: Callable[[Footprint, Footprint], Names]
    sentence: str


PAIRS = (
    Pair("X1", "active", "active", both_write, "{other} already holds {names} until {until} UTC"),
    Pair("X2", "active", "active", reads_what_they_break,
         "{other} changes {names}, which this reads, until {until} UTC"),
    Pair("X2", "active", "active", breaks_what_they_read,
         "{other} reads {names}, which this changes, until {until} UTC"),
    Pair("X3", "active", "active", evidence_on_theirs,
         "{other} writes {names}, on which evidence of this stood"),
    Pair("X3", "active", "active", evidence_on_mine,
         "this writes {names}, on which evidence of {other} stood"),
    # The machine prepares one rollout of an environment at a time, too.
    Pair("X4", "active", "active", same_subjects,
         "{other} is measured on the same subjects until {until} UTC: {names}"),
    Pair("X5", "active", "rollback", builds_on_theirs,
         "this builds on {names}, which {other} may take back until {until} UTC"),
    Pair("X5", "rollback", "active", they_build_on_mine,
         "{other} builds on {names}, which this may take back"),
    # Nothing is taken away while the change that retires it may still go back.
    Pair("X6", "gone", "whole", retires_theirs,
         "this retires {names}, which {other} holds until {until} UTC"),
    Pair("X6", "whole", "gone", they_retire_mine,
         "{other} retires {names}, which this holds, until {until} UTC"),
    Pair("X11", "live", "live", only_impact,
         "{other} reaches {names} too until {until} UTC"),
)  # fmt: skip


# Most bookings meet in some spans only: each two spans are compared once, for all their rules.
_TOGETHER: Mapping[tuple[Span, Span], tuple[Pair, ...]] = {
    key: tuple(pair for pair in PAIRS if (pair.mine, pair.theirs) == key)
    for key in dict.fromkeys((pair.mine, pair.theirs) for pair in PAIRS)
}


def span(phases: Phases, name: Span) -> Interval:
    """A span of a booking as an interval."""
    held: Interval = getattr(phases, name)
    return held


def action_of(pair: Pair, names: Names, mine: Booking, theirs: Booking, world: World) -> Action:
    """What the rule does here: X11 blocks once the joint exposure is over an error budget."""
    if (
        pair.rule == "X11"
        and world.budgets
        and any(_over_budget(n, mine, theirs, world) for n in names)
    ):
        return "block"
    if pair.rule == "X2" and pair.shared is reads_what_they_break and mine.after == theirs.change:
        return "defer"  # it is ordered already: only the hour is too early
    return RULES[pair.rule].action


def joint_exposure(mine: Footprint, theirs: Footprint) -> float:
    """The share of requests that meets at least one of two candidates, at their widest."""
    return 1 - (1 - mine.exposed) * (1 - theirs.exposed)


def _over_budget(name: str, mine: Booking, theirs: Booking, world: World) -> bool:
    left = world.budgets.get(name)
    return left is not None and joint_exposure(mine.footprint, theirs.footprint) > left


def between(mine: Booking, theirs: Booking, world: World) -> Iterator[Conflict]:
    """Every rule that holds between two bookings at their times."""
    if mine.with_(theirs):
        return
    for (own, other), pairs in _TOGETHER.items():
        if span(mine.phases, own).overlaps(span(theirs.phases, other)):
            for pair in pairs:
                names = pair.shared(mine.footprint, theirs.footprint)
                if names:
                    yield _said(pair, names, mine, theirs, world)


def _said(pair: Pair, names: Names, mine: Booking, theirs: Booking, world: World) -> Conflict:
    until = f"{span(theirs.phases, pair.theirs).end:%d %b %Y %H:%M}"
    said = pair.sentence.format(other=theirs.change, names=listed(names), until=until)
    if pair.rule == "X11":
        share = joint_exposure(mine.footprint, theirs.footprint)
        said += f"; together they are shown to {share:.0%} of requests"
    return Conflict(pair.rule, said, action_of(pair, names, mine, theirs, world), theirs.change)


def listed(names: Iterable[str], most: int = 4) -> str:
    """The first few, and how many more."""
    known = sorted(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more


# --- cycles ----------------------------------------------------------------------------


def cycle(mine: Booking, others: Iterable[Booking]) -> tuple[str, ...]:
    """X10: a ring of changes, each of which has to come after the next; empty without one.

    One comes after another that it was proposed after, or that breaks what it reads at the
    same time.
    """
    known = {one.change: one for one in others if not one.with_(mine)}
    # Most changes have nobody behind them, and so stand in no ring.
    if not any(_comes_after(one, mine) for one in known.values()):
        return ()
    known[mine.change] = mine
    breakers: dict[str, list[str]] = {}
    for one in known.values():
        for name in one.footprint.breaking:
            breakers.setdefault(name, []).append(one.change)
    return tuple(_ring(mine, known, breakers))


def _comes_after(one: Booking, other: Booking) -> bool:
    if one.after == other.change:
        return True
    breaks = not one.footprint.reads.isdisjoint(other.footprint.breaking)
    return breaks and one.time.overlaps(other.time)


def _ring(
    mine: Booking, known: Mapping[str, Booking], breakers: Mapping[str, list[str]]
) -> list[str]:
    """The shortest way from `mine` through those it comes after back to itself."""
    ways, seen = [[mine.change]], {mine.change}
    for way in ways:  # grows while it is walked
        at = known[way[-1]]
        near = {name for ref in at.footprint.reads for name in breakers.get(ref, ())} | {at.after}
        for name in sorted(near & known.keys() - {at.change}):
            if not _comes_after(at, known[name]):
                continue
            if name == mine.change:
                return way
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []
