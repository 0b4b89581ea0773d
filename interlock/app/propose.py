"""Open a change from the plan, when a change can be made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.app.beside import Placed
from interlock.app.build import Say, quiet
from interlock.app.changes import all_changes, open_new
from interlock.app.engines import refuse_unable
from interlock.app.planning import plan_between, wanted
from interlock.app.proposable import asked_for, may_propose
from interlock.app.prove import prove, taken_back
from interlock.app.stored import refuse_unlike
from interlock.app.versions import stable
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.change.request import Request
from interlock.errors import Refused
from interlock.plan.plan import Plan


def propose(
    workspace: Workspace,
    request: Request,
    say: Say = quiet,
    because: Mapping[str, Any] | None = None,
    beside: str = "",
) -> Change:
    """Make CR-n with everything people need to decide; `because` is the trigger, if one asked.

    `beside` is the first change of the experiment in which it is to run.
    Raises `Refused` when there is nothing to do or the plan itself is not possible.
    """
    old, new = stable(workspace), wanted(workspace)
    made = plan_between(workspace, old, new, Placed(beside=beside))
    plan = possible(workspace, asked_for(made, request, (old or new).project))
    opening = draft(workspace, request, because)
    may_propose(workspace, opening, plan, (old, new))
    held = open_new(workspace, opening)
    say(f"{held.change.id}: {request.title}")
    return prove(workspace, held, (old, new), plan, say)


def possible(workspace: Workspace, plan: Plan) -> Plan:
    """`plan`, if a change can be made of it; else `Refused` with every reason."""
    if plan.empty:
        raise Refused("there is nothing to propose", help="edit a definition first")
    if plan.objections:
        raise Refused("this plan cannot be proposed", "mend what is listed", plan.objections)
    refuse_unable(workspace.project, workspace.environment, workspace.warehouse)
    refuse_unlike(workspace.project, workspace.warehouse)
    _refuse_again(workspace, plan)
    return plan


def _refuse_again(workspace: Workspace, plan: Plan) -> None:
    """What was rolled back is blocked before anything is trained for it a second time."""
    blocked = workspace.route().blocked
    for change in all_changes(workspace):
        before = change.plan or {}
        same = before.get("definitions") == plan.definitions
        if same and change.release in blocked and change.made_against == plan.made_against:
            raise taken_back(change.release)


def draft(
    workspace: Workspace, request: Request, because: Mapping[str, Any] | None = None
) -> Change:
    """What was asked for, before anything is known of it."""
    return Change(
        id="",
        title=request.title,
        author=request.by,
        environment=workspace.environment,
        opened_at=workspace.now(),
        reason=request.reason,
        expected=request.expected,
        rollback_criteria=request.rollback_criteria,
        risks=request.risks,
        metrics=request.metrics,
        bounds=request.bounds,
        emergency=request.emergency.strip(),
        because=because,
    )
