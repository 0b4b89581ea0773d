"""The plan from the stable release to what the files say now. Changes no state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from interlock.app.beside import NOWHERE, Placed, begins_with, in_place
from interlock.app.booking import bookings, slot_of, world_of
from interlock.app.changes import held
from interlock.app.gating import foreseen
from interlock.app.reviews import with_actions
from interlock.app.versions import Version, calendar_over, definitions, stable, stored
from interlock.change.calendar import Agenda, next_free_slot
from interlock.change.change import NEVER
from interlock.change.conflicts import Booking
from interlock.change.footprint import footprint, outline, phases_of
from interlock.errors import Refused
from interlock.impact.difference import differences
from interlock.impact.graph import GraphData, graph
from interlock.plan.make import Side, Where, make_plan
from interlock.plan.plan import Plan, Slot, with_slot
from interlock.plan.why import Why, why

if TYPE_CHECKING:
    from interlock.app.workspace import Workspace


@dataclass(frozen=True)
class Look:
    """A plan with the two versions it lies between, for whoever asks why."""

    plan: Plan
    old: Version | None
    new: Version

    def why(self, ref: str) -> Why:
        """Why the plan does to `ref` what it does."""
        return why(self.plan, _side(self.new), _side(self.old) if self.old else None, ref)

    def graph(self) -> GraphData:
        """What reads what, with the verdict of each."""
        return graph(self.old.facts if self.old else None, self.new.facts)


def _side(version: Version) -> Side:
    return Side(version.project, version.facts, version.release)


def plan_now(workspace: Workspace, after: str = "") -> Plan:
    """What would be done, with the next free slot of the calendar."""
    return look(workspace, after).plan


def look(workspace: Workspace, after: str = "", beside: str = "") -> Look:
    """The plan for the files as they are, on what runs now or on what change `after` leads to.

    `beside` is the change in whose experiment it would run.
    """
    placed = Placed(after, beside)
    old, new = (post_state(workspace, after) if after else stable(workspace)), wanted(workspace)
    return Look(plan_between(workspace, old, new, placed), old, new)


def wanted(workspace: Workspace) -> Version:
    """The files as they are now; models are not trained for them yet."""
    return Version(workspace.project, workspace.facts, {})


def post_state(workspace: Workspace, id: str) -> Version:
    """What runs once change `id` is through; refuses when that will never be."""
    change = held(workspace.record, id).change
    if change.state in NEVER:
        raise Refused(
            f"{id} is {change.state}: what it leads to will not run",
            help="plan on what runs now, or on another change",
        )
    if change.environment != workspace.environment:
        raise Refused(f"{id} is a change of {change.environment}", help="name one of this one")
    if change.state == "DEFERRED":
        # It has no release before it is trained; what it will mean is known from its files.
        texts = definitions(workspace, change.details["definitions"])
        return Version(*workspace.learn(texts), {}, waiting_name(id))
    if not change.release:
        raise Refused(
            f"{id} is {change.state} and has no release yet",
            help="wait until its evidence is gathered, then plan on it",
        )
    return stored(workspace, change.release)


def waiting_name(id: str) -> str:
    """What a plan is made against when the change it builds on waits itself."""
    return f"after:{id}"


def plan_between(
    workspace: Workspace, old: Version | None, new: Version, placed: Placed = NOWHERE
) -> Plan:
    """The plan between two versions, at the time and in the slot of this environment."""
    before = _side(old) if old else None
    where = Where(workspace.environment, workspace.now(), importance=importance_of(old))
    made = make_plan(_side(new), before, where)
    if placed.after and old is not None:
        made = _waiting(made, stable(workspace), old, new, placed.after)
    made = with_actions(workspace.record, made)
    environment = new.project.environments[workspace.environment]
    made = in_place(workspace, foreseen(workspace, made, environment), environment, placed)
    if made.empty:
        return made
    return with_slot(made, free_slot(workspace, new, made, placed.instead_of))


def importance_of(version: Version | None) -> dict[str, dict[str, float]]:
    """By model and feature (`view@1:feature`): its share of the gain when it was last trained."""
    if version is None or not version.models:
        return {}
    from interlock.features.compile import column_names

    found = {}
    for name, trained in version.models.items():
        columns = column_names(version.project.models[name].features)
        shares = trained.importance
        found[name] = {text: shares[column] for text, column in columns.items() if column in shares}
    return found


def _waiting(made: Plan, runs: Version | None, old: Version, new: Version, after: str) -> Plan:
    """`made` on the post-state `old`; refused where it would silently take `after` back."""
    before = runs.facts if runs else None
    ours = {difference.ref for difference in differences(before, new.facts)}
    undone = [
        f"the files take back what {after} does to {theirs.ref}: `interlock adopt {after}` first"
        for theirs in differences(before, old.facts)
        if theirs.ref not in ours
    ]
    return replace(made, after=after, objections=(*made.objections, *undone))


def free_slot(workspace: Workspace, version: Version, plan: Plan, instead_of: str = "") -> Slot:
    """The first time at which no rule of the calendar stops this plan.

    From the time on that change `instead_of` has, when it is still to come.
    """
    calendar = calendar_over(workspace, version)
    start = workspace.now() + calendar.notice
    if plan.after:
        before = (held(workspace.record, plan.after).change.plan or {}).get("slot")
        start = max(start, datetime.fromisoformat(before[1])) if before else start
    if plan.beside:
        start = max([start, *begins_with(workspace, plan.beside)])
    booked, project = bookings(workspace), version.project
    own = [one.phases.start for one in booked if one.change == instead_of]
    start, others = max([start, *own]), [one for one in booked if one.change != instead_of]
    # Who reads what is followed only when somebody is there to meet.
    known = (
        footprint(plan, version.facts, project, calendar)
        if others
        else outline(plan, project, calendar)
    )
    times = phases_of(plan, project.environments[plan.environment], calendar, start)
    wanted_ = Booking("", known, times, after=plan.after or "", experiment=plan.beside or "")
    world = world_of(workspace, calendar)
    return slot_of(next_free_slot(Agenda(others), wanted_, world, start))
