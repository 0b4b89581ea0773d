"""Zeros and NULLs have their own bins; SQL counts what numpy counts."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from interlock.errors import Unusable
from interlock.watch.drift import Counts, count, counts_of, counts_sql, freeze, psi, ranking

RNG = np.random.default_rng(0)
RAIN = np.where(RNG.random(5000) < 0.93, 0.0, RNG.gamma(0.7, 0.05, 5000))
TEMP = RNG.normal(50, 15, 5000)


def test_inches_to_millimetres_is_seen_in_a_feature_that_is_mostly_zero() -> None:
    """Quantile edges alone are all zero here, and score 0.000 whatever happens to the rest."""
    assert np.quantile(RAIN, 0.9) == 0.0
    edges = freeze(RAIN)
    half = psi(count(RAIN[:2500], edges), count(RAIN[2500:], edges))
    assert psi(count(RAIN, edges), count(RAIN * 25.4, edges)) > 10 * half
    assert psi(count(RAIN, edges), count(RAIN, edges)) == 0.0


def test_missing_values_have_a_bin() -> None:
    edges = freeze(TEMP)
    gone = np.where(np.arange(5000) < 2500, np.nan, TEMP)
    found = ranking({"temp": count(TEMP, edges)}, {"temp": count(gone, edges)})[0]
    assert found.psi > 1
    assert (found.null_before, found.null_after) == (0.0, 0.5)


def test_counts_add() -> None:
    edges = freeze(RAIN)
    assert count(RAIN[:100], edges) + count(RAIN[100:], edges) == count(RAIN, edges)


def test_the_most_moved_stands_first_and_the_unmeasurable_last() -> None:
    edges = {"rain": freeze(RAIN), "temp": freeze(TEMP), "none": freeze(TEMP)}
    before = {"rain": count(RAIN, edges["rain"]), "temp": count(TEMP, edges["temp"])}
    after = {"rain": count(RAIN, edges["rain"]), "temp": count(TEMP + 20, edges["temp"])}
    empty = Counts(0, 0, (0,) * 10)
    found = ranking({**before, "none": empty}, {**after, "none": empty})
    assert [one.feature for one in found] == ["temp", "rain", "none"]


def test_other_edges_are_not_comparable() -> None:
    with pytest.raises(Unusable, match="different edges"):
        psi(Counts(0, 0, (1, 2)), Counts(0, 0, (1, 2, 3)))


def test_one_query_counts_every_feature_as_numpy_does() -> None:
    con = duckdb.connect()
    temp = np.where(np.arange(5000) % 7 == 0, np.nan, TEMP)
    edges = {"rain": freeze(RAIN), "temp": freeze(temp), "void": ()}
    columns = {
        "rain": pa.array(RAIN),
        "temp": pa.array(temp, mask=np.arange(5000) % 14 == 0),
        "void": pa.nulls(5000, pa.float64()),
    }
    con.register("rows", pa.table(columns))
    row = con.sql(counts_sql("rows", edges)).to_arrow_table().to_pylist()[0]
    assert counts_of(row, "rain", edges["rain"]) == count(RAIN, edges["rain"])
    assert counts_of(row, "temp", edges["temp"]) == count(temp, edges["temp"])
    assert counts_of(row, "void", ()) == Counts(5000, 0, (0,))
