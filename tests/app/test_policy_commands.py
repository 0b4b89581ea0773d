"""`interlock policy`: cases tried, the past asked again, what is missing found by asking."""

from __future__ import annotations

import json
from pathlib import Path

import app_world as world
import pytest

from interlock.app import decide
from interlock.app.propose import propose
from interlock.app.weighing import decisions
from interlock.app.workspace import Workspace
from interlock.change.request import Request
from interlock.errors import Refused

ID, OPEN = "CR-2", "CR-3"


@pytest.fixture
def folder(signed: Path, tmp_path: Path) -> Path:
    return world.copied(signed, tmp_path / "project")


def test_every_case_is_shown_and_a_wrong_one_is_refused(folder: Path) -> None:  # R-C11
    done = world.command(folder, "policy", "test")
    body = json.loads(done.out)
    assert (done.code, body["failed"], body["silent"]) == (0, 0, [])
    assert {case["file"] for case in body["cases"]} == {
        "policies/tests/budget.yaml", "policies/tests/change.yaml", "policies/tests/privacy.yaml",
    }  # fmt: skip
    world.edit(folder, "policies/change.cedar", "when { principal.name == resource.author };", "when { false };")  # fmt: skip  # noqa: E501  # one edit
    done = world.command(folder, "policy", "test")
    body = json.loads(done.out)
    assert (done.code, body["failed"], body["silent"]) == (3, 2, ["four_eyes"])
    wrong = [case["name"] for case in body["cases"] if not case["passes"]]
    assert wrong == ["an author does not approve", "an author does not waive"]


def test_only_the_files_that_are_named_are_tried(folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("cases:\n  - {name: nothing is told, action: start, says: []}\n")
    done = world.command(folder, "policy", "test", str(mine))
    (case,) = json.loads(done.out)["cases"]
    assert (done.code, case["line"], case["passes"]) == (3, 2, False)
    mine.write_text("cases: [\n")
    done = world.command(folder, "policy", "test", str(mine))
    assert (done.code, done.error["error"]) == (3, "invalid")
    assert world.command(folder, "policy", "test", str(tmp_path / "none.yaml")).code == 3


def test_decisions_are_kept_with_their_facts(folder: Path) -> None:
    with world.opened(folder) as workspace:
        made = decisions(workspace, ID)
        asked = {(one.action, one.principal["id"]) for one in made}
        assert ("approve", "carlos") in asked
        assert all(one.allowed for one in made)
        with pytest.raises(Refused):
            decide.sign(
                workspace, OPEN, by=world.AUTHOR, role="model_validator", team="data-science"
            )
        # The author is refused before policies are asked; a start without signatures by them.
        world.refused(workspace, OPEN)
        (refusal,) = [one for one in decisions(workspace, OPEN) if not one.allowed]
        assert (refusal.action, refusal.principal["id"]) == ("start", "sam")
        assert any("[every_signature]" in said for said in refusal.said)
        assert refusal.facts["signoffs_lacking"]
        facts = next(one for one in made if one.action == "approve").facts
        assert facts["signoffs_lacking"], "whoever approves sees what still lacks"


def test_the_past_is_replayed_under_edited_policies(folder: Path, tmp_path: Path) -> None:
    done = world.command(folder, "policy", "replay")
    body = json.loads(done.out)
    assert (done.code, body["differing"], body["same_policies"]) == (0, [], True)
    assert body["asked"] > 5
    edited = tmp_path / "edited"
    edited.mkdir()
    for file in (folder / "policies").glob("*.cedar"):
        (edited / file.name).write_text(file.read_text())
    (edited / "crew.cedar").write_text(
        '@id("not_carlos") @message("Carlos is on leave.")\n'
        'forbid (principal, action == Action::"approve", resource)\n'
        'when { principal.name == "carlos" };\n'
    )
    done = world.command(folder, "policy", "replay", "--policies", str(edited))
    body = json.loads(done.out)
    assert (done.code, body["same_policies"]) == (2, False)
    assert {(one["by"], one["action"]) for one in body["differing"]} == {("carlos", "approve")}
    assert body["differing"][0]["now"] == ["Carlos is on leave. [not_carlos]"]
    assert world.command(folder, "policy", "replay", "--policies", str(tmp_path)).code == 3


def test_what_is_missing_is_said_for_each_action(folder: Path) -> None:
    done = world.command(folder, "policy", "explain", OPEN)
    assert done.code == 0, done.err
    body = json.loads(done.out)
    found = {one["action"]: one for one in body["actions"]}
    assert "signoffs_lacking" in found["start"]["needs"]
    assert "approved_by" in found["start"]["needs"]
    assert found["approve"]["needs"] == []
    done = world.command(folder, "policy", "explain", OPEN, "--by", world.AUTHOR, "--action", "approve")  # fmt: skip  # noqa: E501  # one command
    (only,) = json.loads(done.out)["actions"]
    assert only["needs"] is None, "the author never approves"
    assert world.command(folder, "policy", "explain", OPEN, "--action", "fly").code == 3


def test_policies_are_asked_before_anything_is_built(live: Workspace) -> None:  # R-A15
    world.edit(live.folder, "services/crew.yaml", "margin: 0.05", "margin: 0.06")
    live.reread()
    with pytest.raises(Refused) as caught:
        propose(live, Request("Without a way back", world.AUTHOR))
    (said,) = caught.value.objections
    assert said.endswith("[rollback_criteria]")
    assert [entry.ref.name for entry in live.record.list("change")] == ["CR-1"]
