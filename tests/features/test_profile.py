"""What a table holds, and each promise of its contract, kept and broken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.define.definitions import Check, Column, Table
from interlock.features.contract import judge_columns, judge_contract
from interlock.features.profile import (
    Frame,
    TableProfile,
    frame_sql,
    merged,
    profile_sql,
    read_frame,
    read_profile,
)

FLIGHTS = Table(
    name="wh.flights",
    owner="data",
    columns={
        "id": Column(type="integer"),
        "origin": Column(type="string", nullable=False),
        "delay": Column(type="double"),
        "sched": Column(type="timestamp"),
    },
    key=("id",),
    event_time="sched",
    available_at="sched",
    checks=(
        Check(name="sane_delay", sql="delay > -120"),
        Check(name="mostly_ewr", sql="origin = 'EWR'", at_least=0.5),
    ),
)
GOOD = "(1, 'EWR', 3.0), (2, 'EWR', NULL), (3, 'JFK', -5.0)"


@pytest.fixture(scope="module")
def warehouse() -> Iterator[DuckDBWarehouse]:
    opened = DuckDBWarehouse(None)
    yield opened
    opened.close()


def put(warehouse: DuckDBWarehouse, values: str) -> None:
    warehouse.build(
        "il.f",
        "SELECT id, origin, delay::DOUBLE AS delay, TIMESTAMP '2013-05-01' + id * INTERVAL 1 HOUR "
        f"AS sched FROM (VALUES {values}) t(id, origin, delay)",
    )


def verdicts(warehouse: DuckDBWarehouse, values: str) -> dict[str, Any]:
    put(warehouse, values)
    (row,) = warehouse.query(profile_sql(FLIGHTS, "il.f")).to_pylist()
    found = judge_contract(
        FLIGHTS, read_profile(FLIGHTS, row), warehouse.columns("SELECT * FROM il.f")
    )
    return {finding.check: finding for finding in found}


def test_a_table_that_keeps_its_contract_passes_every_check(warehouse: DuckDBWarehouse) -> None:
    found = verdicts(warehouse, GOOD)
    assert {finding.verdict for finding in found.values()} == {"pass"}
    assert {"column:id", "not_null:id", "not_null:origin", "unique_key", "rows"} < set(found)
    assert found["check:mostly_ewr"].measured == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("values", "broken", "said"),
    [
        (f"{GOOD}, (3, 'EWR', 1.0)", "unique_key", "1 of 4 rows repeat the key (id)"),
        (f"{GOOD}, (4, NULL, 1.0)", "not_null:origin", "missing in 1 of 4 rows"),
        (f"{GOOD}, (NULL, 'EWR', 1.0)", "not_null:id", "wh.flights.id is missing"),
        (f"{GOOD}, (4, 'EWR', -900)", "check:sane_delay", "75.00% of rows satisfy sane_delay"),
        (f"{GOOD}, (4, 'X', 1), (5, 'X', 1)", "check:mostly_ewr", "at least 50.00% must"),
    ],
)
def test_one_broken_promise_is_the_one_that_fails(
    warehouse: DuckDBWarehouse, values: str, broken: str, said: str
) -> None:
    found = verdicts(warehouse, values)
    assert [f.check for f in found.values() if f.verdict == "fail"] == [broken]
    assert said in found[broken].sentence


def test_an_empty_table_is_unknown_never_good(warehouse: DuckDBWarehouse) -> None:
    put(warehouse, GOOD)
    warehouse.execute("DELETE FROM il.f")
    (row,) = warehouse.query(profile_sql(FLIGHTS, "il.f")).to_pylist()
    found = judge_contract(
        FLIGHTS, read_profile(FLIGHTS, row), warehouse.columns("SELECT * FROM il.f")
    )
    assert [(f.check, f.verdict) for f in found if f.verdict != "pass"] == [("rows", "unknown")]


def test_columns_must_be_there_in_a_type_that_holds_them() -> None:
    stored = {"id": "INTEGER", "delay": "VARCHAR", "sched": "TIMESTAMP WITH TIME ZONE"}
    found = {f.check: f for f in judge_columns(FLIGHTS, stored)}
    assert found["column:id"].verdict == found["column:sched"].verdict == "pass"
    assert "wh.flights has id, delay, sched" in found["column:origin"].sentence
    assert "is VARCHAR, the contract says double" in found["column:delay"].sentence
    decimal = {**stored, "origin": "VARCHAR", "delay": "DECIMAL(18,3)"}
    assert all(f.verdict == "pass" for f in judge_columns(FLIGHTS, decimal))


def test_a_profile_takes_one_query(warehouse: DuckDBWarehouse) -> None:
    put(warehouse, GOOD)
    (row,) = warehouse.query(profile_sql(FLIGHTS, "il.f")).to_pylist()
    seen = read_profile(FLIGHTS, row)
    assert (seen.rows, seen.columns["delay"].nulls, seen.columns["delay"].low) == (3, 1, -5.0)
    assert (seen.columns["origin"].high, seen.columns["origin"].distinct) == (None, 2)
    assert seen.newest_event == datetime(2013, 5, 1, 3, tzinfo=UTC) == seen.newest_available


def test_a_table_without_times_has_no_newest_row(warehouse: DuckDBWarehouse) -> None:
    put(warehouse, GOOD)
    timeless = FLIGHTS.model_copy(update={"event_time": None, "available_at": None})
    (row,) = warehouse.query(profile_sql(timeless, "il.f")).to_pylist()
    assert read_profile(timeless, row).newest_event is None


def profiled(
    warehouse: DuckDBWarehouse, frame: Frame, where: str = "true", by: str | None = None
) -> dict[str | None, TableProfile]:
    sql = profile_sql(FLIGHTS, f"(SELECT * FROM il.f WHERE {where})", frame, by)
    rows = warehouse.query(sql).to_pylist()
    return {row.get("__slice"): read_profile(FLIGHTS, row, frame) for row in rows}


def framed(warehouse: DuckDBWarehouse) -> Frame:
    sql = frame_sql(FLIGHTS, "il.f", bins=4)
    assert sql is not None
    return read_frame(FLIGHTS, warehouse.query(sql).to_pylist()[0])


ROW = st.tuples(
    st.integers(0, 30).map(lambda hour: hour * 7),  # the id is the hour: several days
    st.sampled_from(["'EWR'", "'JFK'", "''", "NULL"]),
    st.sampled_from(["NULL", "0", "-1.5", "2", "1e300", "'nan'::DOUBLE", "'inf'::DOUBLE"]),
)


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=40))
def test_profiles_of_days_add_up_to_the_profile_of_the_whole(
    warehouse: DuckDBWarehouse, rows: list[tuple[int, str, str]]
) -> None:  # R-A9
    put(warehouse, ", ".join(f"({i}, {o}, {d})" for i, o, d in rows))
    frame = framed(warehouse)
    assert Frame.from_json(frame.to_json()) == frame
    (whole,) = profiled(warehouse, frame).values()
    days = [profiled(warehouse, frame, f"sched::DATE = DATE '{day}'")[None] for day in whole.days]
    for parts in (days, list(profiled(warehouse, frame, by="origin").values())):
        both = merged([*parts, *profiled(warehouse, frame, "false").values()])
        assert plain(both) == plain(whole)
        assert sum(both.days.values()) == both.rows == len(rows)
        assert sum(both.columns["delay"].bins or ()) == both.rows


def plain(seen: TableProfile) -> str:
    """Everything that adds, as text: NaN is NaN."""
    return repr(
        (
            seen.rows, seen.newest_event, sorted(seen.days.items()), seen.broken,
            [(n, c.nulls, c.low, c.high, c.bins, c.values) for n, c in seen.columns.items()],
        )
    )  # fmt: skip


def test_shares_of_zeros_and_of_frozen_values_come_with_the_profile(
    warehouse: DuckDBWarehouse,
) -> None:
    put(warehouse, "(1, 'EWR', 0), (2, 'EWR', 0), (3, 'JFK', NULL), (4, '', 5), (5, NULL, 7)")
    frame = framed(warehouse)
    seen = profiled(warehouse, frame)[None]
    assert (seen.columns["delay"].zeros, seen.columns["delay"].nulls) == (2, 1)
    assert seen.columns["origin"].values == {"EWR": 2, "JFK": 1, "": 1}
    put(warehouse, "(1, 'XXX', 0), (2, 'EWR', NULL)")
    later = profiled(warehouse, frame)[None]
    assert later.columns["origin"].values == {"EWR": 1, "JFK": 0, "": 1}  # the frame stays


def test_a_sensitive_column_is_counted_and_never_quoted(warehouse: DuckDBWarehouse) -> None:
    put(warehouse, GOOD)
    hidden = Column(type="string", classification="sensitive")
    secret = FLIGHTS.model_copy(update={"columns": {**FLIGHTS.columns, "origin": hidden}})
    frame_row = warehouse.query(frame_sql(secret, "il.f") or "").to_pylist()[0]
    frame = read_frame(secret, frame_row)
    sql = profile_sql(secret, "il.f", frame)
    seen = read_profile(secret, warehouse.query(sql).to_pylist()[0], frame).columns["origin"]
    assert (seen.nulls, seen.low, seen.high, seen.values) == (0, None, None, None)
    assert seen.distinct == 2
    assert "EWR" not in str(frame.to_json())
