"""What the planner says beforehand, held against rollouts of environments that nobody chose.

The figure is of the median run of a change that does nothing; it must lie within a factor of two.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from math import log

import numpy as np
import pytest
from rollout_story import ALPHA, BETA

from interlock.define.environment import Stage
from interlock.rollout.defaults import DecisionPlan, Planned, default_guardrails
from interlock.rollout.eprocess import Moments
from interlock.rollout.evidence import evidence
from interlock.rollout.metrics import Guardrail
from interlock.rollout.planner import lasts, needs
from interlock.rollout.strata import Strata

RUNS, DAY = 40, timedelta(days=1)
Rng = np.random.Generator


def even(rng: Rng, low: float, high: float) -> float:
    """Between `low` and `high`, every order of magnitude alike."""
    return float(np.exp(rng.uniform(log(low), log(high))))


def named(share: float) -> str:
    return f"at_{share * 1000:g}"


def environment(rng: Rng, weight: float) -> tuple[int, dict[str, float], dict[str, Guardrail]]:
    """Units an hour, how often each event happens, and what is judged there by default."""
    hourly = int(even(rng, 20, 20_000))
    rates = {"errors": even(rng, 1e-4, 0.2), "fallbacks": even(rng, 1e-3, 0.4), "slow": 0.05,
             "label_missing": 0.01, "score_shift": 0.1}  # fmt: skip
    acts = DecisionPlan("desk", 0.5, rng.uniform(0.05, 0.5), even(rng, 0.005, 0.2), 0.1)
    planned = Planned(
        hourly, {named(weight): weight}, error_rate=rates["errors"],
        fallback_share=rates["fallbacks"],
        log_loss=rng.uniform(0.2, 0.7), log_loss_variance=rng.uniform(0.05, 0.6),
        log_loss_difference_variance=even(rng, 1e-3, 0.1), decisions=(acts,),
    )  # fmt: skip
    found = [replace(one, labels=False, maturity_s=0.0) for one in default_guardrails(planned)]
    return hourly, rates, {one.name: one for one in found}


def harmless(rng: Rng, one: Guardrail, shares: list[float], hourly: int, rate: float) -> Strata:
    """Hours in which candidate and stable are the same; a share of 0 mirrors every unit."""
    size = (RUNS, len(shares))
    keys = tuple((hour, named(share)) for hour, share in enumerate(shares))
    if one.form == "paired":
        each = np.full(size, float(hourly))
        return Strata(keys, {"paired": values(rng, each, one.scale, 0.0)})
    candidate = rng.binomial(hourly, np.broadcast_to(shares, size))
    arms = {}
    for name, n in (("candidate", candidate), ("stable", hourly - candidate)):
        if one.form == "rate":
            events = 1.0 * rng.binomial(n, rate)
            arms[name] = Moments(1.0 * n, events, events)
        else:
            arms[name] = values(rng, 1.0 * n, one.scale, one.baseline or 0.0)
    return Strata(keys, arms)


def values(rng: Rng, n: np.ndarray, variance: float, mean: float) -> Moments:
    off = rng.normal(0, 1, n.shape) * np.sqrt(variance * n)
    around = np.where(n > 1, variance * rng.chisquare(np.maximum(n - 1, 1)), 0.0)
    total = off + n * mean
    return Moments(n, total, total**2 / np.maximum(n, 1) + around)


def hours_until_safe(one: Guardrail, found: Strata) -> float:
    """In the median run; more than there are where that was not safe."""
    there = evidence(one, found, ALPHA, BETA).safe >= log(1 / BETA)
    first = np.where(there.any(-1), there.argmax(-1) + 1, 10 * there.shape[-1])
    return float(np.median(first))


JUDGED = ["errors", "slow", "fallbacks", "label_missing", "score_shift", "log_loss", "split",
          "log_loss_paired", "decisions:desk"]  # fmt: skip


@pytest.mark.parametrize("name", JUDGED)
def test_a_gate_takes_as_long_as_the_plan_said_whatever_the_traffic(name: str) -> None:
    rng, compared = np.random.default_rng(JUDGED.index(name)), 0
    while compared < 4:
        weight = float(rng.choice([0.01, 0.05, 0.1, 0.25, 0.5]))
        hourly, rates, guardrails = environment(rng, weight)
        one = guardrails[name]
        share = weight if "ramp" in one.gate else 0.0
        stage = Stage(name=named(share), weight=share, hold=DAY)
        (need,) = needs([one], [stage], 24.0 * hourly)
        hours = need.units / hourly
        if hours > 200:
            continue  # right or wrong, it is too long to be tried here
        compared += 1
        shares = [stage.weight] * int(3 * hours + 40)
        found = harmless(rng, one, shares, hourly, rates.get(name, 0.0))
        taken = hours_until_safe(one, found)
        assert 0.45 < taken / max(hours, 1.0) < 2.2, (hourly, weight, hours, taken)


@pytest.mark.parametrize("name", ["errors", "log_loss"])
def test_what_a_small_stage_shows_is_worth_what_the_plan_says_in_the_next(name: str) -> None:
    """Its hours are many and small; a large hour of the next one brings a spread of its own."""
    rng, compared = np.random.default_rng(3), 0
    while compared < 4:
        hourly, rates, guardrails = environment(rng, 0.05)
        one = replace(guardrails[name], ladder={named(0.05): 3.0})
        stages = [Stage(name=named(w), weight=w, hold=DAY) for w in (0.05, 0.5)]
        before = lasts(stages[:1], needs([one], stages[:1], 24.0 * hourly)) / DAY * 24
        need = needs([one], stages, 24.0 * hourly)[-1]
        hours = need.units / hourly
        if before > 100 or hours > 100 or hours < 2:
            continue
        compared += 1
        shares = [0.05] * round(before) + [0.5] * int(3 * hours + 40)
        found = harmless(rng, one, shares, hourly, rates.get(name, 0.0))
        taken = hours_until_safe(one, found) - round(before)
        assert 0.4 < taken / hours < 2.5, (hourly, before, hours, taken)
