"""What is made up, sent twice, too late or of another place: refused with a reason, and recorded.

Tokens that ran out, requests that are sent again, and checkpoints of another log have their
tests beside the code that meets them: `test_api`, `test_app_audit`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import app_world as world
import pytest

from interlock.app import decide
from interlock.app.audit import audit
from interlock.app.changes import held, save
from interlock.app.tick import tick
from interlock.app.weighing import decisions
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.errors import Stale
from interlock.ports import Put
from interlock.rollout.state import HoldReason
from interlock.testing.clock import FixedClock

ID, DAY = "CR-2", timedelta(days=1)
Stages = Mapping[str, Path]


def refusals(workspace: Workspace, what: str) -> list[list[str]]:
    """What was said of each thing that was refused."""
    found = workspace.record.list("refusal")
    return [entry.body["said"] for entry in found if entry.body["what"] == what]


def declared(workspace: Workspace, file: str, text: str) -> None:
    """The release that runs says `text` in `file`, as if it had been released like that."""
    ref = Ref("release", workspace.route().stable or "")
    entry = workspace.record.get(ref)
    assert entry is not None
    texts = json.loads(workspace.artifacts.get(entry.body["definitions"]))
    again = workspace.artifacts.put(json.dumps({**texts, file: text}).encode())
    body = {**entry.body, "definitions": again}
    workspace.record.write([Put(ref, body, entry.version)], by="a test", at=workspace.now())
    workspace.versions.clear()


# --- forged digests -------------------------------------------------------------------


def test_a_forged_digest_of_a_plan_signs_nothing_and_is_recorded(ready: Workspace) -> None:
    before = held(ready.record, "CR-3")
    desk = {"by": "carlos", "role": "service_owner", "team": "ops-crew"}
    for _ in range(2):
        with pytest.raises(Stale, match="changed since you looked"):
            decide.sign(ready, "CR-3", **desk, plan="0" * 64)
    assert held(ready.record, "CR-3") == before
    ((said,),) = refusals(ready, "plan")
    assert "nothing was signed" in said


def test_a_plan_that_was_edited_after_it_was_signed_does_not_start_and_is_recorded(
    ready: Workspace,
) -> None:
    before = held(ready.record, ID)
    forged = {**(before.change.plan or {}), "notes": ["nothing to see"]}
    save(ready, before, replace(before.change, plan=forged), by="somebody")
    found = world.refused(ready, ID)
    assert f"the plan of {ID} is not the one that was signed" in found
    assert refusals(ready, "forged") == [[f"the plan of {ID} is not the one that was signed"]]


def test_evidence_under_a_digest_that_nobody_made_is_missing_and_the_refusal_is_kept(
    ready: Workspace,
) -> None:
    before = held(ready.record, ID)
    made_up = replace(before.change, evidence=("f" * 64,), waivers=())
    save(ready, before, made_up, by="somebody")
    assert any("no evidence yet" in said for said in world.refused(ready, ID))
    last = decisions(ready, ID)[-1]
    assert any("[evidence_complete]" in said for said in last.said)
    assert any("no evidence yet" in said for said in last.facts["evidence_lacking"])


# --- a policy that errors -------------------------------------------------------------


def test_a_policy_that_errors_denies_and_its_answer_is_kept(ready: Workspace) -> None:
    overflow = (
        '@id("big") @message("Too big.")\nforbid (principal, action, resource)\n'
        "when { resource.soak_hours * 9223372036854775807 > 1 };"
    )
    declared(ready, "policies/big.cedar", overflow)
    found = world.refused(ready, ID)
    assert any(said.startswith("policy could not decide") for said in found)
    last = decisions(ready, ID)[-1]
    assert not last.allowed
    assert any(said.startswith("policy could not decide") for said in last.said)


# --- windows --------------------------------------------------------------------------

OVER = """\
allows:
  - {name: last_year, start: "2012-03-01T09:00:00", end: "2012-03-01T17:00:00", timezone: UTC}
"""
OFFICE = """\
allows:
  - name: office
    start: "2013-02-01T09:00:00"
    end: "2013-02-01T17:00:00"
    timezone: UTC
    rrule: FREQ=DAILY
"""


def test_a_window_that_never_opens_books_nothing_and_the_change_says_why(ready: Workspace) -> None:
    declared(ready, "calendar.yaml", OVER)
    world.signed(ready, "CR-3")
    change = world.current(ready, "CR-3")
    assert change.state == "REVIEW"
    assert change.said.startswith("not booked yet: ")
    assert "last_year" in change.said
    assert ready.record.get(Ref("booking", "CR-3")) is None
    found = world.refused(ready, "CR-3")
    assert any("last_year" in said for said in found)


# X8
def test_a_rollout_at_the_end_of_its_allow_window_holds_and_resumes_by_itself(
    stages: Stages, tmp_path: Path
) -> None:
    with world.opened(world.copied(stages["SHADOW"], tmp_path / "project")) as workspace:
        declared(workspace, "calendar.yaml", OFFICE)
        opens = workspace.now().replace(hour=9) + DAY
        workspace.clock = FixedClock(opens.replace(hour=17))  # the window has just closed
        route = workspace.route()
        decide.promote(workspace, ID, by="sam", reason="made-up data is too little to show it")
        said = tick(workspace)
        found = world.rollout(workspace, ID)
        assert (found.state.name, found.hold) == ("SHADOW", HoldReason.FREEZE)
        assert "office" in said
        assert workspace.route() == route, "nothing moves outside of the window"
        workspace.clock = FixedClock(opens + DAY - timedelta(seconds=1))
        tick(workspace)
        assert world.rollout(workspace, ID).state.name == "SHADOW"
        workspace.clock = FixedClock(opens + DAY)  # nobody does anything: the controller looks
        tick(workspace)
        assert world.rollout(workspace, ID).state.name == "STEP"
        assert workspace.route().epoch == route.epoch + 1


# --- clocks ---------------------------------------------------------------------------


def test_a_clock_that_jumps_back_moves_nothing_and_is_told(stages: Stages, tmp_path: Path) -> None:
    with world.opened(world.copied(stages["STEP"], tmp_path / "project")) as workspace:
        before, route = world.rollout(workspace, ID), workspace.route()
        workspace.clock = FixedClock(before.entered_at - 300 * DAY)
        decide.promote(workspace, ID, by="sam", reason="made-up data is too little to show it")
        tick(workspace)
        after = world.rollout(workspace, ID)
        assert (after.state, after.index) == (before.state, before.index)
        assert workspace.route() == route
        found = audit(workspace)
        assert (found.objections, found.backwards > 0) == ((), True)
        # The way back is open whatever time it is.
        decide.rollback(workspace, ID, by="rita", reason="enough")
        assert workspace.route().stable == world.current(workspace, "CR-1").release


def test_a_clock_that_jumps_forward_is_no_proof_of_anything(stages: Stages, tmp_path: Path) -> None:
    """A year in one second: every hold is over, and nothing was measured in it."""
    with world.opened(world.copied(stages["SHADOW"], tmp_path / "project")) as workspace:
        world.go_on(workspace, ID)
        before, route = world.rollout(workspace, ID), workspace.route()
        assert before.state.name == "STEP"
        workspace.clock = FixedClock(before.entered_at + 365 * DAY)
        for _ in range(3):
            tick(workspace)
        after = world.rollout(workspace, ID)
        assert (after.state, after.index) == (before.state, before.index)
        assert after.hold is not None, "it stands still, and says why"
        assert after.said
        assert workspace.route() == route
        assert world.current(workspace, ID).said == after.said, "recorded"
