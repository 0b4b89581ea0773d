"""Back from anywhere, at once, whatever else is broken; and what went back stays away."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import app_world as world
import pytest

from interlock.app import decide
from interlock.app.changes import all_changes
from interlock.app.tick import tick
from interlock.app.versions import stored
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.errors import Refused
from interlock.rollout.state import HoldReason

ID = "CR-2"
SEED = ("models/late.yaml", "  seed: 1\n", "  seed: 2\n")
Stages = Mapping[str, Path]


@pytest.mark.parametrize("broken", [False, True], ids=["whole", "broken folder"])
@pytest.mark.parametrize("state", world.WALKED)
def test_the_way_back_is_one_step_from_anywhere(
    stages: Stages, tmp_path: Path, state: str, broken: bool
) -> None:
    folder = world.copied(stages[state], tmp_path / "project")
    if broken:
        (folder / "interlock.yaml").write_text("environments: [\n")
        (folder / "models/late.yaml").write_bytes(b"\xff\xfe")
    with world.opened(folder) as workspace:
        first, second = (world.current(workspace, id).release for id in ("CR-1", ID))
        before = workspace.route()
        assert before.stable == (second if state == "COMMITTED" else first)
        said = decide.rollback(workspace, ID, by="rita", reason="passengers complain")
        assert said == (
            f"{ID}: rita asked to roll back: passengers complain; everybody is on {first[:12]}"
        )
        after = workspace.route()
        assert after.epoch == before.epoch + 1
        assert (after.stable, after.candidate, after.weight, after.mirror) == (
            first,
            None,
            0,
            False,
        )
        assert after.blocked == (second,)
        assert world.current(workspace, ID).state in ("ABORTING", "REVERTING")
        tick(workspace)
        assert world.current(workspace, ID).state == "ABORTED"
        pointed = workspace.warehouse.query("SELECT release FROM il.pointed").to_pylist()
        assert pointed == [{"release": first}]
        assert workspace.route() == after
        with pytest.raises(Refused, match="is ABORTED: nothing of it runs"):
            decide.rollback(workspace, ID, by="rita", reason="again")


@pytest.mark.parametrize("harm", ["damaged", "gone"])
def test_a_way_back_does_not_need_the_definitions_of_what_runs(
    stages: Stages, tmp_path: Path, harm: str
) -> None:
    folder = world.copied(stages["STEP"], tmp_path / "project")
    with world.opened(folder) as workspace:
        first = world.current(workspace, "CR-1").release
        entry = workspace.record.get(Ref("release", first))
        assert entry is not None
        (kept,) = (folder / ".interlock/artifacts").rglob(f"*{entry.body['definitions'][2:]}*")
    if harm == "damaged":
        kept.write_bytes(b"{")
    else:
        kept.unlink()
    done = world.command(folder, "rollback", ID, "--by", "rita", "--reason", "it harms")
    assert done.code == 0, done.err
    with world.opened(folder) as workspace:
        assert (workspace.route().stable, workspace.route().weight) == (first, 0)


def test_the_command_takes_a_change_back_in_a_broken_folder(stages: Stages, tmp_path: Path) -> None:
    folder = world.copied(stages["SOAKING"], tmp_path / "project")
    (folder / "interlock.yaml").unlink()
    done = world.command(folder, "rollback", ID, "--by", "rita", "--reason", "it harms")
    assert (done.code, done.err) == (0, "")
    assert "rita asked to roll back: it harms" in done.out
    assert world.command(folder, "tick").code == 0
    with world.opened(folder) as workspace:
        assert world.current(workspace, ID).state == "ABORTED"


# --- what went back stays away ------------------------------------------------------


def test_what_was_taken_back_is_not_proposed_again_unchanged(
    stages: Stages, tmp_path: Path
) -> None:
    folder = world.copied(stages["SHADOW"], tmp_path / "project")
    with world.opened(folder) as workspace:
        decide.rollback(workspace, ID, by="rita", reason="it harms")
        tick(workspace)
        release = world.current(workspace, ID).release
        known = len(all_changes(workspace))
        world.edit(folder, *SEED)
        with pytest.raises(Refused, match=f"{release[:12]} was rolled back and is blocked"):
            world.proposed(workspace, "Another seed, once more")
        assert len(all_changes(workspace)) == known
        # A comment makes other files and the same release: known once it is trained.
        world.edit(folder, "models/late.yaml", "owner: data-science", "owner: data-science # us")
        with pytest.raises(Refused, match=f"{release[:12]} was rolled back and is blocked"):
            world.proposed(workspace, "Another seed, with a comment")
        assert all_changes(workspace)[0].state == "WITHDRAWN"
        assert workspace.route().blocked == (release,)
        world.edit(folder, *SEED[:1], "  seed: 2\n", "  seed: 3\n")
        third = world.proposed(workspace, "A third seed")
        assert third.open
        assert third.release not in (release, "")


def test_what_was_taken_back_cannot_be_applied_again(stages: Stages, tmp_path: Path) -> None:
    with world.opened(world.copied(stages["PREPARING"], tmp_path / "project")) as workspace:
        decide.rollback(workspace, ID, by="rita", reason="it harms")
        tick(workspace)
        assert world.refused(workspace, ID) == (
            "from ABORTED a change goes to nowhere, not to PREPARING",
        )


# --- what has nothing to go back from, or to ----------------------------------------


def test_nothing_is_taken_back_that_never_started(ready: Workspace) -> None:
    before = ready.route()
    with pytest.raises(Refused, match="is SCHEDULED: nothing of it runs"):
        decide.rollback(ready, ID, by="sam", reason="no")
    assert ready.route() == before


def test_after_the_window_going_back_is_refused_and_said(stages: Stages, tmp_path: Path) -> None:
    with world.opened(world.copied(stages["COMMITTED"], tmp_path / "project")) as workspace:
        before = workspace.route()
        world.at(workspace.now() + timedelta(days=8), workspace)
        with pytest.raises(Refused, match="its rollback window is over"):
            decide.rollback(workspace, ID, by="sam", reason="too late")
        assert workspace.route() == before
        assert world.current(workspace, ID).state == "COMMITTED"


@pytest.mark.parametrize("state", ["PREPARING", "STEP"])
def test_going_back_takes_what_stands_on_it_along(
    stages: Stages, tmp_path: Path, state: str
) -> None:
    """CR-1 is stable and in its window, CR-2 on its way: without CR-1 there is no CR-2."""
    with world.opened(world.copied(stages[state], tmp_path / "project")) as workspace:
        first, second = (world.current(workspace, id).release for id in ("CR-1", ID))
        decide.rollback(workspace, "CR-1", by="sam", reason="it was wrong")
        route = workspace.route()
        assert (route.stable, route.candidate) == (None, None)
        assert set(route.blocked) == {first, second}
        tick(workspace)
        assert world.current(workspace, "CR-1").state == "ABORTED"
        assert world.current(workspace, ID).state == "ABORTED"
        said = world.rollout(workspace, ID).said
        assert "it stands on CR-1, which is taken back: it was wrong" in said


def test_a_change_whose_window_is_over_takes_nothing_along(stages: Stages, tmp_path: Path) -> None:
    with world.opened(world.copied(stages["STEP"], tmp_path / "project")) as workspace:
        world.at(world.START + timedelta(days=7), workspace)
        before = workspace.route()
        with pytest.raises(Refused, match="its rollback window is over"):
            decide.rollback(workspace, "CR-1", by="sam", reason="too late")
        assert workspace.route() == before
        assert world.current(workspace, ID).state == "STEP"


def test_without_a_healthy_way_back_nothing_goes_forward_and_back_still_works(
    stages: Stages, tmp_path: Path
) -> None:
    with world.opened(world.copied(stages["STEP"], tmp_path / "project")) as workspace:
        first = stored(workspace, world.current(workspace, "CR-1").release)
        digest = first.models[world.MODEL].artifact
        file = workspace.state / "artifacts" / digest[:2] / digest
        kept = file.read_bytes()
        file.unlink()
        before = workspace.route()
        assert "there is no healthy way back" in world.go_on(workspace, ID)
        assert world.rollout(workspace, ID).hold is HoldReason.FALLBACK_UNHEALTHY
        assert workspace.route() == before
        decide.rollback(workspace, ID, by="rita", reason="it harms")
        assert workspace.route().candidate is None
        assert "the release returned to is not healthy" in tick(workspace)
        assert world.current(workspace, ID).state == "ABORTING"
        file.write_bytes(kept)
        tick(workspace)
        assert world.current(workspace, ID).state == "ABORTED"
