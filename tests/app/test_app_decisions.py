"""The commands by which people withdraw, promote and take over, as they meet them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import app_world as world
import pytest

from interlock.app.changes import describe
from interlock.app.files import read_folder
from interlock.app.tick import tick
from interlock.app.versions import definitions
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.rollout.state import HoldReason

ID = "CR-2"
LATE = "models/late.yaml"
Stages = Mapping[str, Path]


@pytest.fixture
def folder(signed: Path, tmp_path: Path) -> Path:
    """CR-2 (another seed) is approved, the files say what runs."""
    return world.copied(signed, tmp_path / "project")


def state_of(folder: Path, id: str) -> str:
    with world.opened(folder) as workspace:
        return str(world.current(workspace, id).state)


# --- withdraw -----------------------------------------------------------------------


def test_a_change_that_has_not_started_is_closed_and_stays_to_be_read(folder: Path) -> None:
    done = world.command(folder, "withdraw", ID, "--by", "wei", "--reason", "a better idea")
    assert (done.code, json.loads(done.out)) == (0, {"said": "CR-2 is withdrawn by wei"})
    with world.opened(folder) as workspace:
        told = describe(workspace, ID)
        assert told.change is not None
        assert (told.change.state, told.change.said) == ("WITHDRAWN", "withdrawn: a better idea")
        assert len(told.evidence) == len(told.change.evidence) > 0
        assert len(told.change.signoffs) == 5
    for command in (["apply", ID], ["withdraw", ID, "--reason", "again"]):
        again = world.command(folder, *command, "--by", "sam")
        assert (again.code, again.error["error"]) == (3, "refused")
        assert "from WITHDRAWN a change goes to nowhere" in again.error["objections"][0]


def test_what_is_withdrawn_may_be_proposed_again(folder: Path) -> None:
    world.command(folder, "withdraw", ID, "--by", "wei", "--reason", "a better idea")
    world.edit(folder, LATE, "  seed: 1\n", "  seed: 2\n")
    with world.opened(folder) as workspace:
        release = world.current(workspace, ID).release
        again = world.proposed(workspace, "Another seed")
        world.waived(workspace, again.id)
        assert world.current(workspace, again.id).release == release


def test_what_runs_is_not_withdrawn_but_taken_back(stages: Stages, tmp_path: Path) -> None:
    folder = world.copied(stages["STEP"], tmp_path / "project")
    done = world.command(folder, "withdraw", ID, "--by", "wei", "--reason", "stop")
    assert done.code == 3
    assert "from STEP a change goes to STEP, SOAKING, ABORTING" in done.error["objections"][0]
    assert state_of(folder, ID) == "STEP"


# --- promote ------------------------------------------------------------------------


def test_a_promotion_goes_on_at_the_next_look_and_is_written_down(
    stages: Stages, tmp_path: Path
) -> None:
    folder = world.copied(stages["SHADOW"], tmp_path / "project")
    why = "three days of mirroring are enough"
    done = world.command(folder, "promote", ID, "--by", "rita", "--reason", why)
    assert done.code == 0
    assert "CR-2 goes on at the next look, at the word of rita" in done.out
    assert state_of(folder, ID) == "SHADOW", "asking is not moving"
    assert world.command(folder, "tick").code == 0
    with world.opened(folder) as workspace:
        assert workspace.route().weight == 0.25
        said = world.rollout(workspace, ID).history[-1].sentence
        assert said.startswith(f"WAIVED by rita: {why} (open: ")


def test_a_promotion_needs_a_reason_and_something_to_promote(folder: Path) -> None:
    done = world.command(folder, "promote", ID, "--by", "sam", "--reason", "  ")
    assert (done.code, done.error["help"]) == (3, "say what is waived, and why")
    done = world.command(folder, "promote", ID, "--by", "sam", "--reason", "go on")
    assert done.code == 3
    assert "CR-2 is SCHEDULED: there is nothing to hold, promote or retry" in done.error["message"]
    assert state_of(folder, ID) == "SCHEDULED"


def test_the_author_does_not_promote_by_command(stages: Stages, tmp_path: Path) -> None:
    folder = world.copied(stages["SHADOW"], tmp_path / "project")
    done = world.command(folder, "promote", ID, "--by", world.AUTHOR, "--reason", "trust me")
    assert done.code == 3
    assert "[four_eyes]" in done.error["objections"][0]


def test_silence_is_never_promoted(stages: Stages, tmp_path: Path) -> None:
    with world.opened(world.copied(stages["PREPARING"], tmp_path / "project")) as workspace:
        tick(workspace)  # into the mirrored stage, where nobody asks anything
        world.at(workspace.now() + timedelta(days=5), workspace)
        before = workspace.route()
        world.go_on(workspace, ID)
        rollout = world.rollout(workspace, ID)
        assert (rollout.state.name, rollout.hold) == ("SHADOW", HoldReason.NO_DATA)
        assert rollout.said == "nothing was measured in mirror"
        assert workspace.route() == before


# --- adopt --------------------------------------------------------------------------


def texts_of(workspace: Workspace, id: str) -> Mapping[str, str]:
    entry = workspace.record.get(Ref("release", world.current(workspace, id).release))
    assert entry is not None
    return definitions(workspace, entry.body["definitions"])


def test_the_files_of_a_change_are_written_and_no_others(folder: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.suffix in (".yaml", ".sql")}
    done = world.command(folder, "adopt", ID)
    assert done.code == 0, done.err
    told = {"change": ID, "written": [LATE], "removed": [], "kept": []}
    assert json.loads(done.out) == told
    touched = {p for p, at in before.items() if p.stat().st_mtime_ns != at}
    assert touched == {folder / LATE}
    with world.opened(folder) as workspace:
        assert read_folder(folder) == texts_of(workspace, ID)
    again = world.command(folder, "adopt", ID)
    assert (again.code, json.loads(again.out)) == (0, {**told, "written": []})


def test_edits_of_the_folders_own_are_named_and_kept(folder: Path) -> None:
    world.edit(folder, LATE, "  seed: 1\n", "  seed: 7\n")
    world.edit(folder, "services/crew.yaml", "  margin: 0.05", "  margin: 0.07")
    (folder / "services/gates.yaml").unlink()
    (folder / "features/mine.sql").write_text("SELECT 1\n")
    mine = read_folder(folder)
    done = world.command(folder, "adopt", ID)
    assert (done.code, done.error["error"]) == (3, "refused")
    assert done.error["objections"] == [
        "features/mine.sql", LATE, "services/crew.yaml", "services/gates.yaml",
    ]  # fmt: skip
    assert "--force" in done.error["help"]
    assert read_folder(folder) == mine
    forced = world.command(folder, "adopt", ID, "--force")
    assert forced.code == 0, forced.err
    told = json.loads(forced.out)
    assert told["written"] == [LATE, "services/crew.yaml", "services/gates.yaml"]
    assert (told["removed"], told["kept"]) == ([], ["features/mine.sql"])
    with world.opened(folder) as workspace:
        own = {"features/mine.sql": "SELECT 1\n"}
        assert read_folder(folder) == {**texts_of(workspace, ID), **own}


def test_what_undoes_a_later_release_is_stale(stages: Stages, tmp_path: Path) -> None:
    folder = world.copied(stages["COMMITTED"], tmp_path / "project")
    before = read_folder(folder)
    done = world.command(folder, "adopt", "CR-3")
    assert (done.code, done.error["error"]) == (5, "stale")
    assert read_folder(folder) == before
    # What is live by now may be taken over: that is how the files catch up with it.
    assert world.command(folder, "adopt", ID, "--force").code == 0
    assert "seed: 2" in (folder / LATE).read_text()


def test_a_folder_that_says_an_older_release_loses_nothing_by_adopting(
    stages: Stages, tmp_path: Path
) -> None:
    folder = world.copied(stages["COMMITTED"], tmp_path / "project")
    done = world.command(folder, "adopt", ID)
    assert (done.code, json.loads(done.out)["written"]) == (0, [LATE]), done.err


def test_a_change_cut_off_while_adopted_is_adopted_by_asking_again(folder: Path) -> None:
    """What a kill leaves: some files replaced, and texts laid down beside the others."""
    (folder / "models/.late.yaml.adopted").write_text("half of")
    assert world.command(folder, "plan").code == 0
    done = world.command(folder, "adopt", ID)
    assert done.code == 0, done.err
    assert not list(folder.rglob(".*.adopted"))
    with world.opened(folder) as workspace:
        assert read_folder(folder) == texts_of(workspace, ID)


def test_a_folder_that_cannot_be_written_stays_as_it_was(folder: Path) -> None:
    """A file stands where a folder must be; on the way there one file was laid down already."""
    world.edit(folder, "services/crew.yaml", "  margin: 0.05", "  margin: 0.07")
    shutil.rmtree(folder / "policies/tests")
    (folder / "policies/tests").write_text("not a folder")
    before = read_folder(folder)
    done = world.command(folder, "adopt", ID, "--force")
    assert (done.code, done.error["error"]) == (6, "unavailable")
    assert "cannot be written" in done.error["message"]
    assert read_folder(folder) == before
    assert not list(folder.rglob(".*.adopted"))


def test_there_is_nothing_to_adopt_of_a_change_that_does_not_exist(folder: Path) -> None:
    done = world.command(folder, "adopt", "CR-9")
    assert (done.code, done.error["error"]) == (3, "not-found")
    assert "CR-1, CR-2, CR-3" in done.error["help"]
