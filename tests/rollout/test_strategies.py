"""Four strategies are four lists of steps over one machine, and one way back."""

from __future__ import annotations

from datetime import timedelta
from math import inf
from typing import Any

import pytest
from rollout_story import HOUR, NEW, OLD, STAGES, Story, started

from interlock.define.environment import Environment, Stage, Strategy
from interlock.rollout.defaults import KpiPlan, Planned, default_guardrails
from interlock.rollout.planner import needs
from interlock.rollout.state import HoldReason, State, kinds_of, shares_of, stages_of

WALKS: dict[Strategy, list[float]] = {
    "canary": [0, 0.1, 0.5, 1],
    "shadow": [0, 1],
    "ab": [0, 0.5, 1],
    "blue_green": [1],
}


def walked(strategy: Strategy, stages: tuple[Stage, ...] = STAGES) -> tuple[Stage, ...]:
    return stages_of(Environment(subject=("id",), stages=stages, strategy=strategy))


def story(strategy: Strategy) -> Story:
    return Story(state=started(walked(strategy)))


@pytest.mark.parametrize("strategy", WALKS)
def test_a_good_change_walks_the_steps_of_its_strategy(strategy: Strategy) -> None:
    found = story(strategy).tick().when_hours_pass(len(WALKS[strategy]) + 1)
    found.then_it_is(State.COMMITTED)
    assert [route.weight for route in found.routes] == [*WALKS[strategy], 0.0]
    assert found.route.stable == NEW
    assert all(route.mirror for route in found.routes[:-1]), "both releases stay warm"


@pytest.mark.parametrize("strategy", WALKS)
@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_harm_takes_back_any_step_of_any_strategy_in_one_move(
    strategy: Strategy, step: int
) -> None:
    found = story(strategy).tick().when_hours_pass(min(step, len(WALKS[strategy]) - 1))
    moved = len(found.routes)
    found.when_requests_fail_at(0.3).when_hours_pass(1)
    found.then_it_is(State.ABORTED).then_share_is(0.0)
    assert len(found.routes) == moved + 1
    assert (found.route.stable, found.route.candidate) == (OLD, None)
    assert NEW in found.route.blocked


@pytest.mark.parametrize("strategy", WALKS)
def test_whatever_is_walked_something_is_asked_before_the_commit(strategy: Strategy) -> None:
    stages = walked(strategy)
    planned = Planned(
        50, shares_of(stages), kinds=kinds_of(stages),
        kpis=(KpiPlan("gates", 2.6, 4.0, 0.05, "lower", 50),),
    )  # fmt: skip
    guardrails = default_guardrails(planned)
    asked = {g.name for g in guardrails if set(g.gate) & set(kinds_of(stages))}
    safety = {"errors", "fallbacks", "label_missing", "score_shift", "log_loss", "log_loss_paired"}
    assert safety <= asked
    assert ("split" in asked) == any(0 < stage.weight < 1 for stage in stages)
    assert all(need.days < inf for need in needs(guardrails, stages, 5000.0))


def test_a_stage_that_is_given_more_time_begins_again_with_its_evidence() -> None:
    found = Story().when(labels_matured=False).tick().when_hours_pass(25)
    found.then_it_is(State.SHADOW, HoldReason.INCONCLUSIVE).then_it_said("retry")
    began, seen = found.state.entered_at, found.judgement().per_guardrail[0].n_candidate
    found.when_someone_asks_to("retry", "labels come tomorrow").tick()
    found.then_it_is(State.SHADOW).then_it_said("ada gives it more time: labels come tomorrow")
    assert found.state.entered_at > began
    assert found.state.hold is None
    assert found.judgement().per_guardrail[0].n_candidate == seen
    found.when(request=None).when_hours_pass(2).then_it_is(State.SHADOW)
    found.when(labels_matured=True).tick().then_it_is(State.STEP)


def test_more_time_is_no_way_around_harm() -> None:
    found = Story().tick().when_someone_asks_to("retry", "once more")
    found.when_requests_fail_at(0.3).when_hours_pass(3).then_it_is(State.ABORTED)


def test_a_strategy_needs_the_stages_it_is_made_of() -> None:
    from interlock.define.check import _unwalkable

    def said(strategy: Strategy, *weights: float) -> Any:
        stages = tuple(Stage(name=f"s{i}", weight=w, hold=HOUR) for i, w in enumerate(weights))
        return _unwalkable(Environment(subject=("id",), stages=stages, strategy=strategy))

    assert "no stage mirrors" in said("shadow", 0.5, 1)[0]
    assert "no stage divides" in said("ab", 0, 1)[0]
    assert said("shadow", 0, 1) is said("ab", 0.5) is said("blue_green", 1) is None
    assert stages_of(Environment(subject=("id",), stages=STAGES[:2], strategy="blue_green")) == (
        Stage(name="soak", weight=1, hold=timedelta(0)),
    )
