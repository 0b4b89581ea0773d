"""What several arms cost is said beforehand, and nothing of it moves when one joins or leaves."""

from __future__ import annotations

from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rollout_story import HOUR

from interlock.define.environment import Environment, Stage
from interlock.define.load import read
from interlock.rollout.defaults import Planned, default_guardrails
from interlock.rollout.planner import Need, needs
from interlock.rollout.state import balance_of, shares_of, split_of, stages_of

STAGES = tuple(
    Stage(name=name, weight=weight, hold=HOUR)
    for name, weight in (("mirror", 0.0), ("ab", 0.6), ("soak", 1.0))
)
shares = st.floats(0.01, 0.99)
places = st.integers(1, 12)


def planned(arms: int, stages: tuple[Stage, ...] = STAGES) -> dict[tuple[str, str], Need]:
    there = Environment(subject=("id",), stages=stages, strategy="ab", arms=arms)
    guardrails = default_guardrails(Planned(200, shares_of(stages_of(there)), arms=arms))
    found = needs(guardrails, stages_of(there), 5000.0, arms=arms)
    return {(need.stage, need.guardrail): need for need in found}


@given(shares, places)
def test_an_arm_is_compared_with_the_control_and_with_no_other_arm(share: float, arms: int) -> None:
    one, stable = share / arms, 1 - share
    assert isclose(split_of(share, arms), one / (one + stable), rel_tol=1e-12)
    assert isclose(balance_of(share, arms), one * stable / (one + stable), rel_tol=1e-12)


@given(shares)
def test_one_place_is_what_there_was_before_there_were_places(share: float) -> None:
    assert split_of(share) == share
    assert balance_of(share) == share * (1 - share)


@pytest.mark.parametrize("guardrail", ["label_missing", "log_loss", "split"])
def test_more_places_need_more_where_the_arms_divide(guardrail: str) -> None:
    units = [planned(arms, STAGES[1:])["ab", guardrail].units for arms in (1, 2, 3)]
    assert units[0] < units[1] < units[2]


def test_what_mirrors_shows_every_arm_everything() -> None:
    alone, three = planned(1), planned(3)
    mirrored = {key for key in alone if key[0] == "mirror" and key[1] == "score_shift"}
    assert mirrored
    for key in mirrored:
        # The widths are made for the smaller share; what is needed is the same.
        assert alone[key].units == three[key].units


def test_the_split_that_is_promised_is_that_of_one_arm_and_the_control() -> None:
    guardrails = default_guardrails(Planned(200, {"ab": 0.6}, arms=3))
    split = next(one for one in guardrails if one.form == "split")
    assert split.shares == {"ab": pytest.approx(0.2 / 0.6)}


def test_only_an_a_b_has_places_and_says_so_where_they_are_declared() -> None:
    def said(words: str) -> list[str]:
        stages = "stages: [{name: ab, weight: 0.5, hold: 1d}, {name: all, weight: 1, hold: 1d}]"
        owners = "name: x\nowners: {a: {b: [data_steward]}}\n"
        text = f"{owners}environments:\n  prod:\n    subject: [a]\n    {stages}\n{words}"
        return [str(problem) for problem in read({"interlock.yaml": text}).problems]

    wrong = "3 arms, and the strategy is canary"
    assert any("interlock.yaml:7" in one and wrong in one for one in said("    arms: 3\n"))
    assert any("arms" in one for one in said("    arms: 0\n    strategy: ab\n"))
    assert not any("arms" in one for one in said("    arms: 3\n    strategy: ab\n"))
