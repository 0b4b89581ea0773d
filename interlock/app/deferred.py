"""Changes that build on another one: planned on what it leads to, proven once it is through.

While the other change is open this one waits in DEFERRED. Its files are kept with it, so
that what is planned again afterwards is what was proposed, whatever the folder says then.
"""

from __future__ import annotations

from dataclasses import replace

from interlock.app.beside import Placed
from interlock.app.build import Say, quiet
from interlock.app.changes import Held, held, open_new, save
from interlock.app.planning import plan_between, post_state, waiting_name, wanted
from interlock.app.proposable import asked_for, may_propose
from interlock.app.propose import draft, possible, propose
from interlock.app.rebase import again, rebase
from interlock.app.versions import definitions, keep_definitions
from interlock.app.workspace import Workspace
from interlock.change.change import NEVER, THROUGH, Change, Planned, moved, planned
from interlock.change.request import Request, request_of
from interlock.errors import Refused, Stale
from interlock.plan.plan import Plan
from interlock.ports import RecordReader

_WAITING = ("DEFERRED", "PLANNED", "EVIDENCE")  # the last two when a replan was cut off


def propose_after(workspace: Workspace, request: Request, after: str, say: Say = quiet) -> Change:
    """CR-n that builds on `after`: DEFERRED until that is committed, proposed at once if it is."""
    if held(workspace.record, after).change.state in THROUGH:
        return propose(workspace, request, say)
    old, new = post_state(workspace, after), wanted(workspace)
    made = plan_between(workspace, old, new, Placed(after))
    plan = possible(workspace, asked_for(made, request, old.project))
    opening = draft(workspace, request)
    may_propose(workspace, opening, plan, (old, new))
    opened = open_new(workspace, opening)
    say(f"{opened.change.id}: {request.title}; it waits for {after}")
    kept = keep_definitions(workspace, new.project)
    return _wait(workspace, opened, plan, kept)


def _wait(workspace: Workspace, opened: Held, plan: Plan, kept: str) -> Change:
    """One write: the plan on the post-state, and what it will be planned from again."""
    # No release yet: which artifacts it would hold is known when its models are trained.
    made = Planned(plan.to_json(), plan.digest, "", plan.made_against)
    details = {
        "after": plan.after, "definitions": kept, "writes": [str(ref) for ref in plan.writes],
    }  # fmt: skip
    change = replace(planned(opened.change, made), details=details)
    change = moved(change, "DEFERRED", f"planned on what {plan.after} leads to; waits for it")
    return save(workspace, opened, change, by=change.author).change


def replan(workspace: Workspace, id: str, say: Say = quiet, after: str = "") -> Change:
    """Plan a change on what runs now, make the evidence that this moved, ask for review.

    One that waited for another change takes it up from there; `after` makes it wait for
    another one than before, as when that was taken back. Any other is carried over to the
    release that runs now.

    Raises `Refused` while the change it waits for is open, or when that will never run, and
    `Stale` when something else runs than this was planned on.
    """
    before = held(workspace.record, id)
    change = before.change
    if "after" not in change.details or change.state not in _WAITING:
        _refuse_after(change, after)
        return rebase(workspace, before, say)
    if after:
        before = _onto(workspace, before, after)
        change = before.change
        if change.state == "DEFERRED" and held(workspace.record, after).change.state not in THROUGH:
            return change
    _refuse_early(workspace, change)
    # The engines are shared; only the definitions are those that were proposed.
    say(f"{id}: {change.details['after']} is through")
    return again(workspace, before, definitions(workspace, change.details["definitions"]), say)


def _refuse_after(change: Change, after: str) -> None:
    if after:
        raise Refused(
            f"{change.id} is {change.state}: it waits for no other change",
            help="propose its files again with --after",
        )


def _onto(workspace: Workspace, before: Held, after: str) -> Held:
    """`before` planned on the post-state of `after`, from its own files, and waiting for it."""
    change = before.change
    if after == change.id:
        raise Refused(f"{after} cannot wait for itself", help="name the change it builds on")
    there = workspace.with_texts(definitions(workspace, change.details["definitions"]))
    old, new = post_state(workspace, after), wanted(there)
    made = plan_between(there, old, new, Placed(after))
    plan = possible(there, asked_for(made, request_of(change), old.project))
    again = Planned(plan.to_json(), plan.digest, "", plan.made_against)
    details = {**change.details, "after": after, "tried_on": None}
    moved_ = replace(planned(change, again), details=details)
    said = f"planned on what {after} leads to; waits for it"
    return save(workspace, before, moved(moved_, "DEFERRED", said), by=change.author)


def _refuse_early(workspace: Workspace, change: Change) -> None:
    upstream = held(workspace.record, change.details["after"]).change
    if upstream.state in NEVER:
        raise Refused(
            f"{upstream.id} is {upstream.state}: what {change.id} builds on will not run",
            help=f"withdraw {change.id}, or propose its files again without --after",
        )
    if upstream.state not in THROUGH:
        raise Refused(
            f"{change.id} still waits for {upstream.id}, which is {upstream.state}",
            help=f"once {upstream.id} is committed, ask again",
        )
    planned_on = (change.plan or {}).get("made_against")
    on_this = planned_on in (upstream.release, waiting_name(upstream.id))
    if not on_this or upstream.release != workspace.route().stable:
        raise Stale(
            f"{change.id} was planned on another release than the one that runs now",
            help="take over what was released since into its files, then propose them again",
        )


def waiting(record: RecordReader, change: Change) -> tuple[str, ...]:
    """What a deferred change waits for, and what to do about it; empty for any other."""
    if change.state != "DEFERRED":
        return ()
    upstream = held(record, change.details["after"]).change
    if upstream.state in NEVER:
        again = f"interlock replan {change.id} --after CR-n makes it wait for another"
        said = f"{upstream.id} is {upstream.state}: what this builds on will not run"
        return (said, again)
    if upstream.state in THROUGH:
        failed = (change.said,) if change.details.get("tried_on") else ()
        said = f"{upstream.id} is through: the controller plans it again, or interlock replan"
        return (*failed, f"{said} {change.id}")
    return (f"waits for {upstream.id}, which is {upstream.state}",)
