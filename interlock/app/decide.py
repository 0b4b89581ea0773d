"""What people decide: sign, waive, start, hold, take back. Policy has a word in each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from interlock.app.changes import Held, evidence_of, held, save, update
from interlock.app.planning import bookings
from interlock.app.tick import told
from interlock.app.versions import stable, stored
from interlock.app.workspace import Workspace
from interlock.change.calendar import Booking, Interval
from interlock.change.change import Change, moved, signed, with_waiver
from interlock.change.evidence import Waiver
from interlock.change.policy import principal
from interlock.change.ready import Standing, ready
from interlock.change.signoff import Requirement, SignOff
from interlock.define.refs import Ref
from interlock.errors import Conflict, Refused, Stale
from interlock.plan.plan import Plan
from interlock.ports import Put
from interlock.rollout.machine import Facts, Request, advance, after
from interlock.rollout.routes import route_after
from interlock.rollout.state import RolloutState, stages_of

NOBODY = "controller"


def standing(workspace: Workspace, change: Change) -> Standing:
    """Everything that decides about `change` and is not part of it."""
    version = stored(workspace, change.release)
    plan = Plan.from_json(change.plan or {})
    project = version.project
    owners = (stable(workspace) or version).project.owners
    writes = tuple(Ref.parse(text) for text in change.details.get("writes", ()))
    now = workspace.now()
    length = (plan.slot.end - plan.slot.start) if plan.slot else None
    route = workspace.route()
    return Standing(
        now=now,
        current={name: node.fingerprint for name, node in version.facts.nodes.items()},
        stable=route.stable,
        required=plan.evidence,
        requirements=[Requirement(r.role, r.team, r.why) for r in plan.requirements],
        evidence=evidence_of(workspace.record, change),
        # Of the release that runs: a change cannot give its own signers their roles.
        owners=owners,
        writes=writes,
        calendar=project.calendar,
        booking=Booking(change.id, writes, Interval(now, now + length)) if length else None,
        bookings=bookings(workspace),
        stages=stages_of(project.environments[workspace.environment]),
        tiers=change.details.get("tiers", ()),
        cards_missing=change.details.get("cards_missing", ()),
        blocked=route.blocked,
    )


def objections(
    workspace: Workspace, change: Change, action: str = "start", by: str = NOBODY
) -> tuple[str, ...]:
    """Everything that stands between `change` and `action`; empty before it has a plan."""
    if change.plan is None or change.state not in ("EVIDENCE", "REVIEW", "APPROVED", "SCHEDULED"):
        return ()
    there = standing(workspace, change)
    who = principal(there.owners, by)
    return ready(change, there, _policies(workspace, change), who, action)


def _policies(workspace: Workspace, change: Change) -> Any:
    """The policies of the release that runs: a change cannot weaken those that judge it."""
    from interlock.adapters.cedar import CedarPolicies

    version = stable(workspace) or stored(workspace, change.release)
    return CedarPolicies(version.project.policies)


def sign(workspace: Workspace, id: str, *, by: str, role: str, team: str, reject: str = "") -> str:
    """One decision by one person for one team; APPROVED when nothing is missing any more."""
    owners = standing(workspace, held(workspace.record, id).change).owners

    def step(change: Change) -> Change:
        decision = SignOff(
            by, role, team, change.plan_digest, workspace.now(),
            "reject" if reject else "approve", reject,
        )  # fmt: skip
        return signed(change, decision, owners)

    change = update(workspace, id, by, step)
    left = objections(workspace, change, "schedule", by)
    if not left and change.state == "REVIEW":
        update(
            workspace, id, NOBODY, lambda c: moved(c, "APPROVED", "everything required is there")
        )
    word = "rejects" if reject else "signs"
    lacks = f"; {len(left)} still open" if left else "; approved"
    return f"{by} {word} {id} as {role} of {team}{lacks}"


def waive(workspace: Workspace, id: str, check: str, *, by: str, role: str, reason: str) -> Change:
    """Lift one check, under a name and with a reason."""
    change = held(workspace.record, id).change
    plan = Plan.from_json(change.plan or {})
    if check not in plan.evidence:
        raise Refused(f"{id} does not need {check}", help=f"it needs: {', '.join(plan.evidence)}")
    owners = standing(workspace, change).owners
    waiver = Waiver(check, by, role, reason, workspace.now())
    return update(workspace, id, by, lambda c: with_waiver(c, waiver, owners))


def apply(workspace: Workspace, id: str, *, by: str) -> str:
    """Start the release of an approved change. Refuses with every objection there is."""
    before = held(workspace.record, id)
    change = before.change
    if change.under_way:
        return f"{id} is under way already"
    if change.state == "COMMITTED":
        return f"{id} is committed already"
    if change.made_against != workspace.route().stable:
        raise Stale(
            f"{id} was planned against a release that no longer runs",
            help="propose it again: plan, evidence and signatures must be about what runs now",
        )
    other = workspace.route().change
    found = objections(workspace, change, "start", by)
    if other:
        busy = f"{other} is being rolled out in {workspace.environment}"
        help = f"wait until {other} has ended, or take it back"
        raise Conflict(f"{id} may not start", help, (busy, *found))
    if found:
        raise Refused(
            f"{id} may not start", help="each line says what is missing", objections=found
        )
    if change.state == "REVIEW":
        before = save(workspace, before, moved(change, "APPROVED"), by=by)
    version = stored(workspace, change.release)
    environment = version.project.environments[workspace.environment]
    state = RolloutState(
        change=id,
        release=change.release,
        stable=change.made_against,
        stages=stages_of(environment),
        rollback_window=environment.rollback_window,
        entered_at=workspace.now(),
        registered=change.details["judge"]["digest"],
    )
    started = moved(before.change, "PREPARING", f"started by {by}")
    details = {**started.details, "rollout": state.to_json()}
    save(workspace, before, replace(started, details=details), by=by)
    return f"{id} is being prepared"


def withdraw(workspace: Workspace, id: str, *, by: str, reason: str) -> Change:
    """Close a change that has not started; it stays in the record with its evidence."""
    return update(workspace, id, by, lambda c: moved(c, "WITHDRAWN", f"withdrawn: {reason}"))


def hold(workspace: Workspace, id: str, *, by: str, reason: str, resume: bool = False) -> str:
    """Stand still until resumed. Asked of the controller, which does it at its next look."""
    _ask(workspace, id, by, None if resume else Request("hold", by, reason))
    return f"{id} goes on" if resume else f"{id} is held by {by}"


def promote(workspace: Workspace, id: str, *, by: str, reason: str) -> str:
    """Waive what is still open in this stage (never harm, never silence) and go on."""
    if not reason.strip():
        # The machine passes over a promotion without one: nobody should wait for it.
        raise Refused(f"{id} is not promoted", help="say what is waived, and why")
    _ask(workspace, id, by, Request("promote", by, reason))
    return f"{id} goes on at the next look, at the word of {by}"


def _ask(workspace: Workspace, id: str, by: str, request: Request | None) -> None:
    def step(change: Change) -> Change:
        if not change.under_way:
            raise Refused(f"{id} is {change.state}: there is nothing to hold or promote")
        details: dict[str, Any] = dict(change.details)
        details.pop("request", None)
        if request is not None:
            details["request"] = dict(request.__dict__)
        return replace(change, details=details)

    update(workspace, id, by, step)


def rollback(workspace: Workspace, id: str, *, by: str, reason: str) -> str:
    """Back to the release before, now: one compare-and-swap, whoever else is at work."""
    for _ in range(20):
        before = held(workspace.record, id)
        _refuse_rollback(before.change)
        try:
            return _roll_back(workspace, before, Request("rollback", by, reason))
        except Stale:
            continue  # the controller moved in between: look again, and still go back
    raise Stale(f"{id} is being changed too fast to be taken back", help="try again")


def _refuse_rollback(change: Change) -> None:
    if "rollout" not in change.details or not (change.under_way or change.state == "COMMITTED"):
        raise Refused(
            f"{change.id} is {change.state}: nothing of it runs that could be taken back",
            help="to undo an older change, propose the definitions from before it",
        )


def _roll_back(workspace: Workspace, before: Held, request: Request) -> str:
    now, change, route = workspace.now(), before.change, workspace.route()
    state = RolloutState.from_json(change.details["rollout"])
    decision = advance(state, None, Facts(request=request), now)
    new_state, new_route = after(state, decision, now), route_after(route, decision)
    if new_state == state:
        raise Refused(f"{change.id}: {new_state.said or 'its rollback window is over'}")
    puts: list[Put] = []
    if new_route != route:
        puts.append(Put(workspace.route_ref, new_route.to_json(), route.epoch))
    save(workspace, before, told(change, new_state), by=request.by, also=puts)
    return f"{change.id}: {new_state.said}; everybody is on {(new_route.stable or 'nothing')[:12]}"
