"""What people decide: sign, waive, start, hold, take back. Policy has a word in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from interlock.app import refusals
from interlock.app.begin import begin, may_begin
from interlock.app.booking import approve, begins_at, cancelled
from interlock.app.changes import ATTEMPTS, Held, all_changes, held, save, told, update
from interlock.app.delegate import on_behalf
from interlock.app.dependents import wait_again
from interlock.app.weighing import keep_forged, keep_refused, kept, objections, standing, weigh
from interlock.app.workspace import CONTROLLER, Workspace
from interlock.change.accountable import refuse_early
from interlock.change.change import Change, moved, sent_back, signed, with_waiver
from interlock.change.evidence import Waiver
from interlock.change.signoff import SignOff, Word
from interlock.define.release import Route
from interlock.errors import Refused, Stale
from interlock.ports import Put
from interlock.rollout.machine import Facts, Request, advance, after
from interlock.rollout.routes import route_after
from interlock.rollout.state import HoldReason, RolloutState, State


def _allowed(workspace: Workspace, change: Change, action: str, by: str, puts: list[Put]) -> None:
    """Policy has a word in what a person decides, not only in what then moves.

    `puts` then hold the decision, to be written with what was decided.
    """
    found, decision = weigh(workspace, change, action, by)
    if found.objections:
        keep_refused(workspace, decision, by)
        keep_forged(workspace, change, by)
        help = "see the project's policies"
        raise Refused(f"{by} may not {action} {change.id}", help, found.objections)
    puts[:] = kept(workspace, decision)


def sign(
    workspace: Workspace,
    id: str,
    *,
    by: str,
    role: str,
    team: str,
    reject: str = "",
    plan: str = "",
) -> str:
    """One decision by one person for one team; SCHEDULED when nothing is missing any more.

    A rejection takes what was approved back to review, and the author reads why. `plan` is
    the digest that was looked at: raises `Stale` when it is another one by now.
    """
    puts: list[Put] = []

    def step(change: Change) -> Change:
        _refuse_another_plan(workspace, change, plan, by)
        there, now = standing(workspace, change), workspace.now()
        word: Word = "reject" if reject else "approve"
        behalf = on_behalf(workspace, there.owners, change, SignOff(by, role, team, "", now))
        decision = SignOff(by, role, team, change.plan_digest, now, word, reject, behalf)
        after = signed(change, decision, there.owners)
        if reject:
            said = f"rejected by {by} ({role} of {team}): {reject}"
            return _back(workspace, after, said, puts)
        refuse_early(role, change, there)
        _allowed(workspace, change, "approve", by, puts)
        return after

    change = update(workspace, id, by, step, puts)
    word = "rejects" if reject else "signs"
    return f"{by} {word} {id} as {role} of {team}{_settled(workspace, change, by)}"


def _refuse_another_plan(workspace: Workspace, change: Change, plan: str, by: str) -> None:
    if plan and plan != change.plan_digest:
        said = f"the plan of {change.id} changed since you looked; nothing was signed"
        shown = {"change": change.id, "plan": plan[:128], "person": by}
        refusals.keep(workspace, "plan", [said], by=by, shown=shown)
        raise Stale(said, help="look at it again, then sign what you saw")


def unsign(workspace: Workspace, id: str, *, by: str, role: str, team: str, reason: str) -> str:
    """Take a signature back; what was approved by it goes back to review, what runs holds."""
    puts: list[Put] = []

    def step(change: Change) -> Change:
        mine = [s for s in change.signoffs if (s.person, s.role, s.team) == (by, role, team)]
        if not any(s.agrees and s.plan_digest == change.plan_digest for s in mine):
            raise Refused(
                f"{by} has not signed {id} as {role} of {team}",
                help="`interlock status` lists who has",
            )
        last = replace(mine[-1], at=workspace.now(), decision="withdrawn", reason=reason)
        after = replace(change, signoffs=(*(s for s in change.signoffs if s not in mine), last))
        said = f"{by} withdrew the signature of {role} of {team}: {reason}"
        return _back(workspace, after, said, puts)

    change = update(workspace, id, by, step, puts)
    held_ = "; the rollout holds" if change.under_way else ""
    return f"{by} withdraws the signature of {role} of {team} from {id}{held_}"


def _back(workspace: Workspace, change: Change, said: str, puts: list[Put]) -> Change:
    """`change` in review again; the time that was taken for it is given back."""
    puts[:] = [] if change.under_way else cancelled(workspace, change, said)
    return sent_back(change, said)


def _settled(workspace: Workspace, change: Change, by: str) -> str:
    """What a decision led to: how much is open, or when it starts."""
    if change.under_way:
        return ""
    left = objections(workspace, change, "schedule", by)
    return f"; {len(left)} still open" if left else f"; {settle(workspace, change.id)}"


def settle(workspace: Workspace, id: str) -> str:
    """APPROVED, then SCHEDULED: two rows, each written once. Asked again it goes on from there."""
    said = approve(workspace, id, CONTROLLER)
    begins = begins_at(workspace, id)

    def step(change: Change) -> Change:
        if change.state != "APPROVED" or begins is None:
            return change
        return moved(change, "SCHEDULED", f"starts at {begins:%d %b %Y %H:%M} UTC")

    change = held(workspace.record, id).change
    if step(change) != change:
        update(workspace, id, CONTROLLER, step)
    return said


def waive(workspace: Workspace, id: str, check: str, *, by: str, role: str, reason: str) -> Change:
    """Lift one check, under a name and with a reason."""
    puts: list[Put] = []

    def step(change: Change) -> Change:
        there = standing(workspace, change)
        if check not in there.required:
            needs = f"it needs: {', '.join(there.required)}"
            raise Refused(f"{id} does not need {check}", help=needs)
        after = with_waiver(change, Waiver(check, by, role, reason, workspace.now()), there.owners)
        _allowed(workspace, change, "waive", by, puts)
        return after

    change = update(workspace, id, by, step, puts)
    # APPROVED: who waived before was cut off between two rows.
    agreed = change.state in ("REVIEW", "APPROVED")
    if agreed and not objections(workspace, change, "schedule", by):
        settle(workspace, id)
    return held(workspace.record, id).change


def apply(workspace: Workspace, id: str, *, by: str) -> str:
    """Start the release of an approved change, and of all that run beside it.

    Refuses with every objection there is to any of them.
    """
    for _ in range(ATTEMPTS):
        # The Route first: whoever starts something after this look moves it.
        route, before = workspace.route(), held(workspace.record, id)
        if before.change.under_way:
            return f"{id} is under way already"
        if before.change.state == "COMMITTED":
            return f"{id} is committed already"
        ready = may_begin(workspace, before, route, by)
        try:
            begin(workspace, ready, route, by)
        except Stale:
            continue  # a signature, or another start: what was true may not be true any more
        return f"{ready.names} {'is' if ready.names == id else 'are'} being prepared"
    raise Stale(f"{id} is being changed by others", help="look at it again, then try again")


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
    """Waive what is still open in this stage (never harm, never silence) and go on.

    Where several candidates wait for a choice, this one is chosen.
    """
    if not reason.strip():
        # The machine passes over a promotion without one: nobody should wait for it.
        raise Refused(f"{id} is not promoted", help="say what is waived, and why")
    change = held(workspace.record, id).change
    puts: list[Put] = []
    if change.under_way:
        _allowed(workspace, change, "waive", by, puts)
    if (change.details.get("rollout") or {}).get("hold") == HoldReason.CHOICE.value:
        _ask(workspace, id, by, Request("choose", by, reason), puts)
        return f"{id} goes on alone at the next look, at the word of {by}"
    _ask(workspace, id, by, Request("promote", by, reason), puts)
    return f"{id} goes on at the next look, at the word of {by}"


def retry(workspace: Workspace, id: str, *, by: str, reason: str) -> str:
    """Begin the stage again: its least time and its deadline count from now, evidence stays."""
    if not reason.strip():
        raise Refused(f"{id} is not given more time", help="say why waiting longer would help")
    if held(workspace.record, id).change.state == "PREPARING":
        raise Refused(f"{id} is in no stage yet", help="it goes on by itself when prepared")
    _ask(workspace, id, by, Request("retry", by, reason))
    return f"the stage of {id} begins again at the next look, at the word of {by}"


def _ask(
    workspace: Workspace, id: str, by: str, request: Request | None, puts: Sequence[Put] = ()
) -> None:
    def step(change: Change) -> Change:
        if not change.under_way:
            raise Refused(f"{id} is {change.state}: there is nothing to hold, promote or retry")
        details: dict[str, Any] = dict(change.details)
        details.pop("request", None)
        if request is not None:
            details["request"] = dict(request.__dict__)
        return replace(change, details=details)

    update(workspace, id, by, step, puts)


def rollback(workspace: Workspace, id: str, *, by: str, reason: str) -> str:
    """Back to the release before, now: one compare-and-swap, whoever else is at work.

    What was built on it goes back first: without `id` it is not what anybody has tested.
    """
    for _ in range(20):
        before = held(workspace.record, id)
        refuse_rollback(workspace, before.change)
        for above in _built_on(workspace, before.change):
            why = f"it stands on {id}, which is taken back: {reason}"
            rollback(workspace, above, by=by, reason=why)
        try:
            said = _roll_back(workspace, before, Request("rollback", by, reason))
            return "; ".join((said, *wait_again(workspace)))
        except Stale:
            continue  # the controller moved in between: look again, and still go back
    raise Stale(f"{id} is being changed too fast to be taken back", help="try again")


def refuse_rollback(workspace: Workspace, change: Change) -> None:
    """Raise `Refused` where `change` cannot be taken back any more, or not yet."""
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
    return f"{change.id}: {new_state.said}; {_where(new_route)}"


def _where(route: Route) -> str:
    """Who is on which release after somebody went back."""
    stable, others = (route.stable or "nothing")[:12], [one.change for one in route.candidates]
    if not others:
        return f"everybody is on {stable}"
    return f"its subjects are on {stable}; still running: {', '.join(others)}"
