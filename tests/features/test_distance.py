"""Distances from counts agree with the same distances from the values themselves."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.features.distance import ks, psi, psi_of_values, wasserstein
from interlock.features.histogram import bin_of, freeze

FINE = tuple(i / 100 for i in range(-400, 401) if i)


def counted(values: Sequence[float | None], edges: Sequence[float]) -> list[int]:
    counts = [0] * (len(edges) + 3)
    for value in values:
        counts[bin_of(value, edges)] += 1
    return counts


def exact_ks(old: np.ndarray, new: np.ndarray) -> float:
    places = np.sort(np.concatenate([old, new]))
    f, g = (np.searchsorted(np.sort(x), places, "right") / len(x) for x in (old, new))
    return float(np.abs(f - g).max())


@pytest.mark.parametrize("shift", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("zeros", [0.0, 0.7])
def test_a_fine_histogram_gives_the_distances_of_the_values(shift: float, zeros: float) -> None:
    rng = np.random.default_rng(1)
    old = np.where(rng.random(4000) < zeros, 0.0, np.clip(rng.normal(0, 1, 4000), -3.9, 3.9))
    new = np.where(rng.random(4000) < zeros, 0.0, np.clip(rng.normal(shift, 1, 4000), -3.9, 3.9))
    edges = freeze({"x": FINE})["x"]
    a, b = counted(list(old), edges), counted(list(new), edges)
    assert ks(a, b, edges) == pytest.approx(exact_ks(old, new), abs=0.005)
    moved = np.abs(np.sort(old) - np.sort(new)).mean()  # W1 of two samples of one size
    ends = (float(min(old.min(), new.min())), float(max(old.max(), new.max())))
    assert wasserstein(a, b, edges, ends) == pytest.approx(moved, abs=0.006)


def test_a_point_mass_that_moves_travels_its_way() -> None:
    edges = (-1.0, 0.0, 1.0, 2.0)
    old, new = counted([0.0] * 10, edges), counted([2.0] * 10, edges)
    assert ks(old, new, edges) == 1.0
    # Two is known to lie above one, and no closer: half a bin of doubt.
    assert wasserstein(old, new, edges, (0.0, 2.0)) == pytest.approx(1.5)


@settings(max_examples=60, derandomize=True)
@given(
    st.lists(st.integers(0, 400), min_size=8, max_size=8),
    st.lists(st.integers(0, 400), min_size=8, max_size=8),
)
def test_distances_are_distances(old: list[int], new: list[int]) -> None:
    edges = (-2.0, -1.0, 0.0, 1.0, 3.0)
    assert 0 <= psi(old, new) < math.inf
    assert psi(old, new) == pytest.approx(psi(new, old))
    assert 0 <= ks(old, new, edges) <= 1 + 1e-12
    assert ks(old, old, edges) == psi(old, old) == 0
    there, back = (wasserstein(*p, edges, (-5, 5)) for p in ((old, new), (new, old)))
    assert there == (None if back is None else pytest.approx(back))
    if there is not None:
        assert 0 <= there <= 10  # no further than from one end to the other


def test_a_side_without_values_has_no_size_and_other_bins_are_refused() -> None:
    edges = (1.0, 2.0)
    assert wasserstein([9, 0, 0, 0, 0], [0, 1, 1, 1, 1], edges, (0, 3)) is None
    assert wasserstein([0, 1, 1, 1, 1], [0, 1, 1, 1, 1], edges, (0, math.inf)) is None
    with pytest.raises(ValueError, match="different bins"):
        ks([1, 2, 3], [1, 2, 3], edges)
    with pytest.raises(ValueError, match="different bins"):
        psi([1, 2], [1, 2, 3])


def test_names_are_far_apart_when_one_is_new() -> None:
    assert psi_of_values({"a": 50, "b": 50}, {"a": 50, "b": 50}) == 0
    assert psi_of_values({"a": 50, "b": 50}, {"a": 50, "c": 50}) > 1


def test_edges_on_both_sides_of_zero_hold_zero_between_them() -> None:
    assert freeze({"x": [-1.0, 2.0], "y": [1.0, 2.0], "z": None}) == {
        "x": (-1.0, 0.0, 2.0), "y": (1.0, 2.0), "z": (),
    }  # fmt: skip
    assert bisect_left((-1.0, 0.0, 2.0), 0.5) == 2
