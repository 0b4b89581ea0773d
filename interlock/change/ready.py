"""May it go: evidence, sign-offs, calendar and policy, merged into one list of objections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from interlock.change.calendar import forbids
from interlock.change.change import Change, waiver_objections
from interlock.change.conflicts import Booking, World
from interlock.change.evidence import Evidence, gate
from interlock.change.policy import BACKWARD, FORWARD, STEPS_UP, approvers, facts, principal
from interlock.change.signoff import Requirement, waiting
from interlock.change.windows import closed, frozen
from interlock.define.calendar import Calendar
from interlock.define.environment import Owner, Stage
from interlock.define.privacy import Privacy
from interlock.define.refs import Ref
from interlock.ports import Json, PolicyEngine


@dataclass(frozen=True)
class Standing:
    """What decides about a change and is not part of it.

    `current` are the digests that the candidate release holds now; `stable` is the release
    that runs; `writes` are the things the change writes; `tiers` and `cards_missing` come
    from the services and models it reaches; `blocked` are releases that were rolled back.
    `sensitive` are the columns it touches that must be masked, `over_budget` what it takes
    more than it may. `outdated` says by digest why evidence stands on rows that have moved.
    `budgets` is what is left of the error budget of services, by `service:NAME`.
    """

    now: datetime
    current: Mapping[str, str]
    stable: str | None
    required: Sequence[str] = ()
    requirements: Sequence[Requirement] = ()
    evidence: Sequence[Evidence] = ()
    owners: Sequence[Owner] = ()
    writes: Sequence[Ref] = ()
    calendar: Calendar = field(default_factory=Calendar)
    booking: Booking | None = None
    bookings: Sequence[Booking] = ()
    earliest: datetime | None = None
    stages: Sequence[Stage] = ()
    tiers: Sequence[int] = ()
    cards_missing: Sequence[str] = ()
    blocked: Sequence[str] = ()
    emergency_role: str = ""
    signoffs_last: timedelta | None = None
    sensitive: Sequence[str] = ()
    over_budget: Sequence[str] = ()
    privacy: Privacy = field(default_factory=Privacy)
    outdated: Mapping[str, str] = field(default_factory=dict)
    budgets: Mapping[str, float] = field(default_factory=dict)

    def cleared(self, person: str) -> bool:
        """May `person` see sensitive values?"""
        who = principal(self.owners, person, self.privacy)
        return bool(who["clearance"] == "sensitive")


def ready(
    change: Change, standing: Standing, policies: PolicyEngine, who: Json, action: str
) -> tuple[str, ...]:
    """Everything against `who` doing `action`; empty lets it go.

    A way back is never asked anything: it must work in a freeze, and when the policy
    engine is broken.
    """
    return weighed(change, standing, policies, who, action).objections


@dataclass(frozen=True)
class Weighed:
    """All `objections`, and of them what policies `said` when they were told `facts`."""

    objections: tuple[str, ...]
    said: tuple[str, ...]
    facts: Json


def weighed(
    change: Change, standing: Standing, policies: PolicyEngine, who: Json, action: str
) -> Weighed:
    """The same as `ready`, with what was asked of the policies and what they answered."""
    told = told_of(change, standing)
    if action in BACKWARD:
        return Weighed((), (), told)
    said = policies.decide(who, action, told)
    found: list[str] = []
    if action in STEPS_UP:
        found += plan_objections(change, standing)
        found += [*told["evidence_lacking"], *told["signoffs_lacking"]]
    if action in FORWARD:
        found += calendar_forbids(change, standing)
    return Weighed(tuple(dict.fromkeys((*found, *said))), said, told)


def told_of(change: Change, standing: Standing) -> Json:
    """What policies are told of `change`: the same whatever is asked."""
    return facts(
        change,
        lacking=evidence_lacks(change, standing),
        unsigned=signatures_lack(change, standing),
        frozen=bool(frozen(standing.calendar, standing.writes, standing.now)),
        surroundings=_surroundings(change, standing),
    )


def plan_objections(change: Change, standing: Standing) -> tuple[str, ...]:
    """Is there a plan, made against what runs now, to a release that may run?"""
    found = []
    if not change.plan_digest:
        found.append(f"{change.id} has no plan")
    elif change.made_against != standing.stable and not change.under_way:
        found.append("the stable release has moved since the plan was made: plan again")
    if change.release and change.release in standing.blocked:
        found.append("this release was rolled back before: change something, or it stays blocked")
    return tuple(found)


def evidence_lacks(change: Change, standing: Standing) -> tuple[str, ...]:
    """What the gate says, counting only waivers that count."""
    lacking = lacking_by_check(change, standing)
    found = [said for check in lacking.values() for said in check]
    wrong = [
        said
        for waiver in change.waivers
        for said in waiver_objections(change, waiver, standing.owners)
    ]
    return (*dict.fromkeys(found), *wrong)


def lacking_by_check(change: Change, standing: Standing) -> dict[str, tuple[str, ...]]:
    """By required check: what it lacks of itself; empty for one that passed or is waived."""
    valid = [w for w in change.waivers if not waiver_objections(change, w, standing.owners)]
    kept = [piece for piece in standing.evidence if piece.digest in change.evidence]
    today = (standing.now, standing.current, standing.outdated)
    return {check: gate((check,), kept, valid, *today) for check in standing.required}


def waived(change: Change) -> tuple[str, ...]:
    """What was let through without passing, in sentences to show beside the evidence."""
    return tuple(map(str, change.waivers))


def signatures_lack(change: Change, standing: Standing) -> tuple[str, ...]:
    """Who has still to sign, whose signature is too old, and who must look a second time."""
    lasts = standing.signoffs_last
    old = [s for s in change.signoffs if lasts and s.agrees and s.at + lasts <= standing.now]
    valid = [signoff for signoff in change.signoffs if signoff not in old]
    said = waiting(standing.requirements, valid, standing.owners, change.plan_digest, change.author)
    again = {(s.role, s.team) for s in valid if s.agrees and s.plan_digest == change.plan_digest}
    expired = [
        f"{s.person} signed as {s.role} of {s.team} on {s.at:%d %b %Y}, which is over: sign again"
        for s in old
        if s.plan_digest == change.plan_digest and (s.role, s.team) not in again
    ]
    return (*said, *expired, *_emergency_lacks(change, standing))


def _emergency_lacks(change: Change, standing: Standing) -> Iterator[str]:
    """Who agrees to an emergency signs for nothing else: the second look is somebody else's."""
    signed = [s for s in change.signoffs if s.agrees and s.plan_digest == change.plan_digest]
    role = standing.emergency_role if change.emergency else ""
    alone = {s.person for s in signed if s.role != role}
    mine = [s for s in signed if s.role == role]
    if mine and all(s.person in alone for s in mine):
        people = " and ".join(sorted({s.person for s in mine}))
        yield f"{people} signed for something else too: another {role} must look at the emergency"


def calendar_forbids(change: Change, standing: Standing) -> tuple[str, ...]:
    """Every rule of the calendar against a start at this moment."""
    if standing.booking is None:
        held = (frozen(standing.calendar, standing.writes, standing.now),
                closed(standing.calendar, standing.writes, standing.now))  # fmt: skip
        return tuple(said for one in held for said in one)
    world = World(standing.now, standing.calendar, budgets=standing.budgets)
    return forbids(standing.bookings, standing.booking, world, standing.earliest)


def _surroundings(change: Change, standing: Standing) -> Json:
    soak = [s for s in standing.stages if s.weight == 1]
    return {
        "waived": [waiver.check for waiver in change.waivers],
        "tiers": list(standing.tiers),
        "cards_missing": list(standing.cards_missing),
        "has_soak": bool(soak),
        "soak_hours": int(sum(stage.hold.total_seconds() for stage in soak) // 3600),
        "emergency": bool(change.emergency),
        "sensitive": list(standing.sensitive),
        "cleared_approvers": sorted(filter(standing.cleared, approvers(change))),
        "over_budget": list(standing.over_budget),
        "rolled_back_before": change.release in standing.blocked,
    }
