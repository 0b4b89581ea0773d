"""Cells add, agree with the offline ECE, and do not shout at noise."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.errors import Unusable
from interlock.models.metrics import Floats
from interlock.models.metrics import ece as offline_ece
from interlock.watch.calibration import DayCells, calibration, cells, merged, window

FIRST = date(2013, 6, 24)


def week(n: int, seed: int = 0, odds: float = 1.0) -> tuple[list[date], Floats, Floats]:
    """`odds` 1: every score is the true chance."""
    rng = np.random.default_rng(seed)
    score = rng.beta(1.5, 4, n)
    true = odds * score / (1 - score + odds * score)
    days = [FIRST + timedelta(days=int(d)) for d in rng.integers(0, 7, n)]
    return days, score, (rng.random(n) < true).astype(np.float64)


def test_the_watched_ece_is_the_gated_ece() -> None:
    days, score, label = week(5000)
    found = calibration(cells(days, score, label))
    assert found.ece == pytest.approx(offline_ece(label, score))
    assert found.n == 5000
    assert found.days == 7
    assert found.mean_score == pytest.approx(score.mean())
    assert found.mean_label == pytest.approx(label.mean())


@given(st.integers(0, 1000), st.integers(1, 199))
@settings(max_examples=25, derandomize=True, deadline=None)
def test_cells_add_in_any_pieces_and_order(seed: int, cut: int) -> None:
    days, score, label = week(200, seed)
    whole = cells(days, score, label)
    first = cells(days[:cut], score[:cut], label[:cut])
    second = cells(days[cut:], score[cut:], label[cut:])
    again = merged([*second, *first])
    assert [part.day for part in again] == [part.day for part in whole]
    assert [part.n for part in again] == [part.n for part in whole]
    assert calibration(again).ece == pytest.approx(calibration(whole).ece)


def test_json_and_window() -> None:
    parts = cells(*week(300))
    assert tuple(DayCells.from_json(part.to_json()) for part in parts) == parts
    inside = window(parts, FIRST + timedelta(days=5), timedelta(days=2))
    assert [part.day for part in inside] == [FIRST + timedelta(days=d) for d in (3, 4)]


def test_two_days_are_not_one_cell() -> None:
    one, two = cells(*week(300))[:2]
    with pytest.raises(Unusable, match="two cells"):
        one + two


@pytest.mark.parametrize("n", [15, 60, 250, 1000, 6000])
def test_a_calibrated_model_is_not_over_even_on_few_rows(n: int) -> None:
    raw, over = 0, 0
    for seed in range(200):
        found = calibration(cells(*week(n, seed)))
        raw += found.ece > 0.07
        over += found.over(0.07, 1)
    assert over <= 4
    if n <= 250:
        assert raw > 20  # without the noise floor these would have fired


def test_a_broken_model_is_over_on_enough_rows() -> None:
    found = calibration(cells(*week(6000, odds=3.0)))
    assert found.ece > 0.15
    assert found.over(0.07, 1000)
    assert not found.over(0.07, 10_000)


def test_nothing_measured_is_never_over() -> None:
    assert not calibration(()).over(0.0, 0)


def test_scores_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(Unusable, match="numbers as scores"):
        cells([FIRST], np.array([np.nan]), np.array([1.0]))
