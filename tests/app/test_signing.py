"""Roles that are lent, signatures that grow old, and the inbox that says what each would do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import app_world as world
import pytest

from interlock.app import decide
from interlock.app.changes import describe, evidence_of, held, save
from interlock.app.delegate import Lent, delegate, end
from interlock.app.inbox import inbox
from interlock.app.tick import tick
from interlock.app.workspace import Workspace
from interlock.errors import Refused
from interlock.rollout.state import HoldReason

ID, OPEN = "CR-2", "CR-3"
CREW = Lent("gina", "service_owner", "ops-crew")
DAY = timedelta(days=1)


@pytest.fixture
def workspace(ready: Workspace) -> Workspace:
    change = world.current(ready, OPEN)
    for check in (change.plan or {})["evidence"]:
        decide.waive(ready, OPEN, check, by="dana", role="model_validator", reason="made-up data")
    return ready


def sign_as_lent(workspace: Workspace) -> str:
    return decide.sign(workspace, OPEN, by="gina", role="service_owner", team="ops-crew")


def test_a_lent_role_signs_until_its_end_and_says_for_whom(workspace: Workspace) -> None:  # R-C4
    with pytest.raises(Refused) as caught:
        sign_as_lent(workspace)
    assert "gina is not service_owner of ops-crew" in caught.value.objections
    until = f"{workspace.now() + DAY:%Y-%m-%d}"
    made = delegate(workspace, CREW, by="carlos", until=until)
    assert made.until > workspace.now() + DAY, "the last day is a whole one"
    sign_as_lent(workspace)
    (signed,) = [s for s in world.current(workspace, OPEN).signoffs if s.person == "gina"]
    assert signed.on_behalf_of == "carlos"
    world.at(made.until, workspace)
    with pytest.raises(Refused):
        sign_as_lent(workspace)
    # What was signed while it was lent stays signed.
    assert not any("ops-crew" in said for said in describe(workspace, OPEN).objections)


def test_nobody_lends_on_or_to_the_author_of_what_is_signed(workspace: Workspace) -> None:
    delegate(workspace, CREW, by="carlos", until="2013-06-01")
    with pytest.raises(Refused) as caught:
        delegate(workspace, replace(CREW, to="rita"), by="gina", until="2013-06-01")
    assert caught.value.objections == ("gina is not service_owner of ops-crew: nobody lends on",)
    for lent, until, word in (
        (replace(CREW, to="carlos"), "2013-06-01", "has the role already"),
        (replace(CREW, to="nobody"), "2013-06-01", "in no team"),
        (CREW, "2013-01-01", "which is over"),
    ):
        with pytest.raises(Refused) as caught:
            delegate(workspace, lent, by="carlos", until=until)
        assert word in " ".join(caught.value.objections)
    delegate(workspace, replace(CREW, to=world.AUTHOR), by="carlos", until="2013-06-01")
    with pytest.raises(Refused) as caught:
        decide.sign(workspace, OPEN, by=world.AUTHOR, role="service_owner", team="ops-crew")
    assert any("is the author" in said for said in caught.value.objections)


def test_an_author_does_not_sign_by_the_hand_of_another(workspace: Workspace) -> None:
    before = held(workspace.record, OPEN)
    save(workspace, before, replace(before.change, author="carlos"), by="a test")
    delegate(workspace, CREW, by="carlos", until="2013-06-01")
    with pytest.raises(Refused):
        sign_as_lent(workspace)


def test_it_ends_when_it_is_ended(workspace: Workspace) -> None:
    delegate(workspace, CREW, by="carlos", until="2013-06-01")
    end(workspace, CREW, by="carlos")
    with pytest.raises(Refused):
        sign_as_lent(workspace)


# --- inbox ------------------------------------------------------------------------------


def test_the_inbox_says_what_each_decision_leads_to(workspace: Workspace) -> None:
    (item,) = inbox(workspace, "carlos").waiting
    assert (item.change, item.what) == (OPEN, "sign as service_owner of ops-crew")
    assert item.why
    sign, reject = item.choices
    assert "still open: waiting for change_sponsor" in sign.leads_to
    assert "goes back to its author" in reject.leads_to
    decide.sign(workspace, OPEN, by="sam", role="change_sponsor", team="product-ops")
    (item,) = inbox(workspace, "carlos").waiting
    assert item.choices[0].leads_to.startswith("it is approved, books its time and starts")
    decide.sign(workspace, OPEN, by="carlos", role="service_owner", team="ops-crew")
    assert inbox(workspace, "carlos").waiting == ()
    assert world.current(workspace, OPEN).state == "SCHEDULED"


def test_what_i_opened_and_what_is_lent_to_me_is_there_too(workspace: Workspace) -> None:
    mine = inbox(workspace, world.AUTHOR)
    assert mine.waiting == (), "an author is never asked to sign"
    assert {item.change for item in mine.opened} >= {ID, OPEN}
    delegate(workspace, CREW, by="carlos", until="2013-06-01")
    whats = {item.what for item in inbox(workspace, "gina").waiting}
    assert "sign as service_owner of ops-crew, for carlos" in whats
    assert inbox(workspace, "nobody").waiting == ()


def test_the_commands(signed: Path, tmp_path: Path) -> None:
    folder = world.copied(signed, tmp_path / "project")
    lend = ("--to", "gina", "--role", "service_owner", "--team", "ops-crew")
    done = world.command(folder, "delegate", "--by", "carlos", *lend, "--until", "2013-06-01")
    assert (done.code, "gina may sign for carlos" in done.out) == (0, True)
    (lent,) = json.loads(world.command(folder, "delegate", "--by", "carlos").out)
    assert (lent["by"], lent["delegate"]) == ("carlos", "gina")
    done = world.command(folder, "inbox", "--by", "carlos")
    assert [item["change"] for item in json.loads(done.out)["waiting"]] == [OPEN]
    told = ("--by", "carlos", "--role", "service_owner", "--team", "ops-crew")
    done = world.command(folder, "approve", ID, *told, "--withdraw", "crews strike")
    assert (done.code, "withdraws the signature" in done.out) == (0, True)
    again = world.command(folder, "approve", ID, *told, "--withdraw", "crews strike")
    assert (again.code, again.error["error"]) == (3, "refused")
    body = json.loads(world.command(folder, "status", ID).out)
    assert [one["layer"] for one in body["layers"]] == [
        "data", "feature", "model", "integration", "release",
    ]  # fmt: skip
    assert body["layers"][-1]["accountable"] == ["priya", "sam"]


# --- layers -----------------------------------------------------------------------------


def test_a_layer_waits_for_the_one_before_it(ready: Workspace) -> None:
    """CR-2 is in review again, and its model comparison lacks."""
    before = held(ready.record, ID)
    waivers = tuple(w for w in before.change.waivers if not w.check.startswith("model_"))
    made = evidence_of(ready.record, before.change)
    rest = tuple(e.digest for e in made if not e.check.startswith("model_"))
    bare = replace(before.change, state="REVIEW", waivers=waivers, signoffs=(), evidence=rest)
    save(ready, before, bare, by="a test")
    words = {one.layer: one.word for one in describe(ready, ID).layers}
    assert words == {
        "data": "nothing to prove", "feature": "nothing to prove", "model": "open",
        "integration": "waits for model", "release": "waits for model",
    }  # fmt: skip


# --- what grows old -----------------------------------------------------------------------


def test_a_signature_that_expires_holds_the_rollout_until_it_is_given_again(
    stages: Mapping[str, Path], tmp_path: Path
) -> None:
    with world.opened(world.copied(stages["SHADOW"], tmp_path / "project")) as workspace:
        before = held(workspace.record, ID)
        (old,) = [s for s in before.change.signoffs if s.team == "ops-crew"]
        others = tuple(s for s in before.change.signoffs if s != old)
        aged = replace(old, at=old.at - 91 * DAY)
        save(workspace, before, replace(before.change, signoffs=(*others, aged)), by="a test")
        decide.promote(workspace, ID, by="sam", reason="made-up data is too little")
        tick(workspace)
        rollout = world.rollout(workspace, ID)
        assert (rollout.state.name, rollout.hold) == ("SHADOW", HoldReason.APPROVAL_EXPIRED)
        assert "carlos signed as service_owner of ops-crew on" in rollout.said
        decide.sign(workspace, ID, by="carlos", role="service_owner", team="ops-crew")
        tick(workspace)
        assert world.rollout(workspace, ID).state.name == "STEP"


def test_a_signature_taken_back_in_the_middle_holds_too(
    stages: Mapping[str, Path], tmp_path: Path
) -> None:
    with world.opened(world.copied(stages["STEP"], tmp_path / "project")) as workspace:
        told = {"by": "carlos", "role": "service_owner", "team": "ops-crew"}
        said = decide.unsign(workspace, ID, **told, reason="crews strike")
        assert said.endswith("the rollout holds")
        world.go_on(workspace, ID)
        assert world.rollout(workspace, ID).hold is HoldReason.APPROVAL_EXPIRED
        decide.rollback(workspace, ID, by="carlos", reason="no way forward")
        assert world.current(workspace, ID).state == "ABORTING"


# --- the way back needs no folder -----------------------------------------------------------


def test_a_first_release_is_taken_back_whatever_the_folder_says(
    proposed: Path, tmp_path: Path
) -> None:
    folder = world.copied(proposed, tmp_path / "project")
    with world.opened(folder) as workspace:
        world.signed(workspace, "CR-1")
        decide.apply(workspace, "CR-1", by="sam")
    (folder / "interlock.yaml").write_text("name: [broken\n")
    done = world.command(folder, "rollback", "CR-1", "--by", "sam", "--reason", "not today")
    assert done.code == 0, done.err
