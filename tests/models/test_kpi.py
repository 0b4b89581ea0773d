"""One model, three services: who gains, who loses, and who cannot tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.define.definitions import Kpi
from interlock.errors import Unusable
from interlock.models.kpi import KpiRows, compare_kpi
from interlock.models.metrics import Floats

LOWER = Kpi(name="mae", sql="", better="lower", margin=0.05)
HIGHER = Kpi(name="covered", sql="", better="higher", margin=0.05)


def rows(value: Floats, day: np.ndarray, weight: Floats | None = None) -> KpiRows:
    unit = np.array([f"unit {at}" for at in range(len(value))], dtype=object)
    return KpiRows(unit, day, value, weight)


def days(count: int, per_day: int) -> np.ndarray:
    names = np.array([f"2013-{4 + d // 30:02d}-{d % 30 + 1:02d}" for d in range(count)])
    return np.repeat(names, per_day)


def gates(factor: float, noise: float = 0.1) -> tuple[KpiRows, KpiRows]:
    """Mean absolute error per origin and hour, worse on bad days."""
    rng = np.random.default_rng(3)
    day = days(60, 40)
    weather = np.repeat(rng.gamma(3.0, 0.9, 60), 40)
    old = weather * rng.gamma(2.0, 0.5, len(day))
    return rows(old, day), rows(old * factor * rng.normal(1, noise, len(day)), day)


def test_a_third_more_error_fails() -> None:
    found = compare_kpi(*gates(1.38), LOWER)
    assert found.verdict == "fail"
    assert found.change.value == pytest.approx(0.38, abs=0.03)
    assert "worse beyond the margin" in found.sentence


def test_less_error_passes() -> None:
    found = compare_kpi(*gates(0.9), LOWER)
    assert found.verdict == "pass"
    assert found.worsening.high < 0


def test_crew_covered_within_noise_passes_the_default_margin() -> None:
    """The twenty highest scores per origin and day; a new seed moves the share a little."""
    rng = np.random.default_rng(6)
    day = days(91, 3)
    severe: Floats = np.maximum(1, rng.poisson(np.repeat(rng.gamma(2.0, 9.0, 91), 3))).astype(
        np.float64
    )
    caught = np.minimum(20, rng.binomial(severe.astype(int), 0.3)).astype(np.float64)
    swapped = np.clip(caught + rng.integers(-1, 2, len(day)), 0, severe)
    found = compare_kpi(rows(caught, day, severe), rows(swapped, day, severe), HIGHER)
    assert abs(found.new - found.old) < 0.006
    assert found.verdict == "pass"
    assert found.old == pytest.approx(caught.sum() / severe.sum())


def test_direction_follows_better() -> None:
    old, new = gates(0.8)
    assert compare_kpi(old, new, LOWER).verdict == "pass"
    assert compare_kpi(old, new, HIGHER).verdict == "fail"


def test_a_few_wild_days_are_inconclusive() -> None:
    rng = np.random.default_rng(5)
    day = days(6, 5)
    old = rng.gamma(1.0, 1.0, 30)
    found = compare_kpi(rows(old, day), rows(rng.gamma(1.0, 1.0, 30), day), LOWER)
    assert found.verdict == "inconclusive"


def test_nothing_measured_is_inconclusive() -> None:
    none = rows(np.zeros(0), np.zeros(0, dtype=str))
    zero = rows(np.zeros(30), days(6, 5))
    one_day = rows(np.ones(5), days(1, 5))
    for old in (none, zero, one_day):
        assert compare_kpi(old, old, LOWER).verdict == "inconclusive"


def test_units_of_one_release_only_are_inconclusive() -> None:
    old, _ = gates(1.0)
    short = KpiRows(old.unit[:-200], old.day[:-200], old.value[:-200])
    found = compare_kpi(old, short, LOWER)
    assert found.verdict == "inconclusive"
    assert found.unmatched == 200
    assert "under one release only" in found.sentence


def test_two_rows_for_one_unit_are_refused() -> None:
    day = days(2, 1)
    twice = KpiRows(np.array(["a", "a"]), np.array([day[0], day[0]]), np.ones(2))
    with pytest.raises(Unusable, match="several rows for one unit"):
        compare_kpi(twice, twice, LOWER)


@given(st.integers(0, 1000), st.permutations(range(120)))
@settings(max_examples=20, derandomize=True, deadline=None)
def test_the_order_of_rows_does_not_matter(seed: int, order: list[int]) -> None:
    rng = np.random.default_rng(seed)
    old = rows(rng.gamma(2.0, 1.0, 120), days(20, 6))
    new = rows(old.value * rng.normal(1, 0.2, 120), days(20, 6))
    mixed = KpiRows(new.unit[order], new.day[order], new.value[order])
    found, again = compare_kpi(old, new, LOWER), compare_kpi(old, mixed, LOWER)
    assert again.change.value == pytest.approx(found.change.value)
    assert again.change.se == pytest.approx(found.change.se)
    assert again.verdict == found.verdict


def test_the_interval_of_a_ratio_covers_the_truth() -> None:
    rng = np.random.default_rng(12)
    hits = 0
    for _ in range(300):
        weather = np.repeat(rng.gamma(2.0, 1.0, 40), 5)
        weight: Floats = rng.poisson(11, 200).clip(1).astype(np.float64)
        old, new = (rng.poisson(weather * weight * f).astype(np.float64) for f in (1.0, 1.2))
        found = compare_kpi(rows(old, days(40, 5), weight), rows(new, days(40, 5), weight), LOWER)
        hits += found.change.low <= 0.2 <= found.change.high
    assert 0.91 <= hits / 300 <= 0.99
