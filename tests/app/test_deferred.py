"""A change that builds on another: planned on its post-state, waits, is planned again, or never."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import app_world as world
import pytest

from interlock.app import decide
from interlock.app.changes import describe, held, open_new, save
from interlock.app.deferred import propose_after, replan
from interlock.app.dependents import follow, wait_again
from interlock.app.planning import look, plan_now
from interlock.app.propose import draft
from interlock.app.versions import stable, stored
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.define.refs import Ref
from interlock.errors import NotFound, Refused, Stale
from interlock.plan.plan import Plan
from interlock.ports import Put
from interlock.web.desk import RecordDesk

CREW, LATE = "services/crew.yaml", "models/late.yaml"
UPSTREAM = (CREW, "margin: 0.05", "margin: 0.06")
LATER = (LATE, "  margin: 0.02", "  margin: 0.03")


@pytest.fixture(scope="module")
def two(released: Path, life: Path) -> Path:
    """CR-1 is live; CR-2 (another margin for crew) is in review, and the folder says so too."""
    folder = world.copied(released, life / "upstream")
    world.edit(folder, *UPSTREAM)
    with world.opened(folder) as workspace:
        world.proposed(workspace, "A wider margin for crew")
    return folder


@pytest.fixture
def workspace(two: Path, tmp_path: Path) -> Iterator[Workspace]:
    folder = world.copied(two, tmp_path / "project")
    with world.opened(folder) as found:
        yield found


def deferred(workspace: Workspace) -> Change:
    """CR-3 on top of CR-2: another margin for the model."""
    world.edit(workspace.folder, *LATER)
    workspace.reread()
    return propose_after(workspace, world.asked("A wider margin for the model"), "CR-2")


def committed(workspace: Workspace, id: str) -> None:
    """As the controller leaves it after the last stage; the stages are told elsewhere."""
    before = held(workspace.record, id)
    done = replace(before.change, state="COMMITTED", said="committed")
    save(workspace, before, done, by="controller", also=[routed(workspace, done.release)])


def routed(workspace: Workspace, release: str | None) -> Put:
    """Everybody gets `release`."""
    route = workspace.route()
    body = replace(route, epoch=route.epoch + 1, stable=release).to_json()
    return Put(workspace.route_ref, body, route.epoch)


def test_the_plan_lies_between_the_post_state_and_the_files(workspace: Workspace) -> None:
    change = deferred(workspace)
    assert (change.state, change.id) == ("DEFERRED", "CR-3")
    upstream = world.current(workspace, "CR-2")
    assert (change.made_against, change.release) == (upstream.release, "")
    plan = Plan.from_json(change.plan or {})
    # Only its own edit, not that of CR-2, which the folder has as well.
    assert [str(d.ref) for d in plan.differences] == ["model:late"]
    assert plan.after == "CR-2"
    first = Plan.from_json(upstream.plan or {}).slot
    assert plan.slot is not None
    assert first is not None
    assert plan.slot.start >= first.end
    both = {str(d.ref) for d in plan_now(workspace).differences}
    assert both == {"service:crew", "model:late"}
    assert {str(d.ref) for d in look(workspace, "CR-2").plan.differences} == {"model:late"}


def test_while_it_waits_nobody_signs_or_starts_it_and_all_are_told_why(
    workspace: Workspace,
) -> None:
    deferred(workspace)
    assert describe(workspace, "CR-3").objections == ("waits for CR-2, which is REVIEW",)
    with pytest.raises(Refused, match="still waits for CR-2, which is REVIEW"):
        replan(workspace, "CR-3")
    with pytest.raises(Refused, match="is DEFERRED and has no release yet"):
        decide.sign(workspace, "CR-3", by="carlos", role="service_owner", team="ops-crew")
    with pytest.raises(Refused):
        decide.apply(workspace, "CR-3", by="sam")
    assert world.current(workspace, "CR-3").state == "DEFERRED"
    page = RecordDesk(workspace).change("CR-3")
    assert page is not None
    assert (page.state, page.plan) == ("Deferred", world.current(workspace, "CR-3").plan_digest)


def test_once_the_other_is_through_it_is_planned_again_and_proven(workspace: Workspace) -> None:
    deferred(workspace)
    committed(workspace, "CR-2")
    # The folder may say anything by now: what was proposed is what is planned again.
    world.edit(workspace.folder, LATE, "  margin: 0.03", "  margin: 0.5")
    workspace.reread()
    (said,) = describe(workspace, "CR-3").objections
    assert said == "CR-2 is through: the controller plans it again, or interlock replan CR-3"
    change = replan(workspace, "CR-3")
    assert change.state == "REVIEW"
    assert change.made_against == workspace.route().stable
    assert change.evidence
    assert change.release
    assert (change.plan or {})["after"] is None
    assert change.details["after"] == "CR-2"
    project = stored(workspace, change.release).project
    assert project.services["crew"].kpi.margin == 0.06
    assert project.models["late"].evaluation.margin == 0.03
    with pytest.raises(Refused, match="waits for no other change"):
        replan(workspace, "CR-3")


def test_when_the_other_goes_back_it_is_refused_and_can_be_withdrawn(workspace: Workspace) -> None:
    deferred(workspace)
    decide.withdraw(workspace, "CR-2", by="wei", reason="not needed")
    said, again = describe(workspace, "CR-3").objections
    assert said == "CR-2 is WITHDRAWN: what this builds on will not run"
    assert again == "interlock replan CR-3 --after CR-n makes it wait for another"
    with pytest.raises(Refused, match="what CR-3 builds on will not run") as refused:
        replan(workspace, "CR-3")
    assert "without --after" in refused.value.help
    world.edit(workspace.folder, LATE, "  margin: 0.03", "  margin: 0.1")
    workspace.reread()
    with pytest.raises(Refused, match="CR-2 is WITHDRAWN"):
        propose_after(workspace, world.asked("Another"), "CR-2")
    decide.withdraw(workspace, "CR-3", by="wei", reason="with it")
    assert world.current(workspace, "CR-3").state == "WITHDRAWN"


def test_when_something_else_runs_by_then_it_is_stale(workspace: Workspace) -> None:
    deferred(workspace)
    before = workspace.route().stable
    committed(workspace, "CR-2")
    workspace.record.write([routed(workspace, before)], by="controller", at=workspace.now())
    with pytest.raises(Stale, match="planned on another release"):
        replan(workspace, "CR-3")
    assert world.current(workspace, "CR-3").state == "DEFERRED"


def test_files_that_lack_the_other_change_would_take_it_back(workspace: Workspace) -> None:
    world.edit(workspace.folder, CREW, "margin: 0.06", "margin: 0.05")
    with pytest.raises(Refused) as refused:
        deferred(workspace)
    assert refused.value.objections == (
        "the files take back what CR-2 does to service:crew: `interlock adopt CR-2` first",
    )


def test_asking_twice_opens_one_and_a_killed_one_is_taken_up(workspace: Workspace) -> None:
    first = deferred(workspace)
    again = propose_after(workspace, world.asked("A wider margin for the model"), "CR-2")
    assert again.id == first.id
    cut_off = open_new(workspace, draft(workspace, world.asked("Cut off"))).change
    assert cut_off.state == "DRAFT"
    whole = propose_after(workspace, world.asked("Cut off"), "CR-2")
    assert (whole.id, whole.state) == (cut_off.id, "DEFERRED")


def test_on_what_runs_already_it_is_proposed_at_once(workspace: Workspace) -> None:
    committed(workspace, "CR-2")
    change = deferred(workspace)
    assert change.state == "REVIEW"
    version = stable(workspace)
    assert version is not None
    assert change.made_against == version.release


def test_a_change_nobody_knows_or_that_has_no_release_cannot_be_built_on(
    workspace: Workspace,
) -> None:
    with pytest.raises(NotFound, match="there is no change CR-9"):
        propose_after(workspace, world.asked("Nobody"), "CR-9")
    cut_off = open_new(workspace, draft(workspace, world.asked("Cut off"))).change
    with pytest.raises(Refused, match="has no release yet"):
        propose_after(workspace, world.asked("A third"), cut_off.id)


# --- chains, and the controller -----------------------------------------------------------


GATES = ("services/gates.yaml", "margin: 0.08", "margin: 0.09")


def third(workspace: Workspace) -> Change:
    """CR-4 on top of CR-3, which waits for CR-2."""
    world.edit(workspace.folder, *GATES)
    workspace.reread()
    return propose_after(workspace, world.asked("A wider margin for gates"), "CR-3")


def test_a_chain_is_planned_link_by_link(workspace: Workspace) -> None:
    deferred(workspace)
    change = third(workspace)
    plan = Plan.from_json(change.plan or {})
    assert (change.state, plan.after) == ("DEFERRED", "CR-3")
    assert [str(d.ref) for d in plan.differences] == ["service:gates"]
    assert describe(workspace, "CR-4").objections == ("waits for CR-3, which is DEFERRED",)
    with pytest.raises(Refused, match="still waits for CR-3"):
        replan(workspace, "CR-4")


def test_the_controller_takes_up_each_link_when_its_turn_comes(workspace: Workspace) -> None:
    deferred(workspace)
    third(workspace)
    committed(workspace, "CR-2")
    assert "CR-3 is planned again" in follow(workspace)
    assert states(workspace) == ["REVIEW", "DEFERRED"]
    assert follow(workspace) == "", "CR-4 waits for CR-3 to be through, not only planned"
    committed(workspace, "CR-3")
    assert "CR-4 is planned again" in follow(workspace)
    assert states(workspace)[1] == "REVIEW"
    last = world.current(workspace, "CR-4")
    assert last.made_against == world.current(workspace, "CR-3").release
    project = stored(workspace, last.release).project
    assert project.services["gates"].kpi.margin == 0.09
    assert project.services["crew"].kpi.margin == 0.06


def states(workspace: Workspace) -> list[str]:
    return [world.current(workspace, id).state for id in ("CR-3", "CR-4")]


def test_what_cannot_be_planned_again_is_tried_once_and_says_why(workspace: Workspace) -> None:
    deferred(workspace)
    before = workspace.route().stable
    committed(workspace, "CR-2")
    workspace.record.write([routed(workspace, before)], by="controller", at=workspace.now())
    assert "CR-3 could not be planned again: CR-3 was planned on another" in follow(workspace)
    leaves = len(workspace.record.audit())
    assert follow(workspace) == ""
    assert len(workspace.record.audit()) == leaves
    assert "could not be planned again" in describe(workspace, "CR-3").objections[0]


def test_when_the_first_is_taken_back_the_second_waits_again(workspace: Workspace) -> None:
    deferred(workspace)
    committed(workspace, "CR-2")
    change = replan(workspace, "CR-3")
    world.signed(workspace, "CR-3")
    assert world.current(workspace, "CR-3").state == "SCHEDULED"
    ended(workspace, "CR-2", "ABORTED")
    assert wait_again(workspace) == [
        "CR-3 waits again: CR-2, which it stands on, is ABORTED",
    ]  # fmt: skip
    assert wait_again(workspace) == [], "once"
    again = world.current(workspace, "CR-3")
    assert (again.state, again.release) == ("DEFERRED", "")
    booking = workspace.record.get(Ref("booking", "CR-3"))
    assert booking is not None
    assert booking.body["standing"] == "cancelled"
    with pytest.raises(Refused):
        decide.apply(workspace, "CR-3", by="sam")
    assert change.release
    # Another change does what CR-2 did: the second is made to wait for that one.
    onto = open_onto(workspace)
    moved_ = replan(workspace, "CR-3", after=onto)
    assert (moved_.state, moved_.details["after"]) == ("DEFERRED", onto)
    committed(workspace, onto)
    assert "CR-3 is planned again" in follow(workspace)


def ended(workspace: Workspace, id: str, state: str) -> None:
    """As a rollback leaves it: everybody is on the release before."""
    before = held(workspace.record, id)
    back = routed(workspace, before.change.made_against)
    done = replace(before.change, state=state)  # type: ignore[arg-type]  # one of its states
    save(workspace, before, done, by="controller", also=[back])


def open_onto(workspace: Workspace) -> str:
    """A change that widens crew's margin as CR-2 did, in review."""
    world.edit(workspace.folder, LATE, "  margin: 0.03", "  margin: 0.02")
    workspace.reread()
    change = world.proposed(workspace, "Wider margins")
    world.edit(workspace.folder, LATE, "  margin: 0.02", "  margin: 0.03")
    return change.id
