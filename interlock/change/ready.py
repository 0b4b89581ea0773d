"""May it go: evidence, sign-offs, calendar and policy, merged into one list of objections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from interlock.change.calendar import forbids
from interlock.change.change import Change, waiver_objections
from interlock.change.conflicts import Booking, World
from interlock.change.evidence import Evidence, Waiver, gate
from interlock.change.policy import BACKWARD, FORWARD, STEPS_UP, facts
from interlock.change.signoff import Requirement, waiting
from interlock.change.windows import closed, frozen
from interlock.define.calendar import Calendar
from interlock.define.environment import Owner, Stage
from interlock.define.refs import Ref
from interlock.ports import Json, PolicyEngine


@dataclass(frozen=True)
class Standing:
    """What decides about a change and is not part of it.

    `current` are the digests that the candidate release holds now; `stable` is the release
    that runs; `writes` are the things the change writes; `tiers` and `cards_missing` come
    from the services and models it reaches; `blocked` are releases that were rolled back.
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


def ready(
    change: Change, standing: Standing, policies: PolicyEngine, principal: Json, action: str
) -> tuple[str, ...]:
    """Everything against `principal` doing `action`; empty lets it go.

    A way back is never asked anything: it must work in a freeze, and when the policy
    engine is broken.
    """
    if action in BACKWARD:
        return ()
    lacking = evidence_lacks(change, standing) if action in STEPS_UP else ()
    unsigned = signatures_lack(change, standing) if action in STEPS_UP else ()
    closed = calendar_forbids(change, standing) if action in FORWARD else ()
    against = facts(
        change,
        lacking=lacking,
        unsigned=unsigned,
        frozen=bool(frozen(standing.calendar, standing.writes, standing.now)),
        surroundings=_surroundings(change, standing),
    )
    said = policies.decide(principal, action, against)
    whole = plan_objections(change, standing) if action in STEPS_UP else ()
    return tuple(dict.fromkeys((*whole, *lacking, *unsigned, *closed, *said)))


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
    valid: list[Waiver] = []
    wrong: list[str] = []
    for waiver in change.waivers:
        said = waiver_objections(change, waiver, standing.owners)
        wrong += said
        if not said:
            valid.append(waiver)
    kept = [piece for piece in standing.evidence if piece.digest in change.evidence]
    lacking = gate(standing.required, kept, valid, standing.now, standing.current)
    return (*lacking, *wrong)


def waived(change: Change) -> tuple[str, ...]:
    """What was let through without passing, in sentences to show beside the evidence."""
    return tuple(map(str, change.waivers))


def signatures_lack(change: Change, standing: Standing) -> tuple[str, ...]:
    said = waiting(
        standing.requirements, change.signoffs, standing.owners, change.plan_digest, change.author
    )
    return (*said, *_emergency_lacks(change, standing))


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
    world = World(standing.now, standing.calendar)
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
        "rolled_back_before": change.release in standing.blocked,
    }
