"""Who decides about a change: the release that runs, never the change itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import app_world as world
import pytest

from interlock.app import decide
from interlock.app.changes import all_changes, held, open_new, save
from interlock.app.tick import tick
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.change.signoff import SignOff
from interlock.define.digest import digest
from interlock.errors import Conflict, Refused, Stale
from interlock.plan.plan import Plan
from interlock.rollout.state import HoldReason

ID = "CR-2"
ANYTHING = '@id("anything")\npermit (principal, action, resource);\n'


# --- a change that would free itself ------------------------------------------------


@pytest.fixture(scope="module")
def grabbing(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CR-2 moves a seed, and on the way every rule and person that could say no to it."""
    folder = world.copied(released, tmp_path_factory.mktemp("grabbing") / "project")
    world.edit(folder, "models/late.yaml", "  seed: 1\n", "  seed: 2\n")
    (folder / "policies/change.cedar").write_text(ANYTHING)
    (folder / "policies/tests/change.yaml").unlink()
    (folder / "calendar.yaml").write_text("freezes: []\n")
    world.edit(folder, "services/gates.yaml", "owner: ops-gates", "owner: ops-rebooking")
    for person, role in (
        ("dana", "model_validator"),
        ("priya", "change_sponsor, emergency_approver"),
    ):
        world.edit(folder, "interlock.yaml", f"    {person}: [{role}]", f"    max: [{role}]")
    with world.opened(folder) as workspace:
        world.proposed(workspace, "Only a seed")
        world.waived(workspace, ID)
    return folder


@pytest.fixture
def grabbed(grabbing: Path, tmp_path: Path) -> Any:
    with world.opened(world.copied(grabbing, tmp_path / "project")) as workspace:
        yield workspace


def test_the_policies_that_judge_a_change_are_those_that_run(grabbed: Workspace) -> None:
    found = world.refused(grabbed, ID)
    assert any("[every_signature]" in said for said in found)
    assert any("[approved_by_another]" in said for said in found)


def test_the_people_who_sign_a_change_are_those_that_run(grabbed: Workspace) -> None:
    for role, team in (("model_validator", "data-science"), ("change_sponsor", "product-ops")):
        with pytest.raises(Refused) as caught:
            decide.sign(grabbed, ID, by="max", role=role, team=team)
        assert caught.value.objections == (f"max is not {role} of {team}",)
    found = world.refused(grabbed, ID)
    assert any("waiting for model_validator of data-science to sign: dana" in s for s in found)
    decide.sign(grabbed, ID, by="dana", role="model_validator", team="data-science")
    assert not any("model_validator of data-science" in s for s in world.refused(grabbed, ID))


def test_nobody_is_relieved_of_signing_by_the_change_itself(grabbed: Workspace) -> None:
    assert any("service_owner of ops-gates to sign: gina" in s for s in world.refused(grabbed, ID))


def test_only_roles_that_run_can_waive(grabbed: Workspace) -> None:
    check = Plan.from_json(world.current(grabbed, ID).plan or {}).evidence[0]
    with pytest.raises(Refused, match="cannot be waived") as caught:
        decide.waive(
            grabbed, ID, check, by="max", role="model_validator", reason="I say that it may pass"
        )
    assert caught.value.objections == ("max does not hold the role model_validator",)


def everybody_signs(workspace: Workspace) -> None:
    """Those whom the running release asks for; what made-up data cannot show is waived."""
    for check in Plan.from_json(world.current(workspace, ID).plan or {}).evidence:
        decide.waive(
            workspace, ID, check, by="dana", role="model_validator",
            reason="made-up data cannot show this",
        )  # fmt: skip
    for person, role, team in (
        ("dana", "model_validator", "data-science"), ("priya", "change_sponsor", "product-ops"),
        ("rita", "service_owner", "ops-rebooking"), ("carlos", "service_owner", "ops-crew"),
        ("gina", "service_owner", "ops-gates"),
    ):  # fmt: skip
        decide.sign(workspace, ID, by=person, role=role, team=team)


def test_a_freeze_is_not_lifted_by_the_change_it_would_hold(grabbed: Workspace) -> None:
    everybody_signs(grabbed)
    assert world.current(grabbed, ID).state == "SCHEDULED"
    decide.apply(grabbed, ID, by="sam")
    world.at(world.FREEZE[0], grabbed)
    assert "frozen by stocktaking" in tick(grabbed)
    assert world.rollout(grabbed, ID).hold is HoldReason.FREEZE


def test_a_freeze_that_the_change_lifts_forbids_its_start(grabbed: Workspace) -> None:
    everybody_signs(grabbed)
    world.at(world.FREEZE[0], grabbed)
    found = world.refused(grabbed, ID)
    assert found[0] == "frozen by stocktaking until 09 Mar 2013 00:00 UTC: nobody has a hand free"
    assert "[not_in_a_freeze]" in found[1]


def test_a_new_team_does_not_have_to_sign_before_it_exists(live: Workspace) -> None:
    """The release that runs does not know the team, so what it owns is signed for by another."""
    world.edit(
        live.folder, "interlock.yaml", "  ops-gates:\n",
        "  weather:\n    nora: [data_steward]\n  ops-gates:\n",
    )  # fmt: skip
    view = (live.folder / "features/origin_weather.sql").read_text()
    new = view.replace("origin_weather", "airport_weather")
    new = "\n".join("owner: weather" if s.startswith("owner:") else s for s in new.split("\n"))
    assert "owner: weather" in new
    (live.folder / "features/airport_weather.sql").write_text(new)
    change = world.proposed(live, "A view of a new team")
    found = world.refused(live, change.id)
    assert any("waiting for data_steward of data-eng to sign: amina or tomas" in s for s in found)
    assert not any(said.startswith("nobody of weather") for said in found), found


# --- the author ---------------------------------------------------------------------


def test_the_author_does_not_approve(grabbed: Workspace) -> None:
    with pytest.raises(Refused) as caught:
        decide.sign(grabbed, ID, by="wei", role="model_validator", team="data-science")
    assert caught.value.objections == ("wei is the author: somebody else must approve",)


def test_an_approval_of_the_author_does_not_count_even_from_the_record(ready: Workspace) -> None:
    before = held(ready.record, ID)
    others = [s for s in before.change.signoffs if s.team != "data-science"]
    own = SignOff("wei", "model_validator", "data-science", before.change.plan_digest, ready.now())
    save(ready, before, replace(before.change, signoffs=(*others, own)), by="wei")
    found = world.refused(ready, ID)
    assert found[0].startswith("waiting for model_validator of data-science to sign: dana")


def test_the_author_may_say_no_to_their_own_change(ready: Workspace) -> None:
    said = decide.sign(
        ready, ID, by="wei", role="model_validator", team="data-science", reject="I was wrong"
    )
    assert said.startswith("wei rejects CR-2")
    rejected = "rejected by wei (model_validator of data-science): I was wrong"
    assert world.refused(ready, ID)[0] == rejected


def test_the_author_does_not_promote(ready: Workspace) -> None:
    decide.apply(ready, ID, by="sam")
    with pytest.raises(Refused) as caught:
        decide.promote(ready, ID, by="wei", reason="I know that it is fine")
    assert "[four_eyes]" in caught.value.objections[0]
    assert "request" not in world.current(ready, ID).details


def test_policy_is_asked_before_a_signature_counts(ready: Workspace) -> None:
    before = held(ready.record, "CR-3")
    save(ready, before, replace(before.change, rollback_criteria=""), by="wei")
    with pytest.raises(Refused, match="sam may not approve CR-3") as caught:
        decide.sign(ready, "CR-3", by="sam", role="change_sponsor", team="product-ops")
    assert "[rollback_criteria]" in caught.value.objections[0]
    assert world.current(ready, "CR-3").signoffs == ()


# --- exactly this plan --------------------------------------------------------------


def replanned(workspace: Workspace, **parts: object) -> None:
    """The plan of CR-2 with some parts replaced, under its own new address."""
    before = held(workspace.record, ID)
    plan = {**(before.change.plan or {}), **parts}
    assert plan != before.change.plan
    digested = Plan.from_json(plan).digest
    save(workspace, before, replace(before.change, plan=plan, plan_digest=digested), by="wei")


def plan_of(workspace: Workspace) -> dict[str, Any]:
    return dict(world.current(workspace, ID).plan or {})


def test_one_byte_of_the_plan_voids_every_signature(ready: Workspace) -> None:
    signed = world.current(ready, ID).signoffs
    first, *notes = plan_of(ready)["notes"]
    replanned(ready, notes=[f"{first}.", *notes])
    found = world.refused(ready, ID)
    void = [said for said in found if "signed another plan, which no longer counts" in said]
    assert len(void) == len(signed) == 5, found
    assert all(f"; {s.person} signed another plan" in "".join(void) for s in signed)


def test_another_hour_asks_for_new_signatures(ready: Workspace) -> None:
    start, end = plan_of(ready)["slot"]
    replanned(ready, slot=[start.replace("T00:00", "T00:01"), end])
    assert any("which no longer counts" in said for said in world.refused(ready, ID))
    decide.sign(ready, ID, by="dana", role="model_validator", team="data-science")
    found = world.refused(ready, ID)
    assert not any("model_validator" in said for said in found)
    assert any("service_owner of ops-crew" in said for said in found)


def test_a_plan_that_is_not_what_its_digest_says_does_not_start(ready: Workspace) -> None:
    before = held(ready.record, ID)
    assert digest(before.change.plan) == before.change.plan_digest
    plan = {**plan_of(ready), "notes": ["nothing to see here"]}
    save(ready, before, replace(before.change, plan=plan), by="wei")
    assert world.refused(ready, ID) == ("the plan of CR-2 is not the one that was signed",)


# --- the wrong moment to start ------------------------------------------------------


def test_a_plan_against_what_no_longer_runs_is_stale(stages: Any, tmp_path: Path) -> None:
    folder = world.copied(stages["COMMITTED"], tmp_path / "project")
    with world.opened(folder) as workspace:
        before = workspace.route(), held(workspace.record, "CR-3")
        with pytest.raises(Stale, match="CR-3 was planned against a release that no longer runs"):
            decide.apply(workspace, "CR-3", by="sam")
        assert (workspace.route(), held(workspace.record, "CR-3")) == before
    done = world.command(folder, "apply", "CR-3", "--by", "sam")
    assert (done.code, done.error["error"]) == (5, "stale")


@pytest.mark.parametrize("state", ["PREPARING", "SHADOW", "SOAKING"])
def test_one_change_at_a_time(stages: Any, tmp_path: Path, state: str) -> None:
    with world.opened(world.copied(stages[state], tmp_path / "project")) as workspace:
        world.signed(workspace, "CR-3")
        assert decide.apply(workspace, ID, by="sam") == "CR-2 is under way already"
        with pytest.raises(Conflict, match="CR-3 may not start") as caught:
            decide.apply(workspace, "CR-3", by="sam")
        first, second = caught.value.objections
        assert first == "CR-2 is being rolled out in prod"
        assert second.startswith("CR-2 is measured on the same subjects until 05 Mar 2013")
        decide.rollback(workspace, ID, by="sam", reason="make room")
        with pytest.raises(Conflict):  # it is on its way back, and not back yet
            decide.apply(workspace, "CR-3", by="sam")
        tick(workspace)
        # Its time is after that of the other; who does not want to wait for it starts it now.
        assert workspace.now() < (decide.begins_at(workspace, "CR-3") or workspace.now())
        assert decide.apply(workspace, "CR-3", by="sam") == "CR-3 is being prepared"
        assert decide.apply(workspace, "CR-3", by="sam") == "CR-3 is under way already"


def test_a_conflict_tells_the_other_reasons_too(stages: Any, tmp_path: Path) -> None:
    folder = world.copied(stages["STEP"], tmp_path / "project")
    done = world.command(folder, "apply", "CR-3", "--by", "sam")
    assert (done.code, done.error["error"]) == (4, "conflict")
    first, *others = done.error["objections"]
    assert first == "CR-2 is being rolled out in prod"
    assert any("waiting for change_sponsor of product-ops" in said for said in others)


def test_of_two_starts_at_once_one_is_a_conflict(ready: Workspace) -> None:
    world.signed(ready, "CR-3")
    with world.opened(ready.folder) as other:
        told = world.at_once(
            lambda: decide.apply(ready, ID, by="sam"),
            lambda: decide.apply(other, "CR-3", by="priya"),
        )
    assert sum("is being prepared" in said for said in told) == 1, told
    # The hour was booked for CR-2 already; who looks after its start is told of that instead.
    assert {"conflict", "refused"} & set(told), told
    states = sorted(world.current(ready, id).state for id in (ID, "CR-3"))
    assert states == ["PREPARING", "SCHEDULED"]


def test_what_slipped_past_another_start_waits_its_turn(ready: Workspace) -> None:
    """Two changes in PREPARING at once, as an older Interlock may have left them."""
    world.signed(ready, "CR-3")
    decide.apply(ready, ID, by="sam")
    body = world.current(ready, ID).details["rollout"]
    before = held(ready.record, "CR-3")
    theirs = {**body, "change": "CR-3", "release": before.change.release}
    theirs["registered"] = before.change.details["judge"]["digest"]
    details = {**before.change.details, "rollout": theirs}
    slipped = replace(before.change, state="PREPARING", details=details)
    save(ready, before, slipped, by="an older Interlock")
    tick(ready)
    assert [world.current(ready, id).state for id in (ID, "CR-3")] == ["SHADOW", "PREPARING"]
    assert world.rollout(ready, "CR-3").said == "CR-2 is being rolled out in prod"
    decide.rollback(ready, ID, by="sam", reason="one at a time")
    tick(ready)
    tick(ready)
    assert world.current(ready, "CR-3").state == "SHADOW"


def test_what_has_no_plan_yet_says_so(live: Workspace) -> None:
    draft = Change("", "A draft", "wei", "prod", live.now())
    cut_off = open_new(live, draft).change.id
    for ask in (
        lambda: decide.apply(live, cut_off, by="sam"),
        lambda: decide.sign(live, cut_off, by="sam", role="change_sponsor", team="product-ops"),
        lambda: decide.waive(live, cut_off, "x", by="dana", role="r", reason="no reason at all"),
    ):
        with pytest.raises(Refused, match=f"{cut_off} has no plan yet") as caught:
            ask()
        assert "withdraw it" in caught.value.help
    assert [change.id for change in all_changes(live)] == [cut_off, "CR-1"]


def test_a_start_waits_for_its_hour_to_be_free_again(ready: Workspace) -> None:
    world.at(world.FREEZE[1] - timedelta(seconds=1), ready)
    assert any("frozen by stocktaking" in said for said in world.refused(ready, ID))
    world.at(world.FREEZE[1], ready)
    assert decide.apply(ready, ID, by="sam") == "CR-2 is being prepared"
