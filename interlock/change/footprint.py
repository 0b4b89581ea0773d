"""What a change touches while it is on the calendar, phase by phase.

W writes, R reads, I impact, M metrics on a population, C what only so many can have at once.
All of it follows from the plan. Names are texts of Refs, so that sets of them are fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from interlock.change.windows import Interval, holder, touches
from interlock.define.calendar import Calendar, PhaseName
from interlock.define.environment import Environment, Stage
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.impact.nodes import owner_node
from interlock.plan.steps import BuildTable, BuildView, RescoreModel, Retire, TrainModel
from interlock.plan.timing import tables_below

if TYPE_CHECKING:
    from interlock.impact.difference import Difference
    from interlock.impact.facts import Facts
    from interlock.plan.plan import Plan

Names = frozenset[str]


@dataclass(frozen=True, order=True)
class Measure:
    """One metric on the cohort [low, high) of a population: two changes on it spoil each other."""

    metric: str
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True, order=True)
class Need:
    """One unit of something that only so many can have, in one phase."""

    name: str
    during: PhaseName


@dataclass(frozen=True)
class Crew:
    """Somebody of these has to be there while traffic moves."""

    label: str
    people: tuple[str, ...]


@dataclass(frozen=True)
class Footprint:
    """`breaking` are writes that readers are not proven to survive; `high` is impact on what
    matters most; `evidence` is what evidence stood on; `loads` are tables that the models
    behind it are fed from; `exposed` is the largest share of requests it is shown to.
    """

    writes: Names = frozenset()
    breaking: Names = frozenset()
    reads: Names = frozenset()
    impact: Names = frozenset()
    high: Names = frozenset()
    evidence: Names = frozenset()
    retires: Names = frozenset()
    loads: Names = frozenset()
    measures: tuple[Measure, ...] = ()
    needs: tuple[Need, ...] = ()
    crews: tuple[Crew, ...] = ()
    exposed: float = 1.0

    @property
    def guarded(self) -> Names:
        """What a deny window holds: what is written, and what is moved and matters most."""
        return self.writes | self.high

    @cached_property
    def services(self) -> Names:
        return frozenset(name for name in self.impact if name.startswith("service:"))

    @cached_property
    def metrics(self) -> Names:
        return frozenset(one.metric for one in self.measures)

    def to_json(self) -> dict[str, Any]:
        """As plain data, without what is empty."""
        held = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: _plain(value) for name, value in held.items() if value}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Footprint:
        kinds = {"measures": Measure, "needs": Need}
        read: dict[str, Any] = {}
        for one in fields(cls):
            if one.name not in body:
                continue
            value = body[one.name]
            if one.name in kinds:
                read[one.name] = tuple(kinds[one.name](*held) for held in value)
            elif one.name == "crews":
                read[one.name] = tuple(Crew(label, tuple(people)) for label, people in value)
            else:
                read[one.name] = frozenset(value) if isinstance(value, list) else value
        return cls(**read)


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [[list(v) if isinstance(v, tuple) else v for v in vars(one).values()]
                for one in value]  # fmt: skip
    return value


# --- phases --------------------------------------------------------------------------


@dataclass(frozen=True)
class Phases:
    """Five instants, in order: what lies between them are prepare, ramp, soak and rollback."""

    start: datetime
    ramp: datetime
    soak: datetime
    commit: datetime
    over: datetime

    @property
    def _instants(self) -> tuple[datetime, ...]:
        return (self.start, self.ramp, self.soak, self.commit, self.over)

    @cached_property
    def active(self) -> Interval:
        """From the first build to the commit."""
        return Interval(self.start, self.commit)

    @cached_property
    def live(self) -> Interval:
        """Ramp and soak: traffic moves and is measured."""
        return Interval(self.ramp, self.commit)

    @cached_property
    def rollback(self) -> Interval:
        """From the commit until it can no longer be taken back."""
        return Interval(self.commit, self.over)

    @cached_property
    def whole(self) -> Interval:
        return Interval(self.start, self.over)

    @cached_property
    def gone(self) -> Interval:
        """The moment from which what it retires may be taken away: when it cannot go back."""
        return Interval(self.over, self.over + timedelta(microseconds=1))

    def phase(self, name: PhaseName) -> Interval:
        match name:
            case "prepare":
                return Interval(self.start, self.ramp)
            case "ramp":
                return Interval(self.ramp, self.soak)
            case "soak":
                return Interval(self.soak, self.commit)
            case "rollback":
                return self.rollback

    def at(self, start: datetime) -> Phases:
        """The same, beginning at another time."""
        by = start - self.start
        return Phases(*(instant + by for instant in self._instants))

    def to_json(self) -> list[str]:
        return [instant.isoformat() for instant in self._instants]

    @classmethod
    def from_json(cls, body: Sequence[str]) -> Phases:
        return cls(*map(datetime.fromisoformat, body))


def phases(start: datetime, prepare: timedelta, stages: Sequence[Stage], back: timedelta) -> Phases:
    """The least time of each phase. A stage at full weight soaks, one before it ramps."""
    ramp = start + prepare
    soak = ramp + sum((s.hold for s in stages if s.weight < 1), timedelta(0))
    commit = soak + sum((s.hold for s in stages if s.weight == 1), timedelta(0))
    return Phases(start, ramp, soak, commit, commit + back)


def phases_of(plan: Plan, environment: Environment, calendar: Calendar, start: datetime) -> Phases:
    """The phases of a plan. The first release has nothing to ramp against; nor is it ever 0."""
    busy = any(isinstance(s, BuildTable | BuildView | TrainModel | RescoreModel)
               for s in plan.steps)  # fmt: skip
    stages = environment.walked if plan.made_against else ()
    prepare = calendar.prepare if busy or not stages else timedelta(0)
    return phases(start, max(prepare, timedelta(minutes=1)), stages, environment.rollback_window)


# --- from a plan ---------------------------------------------------------------------


def outline(plan: Plan, project: Project, calendar: Calendar, author: str = "") -> Footprint:
    """What can be said of a plan without following who reads what: enough for windows."""
    writes = frozenset(str(holder(ref)) for ref in plan.writes)
    moved = {str(one.ref): one.verdict for one in plan.reached if one.verdict != "untouched"}
    acting = frozenset(n for n in {*moved, *writes} if n.startswith(("model:", "service:")))
    strong = {name for name, verdict in moved.items() if verdict in ("breaks", "moves")}
    return Footprint(
        writes=writes,
        impact=acting,
        high=frozenset(name for name in strong if _matters(project, name)),
        retires=frozenset(str(s.ref) for s in plan.steps if isinstance(s, Retire)),
        measures=_measures(plan, project, acting),
        needs=needs(calendar, writes),
        crews=crews(plan, author),
    )


def footprint(
    plan: Plan, facts: Facts, project: Project, calendar: Calendar, author: str = ""
) -> Footprint:
    """What `plan` touches. `facts` and `project` are those it leads to."""
    known = outline(plan, project, calendar, author)
    broken = (d for d in plan.differences if d.breaking or _unsure(d, facts))
    touched = known.writes | {str(one.ref) for one in plan.reached if one.verdict != "untouched"}
    return replace(
        known,
        breaking=frozenset(str(holder(d.ref)) for d in broken),
        reads=_reads(known.writes, facts) - known.writes,
        loads=tables_below(touched, facts),
    )


def _unsure(difference: Difference, facts: Facts) -> bool:
    """What is not understood is not proven compatible."""
    node = facts.nodes.get(str(difference.ref))
    return node is not None and node.unknown is not None and not difference.additive


def _matters(project: Project, name: str) -> bool:
    service = project.services.get(name.removeprefix("service:"))
    return name.startswith("service:") and service is not None and service.tier == 1


def _reads(writes: Names, facts: Facts) -> Names:
    """What the written things read themselves, not what lies behind that."""
    written = (name for name in writes if name in facts.nodes)
    edges = (edge for name in written for edge in facts.nodes.edges(name))
    return frozenset(owner_node(edge.source) for edge in edges)


def _measures(plan: Plan, project: Project, impact: Iterable[str]) -> tuple[Measure, ...]:
    """Every rollout measures its split and the scores and KPIs it reaches, on all subjects.

    A soak is at full weight, so the cohort is everybody: ranges are disjoint only where a
    rollout is confined to some of them, which no environment can declare today.
    """
    if plan.made_against is None:
        return ()
    subject = project.environments[plan.environment].subject
    population = f"{plan.environment} by {', '.join(subject)}"
    reached = sorted(name for name in impact if name.startswith(("model:", "service:")))
    return tuple(Measure(f"{name} of {population}") for name in ("split", *reached))


def needs(calendar: Calendar, writes: Names) -> tuple[Need, ...]:
    """Declared resources that a change which writes this has to have."""
    return tuple(
        Need(one.name, one.during) for one in calendar.resources if touches(one.scope, writes)
    )


def crews(plan: Plan, author: str) -> tuple[Crew, ...]:
    """Who has to be there: the author, and somebody for each service it reaches."""
    owners = [
        Crew(f"{one.role} of {one.team}", one.people)
        for one in plan.requirements
        if one.role == "service_owner"
    ]
    return (*((Crew("the author", (author,)),) if author else ()), *owners)


def of_writes(texts: Iterable[str]) -> Footprint:
    """All that is known of a change whose footprint was not kept: what it writes."""
    return Footprint(writes=frozenset(str(holder(Ref.parse(text))) for text in texts))
