"""Missing values that tell the label are found; honest ones, however uneven, are not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.features.missingness import (
    Missing,
    missingness_sql,
    newcombe,
    read_missingness,
)


@pytest.fixture(scope="module")
def warehouse() -> Iterator[DuckDBWarehouse]:
    opened = DuckDBWarehouse(None)
    yield opened
    opened.close()


def looked_at(
    warehouse: DuckDBWarehouse, missing: Callable[[int, float], bool], rows: int = 4000,
    rate: float = 0.25, others: int = 0,
) -> dict[str, Missing]:  # fmt: skip
    """A column `x` that is NULL where `missing(label, chance)` says so, beside harmless ones."""
    rng = random.Random(6)
    labels = [int(rng.random() < rate) for _ in range(rows)]
    columns = {"x": [None if missing(y, rng.random()) else "N1" for y in labels]}
    for at in range(others):
        columns[f"o{at}"] = [None if rng.random() < 0.1 else "v" for _ in labels]
    warehouse.load("il.m", pa.table({"label_": labels, **columns}))
    (row,) = warehouse.query(missingness_sql("il.m", "label_", list(columns))).to_pylist()
    return {one.column: one for one in read_missingness([(row, {n: n for n in columns})])}


# R-A7: what a table edited in place looks like, and what an honest one does.
@pytest.mark.parametrize(
    ("missing", "rate", "says"),
    [
        (lambda y, chance: y and chance < 0.1, 0.25, "tells"),  # only the cancelled lack a tail
        (lambda y, chance: y and chance < 0.1, 0.75, "tells"),  # where most are late as well
        (lambda y, chance: not y and chance < 0.1, 0.25, "tells"),
        (lambda y, chance: chance < (0.2 if y else 0.02), 0.25, "tells"),
        (lambda y, chance: chance < 0.1, 0.25, "quiet"),
        (lambda y, chance: chance < (0.04 if y else 0.14), 0.25, "quiet"),  # dawn: few are late
        (lambda y, chance: chance < (0.2 if y else 0.1), 0.25, "quiet"),
        (lambda y, chance: y and chance < 0.01, 0.25, "few"),
        (lambda y, chance: chance > 0.001, 0.25, "few"),
    ],
)  # fmt: skip
def test_only_a_missing_value_that_tells_the_label_tells(
    warehouse: DuckDBWarehouse, missing: Callable[[int, float], bool], rate: float, says: str
) -> None:
    found = looked_at(warehouse, missing, rate=rate)["x"]
    assert found.says == says, found.sentence


def test_many_columns_are_judged_together(warehouse: DuckDBWarehouse) -> None:
    found = looked_at(warehouse, lambda y, chance: bool(y) and chance < 0.2, others=60)
    alone = looked_at(warehouse, lambda y, chance: bool(y) and chance < 0.2)["x"]
    assert [name for name, one in found.items() if one.says == "tells"] == ["x"]
    assert found["x"].high - found["x"].low > alone.high - alone.low


def test_a_column_without_missing_values_is_left_out(warehouse: DuckDBWarehouse) -> None:
    assert looked_at(warehouse, lambda y, chance: False) == {}


def test_the_interval_is_the_published_one() -> None:
    # Newcombe 1998, table II, method 10: 56/70 - 48/80, 9/10 - 3/10, 10/10 - 0/10.
    cases = [((70, 56), (80, 48)), ((10, 9), (10, 3)), ((10, 10), (10, 0))]
    published = [(0.0524, 0.3339), (0.1705, 0.8090), (0.6075, 1.0000)]
    for (one, other), ends in zip(cases, published, strict=True):
        assert newcombe(one, other, 0.05) == pytest.approx(ends, abs=1e-4)
    assert newcombe((0, 0), (5, 1), 0.05) == (-1.0, 1.0)
