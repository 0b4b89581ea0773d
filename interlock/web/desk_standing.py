"""What a change still lacks, and the one sentence about what comes next.

The same rules as `apply` asks, over the plan's own requirements; nothing is parsed. What
the policies say is asked last, when nothing else is missing, because most of it would
only repeat the lines above.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from interlock.change.accountable import layers
from interlock.change.agenda import open_bookings
from interlock.change.change import Change
from interlock.change.conflicts import Booking
from interlock.change.footprint import Footprint, of_writes, phases
from interlock.change.policy import principal
from interlock.change.ready import (
    Standing,
    calendar_forbids,
    evidence_lacks,
    plan_objections,
    ready,
    signatures_lack,
)
from interlock.change.signoff import Requirement, SignOff, holders
from interlock.change.windows import Interval
from interlock.define.durations import parse_duration
from interlock.define.environment import Owner
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.rollout.help import PROMOTED, help_of
from interlock.rollout.state import READY, HoldReason
from interlock.web.desk_ledger import Ledger
from interlock.web.desk_moves import state_label
from interlock.web.views import LayerRow, SignOffRow
from interlock.web.words import instant

BEFORE = ("REVIEW", "APPROVED", "SCHEDULED")


@dataclass(frozen=True)
class Lacks:
    """What stands between a change and its start, by kind; all in sentences."""

    whole: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    signatures: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        parts = (self.whole, self.evidence, self.signatures, self.calendar, self.policies)
        return tuple(dict.fromkeys(said for part in parts for said in part))


def owners_of(ledger: Ledger) -> tuple[Owner, ...]:
    """Of the release that runs: a change cannot give its own signers their roles."""
    return ledger.project().owners


def lacks(ledger: Ledger, change: Change) -> Lacks:
    """Nothing for a change that has started, ended, or has no plan to sign yet."""
    if change.state not in BEFORE or change.plan is None:
        return Lacks()
    there = _standing(ledger, change)
    found = Lacks(
        plan_objections(change, there),
        evidence_lacks(change, there),
        signatures_lack(change, there),
        calendar_forbids(change, there),
    )
    if found.all:
        return found
    return Lacks(policies=_policies_say(ledger.project(), change, there))


def _standing(ledger: Ledger, change: Change) -> Standing:
    from interlock.app.outdated import outdated  # to show a page none of this is needed

    plan = change.plan or {}
    project = ledger.project_of(change.release) or ledger.project()
    evidence = ledger.evidence_of(change)
    slot, now = _slot(plan), ledger.now()
    writes = writes_of(change)
    route = ledger.workspace.route()
    running = ledger.project().environments[change.environment]
    return Standing(
        now=now,
        # What evidence says of itself: here only verdicts count. That it was made on this
        # very release is asked again, with fingerprints, when somebody applies the change.
        current={ref: made for piece in evidence for ref, made in piece.subjects.items()},
        stable=route.stable,
        required=plan["evidence"],
        requirements=requirements_of(plan),
        evidence=evidence,
        owners=owners_of(ledger),
        writes=writes,
        calendar=project.calendar,
        booking=starting(change, project, now) if slot else None,
        bookings=open_bookings(ledger.booked(), now),
        earliest=slot.start if slot else None,
        stages=project.environments[change.environment].walked,
        tiers=change.details.get("tiers", ()),
        cards_missing=change.details.get("cards_missing", ()),
        blocked=route.blocked,
        emergency_role=running.emergency_role,
        signoffs_last=running.signoffs_last,
        sensitive=change.details.get("sensitive", ()),
        privacy=ledger.project().privacy,
        outdated=outdated(ledger.workspace, ledger.project(), evidence),
    )


def _policies_say(running: Project, change: Change, there: Standing) -> tuple[str, ...]:
    from interlock.adapters.cedar import CedarPolicies
    from interlock.plan.budget import over
    from interlock.plan.plan import Plan

    budget = running.environments[change.environment].budget
    taken = Plan.from_json(change.plan or {}).estimate
    asked = replace(there, over_budget=over(taken, budget))
    who = principal(there.owners, "controller", there.privacy)
    return ready(change, asked, CedarPolicies(running.policies), who, "start")


def starting(change: Change, project: Project, now: datetime) -> Booking:
    """The booking of a change that began now, as far as its record says."""
    kept = change.details.get("footprint")
    touched = Footprint.from_json(kept) if kept else of_writes(change.details.get("writes", ()))
    environment = project.environments[change.environment]
    times = phases(now, project.calendar.prepare, environment.walked, environment.rollback_window)
    after = str((change.plan or {}).get("after") or "")
    return Booking(change.id, touched, times, change.title, after=after,
                   emergency=bool(change.emergency), experiment=change.experiment)  # fmt: skip


def slot_of(change: Change) -> Interval | None:
    """When the change is planned to run."""
    return _slot(change.plan or {})


def _slot(plan: Mapping[str, Any]) -> Interval | None:
    slot = plan.get("slot")
    return Interval(*(datetime.fromisoformat(text) for text in slot)) if slot else None


def writes_of(change: Change) -> tuple[Ref, ...]:
    """The things this change writes."""
    return tuple(Ref.parse(text) for text in change.details.get("writes", ()))


def requirements_of(plan: Mapping[str, Any]) -> list[Requirement]:
    """Who must sign, by the plan."""
    return [Requirement(r["role"], r["team"], r["why"]) for r in plan.get("requirements", ())]


# --- layers ---------------------------------------------------------------------------


def layer_rows(ledger: Ledger, change: Change) -> tuple[LayerRow, ...]:
    """Data, feature, model, integration, release: how far each has come; empty without a plan."""
    if change.plan is None or not change.release or not change.open:
        return ()
    found = layers(change, _standing(ledger, change))
    return tuple(
        LayerRow(one.layer, one.word, one.checks, one.lacks, one.accountable, one.signed)
        for one in found
    )


# --- signatures -----------------------------------------------------------------------


def signoff_rows(change: Change, owners: Sequence[Owner]) -> tuple[SignOffRow, ...]:
    """A row per required signature; one for another plan, or of the author, does not count."""
    asked = {(r.role, r.team): r for r in requirements_of(change.plan or {})}
    return tuple(_signoff_row(change, owners, role, team) for role, team in asked)


def _signoff_row(change: Change, owners: Sequence[Owner], role: str, team: str) -> SignOffRow:
    given = _given(change, owners, role, team)
    if given is None:
        return SignOffRow(role, team)
    decision = "approved" if given.decision == "approve" else "rejected"
    return SignOffRow(role, team, given.person, decision, given.at)


def _given(change: Change, owners: Sequence[Owner], role: str, team: str) -> SignOff | None:
    people = holders(owners, role, team)
    counting = [
        s
        for s in change.signoffs
        if (s.role, s.team, s.plan_digest) == (role, team, change.plan_digest)
        and s.person in people
        and (s.decision == "reject" or s.person != change.author)
    ]
    # One no weighs more than a yes of somebody else.
    return next((s for s in counting if s.decision == "reject"), counting[-1] if counting else None)


def waits_for(change: Change, owners: Sequence[Owner]) -> tuple[str, ...]:
    """Who may still sign, as `dana or wei (model validator of data-science)`."""
    if change.state not in BEFORE:
        return ()
    return tuple(
        _who(change, owners, row)
        for row in signoff_rows(change, owners)
        if row.person is None or row.decision == "rejected"
    )


def _who(change: Change, owners: Sequence[Owner], row: SignOffRow) -> str:
    people = [p for p in holders(owners, row.role, row.team) if p != change.author]
    return f"{' or '.join(people) or 'nobody'} ({row.role.replace('_', ' ')} of {row.team})"


# --- state and next -------------------------------------------------------------------


def pill(change: Change, lacking: Lacks) -> str:
    """The state as a person would say it."""
    if change.state in BEFORE:
        if lacking.evidence:
            return "Blocked by evidence"
        if lacking.signatures:
            return "Needs sign-off"
        if lacking.all:
            return "Blocked"
        return "Scheduled" if change.state == "SCHEDULED" else "Approved"
    return state_label(change.__dict__)


def next_step(
    change: Change, lacking: Lacks, owners: Sequence[Owner], judgement: Mapping[str, Any] | None
) -> str:
    """What happens next, or who has to do what, in one sentence."""
    if change.state in BEFORE:
        return next(_before(change, lacking, owners))
    if change.state == "EVIDENCE" and change.details.get("stopped"):
        return f"{_listed(change.details['stopped'])} must pass or be waived before more is run"
    if change.state in ("DRAFT", "PLANNED", "EVIDENCE"):
        return "the plan is made and its evidence gathered"
    goes_on = change.open or change.state == "COMMITTED"
    return _under_way(change, judgement) if goes_on else ""


def _before(change: Change, lacking: Lacks, owners: Sequence[Owner]) -> Iterator[str]:
    if lacking.whole:
        yield lacking.whole[0]
    if lacking.evidence:
        checks = list(dict.fromkeys(said.split()[0].rstrip(":") for said in lacking.evidence))
        yield f"{_listed(checks)} must pass or be waived"
    waiting = waits_for(change, owners)
    if waiting:
        verb = "must sign" if len(waiting) == 1 else "must all sign"
        yield f"{_listed(waiting)} {verb}"
    yield from lacking.all[:1]
    slot = _slot(change.plan or {})
    when = f", planned for {instant(slot.start)} UTC" if slot else ""
    if change.state == "SCHEDULED":
        yield f"the controller starts it{when}; `interlock apply {change.id}` does not wait"
    yield f"somebody starts it (`interlock apply {change.id}`){when}"


def _under_way(change: Change, judgement: Mapping[str, Any] | None) -> str:
    asked = change.details.get("request")
    rollout = change.details.get("rollout") or {}
    said: str = rollout.get("said") or change.said
    hold = HoldReason(rollout["hold"]) if rollout.get("hold") else None
    held = help_of(change.id, hold, said)
    if change.under_way and said.startswith(READY):
        return f"{said}; {held}"
    promoted = asked and change.under_way and asked["kind"] in ("promote", "choose")
    if asked and promoted and (hold is None or hold in PROMOTED):
        return f"the next look of the controller goes on, at the word of {asked['by']}"
    if held:
        return held
    if change.state == "PREPARING":
        return said or "the controller builds the new versions beside the old"
    history = rollout.get("history", ())
    if history and said == history[-1]["sentence"] and change.under_way:
        return _until(rollout)
    open_points = _open_points(judgement)
    if open_points and judgement and said == judgement["sentence"]:
        # The judge's own sentence, with all its numbers, stands in the table.
        return f"the judge waits for more data on {_listed(open_points)}"
    return said


def _until(rollout: Mapping[str, Any]) -> str:
    """For a stage that was just entered: what was said last is why it was."""
    stage = rollout["stages"][rollout["index"]]
    ends = datetime.fromisoformat(rollout["entered_at"]) + parse_duration(stage["hold"])
    return f"{stage['name']} lasts at least until {instant(ends)} UTC"


def _open_points(judgement: Mapping[str, Any] | None) -> list[str]:
    rulings = (judgement or {}).get("per_guardrail", ())
    return [
        ruling["name"].replace("_", " ")
        for ruling in rulings
        if ruling["required"] and ruling["verdict"] == "needs_data"
    ]


def _listed(parts: Sequence[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
