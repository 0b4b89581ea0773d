"""Before anything is built: what the author of a change promised, and whether it may be opened."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from interlock.app.versions import Version, calendar_over
from interlock.app.weighing import engine
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.change.policy import principal
from interlock.change.ready import Standing, weighed
from interlock.change.request import Request
from interlock.change.signoff import Requirement
from interlock.define.project import Project
from interlock.errors import Refused
from interlock.features.covers import covers
from interlock.impact.nodes import owner_node
from interlock.models.card import unwritten
from interlock.plan.budget import over
from interlock.plan.plan import Plan
from interlock.plan.require import emergency_signer
from interlock.rollout.state import stages_of

Versions = tuple[Version | None, Version]


def asked_for(plan: Plan, request: Request, running: Project) -> Plan:
    """`plan` bound to what was promised with it; an emergency asks for one more signature."""
    plan = replace(plan, request=request.digest)
    if not request.emergency.strip():
        return plan
    role = running.environments[plan.environment].emergency_role
    extra, said = emergency_signer(running, role, request.by)
    return replace(
        plan,
        requirements=(*plan.requirements, *extra),
        objections=(*plan.objections, *said),
        notes=(*plan.notes, f"emergency: {request.emergency.strip()}; to be reviewed afterwards"),
    )


def reached(new: Version, plan: Plan) -> dict[str, Any]:
    """What policies are told of where a plan goes: tiers, cards, sensitive columns it touches."""
    touched = {str(ref) for ref in (*plan.direct, *plan.indirect)}
    return {
        "tiers": [s.tier for s in new.project.services.values()],
        "cards_missing": [str(m.ref) for m in new.project.models.values() if unwritten(m)],
        "sensitive": sorted(
            ref
            for ref, cover in covers(new.project, new.facts).items()
            if cover.level == "sensitive" and touched & {ref, owner_node(ref)}
        ),
    }


def may_propose(workspace: Workspace, opening: Change, plan: Plan, versions: Versions) -> None:
    """Policies are asked before anything is built; raises `Refused` with what they say."""
    old, new = versions
    running = (old or new).project
    environment = running.environments[workspace.environment]
    there = Standing(
        now=workspace.now(),
        current={},
        stable=plan.made_against,
        required=plan.evidence,
        requirements=[Requirement(r.role, r.team, r.why) for r in plan.requirements],
        owners=running.owners,
        writes=plan.writes,
        calendar=calendar_over(workspace, new),
        stages=stages_of(new.project.environments[workspace.environment]),
        emergency_role=environment.emergency_role,
        over_budget=over(plan.estimate, environment.budget),
        privacy=running.privacy,
        **reached(new, plan),
    )
    # It has no number yet, and needs one to be asked about.
    change = replace(opening, id="CR-0", plan_digest=plan.digest)
    who = principal(running.owners, opening.author, running.privacy)
    found = weighed(change, there, engine(running.policies), who, "propose")
    if found.objections:
        message = f"{opening.author} may not propose this"
        raise Refused(message, "see the project's policies", found.objections)
