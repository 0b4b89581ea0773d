"""Lines over time: batches until neighbours differ, and three answers of which one is silence."""

from __future__ import annotations

import numpy as np
import pytest

from interlock.rollout.series import FEWEST, batched, compare

NOBODY: dict[int, float] = {}


def line(values: np.ndarray) -> dict[int, float]:
    return {60 * at: float(value) for at, value in enumerate(values)}


def wander(rng: np.random.Generator, points: int, lasts: float) -> np.ndarray:
    level, out = 0.0, np.zeros(points)
    for at in range(points):
        level = lasts * level + float(rng.standard_normal())
        out[at] = level
    return out


@pytest.mark.parametrize("lasts", [0.0, 0.9])
def test_lines_that_do_not_differ_are_rarely_called_worse(lasts: float) -> None:
    rng, called = np.random.default_rng(4), 0
    for _ in range(200):
        stable, candidate = (100 + wander(rng, 600, lasts) for _ in range(2))
        called += compare(line(stable), line(candidate), 0.0, True).verdict == "worse"
    assert called <= 200 * 0.05 + 3 * (200 * 0.05 * 0.95) ** 0.5


def test_taking_points_as_they_come_would_have_cried_wolf() -> None:
    rng, called = np.random.default_rng(4), 0
    for _ in range(200):
        off = wander(rng, 600, 0.9)
        called += off.mean() > 2.33 * off.std() / 600**0.5
    assert called > 40


@pytest.mark.parametrize(("worse_up", "factor"), [(True, 1.4), (False, 0.6)])
def test_what_is_worse_beyond_the_margin_is_found_on_its_side(
    worse_up: bool, factor: float
) -> None:
    rng = np.random.default_rng(5)
    stable, candidate = (100 + wander(rng, 300, 0.5) for _ in range(2))
    assert compare(line(stable), line(factor * candidate), 0.1, worse_up).verdict == "worse"
    better = 2 - factor
    assert compare(line(stable), line(better * candidate), 0.1, worse_up).verdict == "fine"
    inside = 1 + (0.05 if worse_up else -0.05)
    assert compare(line(stable), line(inside * candidate), 0.1, worse_up).verdict == "fine"


def test_silence_is_not_fine() -> None:
    full = line(np.ones(100))
    assert compare(full, NOBODY, 0.1, True).verdict == "unknown"
    assert compare(NOBODY, NOBODY, 0.1, True).verdict == "unknown"
    assert compare(full, line(np.ones(FEWEST - 1)), 0.1, True).verdict == "unknown"
    assert compare(full, line(np.full(100, np.nan)), 0.1, True).verdict == "unknown"
    drift = np.arange(100.0)  # neighbours stay alike however long the batches
    assert batched(drift) is None
    assert compare(full, line(drift), 0.1, True).verdict == "unknown"


def test_only_points_of_one_instant_are_compared() -> None:
    stable = dict.fromkeys(range(0, 6000, 60), 1.0)
    shifted = {at + 7: 9.0 for at in stable}
    assert compare(stable, shifted, 0.1, True).verdict == "unknown"
    assert compare(stable, shifted | dict.fromkeys(stable, 1.0), 0.1, True).verdict == "fine"
