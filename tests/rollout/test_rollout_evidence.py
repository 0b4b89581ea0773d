"""The judge's numbers: against an oracle, against the truth in simulation, against bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from math import isnan, log, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_story import ALPHA, BETA, ERRORS
from ville import normal_mixture

from interlock.errors import Invalid, Unusable
from interlock.ports import Bucket
from interlock.rollout import eprocess
from interlock.rollout.defaults import KpiPlan, Planned, default_guardrails
from interlock.rollout.eprocess import Bound, Moments, mixture
from interlock.rollout.evidence import evidence
from interlock.rollout.judge import Judgement, judge
from interlock.rollout.metrics import Guardrail, registered_digest
from interlock.rollout.strata import Strata, matured, strata, widen

calm = settings(derandomize=True, max_examples=60, deadline=None)
DAY = 86400
PLANNED = Planned(
    50, {"tenth": 0.1, "half": 0.5}, kpis=(KpiPlan("gates", 2.6, 4.0, 0.05, "lower", 50),)
)
DEFAULTS = default_guardrails(PLANNED)
BY_NAME = {one.name: one for one in DEFAULTS}
SCORES = BY_NAME["score_shift"]


def arm_buckets(name: str, events: Any, n: int, metric: str = "errors") -> list[Bucket]:
    return [Bucket("tenth", metric, name, at, n, float(e), float(e)) for at, e in enumerate(events)]


def of_events(e1: Any, e0: Any, n1: int, n0: int) -> Strata:
    keys = tuple((at, "tenth") for at in range(e1.shape[-1]))
    made = {"candidate": (e1, n1), "stable": (e0, n0)}
    arms = {k: Moments(np.full(e.shape, float(n)), 1.0 * e, 1.0 * e) for k, (e, n) in made.items()}
    return Strata(keys, arms)


def share_over(path: Any, weight: float = 1.0) -> float:
    return float((path.max(axis=-1) >= log(1 / (ALPHA * weight))).mean())


@pytest.mark.parametrize("rho", [0.3, 7.0, 900.0])
def test_the_boundary_is_the_one_of_an_independent_library(rho: float) -> None:
    variance = np.geomspace(0.01, 1e6, 40)
    for alpha in (0.001, 0.05, 0.2):
        line = normal_mixture(variance, alpha, rho, one_sided=True)
        assert np.abs(mixture(line, variance, rho) - log(1 / alpha)).max() < 1e-9


def test_an_exact_rate_process_has_mean_one_at_its_bound_at_most() -> None:
    # Not a simulation: the expectation of one step, summed over every outcome.
    p0, n1, n0 = 0.02, 7, 30
    for bound in (Bound(1.5, 0.0, True), Bound(1.5, 0.0, False), Bound(1.0, 0.01, False)):
        p1 = bound.ratio * p0 + bound.absolute
        e1, e0 = (g.ravel() for g in np.meshgrid(np.arange(n1 + 1), np.arange(n0 + 1)))
        found = of_events(e1[:, None], e0[:, None], n1, n0)
        e = np.exp(eprocess.rate(found.arms["candidate"], found.arms["stable"], bound)[:, -1])
        chance = _binomial(e1, n1, p1) * _binomial(e0, n0, p0)
        assert 0.9 < (e * chance).sum() <= 1 + 1e-12


def _binomial(k: Any, n: int, p: float) -> Any:
    from math import comb

    return np.array([comb(n, int(i)) for i in k]) * p**k * (1 - p) ** (n - k)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_harmless_changes_are_rarely_taken_back(share: float) -> None:  # R-C7
    rng, runs = np.random.default_rng(7), 400
    n1, n0 = int(200 * share), int(200 * (1 - share))
    found = of_events(
        rng.binomial(n1, 0.01, (runs, 150)), rng.binomial(n0, 0.01, (runs, 150)), n1, n0
    )
    fail = evidence(replace(ERRORS, bucket_units=n1 * n0 / 200), found, ALPHA, BETA).fail
    assert share_over(fail) <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_a_change_at_the_margin_is_rarely_let_through() -> None:
    rng, runs = np.random.default_rng(8), 400
    found = of_events(
        rng.binomial(20, 0.03, (runs, 150)), rng.binomial(180, 0.02, (runs, 150)), 20, 180
    )
    safe = evidence(replace(ERRORS, bucket_units=18), found, ALPHA, BETA).safe
    assert share_over(safe) <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_five_times_the_errors_are_found() -> None:
    rng = np.random.default_rng(9)
    found = of_events(
        rng.binomial(100, 0.025, (200, 100)), rng.binomial(100, 0.005, (200, 100)), 100, 100
    )
    assert share_over(evidence(ERRORS, found, ALPHA, BETA).fail, weight=0.2) > 0.95


def test_shuffled_labels_are_stopped_by_scores_within_300_requests() -> None:
    rng = np.random.default_rng(10)
    found = of_events(rng.binomial(5, 0.001, (300, 60)), rng.binomial(45, 0.1, (300, 60)), 5, 45)
    weight = SCORES.weight / sum(one.weight for one in DEFAULTS)
    fail = evidence(SCORES, found, ALPHA, BETA).fail
    assert share_over(fail, weight) > 0.9
    assert share_over(fail[:, :8], weight) < 0.05  # 40 requests prove nothing


@pytest.mark.parametrize("factor", [0.45, 1.0, 2.2])
def test_a_useful_retrain_may_move_the_scores(factor: float) -> None:
    rng = np.random.default_rng(11)
    e1, e0 = rng.binomial(25, 0.1 * factor, (200, 200)), rng.binomial(25, 0.1, (200, 200))
    assert share_over(evidence(SCORES, of_events(e1, e0, 25, 25), ALPHA, BETA).fail) < 0.02


def test_a_worse_loss_on_the_same_flights_is_found_and_an_equal_one_passes() -> None:
    rng, paired = np.random.default_rng(12), BY_NAME["log_loss_paired"]
    for shift, harm in ((0.088, True), (0.0, False)):
        rows = rng.normal(shift, 0.17, (100, 60, 50))
        moments = Moments(np.full((100, 60), 50.0), rows.sum(-1), (rows**2).sum(-1))
        keys = tuple((at, "shadow") for at in range(60))
        paths = evidence(paired, Strata(keys, {"paired": moments}), ALPHA, BETA)
        assert (share_over(paths.fail, 0.1) > 0.95) == harm
        let_through = share_over(paths.safe)  # 3,000 pairs; the plan says 2,400 for half the runs
        assert let_through == 0 if harm else let_through > 0.6


def test_two_arms_without_any_error_are_safe_and_one_error_less_proof_than_none() -> None:
    quiet = arm_buckets("candidate", [0] * 30, 50) + arm_buckets("stable", [0] * 30, 50)
    ruling = judge([ERRORS], quiet, ALPHA, BETA)
    assert ruling.verdict == "safe"
    one = quiet[1:] + arm_buckets("candidate", [1], 50)
    assert (
        judge([ERRORS], one, ALPHA, BETA).per_guardrail[0].e_pass < ruling.per_guardrail[0].e_pass
    )


def test_a_fall_of_the_base_rate_during_a_ramp_is_not_an_improvement() -> None:
    # Pooled, the candidate looks better in every run: it mostly saw the good hours.
    rng, runs = np.random.default_rng(13), 300
    n1 = np.repeat([5, 25, 125, 250], 40)
    base = np.linspace(0.02, 0.002, 160)
    e1, e0 = (rng.binomial(n, base * r, (runs, 160)) * 1.0 for n, r in ((n1, 1.5), (500 - n1, 1)))
    pooled = e1.sum(1) / n1.sum() < 1.5 * e0.sum(1) / (500 - n1).sum()
    assert pooled.mean() > 0.95
    size = np.broadcast_to(n1 * 1.0, e1.shape), np.broadcast_to(500.0 - n1, e0.shape)
    arms = {"candidate": Moments(size[0], e1, e1), "stable": Moments(size[1], e0, e0)}
    guardrail = replace(ERRORS, margin_absolute=0.0, scale=0.01, bucket_units=60)
    safe = evidence(guardrail, Strata(tuple((i, "s") for i in range(160)), arms), ALPHA, BETA).safe
    assert share_over(safe) <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


@calm
@given(st.lists(st.sampled_from(["errors", "other"]), max_size=3), st.booleans())
def test_no_data_is_never_safe(metrics: list[str], empty: bool) -> None:  # R-C7
    buckets = [Bucket("tenth", m, "candidate", 0, 0 if empty else 50, 0, 0) for m in metrics]
    found = judge([ERRORS], buckets, ALPHA, BETA, "ramp", "tenth")
    assert (found.verdict, found.measured, found.combined_e) == ("needs_data", 0, 1)
    assert judge(DEFAULTS, buckets, ALPHA, BETA).verdict == "needs_data"


def test_a_gate_that_requires_nothing_is_not_safe() -> None:
    quiet = arm_buckets("candidate", [0] * 30, 50) + arm_buckets("stable", [0] * 30, 50)
    only_soak = replace(ERRORS, gate=("soak",))
    assert judge([only_soak], quiet, ALPHA, BETA, "ramp").verdict == "needs_data"
    with pytest.raises(Unusable, match="nothing to judge by"):
        judge([], quiet, ALPHA, BETA)


def test_an_empty_bucket_hides_nothing_that_comes_after_it() -> None:
    hole = [Bucket("tenth", "errors", "candidate", 3, 0, 0, 0)]
    bad = arm_buckets("stable", [0] * 30, 50) + [
        b for b in arm_buckets("candidate", [10] * 30, 50) if b.at != 3
    ]
    assert judge([ERRORS], bad + hole, ALPHA, BETA) == judge([ERRORS], bad, ALPHA, BETA)
    assert judge([ERRORS], bad + hole, ALPHA, BETA).verdict == "harm"


@pytest.mark.parametrize(
    ("n", "total", "squares", "why"),
    [
        (50, nan, 1, "not a finite number"),
        (-1, 0, 0, "negative"),
        (10, 8, 1, "smaller than the squared sum"),
        (0, 1, 1, "without any unit"),
        (10, 20, 40, "more events than units"),
    ],
)
def test_impossible_counts_are_refused_and_block(
    n: float, total: float, squares: float, why: str
) -> None:
    quiet = arm_buckets("candidate", [0] * 30, 50) + arm_buckets("stable", [0] * 30, 50)
    bad = [*quiet, Bucket("tenth", "errors", "candidate", 99, n, total, squares)]
    with pytest.raises(Unusable, match=why):
        strata(ERRORS, bad)
    found = judge([ERRORS], bad, ALPHA, BETA)
    assert found.verdict == "error"
    assert why in found.sentence


def test_harm_elsewhere_wins_over_unreadable_numbers() -> None:
    other = replace(ERRORS, name="slow", metric="slow")
    bad = arm_buckets("candidate", [20] * 30, 50) + arm_buckets("stable", [0] * 30, 50)
    broken = [Bucket("tenth", "slow", "candidate", 0, -5, 0, 0)]
    assert judge([ERRORS, other], bad + broken, ALPHA, BETA).verdict == "harm"


def test_proof_from_a_good_stage_does_not_carry_one_that_looks_bad() -> None:
    good = arm_buckets("candidate", [0] * 60, 50) + arm_buckets("stable", [0] * 60, 50)
    here = [
        Bucket("half", "errors", arm, 90, 50, e, e) for arm, e in (("candidate", 2), ("stable", 0))
    ]
    assert judge([ERRORS], good, ALPHA, BETA, "ramp", "tenth").verdict == "safe"
    assert judge([ERRORS], good + here, ALPHA, BETA, "ramp", "half").verdict == "needs_data"


def test_lost_requests_hold_the_rollout_and_a_kept_split_is_shown() -> None:
    def units(candidate: int) -> list[Bucket]:
        arms = (("candidate", candidate), ("stable", 90))
        return [Bucket("tenth", "units", a, at, n, 0, 0) for at in range(60) for a, n in arms]

    split = BY_NAME["split"]
    kept, lost = (judge([split], units(n), ALPHA, BETA, "ramp", "tenth") for n in (10, 6))
    assert (kept.verdict, kept.split_broken) == ("safe", False)
    assert (lost.verdict, lost.split_broken) == ("error", True)
    assert "not split as planned" in lost.sentence


def test_a_cohort_is_judged_when_its_labels_had_time_to_come() -> None:
    loss = BY_NAME["log_loss"]
    buckets = [Bucket("tenth", "log_loss", "stable", at, 1, 1, 1) for at in (0, DAY)]
    buckets += [Bucket("tenth", "errors", "stable", 2 * DAY - 1, 1, 0, 0)]
    kept = matured([loss, ERRORS], buckets, now=2 * DAY - 1)
    assert [(b.metric, b.at) for b in kept] == [("log_loss", 0), ("errors", 2 * DAY - 1)]


def test_longer_buckets_hold_the_same_units() -> None:
    rows = arm_buckets("candidate", [1, 0, 2, 0], 50)
    found = strata(ERRORS, widen(rows, 2))
    assert found.units("candidate") == 200
    assert [key[0] for key in found.keys] == [0, 2]


def test_what_was_registered_has_one_address_whatever_the_order() -> None:
    first = registered_digest(DEFAULTS, ALPHA, BETA)
    assert registered_digest(tuple(reversed(DEFAULTS)), ALPHA, BETA) == first
    assert (
        registered_digest([replace(DEFAULTS[0], margin=0.6), *DEFAULTS[1:]], ALPHA, BETA) != first
    )
    assert (
        tuple(Guardrail.from_json(json.loads(json.dumps(g.to_json()))) for g in DEFAULTS)
        == DEFAULTS
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"margin": 0.0, "margin_absolute": 0.0}, "a margin is needed"),
        ({"scale": 0.0}, "above 0"),
        ({"form": "paired", "baseline": None}, "needs the baseline"),
        ({"form": "split"}, "planned share"),
        ({"weight": -1.0}, "negative"),
        ({"scale": nan}, "finite"),
        ({"baseline": nan}, "finite"),
        ({"weight": float("inf")}, "finite"),
        ({"ladder": {"tenth": nan}}, "finite"),
    ],
)
def test_a_guardrail_that_cannot_be_judged_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid) as refused:
        replace(ERRORS, **change)
    assert why in str(refused.value)


def test_a_judgement_can_be_written_down() -> None:
    quiet = arm_buckets("candidate", [0] * 30, 50) + arm_buckets("stable", [0] * 30, 50)
    found = judge(DEFAULTS, quiet, ALPHA, BETA, "ramp", "tenth")
    body = json.loads(json.dumps(found.to_json()))
    assert body["verdict"] == "needs_data"
    assert [r["name"] for r in body["per_guardrail"]] == [g.name for g in DEFAULTS]
    assert isinstance(found, Judgement)
    shown = next(r for r in found.per_guardrail if r.name == "errors")
    assert shown.interval is not None
    assert shown.interval[0] < 0 < shown.interval[1]
    assert not any(isnan(r.e_fail) for r in found.per_guardrail)


def test_a_rung_of_the_ladder_widens_what_must_be_shown_and_not_what_is_harm() -> None:
    rng = np.random.default_rng(21)
    rows = [
        *arm_buckets("candidate", rng.binomial(50, 0.022, 60), 50),
        *arm_buckets("stable", rng.binomial(50, 0.02, 60), 50),
    ]
    it = replace(ERRORS, margin_absolute=0.0, margin=0.8, scale=0.02, bucket_units=25)
    plain, early = (replace(it, ladder=ladder) for ladder in ({}, {"tenth": 3.0}))
    strict, loose = (judge([g], rows, ALPHA, BETA, "ramp", "tenth") for g in (plain, early))
    assert (strict.verdict, loose.verdict) == ("needs_data", "safe")
    assert strict.combined_e == loose.combined_e
    assert strict.registered != loose.registered
    later = [replace(b, stage="half", at=b.at + 100) for b in rows[:5] + rows[60:65]]
    assert judge([early], rows + later, ALPHA, BETA, "ramp", "half").verdict == "needs_data"
    with pytest.raises(Invalid, match="rung"):
        replace(ERRORS, ladder={"tenth": 0.5})


def test_what_a_word_says_that_came_later_counts_only_where_it_is_said() -> None:
    body = ERRORS.to_json()
    assert not {"threshold", "per", "bucket_s", "burst", "ladder"} & set(body)
    assert Guardrail.from_json(body) == ERRORS
    said = replace(ERRORS, threshold=2.0, ladder={"tenth": 2.0}, bucket_s=60, burst=9.0, per=2.0)
    assert Guardrail.from_json(json.loads(json.dumps(said.to_json()))) == said
