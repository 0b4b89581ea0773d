"""May it go: everything that decides about a change and is not part of it, put to the policies.

Policies, roles, freezes are those of the release that runs: a change cannot weaken what
judges it. Every answer is a decision that is kept, with the facts it was given about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.app import refusals
from interlock.app.booking import bookings, earliest, starting
from interlock.app.changes import evidence_of
from interlock.app.outdated import outdated
from interlock.app.reliability import left
from interlock.app.reviews import reviews_of
from interlock.app.versions import calendar_over, leads_to, stable
from interlock.app.workspace import CONTROLLER, Workspace
from interlock.change.accountable import LayerStanding, layers
from interlock.change.change import Change
from interlock.change.decision import PolicyDecision
from interlock.change.policy import STEPS_UP, principal
from interlock.change.ready import Standing, Weighed, weighed
from interlock.change.request import request_of
from interlock.change.review import still_asked
from interlock.change.signoff import Requirement
from interlock.define.calendar import Calendar
from interlock.define.digest import digest
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.errors import NotFound, Refused, Stale
from interlock.plan.budget import over
from interlock.plan.plan import Plan
from interlock.plan.require import Impact, emergency_signer, requirements
from interlock.ports import Put
from interlock.rollout.state import stages_of

if TYPE_CHECKING:
    from interlock.adapters.cedar import CedarPolicies


def policies_of(workspace: Workspace, change: Change) -> Project:
    """Whose policies judge `change`: of the release that runs, so that it cannot weaken them."""
    running = stable(workspace) or leads_to(workspace, change)
    return running.project


def engine(policies: Mapping[str, str]) -> CedarPolicies:
    """The policies, ready to be asked; raises `Invalid` with every mistake in them."""
    from interlock.adapters.cedar import CedarPolicies

    return CedarPolicies(policies)


def standing(workspace: Workspace, change: Change) -> Standing:
    """Everything that decides about `change` and is not part of it."""
    if change.plan is None:
        raise Refused(
            f"{change.id} has no plan yet",
            help="if its proposing was cut off, propose it again or withdraw it",
        )
    version = leads_to(workspace, change)
    running = stable(workspace) or version
    plan = Plan.from_json(change.plan)
    project = version.project
    writes = tuple(Ref.parse(text) for text in change.details.get("writes", ()))
    now = workspace.now()
    route = workspace.route()
    environment = running.project.environments[workspace.environment]
    evidence = evidence_of(workspace.record, change)
    return Standing(
        now=now,
        current={name: node.fingerprint for name, node in version.facts.nodes.items()},
        stable=route.stable,
        required=still_asked(reviews_of(workspace.record), plan.evidence),
        requirements=_signers(plan, running.project, project, change),
        evidence=evidence,
        # Of the release that runs: a change cannot give its own signers their roles.
        owners=running.project.owners,
        writes=writes,
        calendar=calendar_over(workspace, version),
        booking=starting(workspace, change, version) if plan.slot else None,
        bookings=bookings(workspace),
        earliest=earliest(change),
        stages=stages_of(project.environments[workspace.environment]),
        tiers=change.details.get("tiers", ()),
        cards_missing=change.details.get("cards_missing", ()),
        blocked=route.blocked,
        emergency_role=environment.emergency_role,
        signoffs_last=environment.signoffs_last,
        sensitive=change.details.get("sensitive", ()),
        over_budget=over(plan.estimate, environment.budget),
        privacy=running.project.privacy,
        outdated=outdated(workspace, running.project, evidence),
        budgets=left(workspace.record, workspace.environment),
    )


def _signers(plan: Plan, running: Project, wanted: Project, change: Change) -> list[Requirement]:
    """Who must sign, as the running release knows its owners: nobody is relieved by the change.

    What is new is signed for by its new owner, if that team is known already.
    """
    impact = Impact(plan.differences, plan.reached, plan.steps, plan.rules)
    found, unknown = requirements((running, wanted), impact)
    # Where the running release knows nobody for a role, what was planned still binds.
    asked = (*found, *plan.requirements) if unknown else found
    if change.emergency:
        role = running.environments[change.environment].emergency_role
        asked = (*asked, *emergency_signer(running, role, change.author)[0])
    return [Requirement(r.role, r.team, r.why) for r in asked]


def objections(
    workspace: Workspace, change: Change, action: str = "start", by: str = CONTROLLER
) -> tuple[str, ...]:
    """Everything that stands between `change` and `action`; empty before it has a plan."""
    if change.plan is None or change.state not in ("EVIDENCE", "REVIEW", "APPROVED", "SCHEDULED"):
        return ()
    return weigh(workspace, change, action, by)[0].objections


def weigh(
    workspace: Workspace, change: Change, action: str, by: str
) -> tuple[Weighed, PolicyDecision]:
    """May `by` do `action` to `change`? The answer, and the decision to keep."""
    there, project = standing(workspace, change), policies_of(workspace, change)
    who = principal(there.owners, by, there.privacy)
    found = weighed(change, there, engine(project.policies), who, action)
    rules = digest(dict(project.policies))
    decision = PolicyDecision(change.id, action, there.now, who, found.facts, found.said, rules)
    edited = _edited(change) if action in STEPS_UP else ()
    return replace(found, objections=(*found.objections, *edited)), decision


def layers_of(workspace: Workspace, change: Change) -> tuple[LayerStanding, ...]:
    """How far each layer of proof has come, and who answers for it; empty before a release."""
    known = change.release or change.state == "EVIDENCE"
    if change.plan is None or not known or not change.open:
        return ()
    return layers(change, standing(workspace, change))


@dataclass(frozen=True)
class Agreed:
    """What a rollout lacks of what it was agreed on, and the decision to keep with its step."""

    lacking: str = ""
    decision: PolicyDecision | None = None


def still_agreed(workspace: Workspace, change: Change, action: str) -> Agreed:
    """May a rollout take its next step? The calendar is asked elsewhere, and says so itself."""
    there = replace(standing(workspace, change), calendar=Calendar(), booking=None, bookings=())
    project = policies_of(workspace, change)
    who = principal(there.owners, CONTROLLER, there.privacy)
    found = weighed(change, there, engine(project.policies), who, action)
    rules = digest(dict(project.policies))
    decision = PolicyDecision(change.id, action, there.now, who, found.facts, found.said, rules)
    return Agreed("; ".join((*found.objections, *_edited(change))), decision)


def _edited(change: Change) -> tuple[str, ...]:
    """What is in the record is not what was signed."""
    plan = change.plan or {}
    other = digest(plan) != change.plan_digest
    said = [f"the plan of {change.id} is not the one that was signed"] if other else []
    promised = plan.get("request")
    if promised and promised != request_of(change).digest:
        said.append(f"what {change.author} promised is not what the plan was signed with")
    return tuple(said)


def kept(workspace: Workspace, decision: PolicyDecision) -> list[Put]:
    """What is written to keep `decision`; nothing when it is in the record already."""
    if workspace.record.get(decision.ref) is not None:
        return []
    return [Put(decision.ref, decision.to_json(), 0)]


def keep_refused(workspace: Workspace, decision: PolicyDecision, by: str) -> None:
    """A refusal is kept too. Failing to keep it does not make it less of one."""
    try:
        workspace.record.write(kept(workspace, decision), by=by, at=decision.at)
    except Stale:
        return  # the same refusal, kept by somebody else in the same moment


def keep_forged(workspace: Workspace, change: Change, by: str) -> None:
    """A plan or promise that is not the one that was signed is kept, with who met it."""
    said = _edited(change)
    if said:
        shown = {"change": change.id, "plan": change.plan_digest, "found": digest(change.plan)}
        refusals.keep(workspace, "forged", said, by=by, shown=shown)


def decisions(workspace: Workspace, change: str = "") -> tuple[PolicyDecision, ...]:
    """Every decision that was kept, or those about one change."""
    entries = workspace.record.list("decision")
    mine = (e for e in entries if not change or e.body["change"] == change)
    return tuple(PolicyDecision.from_json(entry.body) for entry in mine)


def policies_in(folder: Path) -> dict[str, str]:
    """The policies of a folder on disk, as texts by name; `NotFound` when there is none."""
    found = {f"policies/{f.name}": f.read_text("utf-8-sig") for f in sorted(folder.glob("*.cedar"))}
    if not found:
        raise NotFound(f"{folder} holds no *.cedar file", help="name a folder with policies")
    return found
