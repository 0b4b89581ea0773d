"""What people decide: sign, waive, start, hold, take back. Policy has a word in each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from interlock.app.booking import approve, bookings, cancelled, earliest, start, starting
from interlock.app.changes import (
    ATTEMPTS,
    Held,
    all_changes,
    evidence_of,
    held,
    save,
    told,
    update,
)
from interlock.app.reviews import reviews_of
from interlock.app.versions import calendar_over, stable, stored
from interlock.app.workspace import Workspace
from interlock.change.change import Change, moved, signed, with_waiver
from interlock.change.evidence import Waiver
from interlock.change.policy import principal
from interlock.change.ready import Standing, ready
from interlock.change.request import request_of
from interlock.change.review import still_asked
from interlock.change.signoff import Requirement, SignOff
from interlock.define.digest import digest
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.errors import Conflict, Refused, Stale
from interlock.plan.plan import Plan
from interlock.plan.require import Impact, emergency_signer, requirements
from interlock.ports import Put
from interlock.rollout.machine import Facts, Request, advance, after
from interlock.rollout.routes import route_after
from interlock.rollout.state import RolloutState, State, stages_of

NOBODY = "controller"


def standing(workspace: Workspace, change: Change) -> Standing:
    """Everything that decides about `change` and is not part of it."""
    if change.plan is None:
        raise Refused(
            f"{change.id} has no plan yet",
            help="if its proposing was cut off, propose it again or withdraw it",
        )
    if not change.release:
        raise Refused(
            f"{change.id} is {change.state} and has no release yet",
            help=f"`interlock status {change.id}` says what it waits for",
        )
    version = stored(workspace, change.release)
    running = stable(workspace) or version
    plan = Plan.from_json(change.plan)
    project = version.project
    writes = tuple(Ref.parse(text) for text in change.details.get("writes", ()))
    now = workspace.now()
    route = workspace.route()
    return Standing(
        now=now,
        current={name: node.fingerprint for name, node in version.facts.nodes.items()},
        stable=route.stable,
        required=still_asked(reviews_of(workspace.record), plan.evidence),
        requirements=_signers(plan, running.project, project, change),
        evidence=evidence_of(workspace.record, change),
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
        emergency_role=running.project.environments[workspace.environment].emergency_role,
    )


def _signers(plan: Plan, running: Project, wanted: Project, change: Change) -> list[Requirement]:
    """Who must sign, as the running release knows its owners: nobody is relieved by the change.

    What is new is signed for by its new owner, if that team is known already.
    """
    impact = Impact(plan.differences, plan.reached, plan.steps)
    found, unknown = requirements((running, wanted), impact)
    # Where the running release knows nobody for a role, what was planned still binds.
    asked = (*found, *plan.requirements) if unknown else found
    if change.emergency:
        role = running.environments[change.environment].emergency_role
        asked = (*asked, *emergency_signer(running, role, change.author)[0])
    return [Requirement(r.role, r.team, r.why) for r in asked]


def objections(
    workspace: Workspace, change: Change, action: str = "start", by: str = NOBODY
) -> tuple[str, ...]:
    """Everything that stands between `change` and `action`; empty before it has a plan."""
    if change.plan is None or change.state not in ("EVIDENCE", "REVIEW", "APPROVED", "SCHEDULED"):
        return ()
    other = digest(change.plan) != change.plan_digest
    edited = (f"the plan of {change.id} is not the one that was signed",) if other else ()
    promised = change.plan.get("request")
    if promised and promised != request_of(change).digest:
        edited = (*edited, f"what {change.author} promised is not what the plan was signed with")
    return (*_asked(workspace, change, action, by), *edited)


def _asked(workspace: Workspace, change: Change, action: str, by: str) -> tuple[str, ...]:
    there = standing(workspace, change)
    who = principal(there.owners, by)
    return ready(change, there, _policies(workspace, change), who, action)


def _refuse_by_policy(workspace: Workspace, change: Change, action: str, by: str) -> None:
    """Policy has a word in what a person decides, not only in what then moves."""
    found = _asked(workspace, change, action, by)
    if found:
        raise Refused(f"{by} may not {action} {change.id}", "see the project's policies", found)


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
        after = signed(change, decision, owners)
        if not reject:
            _refuse_by_policy(workspace, change, "approve", by)
        return after

    change = update(workspace, id, by, step)
    left = objections(workspace, change, "schedule", by)
    word = "rejects" if reject else "signs"
    lacks = f"{len(left)} still open" if left else approve(workspace, id, NOBODY)
    return f"{by} {word} {id} as {role} of {team}; {lacks}"


def waive(workspace: Workspace, id: str, check: str, *, by: str, role: str, reason: str) -> Change:
    """Lift one check, under a name and with a reason."""
    there = standing(workspace, held(workspace.record, id).change)
    if check not in there.required:
        raise Refused(f"{id} does not need {check}", help=f"it needs: {', '.join(there.required)}")
    waiver = Waiver(check, by, role, reason, workspace.now())

    def step(change: Change) -> Change:
        after = with_waiver(change, waiver, there.owners)
        _refuse_by_policy(workspace, change, "waive", by)
        return after

    return update(workspace, id, by, step)


def apply(workspace: Workspace, id: str, *, by: str) -> str:
    """Start the release of an approved change. Refuses with every objection there is."""
    for _ in range(ATTEMPTS):
        # The Route first: whoever starts something after this look moves it.
        route, before = workspace.route(), held(workspace.record, id)
        if before.change.under_way:
            return f"{id} is under way already"
        if before.change.state == "COMMITTED":
            return f"{id} is committed already"
        _refuse_start(workspace, before.change, route, by)
        try:
            _start(workspace, before, route, by)
        except Stale:
            continue  # a signature, or another start: what was true may not be true any more
        return f"{id} is being prepared"
    raise Stale(f"{id} is being changed by others", help="look at it again, then try again")


def _refuse_start(workspace: Workspace, change: Change, route: Route, by: str) -> None:
    if change.release and change.made_against != route.stable:
        raise Stale(
            f"{change.id} was planned against a release that no longer runs",
            help="propose it again: plan, evidence and signatures must be about what runs now",
        )
    if change.state not in ("REVIEW", "APPROVED", "SCHEDULED"):
        standing(workspace, change)  # refuses what has no plan
        moved(change, "PREPARING")
    found = objections(workspace, change, "start", by)
    other = route.change or _under_way(workspace)
    if other:
        busy = f"{other} is being rolled out in {workspace.environment}"
        help = f"wait until {other} has ended, or take it back"
        raise Conflict(f"{change.id} may not start", help, (busy, *found))
    if found:
        raise Refused(
            f"{change.id} may not start", help="each line says what is missing", objections=found
        )


def _under_way(workspace: Workspace) -> str | None:
    """The change that has started and is not on the Route yet, or is leaving it."""
    going = ("ABORTING", "REVERTING")
    return next(
        (
            change.id
            for change in all_changes(workspace)
            if (change.under_way or change.state in going)
            and change.environment == workspace.environment
        ),
        None,
    )


def _start(workspace: Workspace, before: Held, route: Route, by: str) -> None:
    if before.change.state == "REVIEW":
        before = save(workspace, before, moved(before.change, "APPROVED"), by=by)
    change = before.change
    environment = stored(workspace, change.release).project.environments[workspace.environment]
    state = RolloutState(
        change=change.id,
        release=change.release,
        stable=change.made_against,
        stages=stages_of(environment),
        rollback_window=environment.rollback_window,
        entered_at=workspace.now(),
        registered=change.details["judge"]["digest"],
    )
    started = moved(change, "PREPARING", f"started by {by}")
    details = {**started.details, "rollout": state.to_json()}
    # The Route says nothing new, but its epoch does: of two starts at once one is refused.
    claimed = replace(route, epoch=route.epoch + 1)
    put = Put(workspace.route_ref, claimed.to_json(), route.epoch)
    also = [put, *start(workspace, change)]
    save(workspace, before, replace(started, details=details), by=by, also=also)


def withdraw(workspace: Workspace, id: str, *, by: str, reason: str) -> Change:
    """Close a change that has not started; it stays in the record with its evidence."""
    for _ in range(ATTEMPTS):
        before = held(workspace.record, id)
        after_ = moved(before.change, "WITHDRAWN", f"withdrawn: {reason}")
        try:
            puts = cancelled(workspace, after_, after_.said)
            return save(workspace, before, after_, by=by, also=puts).change
        except Stale:
            continue
    raise Stale(f"{id} is being changed by others", help="look at it again, then try again")


def hold(workspace: Workspace, id: str, *, by: str, reason: str, resume: bool = False) -> str:
    """Stand still until resumed. Asked of the controller, which does it at its next look."""
    _ask(workspace, id, by, None if resume else Request("hold", by, reason))
    return f"{id} goes on" if resume else f"{id} is held by {by}"


def promote(workspace: Workspace, id: str, *, by: str, reason: str) -> str:
    """Waive what is still open in this stage (never harm, never silence) and go on."""
    if not reason.strip():
        # The machine passes over a promotion without one: nobody should wait for it.
        raise Refused(f"{id} is not promoted", help="say what is waived, and why")
    change = held(workspace.record, id).change
    if change.under_way:
        _refuse_by_policy(workspace, change, "waive", by)
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
    """Back to the release before, now: one compare-and-swap, whoever else is at work.

    What was built on it goes back first: without `id` it is not what anybody has tested.
    """
    for _ in range(20):
        before = held(workspace.record, id)
        _refuse_rollback(workspace, before.change)
        for above in _built_on(workspace, before.change):
            why = f"it stands on {id}, which is taken back: {reason}"
            rollback(workspace, above, by=by, reason=why)
        try:
            return _roll_back(workspace, before, Request("rollback", by, reason))
        except Stale:
            continue  # the controller moved in between: look again, and still go back
    raise Stale(f"{id} is being changed too fast to be taken back", help="try again")


def _refuse_rollback(workspace: Workspace, change: Change) -> None:
    if "rollout" not in change.details or not (change.under_way or change.state == "COMMITTED"):
        raise Refused(
            f"{change.id} is {change.state}: nothing of it runs that could be taken back",
            help="to undo an older change, propose the definitions from before it",
        )
    state = RolloutState.from_json(change.details["rollout"])
    if state.state is State.COMMITTED and workspace.now() >= (
        state.entered_at + state.rollback_window
    ):
        raise Refused(
            f"{change.id} is not taken back: its rollback window is over",
            help="propose the definitions from before it; what it replaced may be gone",
        )


def _built_on(workspace: Workspace, change: Change) -> list[str]:
    """Changes that run, or are about to, on top of this one's release; the newest first."""
    return [
        other.id
        for other in all_changes(workspace)
        if (other.under_way or other.state == "COMMITTED")
        and other.made_against == change.release
        and other.environment == change.environment
    ]


def _roll_back(workspace: Workspace, before: Held, request: Request) -> str:
    now, change, route = workspace.now(), before.change, workspace.route()
    state = RolloutState.from_json(change.details["rollout"])
    new_state, new_route = state, route
    if state.state is not State.COMMITTED or route.stable == change.release:
        decision = advance(state, None, Facts(request=request), now)
        new_state, new_route = after(state, decision, now), route_after(route, decision)
    if new_route == route:
        raise Refused(
            f"{change.id} is not taken back: another release runs, and cannot be taken back",
            help="propose the definitions that should run",
        )
    put = Put(workspace.route_ref, new_route.to_json(), route.epoch)
    save(workspace, before, told(change, new_state), by=request.by, also=[put])
    return f"{change.id}: {new_state.said}; everybody is on {(new_route.stable or 'nothing')[:12]}"
