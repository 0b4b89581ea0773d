"""What an operator sees of a rollout, night by night."""

from __future__ import annotations

from datetime import timedelta

import pytest
from rollout_story import NEW, OLD, Story, idle_route, started

from interlock.define.environment import Stage
from interlock.errors import Refused
from interlock.rollout.machine import Advance, RouteMove
from interlock.rollout.routes import route_after
from interlock.rollout.state import HoldReason, RolloutState, State


def test_a_good_change_walks_to_the_end_and_becomes_what_runs() -> None:
    story = Story().tick().then_it_is(State.SHADOW).then_share_is(0.0)
    assert story.route.mirror
    story.when_hours_pass(1).then_share_is(0.1).when_hours_pass(1).then_share_is(0.5)
    story.when_hours_pass(1).then_it_is(State.SOAKING).then_share_is(1.0)
    story.when_hours_pass(1).then_it_is(State.COMMITTED)
    assert (story.route.stable, story.route.candidate, story.route.mirror) == (NEW, None, False)
    story.now += timedelta(days=7)
    story.tick().then_it_is(State.RETIRED)


def test_a_harmful_model_goes_back_even_from_the_last_stage() -> None:
    story = Story().tick().when_hours_pass(3).then_it_is(State.SOAKING)
    story.when_requests_fail_at(0.2).when_hours_pass(2).then_share_is(0.0)
    story.then_it_is(State.ABORTED).then_it_said("harm seen at soak")
    assert story.route.stable == OLD
    assert NEW in story.route.blocked


def test_silence_is_not_health() -> None:  # R-C7
    story = Story().when_nobody_calls().tick().when_hours_pass(3)
    story.then_it_is(State.SHADOW, HoldReason.NO_DATA).then_it_said("nothing was measured")
    story.when_someone_asks_to("promote", "it looks fine").when_hours_pass(1)
    story.then_it_is(State.SHADOW, HoldReason.NO_DATA)


def test_proof_from_an_earlier_stage_does_not_carry_an_unmeasured_one() -> None:  # R-C7
    story = Story().tick().when_hours_pass(1).then_share_is(0.1)
    story.when_nobody_calls().when_hours_pass(3).then_it_is(State.STEP, HoldReason.NO_DATA)


def test_a_freeze_stops_the_way_forward_and_never_the_way_back() -> None:
    story = Story().when(freeze="frozen for the holidays").tick()
    story.then_it_is(State.PREPARING, HoldReason.FREEZE)
    story.when(freeze="").tick().then_it_is(State.SHADOW)
    story.when_hours_pass(1).then_share_is(0.1).when(freeze="frozen again").when_hours_pass(3)
    story.then_it_is(State.STEP, HoldReason.FREEZE).then_share_is(0.1)
    story.when_requests_fail_at(0.5).when_hours_pass(2)
    story.then_it_is(State.ABORTED).then_share_is(0.0)


def test_a_hold_ends_by_itself_when_its_reason_is_gone() -> None:
    story = Story().tick().when_someone_asks_to("hold").when_hours_pass(3)
    story.then_it_is(State.SHADOW, HoldReason.MANUAL).then_it_said("held by ada")
    story.when(request=None).tick().then_it_is(State.STEP)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"approvals": "the sign-off of gates has expired"}, HoldReason.APPROVAL_EXPIRED),
        ({"dependency": "waits for CR-7"}, HoldReason.DEPENDENCY),
        ({"late_data": "weather is 3 h late"}, HoldReason.DEPENDENCY),
        ({"unsound": "9 of 100 answers have no mirrored score"}, HoldReason.NO_DATA),
        ({"fallback": "old model does not load"}, HoldReason.FALLBACK_UNHEALTHY),
    ],
)
def test_what_is_wrong_around_it_keeps_it_where_it_is(
    facts: dict[str, str], reason: HoldReason
) -> None:
    story = Story().tick().when(**facts).when_hours_pass(4)
    story.then_it_is(State.SHADOW, reason).then_it_said(next(iter(facts.values())))


def test_an_open_question_goes_to_the_owner_who_may_answer_it() -> None:
    # Labels that never mature are the plainest open question.
    story = Story().when(labels_matured=False).tick().when_hours_pass(25)
    story.then_it_is(State.SHADOW, HoldReason.INCONCLUSIVE).then_it_said("the owner decides")
    story.when_someone_asks_to("promote", " ").tick()
    story.then_it_is(State.SHADOW, HoldReason.INCONCLUSIVE)
    story.when_someone_asks_to("promote", "labels of this week are lost").tick()
    story.then_it_is(State.STEP)


def test_a_promotion_by_hand_is_written_down_as_waived() -> None:
    story = Story().when(labels_matured=False).tick().when_hours_pass(2).then_it_is(State.SHADOW)
    story.when_someone_asks_to("promote", "accepted by ops").tick().then_it_is(State.STEP)
    assert any("WAIVED by ada: accepted by ops" in line.sentence for line in story.state.history)


def test_going_on_without_what_cannot_be_judged_is_written_down_too() -> None:
    story = Story().when(unsound="9 units have two labels").tick().when_hours_pass(2)
    story.then_it_is(State.SHADOW, HoldReason.NO_DATA)
    story.when_someone_asks_to("promote", "they are of a test").tick().then_it_is(State.STEP)
    said = story.state.history[-1].sentence
    assert "WAIVED by ada: they are of a test (open: 9 units have two labels)" in said


def test_nobody_can_promote_harm() -> None:
    story = Story().tick().when_someone_asks_to("promote", "trust me")
    story.when_requests_fail_at(0.3).when_hours_pass(3).then_it_is(State.ABORTED)


def test_going_back_first_and_checking_the_old_release_after() -> None:
    story = Story().tick().when_hours_pass(1).when(fallback="two of three gateways answer")
    story.when_someone_asks_to("rollback", "pager").tick()
    story.then_it_is(State.ABORTING).then_share_is(0.0)
    story.tick().then_it_is(State.ABORTING, HoldReason.FALLBACK_UNHEALTHY)
    story.when(fallback="").tick().then_it_is(State.ABORTED).then_it_said("ada asked to roll back")


def test_a_committed_change_can_be_taken_back_while_its_window_is_open() -> None:
    story = Story().tick().when_hours_pass(8).then_it_is(State.COMMITTED)
    story.when_someone_asks_to("rollback", "crew planning complains").tick()
    story.then_it_is(State.REVERTING)
    assert story.route.stable == OLD
    story.tick().then_it_is(State.ABORTED)


def test_after_the_window_going_back_is_a_change_of_its_own() -> None:
    story = Story().tick().when_hours_pass(8).then_it_is(State.COMMITTED)
    story.now += timedelta(days=8)
    story.when_someone_asks_to("rollback", "too late").tick().then_it_is(State.RETIRED)
    assert story.route.stable == NEW


def test_a_judgement_by_other_guardrails_than_agreed_moves_nothing() -> None:
    story = Story().tick()
    story.state = RolloutState.from_json({**story.state.to_json(), "registered": "agreed"})
    story.when_hours_pass(3).then_it_is(State.SHADOW, HoldReason.INCONCLUSIVE)


def test_a_blocked_release_never_becomes_a_candidate_again() -> None:
    move = Advance(State.SHADOW, 0, "go", RouteMove("worse", "CR-2", "shadow", 0.0))
    with pytest.raises(Refused, match="blocked"):
        route_after(idle_route(), move)


def test_two_rollouts_cannot_share_a_route() -> None:
    story = Story().tick()
    move = Advance(State.SHADOW, 0, "go", RouteMove("third", "CR-2", "shadow", 0.0))
    with pytest.raises(Refused, match="CR-1 is being rolled out"):
        route_after(story.route, move)


def test_a_stage_without_a_hold_still_waits_for_proof() -> None:
    story = Story()
    instant = Stage(name="tenth", weight=0.1, hold=timedelta(0))
    story.state = started([instant])
    story.tick().then_it_is(State.STEP).tick().then_it_is(State.STEP, HoldReason.NO_DATA)
