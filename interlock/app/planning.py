"""The plan from the stable release to what the files say now. Reads; writes nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from interlock.app.changes import all_changes
from interlock.app.versions import Version, stable
from interlock.change.calendar import Booking, Interval, next_free_slot
from interlock.define.refs import Ref
from interlock.plan.make import Side, Where, make_plan
from interlock.plan.plan import Plan, Slot, with_slot

if TYPE_CHECKING:
    from interlock.app.workspace import Workspace


def plan_now(workspace: Workspace) -> Plan:
    """What would be done, with the next free slot of the calendar."""
    return plan_between(workspace, stable(workspace), wanted(workspace))


def wanted(workspace: Workspace) -> Version:
    """The files as they are now; models are not trained for them yet."""
    return Version(workspace.project, workspace.facts, {})


def plan_between(workspace: Workspace, old: Version | None, new: Version) -> Plan:
    """The plan between two versions, at the time and in the slot of this environment."""
    now = workspace.now()
    before = Side(old.project, old.facts, old.release) if old else None
    made = make_plan(Side(new.project, new.facts), before, Where(workspace.environment, now))
    return made if made.empty else with_slot(made, free_slot(workspace, new, made))


def free_slot(workspace: Workspace, version: Version, plan: Plan) -> Slot:
    """The first time at which nothing freezes or holds what this plan writes."""
    length = timedelta(seconds=max(plan.estimate.least_s, 3600.0))
    found = next_free_slot(
        version.project.calendar, bookings(workspace), plan.writes, length, workspace.now()
    )
    return Slot(found.start, found.end)


def bookings(workspace: Workspace) -> tuple[Booking, ...]:
    """What approved and running changes hold, and until when."""
    held = []
    for change in all_changes(workspace):
        slot = (change.plan or {}).get("slot")
        if not slot or not (change.under_way or change.state in ("APPROVED", "SCHEDULED")):
            continue
        plan = Plan.from_json(change.plan or {})
        if plan.slot is not None:
            refs = tuple(Ref.parse(text) for text in change.details.get("writes", ()))
            time = Interval(plan.slot.start, plan.slot.end)
            held.append(Booking(change.id, refs, time, change.title))
    return tuple(held)
