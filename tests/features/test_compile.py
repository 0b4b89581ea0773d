"""Point in time, against an oracle that knows nothing of SQL: nested loops over Python rows."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.define.definitions import Fallback, FeatureValue, FeatureView
from interlock.errors import Unusable
from interlock.features.compile import (
    build_view_sql,
    column_names,
    duplicates_sql,
    physical,
    point_in_time_sql,
    stamp_column,
    tie_objections,
)
from interlock.features.join import Join

START = datetime(2013, 3, 10)  # a day on which New York's clocks change
HOUR = timedelta(hours=1)
Row = Mapping[str, Any]


@pytest.fixture(scope="module")
def warehouse() -> Iterator[DuckDBWarehouse]:
    opened = DuckDBWarehouse(None)
    yield opened
    opened.close()


def a_view(ttl: timedelta | None = None, **changes: Any) -> FeatureView:
    stated = {
        "owner": "data", "view": "load", "version": 1, "entity": ("origin", "gate"),
        "ttl": ttl, "features": {"x": FeatureValue()}, "sql": "SELECT * FROM wh.load",
    }  # fmt: skip
    return FeatureView(**{**stated, **changes})


# --- the oracle ---
def known(view: FeatureView, rows: list[Row], asked: Row) -> Row | None:
    """The newest row at or before the time, of exactly this entity, whatever its age."""
    found: Row | None = None
    for row in rows:
        same = all(asked[k] is not None and row[k] == asked[k] for k in view.entity)
        if same and asked["t"] is not None and row["ts"] <= asked["t"]:
            found = row if found is None or row["ts"] > found["ts"] else found
    return found


def alive(view: FeatureView, row: Row | None, asked: Row) -> bool:
    return row is not None and (view.ttl is None or asked["t"] - row["ts"] <= view.ttl)


def as_a_bag(rows: list[Row]) -> list[str]:
    return sorted(repr(sorted(row.items())) for row in rows)


def load(warehouse: DuckDBWarehouse, spine: list[Row], rows: list[Row]) -> None:
    keys = [("origin", pa.string()), ("gate", pa.int64())]
    spined = [("id", pa.int64()), *keys, ("t", pa.timestamp("us"))]
    held = [*keys, ("ts", pa.timestamp("us")), ("x", pa.float64())]
    warehouse.load("wh.spine", pa.Table.from_pylist(spine, schema=pa.schema(spined)))
    warehouse.load("il.load", pa.Table.from_pylist(rows, schema=pa.schema(held)))


def joined(warehouse: DuckDBWarehouse, view: FeatureView, **flags: bool) -> list[Row]:
    how = Join(**flags)
    sql = point_in_time_sql("wh.spine", "id", "t", [(view, "il.load")], None, how)
    return warehouse.query(sql).to_pylist()  # type: ignore[no-any-return]


origins = st.sampled_from(["EWR", "JFK", None])
gates = st.sampled_from([1, 2, None])
moments = st.integers(0, 12).map(lambda h: START + h * HOUR)
asked_rows = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(0, 3), "origin": origins, "gate": gates, "t": st.none() | moments}
    ),
    max_size=12,
)
view_rows = st.lists(
    st.fixed_dictionaries(
        {
            "origin": st.sampled_from(["EWR", "JFK"]),
            "gate": st.sampled_from([1, 2]),
            "ts": moments,
            "x": st.none() | st.floats(-9, 9),
        }
    ),
    max_size=20,
    unique_by=lambda r: (r["origin"], r["gate"], r["ts"]),
)
ttls = st.sampled_from([None, timedelta(0), HOUR, 3 * HOUR, timedelta.max])


@settings(max_examples=60, derandomize=True, deadline=None)
@given(asked_rows, view_rows, ttls)
@example([{"id": 1, "origin": "EWR", "gate": 1, "t": START}] * 3, [], None)
def test_every_spine_row_comes_once_with_what_was_known(  # R-A7, R-B3
    warehouse: DuckDBWarehouse, spine: list[Row], rows: list[Row], ttl: timedelta | None
) -> None:
    load(warehouse, spine, rows)
    view = a_view(ttl)
    found = joined(warehouse, view, stamps=True)
    stamp = stamp_column(view)
    expected = []
    for asked in spine:
        row = known(view, rows, asked)
        fresh = alive(view, row, asked)
        status = "missing" if row is None else "fresh" if fresh else "stale"
        value = row["x"] if row is not None and fresh else None
        stamped = {stamp: row and row["ts"], "load_1__status": status}
        expected.append({**asked, "x": value, **stamped})
    assert as_a_bag(found) == as_a_bag(expected)


def test_ten_thousand_rows_agree_with_the_oracle(warehouse: DuckDBWarehouse) -> None:  # R-A7
    rng = random.Random(7)
    minutes = [START + timedelta(minutes=m) for m in rng.sample(range(20_000), 300)]
    rows: list[Row] = [
        {"origin": o, "gate": g, "ts": ts, "x": rng.random()}
        for ts in minutes for o, g in rng.sample([("EWR", 1), ("EWR", 2), ("JFK", 1)], 2)
    ]  # fmt: skip
    spine: list[Row] = [
        {"id": i, "origin": rng.choice(["EWR", "JFK", None]), "gate": rng.choice([1, 2]),
         "t": START + timedelta(minutes=rng.randrange(21_000))}
        for i in range(10_500)
    ]  # fmt: skip
    view = a_view(timedelta(hours=2))
    load(warehouse, spine, rows)
    found = {row["id"]: row["x"] for row in joined(warehouse, view)}
    by_entity: dict[tuple[Any, Any], list[Row]] = {}
    for row in rows:
        by_entity.setdefault((row["origin"], row["gate"]), []).append(row)
    for asked in spine:
        row = known(view, by_entity.get((asked["origin"], asked["gate"]), []), asked)
        assert found[asked["id"]] == (row["x"] if row and alive(view, row, asked) else None)
    assert len(found) == 10_500
    assert 1_000 < sum(x is not None for x in found.values()) < 9_500  # both answers were seen


def one(warehouse: DuckDBWarehouse, view: FeatureView, age: timedelta, **flags: bool) -> Any:
    asked = {"id": 1, "origin": "EWR", "gate": 1, "t": START + age}
    load(warehouse, [asked], [{"origin": "EWR", "gate": 1, "ts": START, "x": 4.0}])
    (row,) = joined(warehouse, view, **flags)
    return row["x"]


TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("ttl", "age", "seen"),
    [
        (HOUR, HOUR, 4.0),
        (HOUR, HOUR + TICK, None),
        (timedelta(0), timedelta(0), 4.0),
        (timedelta(0), TICK, None),
        (None, timedelta(days=2_000_000), 4.0),
        (HOUR, -TICK, None),
        # 24 hours are 24 hours on the day the clocks change, too.
        (timedelta(days=1), timedelta(hours=24), 4.0),
        (timedelta(days=1), timedelta(hours=24) + TICK, None),
    ],
)
def test_the_ends_of_a_ttl_are_inclusive_to_the_microsecond(
    warehouse: DuckDBWarehouse, ttl: timedelta | None, age: timedelta, seen: float | None
) -> None:
    assert one(warehouse, a_view(ttl), age) == seen


def test_a_newest_row_that_is_null_stays_null(warehouse: DuckDBWarehouse) -> None:
    asked = {"id": 1, "origin": "EWR", "gate": 1, "t": START + 2 * HOUR}
    held = {"origin": "EWR", "gate": 1}
    rows = [{**held, "ts": START, "x": 1.0}, {**held, "ts": START + HOUR, "x": None}]
    load(warehouse, [asked], rows)
    view = a_view(features={"x": FeatureValue(fallback=Fallback(value=9.0))})
    assert joined(warehouse, view)[0]["x"] is None
    # A fallback answers for a row that is missing or stale; this one is there.
    assert joined(warehouse, view, fallbacks=True)[0]["x"] is None


@pytest.mark.parametrize(
    ("fallback", "age", "rehearsed"),
    [
        (Fallback(value=9.0), HOUR, 4.0),
        (Fallback(value=9.0), 2 * HOUR, 9.0),
        (Fallback(serve_stale_for=6 * HOUR), 6 * HOUR, 4.0),
        (Fallback(serve_stale_for=6 * HOUR), 6 * HOUR + TICK, None),
        (Fallback(value=9.0, serve_stale_for=6 * HOUR), 7 * HOUR, 9.0),
        (Fallback(value=9.0), -HOUR, 9.0),
    ],
)
def test_a_fallback_is_seen_only_when_it_is_rehearsed(
    warehouse: DuckDBWarehouse, fallback: Fallback, age: timedelta, rehearsed: float | None
) -> None:
    view = a_view(HOUR, features={"x": FeatureValue(fallback=fallback)})
    assert one(warehouse, view, age, fallbacks=True) == rehearsed
    assert one(warehouse, view, age) == (4.0 if timedelta(0) <= age <= HOUR else None)


def test_types_are_kept_and_request_columns_pass_through(warehouse: DuckDBWarehouse) -> None:
    warehouse.build(
        "wh.spine",
        "SELECT 1 AS id, DATE '2013-03-10' AS day, 'AA' AS carrier, TIMESTAMP '2013-03-10' AS t",
    )
    warehouse.build(
        "il.typed",
        "SELECT 'AA' AS carrier, TIMESTAMP '2013-03-10' AS ts, 7::BIGINT AS n, true AS b, "
        "DATE '2013-01-01' AS d, 'x' AS s",
    )
    kinds = {"n": "integer", "b": "boolean", "d": "date", "s": "string"}
    view = a_view(
        HOUR,
        entity=("carrier",),
        features={name: FeatureValue(type=type) for name, type in kinds.items()},  # type: ignore[arg-type]
    )
    sql = point_in_time_sql("wh.spine", "id", "t", [(view, "il.typed")])
    types = warehouse.columns(sql)
    assert list(types) == ["id", "day", "carrier", "t", "n", "b", "d", "s"]
    assert [types[name] for name in kinds] == ["BIGINT", "BOOLEAN", "DATE", "VARCHAR"]
    assert warehouse.query(sql).to_pylist()[0]["s"] == "x"


def test_two_versions_of_one_view_stand_side_by_side(warehouse: DuckDBWarehouse) -> None:  # R-A3
    load(warehouse, [{"id": 1, "origin": "EWR", "gate": 1, "t": START}], [])
    for table, value in (("il.v1", 1.0), ("il.v2", 2.0)):
        warehouse.build(
            table, f"SELECT 'EWR' AS origin, 1 AS gate, {value} AS x, TIMESTAMP '{START}' AS ts"
        )
    views = [(a_view(), "il.v1"), (a_view(version=2), "il.v2")]
    sql = point_in_time_sql(
        "wh.spine", "id", "t", views, ["load@1:x", "load@2:x"], Join(stamps=True)
    )
    (row,) = warehouse.query(sql).to_pylist()
    assert (row["load_1__x"], row["load_2__x"]) == (1.0, 2.0)
    assert row["load_2__status"] == "fresh"


def test_names_are_short_unless_two_would_be_the_same() -> None:
    assert column_names(["a@1:x", "a@1:y"]) == {"a@1:x": "x", "a@1:y": "y"}
    assert column_names(["a@1:x", "b@2:x"]) == {"a@1:x": "a_1__x", "b@2:x": "b_2__x"}


def test_a_feature_that_no_view_offers_is_refused() -> None:
    with pytest.raises(Unusable, match="load@1:y"):
        point_in_time_sql("wh.spine", "id", "t", [(a_view(), "il.load")], ["load@1:y"])


def test_a_model_without_features_gets_its_spine(warehouse: DuckDBWarehouse) -> None:
    load(warehouse, [{"id": 1, "origin": "EWR", "gate": 1, "t": START}], [])
    sql = point_in_time_sql("wh.spine", "id", "t", [(a_view(), "il.load")], [])
    assert list(warehouse.query(sql).to_pylist()[0]) == ["id", "origin", "gate", "t"]


def test_the_order_of_rows_is_the_same_every_time(warehouse: DuckDBWarehouse) -> None:  # R-B1
    spine: list[Row] = [
        {"id": i, "origin": "EWR", "gate": 1, "t": START + (i * 7 % 5) * HOUR} for i in range(50)
    ]
    load(warehouse, spine, [])
    found = [(row["t"], row["id"]) for row in joined(warehouse, a_view())]
    assert found == sorted(found)


# --- building ---
def test_a_view_is_built_from_the_physical_tables_it_is_bound_to(
    warehouse: DuckDBWarehouse,
) -> None:
    warehouse.build(
        "il.wh_load__1",
        "SELECT * FROM (VALUES ('EWR', 1, TIMESTAMP '2013-03-10', 2), (NULL, 1, "
        "TIMESTAMP '2013-03-10', 3), ('EWR', 1, NULL, 4)) t(origin, gate, ts, x)",
    )
    sql = build_view_sql(a_view(), {"wh.load": "il.wh_load__1"})
    assert warehouse.query(sql).to_pylist() == [
        {"origin": "EWR", "gate": 1, "ts": datetime(2013, 3, 10), "x": 2.0}
    ]
    assert warehouse.columns(sql)["x"] == "DOUBLE"  # declared, though the table holds integers


def test_nanoseconds_are_never_cut_into_a_leak(warehouse: DuckDBWarehouse) -> None:  # R-A7
    stamp = "TIMESTAMP_NS '2013-03-10 00:00:00.000000400'"
    warehouse.build("wh.load", f"SELECT 'EWR' AS origin, 1 AS gate, {stamp} AS ts, 1.0 AS x")
    (row,) = warehouse.query(build_view_sql(a_view(), {})).to_pylist()
    assert row["ts"] == datetime(2013, 3, 10, 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("row", "asked", "seen"),
    [
        ("000001000", "000000999", None),  # rounded to the nearest, the question would see it
        ("000001000", "000001000", 4.0),
        ("000000999", "000001400", 4.0),
        ("000001000", "000001001", 4.0),
        ("000001000", "000001000.hour", 4.0),  # the end of the TTL, to the nanosecond
        ("000001000", "000001001.hour", None),
    ],
)
def test_a_question_between_two_microseconds_sees_what_was_there(
    warehouse: DuckDBWarehouse, row: str, asked: str, seen: float | None
) -> None:
    fraction, _, later = asked.partition(".")
    stamp = f"TIMESTAMP_NS '2013-03-10 00:00:00.{row}'"
    at = f"TIMESTAMP_NS '2013-03-10 {'01' if later else '00'}:00:00.{fraction}'"
    warehouse.build("wh.load", f"SELECT 'EWR' AS origin, 1 AS gate, {stamp} AS ts, 4.0 AS x")
    warehouse.build("wh.spine", f"SELECT 1 AS id, 'EWR' AS origin, 1 AS gate, {at} AS t")
    warehouse.build("il.load", build_view_sql(a_view(HOUR), {}))
    sql = point_in_time_sql("wh.spine", "id", "t", [(a_view(HOUR), "il.load")])
    assert warehouse.query(sql).column("x").to_pylist() == [seen]


def test_ties_are_found_and_named(warehouse: DuckDBWarehouse) -> None:
    held = {"origin": "EWR", "gate": 1}
    load(warehouse, [], [{**held, "ts": START, "x": 1.0}, {**held, "ts": START, "x": 2.0},
                         {**held, "ts": START + HOUR, "x": 2.0}])  # fmt: skip
    view = a_view()
    ties = warehouse.query(duplicates_sql(view, "il.load")).to_pylist()
    (said,) = tie_objections(view, ties)
    assert said.startswith("view:load@1 has 2 rows for origin=EWR, gate=1, ts=2013-03-10")
    assert tie_objections(view, []) == ()


def test_a_physical_name_says_what_it_holds_and_which_version() -> None:
    assert physical("wh.flights", "ab12cd34ef56789") == "il.wh_flights__ab12cd34ef56"
    assert physical("origin_weather@1", "f" * 64) == "il.origin_weather_1__ffffffffffff"


# --- online ---
