"""Looking again does nothing, two controllers step once, and the way back is always open."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import app_world as world
import pytest

from interlock.app import decide
from interlock.app.audit import audit
from interlock.app.changes import held
from interlock.app.tick import IDLE, drive, tick
from interlock.app.workspace import Workspace
from interlock.errors import Refused
from interlock.rollout.state import HoldReason

ID = "CR-2"
Stages = Mapping[str, Path]


def written(workspace: Workspace) -> int:
    return len(workspace.record.audit())


def own(stages: Stages, state: str, tmp_path: Path) -> Path:
    return world.copied(stages[state], tmp_path / "project")


# --- looking again ------------------------------------------------------------------


@pytest.mark.parametrize("state", world.WALKED)
def test_a_second_look_writes_nothing(stages: Stages, tmp_path: Path, state: str) -> None:
    with world.opened(own(stages, state, tmp_path)) as workspace:
        for _ in range(2):  # one step at most, and what the state after it says
            tick(workspace)
        before = written(workspace), workspace.route(), held(workspace.record, ID)
        for _ in range(4):
            tick(workspace)
        assert (written(workspace), workspace.route(), held(workspace.record, ID)) == before


def test_one_look_is_one_step(stages: Stages, tmp_path: Path) -> None:
    with world.opened(own(stages, "STEP", tmp_path)) as workspace:
        before, route = world.rollout(workspace, ID), workspace.route()
        said = world.go_on(workspace, ID)
        after = world.rollout(workspace, ID)
        assert (before.state.name, after.state.name) == ("STEP", "SOAKING")
        assert len(after.history) == len(before.history) + 1
        assert workspace.route().epoch == route.epoch + 1
        assert "WAIVED by sam" in said
        assert "request" not in world.current(workspace, ID).details


def test_driving_ends_when_nothing_is_under_way(stages: Stages, tmp_path: Path) -> None:
    with world.opened(own(stages, "STEP", tmp_path)) as workspace:
        decide.rollback(workspace, ID, by="sam", reason="enough seen")
        said = list(drive(workspace, every=0.0))
        assert "rolled back: sam asked to roll back: enough seen" in said[0]
        assert world.current(workspace, ID).state == "ABORTED"
        assert tick(workspace) == IDLE


# --- two at once --------------------------------------------------------------------


@pytest.mark.parametrize("state", ["SHADOW", "STEP", "SOAKING"])
def test_controllers_that_share_a_lease_still_step_once(
    stages: Stages, tmp_path: Path, state: str
) -> None:
    """One process is one holder of the lease: as if it had run out under a slow controller."""
    folder = own(stages, state, tmp_path)
    with world.opened(folder) as one, world.opened(folder) as other:
        decide.promote(one, ID, by="sam", reason="made-up data is too little")
        before, epoch = world.rollout(one, ID), one.route().epoch
        told = world.at_once(*(lambda w=w: tick(w) for w in (one, other) for _ in range(2)))  # type: ignore[misc]
        after = world.rollout(one, ID)
        assert len(after.history) == len(before.history) + 1, told
        assert one.route().epoch == epoch + 1
        # It may fail at what follows the step, for want of the warehouse; the step stands.
        assert sum(f"{ID} " in said and "WAIVED" in said for said in told) <= 1, told
        assert audit(one).objections == ()


def test_two_processes_step_once_and_one_of_them_says_so(stages: Stages, tmp_path: Path) -> None:
    folder = own(stages, "PREPARING", tmp_path)
    with world.opened(folder) as workspace:
        epoch = workspace.route().epoch
    both = [world.started(folder, "tick") for _ in range(2)]
    outs = [one.communicate(timeout=300) for one in both]
    codes = sorted(one.returncode for one in both)
    # The warehouse lets one process in: the other is told to try again, or had nothing to do.
    assert codes in ([0, 0], [0, 6]), outs
    with world.opened(folder) as workspace:
        assert [line.state for line in world.rollout(workspace, ID).history] == ["shadow"]
        assert workspace.route().epoch == epoch + 1
        assert audit(workspace).objections == ()


def test_a_controller_at_work_is_not_disturbed(stages: Stages, tmp_path: Path) -> None:
    folder = own(stages, "PREPARING", tmp_path)
    with world.opened(folder) as workspace:
        assert workspace.record.claim("controller:prod", "another machine", 60.0) is not None
        before = written(workspace)
        done = world.command(folder, "tick")
        assert (done.code, "another controller is at work" in done.out) == (0, True)
        assert written(workspace) == before
        workspace.record.release("controller:prod", "another machine")
        assert "quarter" not in tick(workspace)
        assert world.current(workspace, ID).state == "SHADOW"


def test_nothing_that_people_ask_is_lost_beside_a_controller(
    stages: Stages, tmp_path: Path
) -> None:
    folder = own(stages, "STEP", tmp_path)
    with world.opened(folder) as controller, world.opened(folder) as desk:
        for round in range(8):
            asked = lambda n=round: decide.hold(desk, ID, by="sam", reason=f"reason {n}")  # type: ignore[misc]  # noqa: E731
            told = world.at_once(lambda: tick(controller), asked)
            assert f"{ID} is held by sam" in told
            assert world.current(desk, ID).details["request"]["reason"] == f"reason {round}"
        tick(controller)
        assert world.rollout(desk, ID).said == "held by sam: reason 7"


# --- what holds a forward move ------------------------------------------------------


def frozen(workspace: Workspace) -> None:
    world.at(world.FREEZE[0] + timedelta(hours=12), workspace)


@pytest.mark.parametrize("state", ["PREPARING", "SHADOW", "STEP", "SOAKING"])
def test_a_freeze_holds_what_would_go_forward_and_lets_it_go_after(
    stages: Stages, tmp_path: Path, state: str
) -> None:
    with world.opened(own(stages, state, tmp_path)) as workspace:
        frozen(workspace)
        before = workspace.route()
        said = world.go_on(workspace, ID)
        assert "frozen by stocktaking until 09 Mar 2013 00:00 UTC" in said
        held_ = world.rollout(workspace, ID)
        assert (held_.state.name, held_.hold) == (state, HoldReason.FREEZE)
        assert workspace.route() == before
        world.at(world.FREEZE[1], workspace)
        tick(workspace)
        assert world.rollout(workspace, ID).state.name != state
        assert workspace.route().epoch == before.epoch + 1


@pytest.mark.parametrize("state", world.WALKED)
def test_no_freeze_holds_the_way_back(stages: Stages, tmp_path: Path, state: str) -> None:
    with world.opened(own(stages, state, tmp_path)) as workspace:
        frozen(workspace)
        decide.rollback(workspace, ID, by="sam", reason="it harms")
        tick(workspace)
        assert world.current(workspace, ID).state == "ABORTED"


def test_a_freeze_and_a_hold_also_stop_the_first_release(proposed: Path, tmp_path: Path) -> None:
    with world.opened(world.copied(proposed, tmp_path / "project")) as workspace:
        world.signed(workspace, "CR-1")
        decide.apply(workspace, "CR-1", by="sam")
        frozen(workspace)
        assert "frozen by stocktaking" in tick(workspace)
        world.at(world.FREEZE[1], workspace)
        decide.hold(workspace, "CR-1", by="sam", reason="wait for me")
        assert "held by sam: wait for me" in tick(workspace)
        assert workspace.route().stable is None
        decide.hold(workspace, "CR-1", by="sam", reason="", resume=True)
        tick(workspace)
        assert world.current(workspace, "CR-1").state == "COMMITTED"
        assert workspace.route().stable == world.current(workspace, "CR-1").release


def test_a_hold_lasts_until_it_is_lifted(stages: Stages, tmp_path: Path) -> None:
    with world.opened(own(stages, "PREPARING", tmp_path)) as workspace:
        decide.hold(workspace, ID, by="carlos", reason="crew desk is short of hands")
        for hour in (1, 2):
            world.at(world.START + timedelta(hours=hour), workspace)
            tick(workspace)
            rollout = world.rollout(workspace, ID)
            assert (rollout.state.name, rollout.hold) == ("PREPARING", HoldReason.MANUAL)
            assert rollout.said == "held by carlos: crew desk is short of hands"
        decide.hold(workspace, ID, by="carlos", reason="back", resume=True)
        tick(workspace)
        assert world.rollout(workspace, ID).state.name == "SHADOW"


def test_what_has_ended_is_neither_held_nor_promoted(stages: Stages, tmp_path: Path) -> None:
    with world.opened(own(stages, "COMMITTED", tmp_path)) as workspace:
        for ask in (decide.hold, decide.promote):
            with pytest.raises(Refused, match="is COMMITTED: there is nothing"):
                ask(workspace, ID, by="sam", reason="because")
