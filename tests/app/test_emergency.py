"""What cannot wait: one more signature, of somebody who signs for nothing else, and a review."""

from __future__ import annotations

from dataclasses import replace

import app_world as world
import pytest

from interlock.app import decide
from interlock.app.changes import held, save, told
from interlock.app.propose import propose
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.errors import Refused
from interlock.plan.plan import Plan
from interlock.rollout.state import RolloutState, State, stages_of

CREW = ("services/crew.yaml", "margin: 0.05", "margin: 0.06")
WHY = "crews are sent home for nothing since this morning"


@pytest.fixture
def opened(live: Workspace) -> Change:
    world.edit(live.folder, *CREW)
    live.reread()
    return propose(live, replace(world.asked("A wider margin"), emergency=WHY))


def test_one_more_signs_and_it_is_somebody_else(live: Workspace, opened: Change) -> None:  # R-C4
    plan = Plan.from_json(opened.plan or {})
    needed = next(one for one in plan.requirements if one.role == "emergency_approver")
    assert (needed.team, needed.people) == ("product-ops", ("priya", "sam"))
    assert f"emergency: {WHY}; to be reviewed afterwards" in plan.notes
    for need in plan.requirements:
        person = "sam" if "sam" in need.people else need.people[0]
        decide.sign(live, opened.id, by=person, role=need.role, team=need.team)
    (first, *_) = world.refused(live, opened.id)
    assert first.startswith("sam signed for something else too: another emergency_approver")
    decide.sign(live, opened.id, by="priya", role="emergency_approver", team="product-ops")
    assert decide.apply(live, opened.id, by="sam") == f"{opened.id} is being prepared"


def test_a_review_is_due_once_it_has_ended(opened: Change) -> None:
    stages = stages_of_one(opened)
    state = RolloutState(
        opened.id, opened.release, opened.made_against, stages, stages[0].hold, opened.opened_at
    )
    running = replace(opened, state="SOAKING")
    assert told(running, state.moved(State.SOAKING, 0, opened.opened_at, "on")).review_due == ""
    for end in (State.COMMITTED, State.ABORTING):
        ended = told(running, state.moved(end, 0, opened.opened_at, "over"))
        assert bool(ended.review_due) == (end is State.COMMITTED)
    aborted = told(replace(opened, state="ABORTING"), replace(state, state=State.ABORTED))
    assert aborted.review_due == f"released as an emergency: {WHY}"
    plain = told(replace(running, emergency=""), replace(state, state=State.COMMITTED))
    assert plain.review_due == ""


def stages_of_one(change: Change):  # type: ignore[no-untyped-def]
    from interlock.define.environment import Environment

    body = {"subject": ["flight_id"], "stages": [{"name": "soak", "weight": 1, "hold": "1d"}]}
    return stages_of(Environment.model_validate(body))


def test_nobody_of_another_team_is_an_objection(live: Workspace) -> None:
    world.edit(live.folder, *CREW)
    live.reread()
    asked = replace(world.asked("A wider margin"), emergency=WHY, by="priya")
    with pytest.raises(Refused) as caught:
        propose(live, asked)
    (said,) = caught.value.objections
    assert said.startswith("nobody of another team than priya's holds emergency_approver")


def test_a_promise_that_was_edited_afterwards_is_found(live: Workspace, opened: Change) -> None:
    before = held(live.record, opened.id)
    save(live, before, replace(before.change, risks="none at all"), by="wei")
    said = world.refused(live, opened.id)
    assert "what wei promised is not what the plan was signed with" in said
