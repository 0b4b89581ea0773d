"""Old and new values on the same rows: each silent change of the scenario gets its name."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.define.definitions import ColumnType
from interlock.features.compare import ValueComparison, compare_sql, judge_values
from interlock.features.units import CONVERSIONS, Line, name_change

ROWS = 600


@pytest.fixture(scope="module")
def warehouse() -> Iterator[DuckDBWarehouse]:
    opened = DuckDBWarehouse(None)
    yield opened
    opened.close()


def compared(
    warehouse: DuckDBWarehouse, old: list[Any], new: list[Any], type: ColumnType = "double",
    unit: str | None = None,
) -> ValueComparison:  # fmt: skip
    for table, values in (("il.old", old), ("il.new", new)):
        ids = [i for i, value in enumerate(values) if value is not ...]
        kept = [values[i] for i in ids]
        kinds = {"double": pa.float64(), "integer": pa.int64(), "string": pa.string()}
        warehouse.load(table, pa.table({"id": ids, "x": pa.array(kept, kinds[type])}))
    features: Mapping[str, ColumnType] = {"x": type}
    (row,) = warehouse.query(compare_sql("il.old", "il.new", ["id"], features)).to_pylist()
    (found,) = judge_values(row, features, {"x": unit})
    return found


def around(middle: float, spread: float, missing: float = 0.02) -> list[float | None]:
    rng = random.Random(11)
    return [None if rng.random() < missing else rng.gauss(middle, spread) for _ in range(ROWS)]


def each(values: list[Any], change: Any) -> list[Any]:
    return [None if value is None else change(value) for value in values]


def zero_inflated() -> list[Any]:
    rng = random.Random(5)
    return [round(rng.expovariate(8), 2) if rng.random() < 0.05 else 0.0 for _ in range(ROWS)]


# Every row of the scenario's silent schema and unit changes.  # R-A6
@pytest.mark.parametrize(
    ("old", "change", "unit", "verdict", "name"),
    [
        (around(12, 40), lambda x: x * 60, None, "scaled",
         "minutes -> seconds (x60) or hours -> minutes (x60)"),
        (around(12, 40), lambda x: x * 60, "min", "scaled", "minutes -> seconds (x60)"),
        (around(55, 18), lambda x: (x - 32) * 5 / 9, None, "affine", "Fahrenheit -> Celsius"),
        (around(55, 18), lambda x: round((x - 32) * 5 / 9, 1), None, "affine",
         "Fahrenheit -> Celsius"),
        (around(10, 5), lambda x: x * 1.609344, "mph", "scaled", "mph -> km/h (x1.609344)"),
        (around(10, 5), lambda x: x * 1.609, "mph", "scaled", "mph -> km/h (x1.609344)"),
        (around(9, 2), lambda x: x * 1.609344, "miles", "scaled", "miles -> km (x1.609344)"),
        (zero_inflated(), lambda x: x * 25.4, "in", "scaled", "inches -> mm (x25.4)"),
        (around(1017, 7), lambda x: x * 0.02952998, "hPa", "scaled",
         "hPa -> inHg (x1/33.86389)"),
        (around(1040, 730), lambda x: x * 1.609344, "mi", "scaled", "miles -> km (x1.609344)"),
        (around(30, 9), lambda x: x / 60, "s", "scaled", "seconds -> minutes (x1/60)"),
        (around(20, 9), lambda x: x * 9 / 5 + 32, None, "affine", "Celsius -> Fahrenheit"),
    ],
)  # fmt: skip
def test_a_unit_change_is_called_by_its_name(
    warehouse: DuckDBWarehouse, old: list[Any], change: Any, unit: str | None,
    verdict: str, name: str,
) -> None:  # fmt: skip
    found = compared(warehouse, old, each(old, change), unit=unit)
    assert (found.verdict, found.name) == (verdict, name)
    assert name in found.sentence
    assert found.null_old == found.null_new


def test_a_renamed_column_shows_as_missing_values(warehouse: DuckDBWarehouse) -> None:  # R-A6
    old = around(12, 40, missing=0.0)
    found = compared(warehouse, old, [None] * ROWS)
    assert (found.verdict, found.null_old, found.null_new) == ("changed", 0.0, 1.0)
    assert "missing values went from 0.0% to 100.0%" in found.sentence


def test_local_hours_served_in_utc_are_recognised(warehouse: DuckDBWarehouse) -> None:  # R-A6
    rng = random.Random(2)
    old = [rng.randrange(5, 24) for _ in range(ROWS)]
    new = [(hour + rng.choice([4, 5])) % 24 for hour in old]  # summer and winter
    found = compared(warehouse, old, new, "integer")
    assert (found.verdict, found.changed_share) == ("changed", 1.0)
    assert found.name == "hour of day in another time zone (+4 to 5 h)"


def test_codes_that_moved_up_by_one_new_carrier_are_recognised(
    warehouse: DuckDBWarehouse,
) -> None:  # R-A6
    rng = random.Random(2)
    old = [rng.randrange(0, 16) for _ in range(ROWS)]
    found = compared(warehouse, old, [c + (c >= 9) for c in old], "integer")
    assert (found.verdict, found.name) == ("changed", "values relabelled one to one")
    assert 0.2 < found.changed_share < 0.8
    letters = [chr(65 + code) for code in old]
    renamed = compared(warehouse, letters, [text.lower() for text in letters], "string")
    assert (renamed.changed_share, renamed.name) == (1.0, "values relabelled one to one")


def test_a_refactor_that_rounds_differently_is_equal(warehouse: DuckDBWarehouse) -> None:  # R-A6
    old = around(12, 40)
    found = compared(warehouse, old, each(old, lambda x: x * (1 + 1e-13)))
    assert (found.verdict, found.changed_share) == ("equal", 0.0)
    assert found.sentence == f"x: equal on all {ROWS} rows"


def test_a_redefinition_has_no_simple_name(warehouse: DuckDBWarehouse) -> None:
    old, rng = around(12, 40, missing=0.0), random.Random(9)
    found = compared(warehouse, old, each(old, lambda x: x + rng.gauss(0, 20)))
    assert (found.verdict, found.name, found.ratio) == ("changed", None, None)
    assert found.explained is not None
    assert 0.5 < found.explained < 0.95


def test_null_to_zero_is_a_change_and_not_a_scale(warehouse: DuckDBWarehouse) -> None:
    old = around(12, 40, missing=0.3)
    found = compared(warehouse, old, [value or 0.0 for value in old])
    assert (found.verdict, found.ratio) == ("changed", None)
    assert found.changed_share == found.null_old > 0.2
    assert found.zero_new == found.null_old


def test_rows_that_only_one_side_has_are_never_equal(warehouse: DuckDBWarehouse) -> None:
    old = around(12, 40, missing=0.0)
    found = compared(warehouse, old, [*old[:-3], ..., ..., ..., 1.0])
    assert (found.verdict, found.changed_share) == ("changed", 0.0)
    assert (found.missing_new, found.missing_old, found.rows) == (3, 1, ROWS - 3)
    assert "3 rows are gone, 1 rows are new" in found.sentence


def test_nothing_in_common_is_unknown_never_equal(warehouse: DuckDBWarehouse) -> None:
    found = compared(warehouse, [1.0], [..., 1.0])
    assert (found.verdict, found.rows) == ("unknown", 0)


def test_a_ratio_of_a_handful_of_rows_is_not_believed(warehouse: DuckDBWarehouse) -> None:
    found = compared(warehouse, [0.0] * 50 + [1.0], [0.0] * 50 + [60.0])
    assert (found.verdict, found.ratio) == ("changed", None)


def test_infinity_and_nan_do_not_hide_a_change(warehouse: DuckDBWarehouse) -> None:
    old = [math.nan, math.inf, -math.inf, 1.0, None]
    same = compared(warehouse, old, list(old))
    assert (same.verdict, same.null_old) == ("equal", 0.2)  # NaN is not NULL
    other = compared(warehouse, old, [1.0, -math.inf, -math.inf, math.inf, math.nan])
    assert other.changed_share == 0.8


def test_many_features_take_one_query(warehouse: DuckDBWarehouse) -> None:
    warehouse.build("il.o", "SELECT NULL::INT AS k, 1.0 AS a, 's' AS b UNION ALL SELECT 2, 2, 't'")
    warehouse.build("il.n", "SELECT NULL::INT AS k, 1.0 AS a, 's' AS b UNION ALL SELECT 2, 2, 'u'")
    features: Mapping[str, ColumnType] = {"a": "double", "b": "string"}
    (row,) = warehouse.query(compare_sql("il.o", "il.n", ["k"], features)).to_pylist()
    found = judge_values(row, features)
    assert [(c.feature, c.verdict) for c in found] == [("a", "equal"), ("b", "changed")]
    assert found[0].rows == 2  # a NULL key meets itself


@settings(max_examples=25, derandomize=True, deadline=None)
@given(
    st.lists(st.none() | st.integers(-500, 500).map(float), min_size=20, max_size=60),
    st.lists(st.none() | st.integers(-500, 500).map(float), min_size=20, max_size=60),
)
def test_shares_are_what_counting_by_hand_gives(
    warehouse: DuckDBWarehouse, old: list[float | None], new: list[float | None]
) -> None:
    found = compared(warehouse, old, new)
    pairs = list(zip(old, new, strict=False))
    assert found.rows == len(pairs)
    assert found.missing_new == max(0, len(old) - len(new))
    assert found.changed_share == pytest.approx(sum(a != b for a, b in pairs) / len(pairs))
    assert found.null_old == pytest.approx(sum(a is None for a, _ in pairs) / len(pairs))
    everything = all(a == b for a, b in pairs) and len(old) == len(new)
    assert (found.verdict == "equal") == everything


@pytest.mark.parametrize("known", CONVERSIONS, ids=lambda c: c.name)
def test_every_known_conversion_is_recognised(known: Any) -> None:
    line = Line(known.factor, known.offset, mean=50.0, spread=10.0, error=0.001)
    for unit in (known.old, None):
        said = name_change(line, unit)
        assert said is not None
        assert known.name in said


def test_no_change_and_an_unknown_factor_have_no_name() -> None:
    assert name_change(Line(1.0, 0.0, 5.0, 10.0)) is None
    assert name_change(Line(1.7, 0.0, 5.0, 10.0)) is None
    assert name_change(Line(5 / 9, 0.0, 5.0, 10.0)) is None  # Fahrenheit needs its offset


def test_a_declared_unit_that_is_known_excludes_what_starts_from_another() -> None:
    assert name_change(Line(60.0)) == "minutes -> seconds (x60) or hours -> minutes (x60)"
    assert name_change(Line(60.0), "min") == "minutes -> seconds (x60)"
    assert name_change(Line(60.0), "mph") is None
    assert name_change(Line(1, 273.15, 20, 8), "degF") is None
    assert name_change(Line(100.0), "eur") == "hPa -> Pa (x100) or share -> percent (x100)"


@settings(max_examples=300, derandomize=True)
@given(
    known=st.sampled_from(CONVERSIONS),
    mean=st.floats(-100, 100),
    spread=st.floats(0.5, 100),
    near=st.floats(-0.9, 0.9),
)
def test_what_is_a_conversion_up_to_what_chance_leaves_open_is_called_by_its_name(
    known: Any, mean: float, spread: float, near: float
) -> None:
    error = 1e-5 * spread
    offset = known.offset + 4 * near * error
    said = name_change(Line(known.factor, offset, mean, spread, error), known.old)
    assert said is not None
    assert known.name in said


@settings(max_examples=300, derandomize=True)
@given(
    known=st.sampled_from([c for c in CONVERSIONS if c.offset]),
    size=st.floats(4.8, 15), by=st.sampled_from(["mean", "spread", "error"]),
    beside=st.floats(-1, 1),
)  # fmt: skip
def test_an_offset_that_drowns_in_huge_values_is_no_temperature(
    known: Any, size: float, by: str, beside: float
) -> None:
    """Celsius to kelvin is a move by 273.15: of millions, anything is."""
    huge = 10.0**size
    given_ = {"mean": 15.0, "spread": 8.0, "error": 1e-4, by: huge}
    offset = known.offset + beside * 0.02 * huge
    assert name_change(Line(known.factor, offset, **given_)) is None


@settings(max_examples=300, derandomize=True)
@given(
    known=st.sampled_from(CONVERSIONS), mean=st.floats(-50, 50), spread=st.floats(1, 50),
    miss=st.floats(1.5, 50), up=st.booleans(), in_factor=st.booleans(),
)  # fmt: skip
def test_a_near_miss_has_no_name(
    known: Any, mean: float, spread: float, miss: float, up: bool, in_factor: bool
) -> None:
    """Beside a factor, or beside the offset, by more than constants are written down with."""
    sign = miss if up else -miss
    beside = sign * 1e-3 * (abs(known.offset) + abs(known.factor * mean)) + sign * 1e-4 * spread
    line = (
        Line(known.factor * (1 + sign * 1e-3), known.offset, mean, spread)
        if in_factor
        else Line(known.factor, known.offset + beside, mean, spread)
    )
    said = name_change(line, known.old) or ""
    assert known.name not in said


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        (lambda n: 20 + 9 * math.sin(n), lambda x: x + 273.15, "Celsius -> kelvin"),
        (lambda n: round(60 + 20 * math.sin(n), 1), lambda x: round((x - 32) / 1.8, 1),
         "Fahrenheit -> Celsius"),
        (lambda n: 40 * math.sin(n), lambda x: round(x * 1.609344 + 1e-9, 2),
         "mph -> km/h (x1.609344) or miles -> km (x1.609344)"),
        (lambda n: 1e8 + 1e6 * math.sin(n), lambda x: x + 273.15, None),
        (lambda n: 1e8 + 1e6 * math.sin(n), lambda x: x + 1000 * math.cos(x), None),
        (lambda n: 4e5 * math.sin(n), lambda x: x + 500, None),
        (lambda n: 20 + 9 * math.sin(n), lambda x: x + 270, None),
        (lambda n: 20 + 9 * math.sin(n), lambda x: 60 * x + 5, None),
        (lambda n: 1.0, lambda x: 60.0, None),
        (lambda n: n % 2, lambda x: 60.0 * x, None),
    ],
)  # fmt: skip
def test_only_what_the_rows_show_is_called_a_unit_change(
    warehouse: DuckDBWarehouse,
    old: Callable[[int], float],
    new: Callable[[float], float],
    name: str | None,
) -> None:
    values = [old(n) for n in range(2000)]
    found = compared(warehouse, values, [new(x) for x in values])
    assert found.name == name
    assert found.verdict not in ("equal", "unknown")


def test_distances_come_with_the_comparison(warehouse: DuckDBWarehouse) -> None:  # R-A6
    rain = zero_inflated()
    inches = compared(warehouse, rain, each(rain, lambda x: x * 25.4)).spread
    assert inches.psi is not None  # 0.000 by quantile bins that zero fills
    assert inches.psi > 0.1
    wet = [x for x in rain if x]
    assert inches.wasserstein == pytest.approx(sum(wet) * 24.4 / ROWS, rel=0.1)
    assert inches.ks == pytest.approx(len(wet) / ROWS, rel=0.2)
    same = compared(warehouse, rain, list(rain)).spread
    assert (same.psi, same.ks, same.wasserstein) == (0, 0, 0)
    gone = compared(warehouse, rain, [None] * ROWS).spread
    assert gone.psi is not None
    assert gone.psi > 2
    assert (gone.ks, gone.wasserstein) == (None, None)  # nothing has a size any more


def test_distances_are_those_of_the_values(warehouse: DuckDBWarehouse) -> None:
    rng = random.Random(8)
    old = [rng.gauss(3, 2) for _ in range(4000)]
    new = [x + rng.gauss(0.5, 1) for x in old]
    found = compared(warehouse, old, new).spread
    places = sorted([*old, *new])
    a, b = sorted(old), sorted(new)
    exact = max(abs(bisect_right(a, at) - bisect_right(b, at)) for at in places) / len(old)
    assert found.ks == pytest.approx(exact, abs=0.005)
    moved = sum(abs(x - y) for x, y in zip(a, b, strict=True)) / len(a)
    assert found.wasserstein == pytest.approx(moved, rel=0.02)


def test_a_category_never_seen_before_is_named(warehouse: DuckDBWarehouse) -> None:  # R-A6
    old = [("AA", "DL", "UA", None)[i % 4] for i in range(400)]
    found = compared(warehouse, old, ["XX" if i < 20 else v for i, v in enumerate(old)], "string")
    assert (found.spread.unseen, found.spread.unseen_values) == (0.05, ("XX",))
    assert "5.0% of rows hold a value not seen before (XX)" in found.sentence
    many = [str(i) for i in range(3000)]
    assert compared(warehouse, many, many, "string").spread.unseen is None  # no categories


def test_two_samples_are_compared_in_one_query(warehouse: DuckDBWarehouse) -> None:
    warehouse.build("il.o", "SELECT range AS k, ['a', 'b'][range % 2 + 1] AS s, range::DOUBLE AS x "
                    "FROM range(100)")  # fmt: skip
    warehouse.build("il.n", "SELECT k, s, CASE WHEN s = 'b' THEN x * 60 ELSE x END AS x FROM il.o")
    sql = compare_sql("il.o", "il.n", ["k", "s"], {"x": "double"}, by="s")
    rows = {row["__by"]: row for row in warehouse.query(sql).to_pylist()}
    found = {name: judge_values(row, {"x": "double"})[0] for name, row in rows.items()}
    assert (found["a"].verdict, found["a"].rows) == ("equal", 50)
    assert (found["b"].verdict, found["b"].ratio) == ("scaled", pytest.approx(60))
