"""The split is shown before anything goes on, as strictly as traffic allows, stage by stage."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest
from rollout_story import ALPHA, BETA

from interlock.ports import Bucket
from interlock.rollout.defaults import Planned, default_guardrails
from interlock.rollout.eprocess import Moments
from interlock.rollout.evidence import evidence
from interlock.rollout.judge import judge
from interlock.rollout.metrics import Guardrail
from interlock.rollout.strata import Strata

LINE = log(1 / ALPHA)
SPLIT = Guardrail(
    "split", "units", "split", margin=0.25, gate=("ramp",), shares={"tenth": 0.1, "half": 0.5}
)


def agreed(units: float) -> Guardrail:
    """What a rollout of 2 days at 10 % and 2 days at 50 % is given."""
    holds = {"tenth": 48.0, "half": 48.0}
    planned = Planned(units, {"tenth": 0.1, "half": 0.5}, holds=holds)
    return next(one for one in default_guardrails(planned) if one.name == "split")


def of_units(stage: str, candidate: np.ndarray, stable: np.ndarray, start: int = 0) -> Strata:
    keys = tuple((start + at, stage) for at in range(candidate.shape[-1]))
    made = {"candidate": 1.0 * candidate, "stable": 1.0 * stable}
    return Strata(keys, {name: Moments(n, 0 * n, 0 * n) for name, n in made.items()})


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_with_much_traffic_a_twentieth_that_is_lost_is_not_let_through(share: float) -> None:
    """Who is lost may be whom the candidate crashed on."""
    name = {0.1: "tenth", 0.5: "half"}[share]
    split = agreed(2000).at(name)
    rng, runs = np.random.default_rng(4), 300
    candidate = rng.binomial(2000, share, (runs, 200))
    kept = rng.binomial(candidate, 0.94)
    lost, whole = (
        evidence(split, of_units(name, n, 2000 - candidate), ALPHA, BETA) for n in (kept, candidate)
    )
    assert (lost.safe.max(-1) >= LINE).mean() <= BETA + 3 * (BETA * (1 - BETA) / runs) ** 0.5
    assert (lost.fail.max(-1) >= LINE).mean() > 0.9
    # And what is not broken does not wait for it: half of the stage's least time is enough.
    assert np.median((whole.safe >= LINE).argmax(-1)) <= 24


def test_each_stage_asks_for_what_its_traffic_can_show() -> None:
    few, some, many = (agreed(units) for units in (5, 50, 5000))
    for stage, margins in {"tenth": (0.25, 0.25, 0.05), "half": (0.25, 0.163, 0.05)}.items():
        found = tuple(one.at(stage).margin for one in (few, some, many))
        assert found == pytest.approx(margins, abs=1e-3)


def test_a_split_that_breaks_after_a_long_good_stage_is_found_as_if_it_were_the_first() -> None:
    rng, runs, share = np.random.default_rng(6), 100, 0.5
    good = rng.binomial(500, 0.1, (runs, 300))
    bad = rng.binomial(rng.binomial(500, share, (runs, 60)), 0.9)
    alone = of_units("half", bad, np.full(bad.shape, 250))
    keys = tuple((at, "tenth") for at in range(300))
    arms = {}
    for name, before in (("candidate", good), ("stable", 500 - good)):
        n = np.concatenate([1.0 * before, alone.arms[name].n], axis=-1)
        arms[name] = Moments(n, 0 * n, 0 * n)
    later = tuple((300 + at, "half") for at in range(60))
    both = evidence(SPLIT, Strata(keys + later, arms), ALPHA, BETA).fail[:, 300:]
    first = evidence(replace(SPLIT, shares={"half": share}), alone, ALPHA, BETA).fail
    found = [np.median((path >= LINE).argmax(-1)) for path in (both, first)]
    assert found[1] > 0
    assert found[0] <= found[1] + 4


def test_a_split_shown_in_one_stage_does_not_carry_one_that_looks_broken() -> None:
    def units(stage: str, start: int, candidate: int, stable: int, hours: int) -> list[Bucket]:
        arms = (("candidate", candidate), ("stable", stable))
        at = range(start, start + hours)
        return [Bucket(stage, "units", a, t, n, 0, 0) for t in at for a, n in arms]

    shown = units("tenth", 0, 50, 450, 60)
    kept, lost, gone = (
        judge([SPLIT], shown + units("half", 99, n, 30, 1), ALPHA, BETA, "ramp", "half")
        for n in (30, 20, 0)
    )
    assert [one.verdict for one in (kept, lost, gone)] == ["safe", "needs_data", "error"]
    assert not lost.split_broken, "so little is no proof, and no success either"


def test_swapped_arms_are_a_broken_split_and_nobodys_harm() -> None:
    errors = Guardrail("errors", "errors", "rate", scale=0.01, margin=0.5)
    swapped = [
        Bucket("tenth", metric, arm, at, n, n * rate * (metric == "errors"), n * rate)
        for at in range(40)
        for arm, n, rate in (("candidate", 450, 0.0), ("stable", 50, 0.0))
        for metric in ("errors", "units")
    ]
    found = judge([errors, SPLIT], swapped, ALPHA, BETA, "ramp", "tenth")
    assert (found.verdict, found.split_broken) == ("error", True)
    assert "not split as planned" in found.sentence
