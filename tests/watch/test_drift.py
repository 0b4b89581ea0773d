"""A ranking that sees zeros and NULLs, counted in the warehouse."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from interlock.features.histogram import bin_counts, counts_sql, edges_sql, freeze
from interlock.watch.drift import added, ranking

RNG = np.random.default_rng(0)
RAIN = np.where(RNG.random(5000) < 0.93, 0.0, RNG.gamma(0.7, 0.05, 5000))
TEMP = RNG.normal(50, 15, 5000)
NAMES = ("rain", "temp")
CON = duckdb.connect()


def counted(rain: np.ndarray, temp: np.ndarray) -> dict[str, tuple[int, ...]]:
    """Both features in the bins frozen on the reference above."""
    CON.register("reference", pa.table({"rain": RAIN, "temp": TEMP}))
    row = CON.sql(edges_sql("reference", NAMES)).to_arrow_table().to_pylist()[0]
    edges = freeze(row)
    CON.register("rows", pa.table({"rain": rain, "temp": pa.array(temp, from_pandas=True)}))
    found = CON.sql(counts_sql("rows", edges)).to_arrow_table().to_pylist()[0]
    return {name: bin_counts(found[name], edges[name]) for name in NAMES}


BEFORE = counted(RAIN, TEMP)


def test_inches_to_millimetres_is_seen_in_a_feature_that_is_mostly_zero() -> None:
    """Quantile edges of all values are zero here, and score 0.000 whatever the rest does."""
    assert np.quantile(RAIN, 0.9) == 0.0
    first, second = ranking(BEFORE, counted(RAIN * 25.4, TEMP))
    assert first.feature == "rain"
    assert first.psi > 0.1
    assert second.psi == 0.0


def test_missing_values_have_a_bin() -> None:
    gone = np.where(np.arange(5000) < 2500, np.nan, TEMP)
    found = ranking(BEFORE, counted(RAIN, gone))[0]
    assert found.feature == "temp"
    assert found.psi > 1
    assert (found.null_before, found.null_after, found.rows) == (0.0, 0.5, 5000)


def test_days_add_up_to_the_window() -> None:
    halves = [counted(RAIN[:2000], TEMP[:2000]), counted(RAIN[2000:], TEMP[2000:])]
    assert {name: added([half[name] for half in halves]) for name in NAMES} == BEFORE


def test_a_feature_without_rows_is_not_ranked() -> None:
    empty = tuple(0 for _ in BEFORE["temp"])
    assert [one.feature for one in ranking(BEFORE, {**BEFORE, "temp": empty})] == ["rain"]


def test_other_edges_do_not_add() -> None:
    with pytest.raises(ValueError, match="zip"):
        added([(1, 2), (1, 2, 3)])
