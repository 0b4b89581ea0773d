"""Histograms with a zero bin and a NULL bin, and the distance between them."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.features.distance import psi
from interlock.features.histogram import (
    bin_counts,
    bin_of,
    coarser,
    counts_sql,
    edges_sql,
    freeze,
)


@pytest.fixture(scope="module")
def warehouse() -> Iterator[DuckDBWarehouse]:
    opened = DuckDBWarehouse(None)
    yield opened
    opened.close()


def counted(
    warehouse: DuckDBWarehouse, values: list[Any], edges: tuple[float, ...]
) -> tuple[int, ...]:
    warehouse.load("il.h", pa.table({"x": pa.array(values, pa.float64())}))
    (row,) = warehouse.query(counts_sql("il.h", {"x": edges})).to_pylist()
    return bin_counts(row["x"], edges)


def frozen(warehouse: DuckDBWarehouse, values: list[Any]) -> tuple[float, ...]:
    warehouse.load("il.h", pa.table({"x": pa.array(values, pa.float64())}))
    (row,) = warehouse.query(edges_sql("il.h", ["x"])).to_pylist()
    return freeze(row)["x"]


def test_rain_in_millimetres_is_no_longer_missed(warehouse: DuckDBWarehouse) -> None:
    # With quantile bins alone every edge of a mostly-zero feature is 0 and this scores 0.000.
    rng = random.Random(4)
    inches = [round(rng.expovariate(8), 2) if rng.random() < 0.06 else 0.0 for _ in range(4000)]
    edges = frozen(warehouse, inches)
    old = counted(warehouse, inches, edges)
    new = counted(warehouse, [x * 25.4 for x in inches], edges)
    assert old[1] == new[1] > 3000  # zeros stay zeros, in their own bin
    assert psi(old, new) > 0.1
    assert psi(old, old) == 0.0


def test_missing_values_have_a_bin_and_nan_is_not_missing(warehouse: DuckDBWarehouse) -> None:
    values = [None, None, 0.0, -0.0, math.nan, -1.0, 1.0, 5.0, math.inf]
    assert counted(warehouse, values, (0.5, 2.0)) == (2, 2, 1, 1, 3)


def test_a_feature_without_any_value_has_no_edges(warehouse: DuckDBWarehouse) -> None:
    edges = frozen(warehouse, [None, 0.0])
    assert edges == ()
    assert counted(warehouse, [None, 0.0, 7.0], edges) == (1, 1, 1)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(
    st.lists(st.none() | st.floats(-50, 50) | st.sampled_from([0.0, 1.0, math.nan]), max_size=40),
    st.lists(st.integers(-20, 20).map(float), max_size=5, unique=True).map(sorted),
)
def test_the_engine_and_python_count_alike(
    warehouse: DuckDBWarehouse, values: list[Any], edges: list[float]
) -> None:
    by_hand = [0] * (len(edges) + 3)
    for value in values:
        by_hand[bin_of(value, edges)] += 1
    assert counted(warehouse, values, tuple(edges)) == tuple(by_hand)
    for value in (v for v in values if v and v == v):
        assert bin_of(value, edges) == 2 + bisect_left(edges, value)


@settings(max_examples=50, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), min_size=1, max_size=12))
def test_psi_is_a_distance_and_never_infinite(pairs: list[tuple[int, int]]) -> None:
    old, new = [a for a, _ in pairs], [b for _, b in pairs]
    assert 0.0 <= psi(old, new) < math.inf
    assert psi(old, new) == pytest.approx(psi(new, old))


def test_a_sample_of_the_same_shape_is_near_and_another_shape_is_far() -> None:
    shape = [100, 200, 300, 200, 100]
    assert psi([10 * n for n in shape], shape) < 0.001
    assert psi(shape, [300, 200, 100, 100, 200]) > 0.25


def test_histograms_over_different_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="different bins"):
        psi([1, 2], [1, 2, 3])


@settings(max_examples=40, derandomize=True)
@given(
    st.lists(st.integers(-9, 9).map(float), max_size=9, unique=True).map(sorted),
    st.lists(st.none() | st.integers(-12, 12).map(float), max_size=40),
    st.integers(1, 4),
)
def test_fewer_edges_hold_the_same_rows(
    edges: list[float], values: list[float | None], every: int
) -> None:
    fine = [0] * (len(edges) + 3)
    for value in values:
        fine[bin_of(value, edges)] += 1
    kept = edges[every - 1 :: every]
    counts = coarser(fine, edges, kept)
    by_hand = [0] * (len(kept) + 3)
    for value in values:
        by_hand[bin_of(value, kept)] += 1
    assert list(counts) == by_hand
