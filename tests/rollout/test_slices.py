"""Critical slices: few are harmed, everybody's mean is fine, and it is seen and taken back."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from rollout_story import STAGES

from interlock.define.environment import Stage
from interlock.define.release import slice_of
from interlock.errors import Unusable
from interlock.ports import Bucket
from interlock.rollout.defaults import KpiPlan, Planned, SlicePlan, default_guardrails
from interlock.rollout.judge import Judgement, judge
from interlock.rollout.metrics import Guardrail, registered_digest
from interlock.rollout.planner import needs
from interlock.rollout.state import apart_of, shares_of

SHARE, UNITS, BASE = 0.1, 400, 0.004
UA, DL = (SlicePlan(f"carrier={c}", SHARE, 0.5, 0.03, 0.1) for c in ("UA", "DL"))
DESK = KpiPlan("desk", 1.0, 0.5, 0.05, "lower", UNITS)
PLANNED = Planned(UNITS, shares_of(STAGES), slices=(UA, DL), kpis=(DESK,))
EVERY = default_guardrails(PLANNED)
RATES = [one for one in EVERY if one.metric in ("errors", "fallbacks")]


def test_slices_share_a_fifth_of_alpha_and_nobody_else_loses_more() -> None:
    weight = sum(one.weight for one in EVERY)
    few = [one for one in EVERY if one.slice]
    assert {one.slice for one in few} == {"carrier=UA", "carrier=DL"}
    assert sum(one.weight for one in few) / weight == pytest.approx(0.2)
    plain = default_guardrails(replace(PLANNED, slices=()))
    assert [one for one in EVERY if not one.slice] == list(plain)
    assert not any("apart" in one.to_json() for one in plain), "what was agreed keeps its digest"
    again = [Guardrail.from_json(one.to_json()) for one in EVERY]
    assert registered_digest(again, 0.05, 0.05) == registered_digest(EVERY, 0.05, 0.05)


def counts(harm: float, seed: int, buckets: int = 100) -> list[Bucket]:
    """Half and half; one carrier in ten has `harm` times the errors under the candidate."""
    rng = np.random.default_rng(seed)
    few, found = int(UNITS * SHARE / 2), []
    for at in range(buckets):
        for arm, factor in (("stable", 1.0), ("candidate", harm)):
            rest = UNITS // 2 - few
            mine, other = rng.binomial(few, BASE * factor), rng.binomial(rest, BASE)
            for slice, n, events in (("carrier=UA", few, mine), ("", few + rest, mine + other)):
                for metric, seen in (("errors", float(events)), ("fallbacks", 0.0)):
                    found.append(Bucket("half", metric, arm, at, n, seen, seen, slice))
    return found


def judged(buckets: list[Bucket], guardrails: list[Guardrail]) -> Judgement:
    return judge(guardrails, buckets, 0.05, 0.05, "ramp", "half")


def test_a_slice_that_is_harmed_is_seen_though_the_mean_is_fine() -> None:
    blind = [one for one in RATES if not one.slice]
    seen = [judged(counts(6.0, seed), RATES) for seed in range(30)]
    harmed = [one for one in seen if one.verdict == "harm"]
    assert len(harmed) >= 26
    named = [one.sentence.partition(" is worse")[0] for one in harmed]
    assert named.count("errors at carrier=UA") > len(named) / 2, "it says where"
    missed = [judged(counts(6.0, seed), blind).verdict for seed in range(30)]
    assert missed.count("harm") <= 12, "their mean alone hides it"


def test_where_nothing_is_worse_slices_bring_no_more_false_alarms() -> None:
    found = [judged(counts(1.0, seed), RATES).verdict for seed in range(60)]
    bound = 0.05 * 60 + 3 * (0.05 * 0.95 * 60) ** 0.5
    assert found.count("harm") <= bound


def test_a_slice_of_which_nothing_was_seen_keeps_the_stage() -> None:
    found = judged(counts(1.0, 1), RATES)
    by = {one.name: one for one in found.per_guardrail}
    assert by["errors at carrier=UA"].verdict == "safe"
    assert by["errors at carrier=DL"].verdict == "needs_data"
    assert (found.verdict, found.measured) == ("needs_data", 0.0)


def test_a_stage_that_lets_nobody_of_a_slice_in_does_not_ask_for_it() -> None:
    walk = (
        Stage(name="half", weight=0.5, hold=STAGES[0].hold, only={"carrier": ["UA"]}),
        Stage(name="all", weight=0.5, hold=STAGES[0].hold, only={"origin": ["JFK"]}),
    )
    assert apart_of(walk, "carrier=DL") == ("half",)
    assert apart_of(walk, "carrier=UA") == ()
    assert slice_of("carrier=UA=1") == (("carrier", ("UA=1",)),)
    guardrails = [replace(one, apart=apart_of(walk, one.slice)) for one in RATES]
    found = judged(counts(1.0, 1), guardrails)
    assert (found.verdict, found.measured > 0) == ("safe", True)
    asked = {need.guardrail for need in needs(guardrails, walk[:1], 5000.0)}
    assert asked == {"errors", "fallbacks", "errors at carrier=UA", "fallbacks at carrier=UA"}
    every = registered_digest(guardrails, 0.05, 0.05)
    assert every != registered_digest(RATES, 0.05, 0.05), "it is part of what was agreed"


def test_a_plan_says_how_long_few_take_and_refuses_whom_nobody_knows() -> None:
    shares = {"carrier=UA": 0.1, "carrier=DL": 0.0}
    found = {one.guardrail: one for one in needs(RATES, [STAGES[2]], 5000.0, shares)}
    whole, few = found["errors"], found["errors at carrier=UA"]
    hours = 8 / 24  # of each it takes eight, however few units they hold
    assert few.days - hours == pytest.approx(10 * (whole.days - hours))
    assert found["errors at carrier=DL"].days == inf
    assert "no units are expected" in found["errors at carrier=DL"].objection


def test_counts_of_a_slice_that_nothing_can_have_produced_are_refused() -> None:
    broken = [*counts(1.0, 1), Bucket("half", "errors", "stable", 9, 1, 5, 5, "carrier=UA")]
    assert judged(broken, RATES).verdict == "error"
    with pytest.raises(Unusable):
        judge([], broken, 0.05, 0.05)
