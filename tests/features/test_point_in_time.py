"""Every line of the point-in-time contract, on every engine, against the oracle of `pit_world`.

`running` is the form for engines without an ASOF join, tried on DuckDB too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from pit_world import (
    HOUR,
    KINDS,
    LATE,
    RAW,
    SPINE,
    START,
    TICK,
    VIEWS,
    Row,
    a_view,
    as_a_bag,
    as_table,
    expected,
    histories,
    questions,
)

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.adapters.postgres import PostgresWarehouse
from interlock.define.definitions import FeatureView
from interlock.features.compile import (
    build_view_sql,
    duplicates_sql,
    point_in_time_sql,
    tie_objections,
    view_rows_sql,
)
from interlock.features.dialect import DUCKDB, POSTGRES, SPARK, Dialect
from interlock.features.join import Join
from interlock.ports import Warehouse


@dataclass(frozen=True)
class Engine:
    warehouse: Warehouse
    dialect: Dialect

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return self.warehouse.query(sql).to_pylist()  # type: ignore[no-any-return]

    def load(self, spine: Sequence[Row], rows: Sequence[Row]) -> None:
        self.warehouse.load("wh.raw", as_table(rows, RAW))
        self.warehouse.load("wh.spine", as_table(spine, SPINE))

    def build(self, view: FeatureView) -> str:
        bound, name = {"wh.raw": "wh.raw"}, f"il.{view.view}"
        assert self.ties(view) == []
        self.warehouse.build(name, build_view_sql(view, bound, self.dialect))
        return name

    def ties(self, view: FeatureView) -> list[dict[str, Any]]:
        rows = view_rows_sql(view, {}, self.dialect)
        return self.rows(duplicates_sql(view, f"({rows})", 5, self.dialect))

    def ask(self, views: Sequence[FeatureView]) -> list[dict[str, Any]]:
        how = Join(self.dialect, tuple(SPINE.names), stamps=True)
        built = [(view, self.build(view)) for view in views]
        return self.rows(point_in_time_sql("wh.spine", "id", "t", built, None, how))


@dataclass(frozen=True)
class Crowd:
    """Histories, questions, and what the oracle answers; worked out once for all engines."""

    rows: list[Row]
    spine: list[Row]
    answers: dict[str, list[str]]


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    rng = random.Random(20130310)
    rows, spine = histories(rng, 60), questions(rng, 60, 35)
    return Crowd(rows, spine, {view.view: expected(view, rows, spine) for view in VIEWS})


@pytest.fixture(scope="module", params=["duckdb", "running", "postgres", "spark"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "spark":
        yield Engine(request.getfixturevalue("spark_warehouse"), SPARK)
        return
    if request.param == "postgres":
        opened: Warehouse = PostgresWarehouse(request.getfixturevalue("postgres_url"))
    else:
        opened = DuckDBWarehouse(None)
    dialects = {"duckdb": DUCKDB, "running": replace(DUCKDB, asof=False), "postgres": POSTGRES}
    yield Engine(opened, dialects[request.param])
    opened.close()


def test_ten_thousand_questions_of_every_kind_of_view_agree_with_the_oracle(  # R-A7, R-B3
    engine: Engine, crowd: Crowd
) -> None:
    assert len(crowd.spine) > 10_000
    engine.load(crowd.spine, crowd.rows)
    found = engine.ask(VIEWS)
    assert len(found) == len(crowd.spine)
    for view in VIEWS:
        told = [_of(view, row) for row in found]
        assert as_a_bag(told) == crowd.answers[view.view], view.view
        seen = {row["status"] for row in told}
        assert seen == {"missing", "fresh"} | (set() if _never_stale(view) else {"stale"})


def _never_stale(view: FeatureView) -> bool:
    return view.ttl is None or view.ttl.days > 10**6


def _of(view: FeatureView, row: Row) -> dict[str, Any]:
    """The columns of one view, under short names."""
    name = f"{view.view}_1"
    own = {kind: row[f"{name}__{kind}"] for kind in KINDS}
    return {
        **{column: row[column] for column in SPINE.names}, **own,
        "ts": row[f"{name}__ts"], "status": row[f"{name}__status"],
    }  # fmt: skip


# --- single lines of the contract, where a wrong answer has a face ---------------------

KEY = {"w": "w", "a": 1, "b": 12}
NOTHING = {"seq": None, "x": None, "n": None, "word": None, "yes": None, "day": None}


def a_row(x: float | None, ts: datetime, known_at: datetime | None = None, **more: Any) -> Row:
    return {**KEY, **NOTHING, "ts": ts, "known_at": known_at, "x": x, **more}


def at(*times: datetime) -> list[Row]:
    return [{**KEY, "id": i, "t": t, "note": None} for i, t in enumerate(times)]


def xs(engine: Engine, view: FeatureView, rows: Sequence[Row], spine: Sequence[Row]) -> list[Any]:
    engine.load(spine, rows)
    how = Join(engine.dialect, tuple(SPINE.names))
    sql = point_in_time_sql("wh.spine", "id", "t", [(view, engine.build(view))], None, how)
    return [row["x"] for row in sorted(engine.rows(sql), key=lambda row: row["id"])]


def test_a_correction_is_seen_from_its_arrival_and_not_before(engine: Engine) -> None:
    rows = [
        a_row(1.0, START, START + HOUR),
        a_row(2.0, START, START + 3 * HOUR),  # the same hour, corrected
        a_row(9.0, START - HOUR, START + 5 * HOUR),  # an older hour, arriving last of all
    ]
    asked = at(START, START + HOUR, START + 3 * HOUR - TICK, START + 3 * HOUR, START + 9 * HOUR)
    assert xs(engine, a_view("late", **LATE), rows, asked) == [None, 1.0, 1.0, 2.0, 2.0]


def test_a_forecast_known_in_advance_waits_for_its_time(engine: Engine) -> None:
    """Ordered by arrival alone, the forecast for tomorrow would answer today."""
    rows = [
        a_row(5.0, START + 5 * HOUR, START - HOUR),  # known early
        a_row(1.0, START + HOUR, START + 2 * HOUR),
    ]
    asked = at(START, START + 2 * HOUR, START + 5 * HOUR - TICK, START + 5 * HOUR)
    assert xs(engine, a_view("late", **LATE), rows, asked) == [None, 1.0, 1.0, 5.0]


def test_what_never_arrived_was_never_known(engine: Engine) -> None:
    rows = [a_row(1.0, START, START), a_row(2.0, START + HOUR, None)]
    asked = at(START + 2 * HOUR)
    assert xs(engine, a_view("late", **LATE), rows, asked) == [1.0]
    ignored = a_view("ignored", availability="ignored", **LATE)
    assert xs(engine, ignored, rows, asked) == [2.0]


def test_the_value_that_is_remembered_grows_old_by_its_own_time(engine: Engine) -> None:
    rows = [a_row(1.0, START), a_row(None, START + 2 * HOUR), a_row(None, START + 4 * HOUR)]
    asked = at(START + 2 * HOUR, START + 3 * HOUR, START + 3 * HOUR + TICK, START + 5 * HOUR)
    assert xs(engine, a_view("plain", ttl=3 * HOUR), rows, asked) == [None] * 4
    assert xs(engine, a_view("held", "x", ttl=3 * HOUR), rows, asked) == [1.0, 1.0, None, None]


def test_keys_that_read_the_same_in_a_row_are_two_keys(engine: Engine) -> None:
    rows = [a_row(1.0, START), {**a_row(2.0, START), "a": 11, "b": 2}]
    spine = [
        {"id": i, "w": "w", "a": a, "b": b, "t": START, "note": None}
        for i, (a, b) in enumerate([(1, 12), (11, 2), (None, 12), (1, None), (112, 1)])
    ]
    assert xs(engine, a_view("plain"), rows, spine) == [1.0, 2.0, None, None, None]


@pytest.mark.parametrize(
    ("name", "order", "second", "ties"),
    [
        ("by_time", {}, a_row(2.0, START), 2),
        ("by_arrival", LATE, a_row(2.0, START, START), 2),
        ("by_number", {"tie_break": "seq"}, a_row(2.0, START, seq=None), 2),
        ("in_order", {"tie_break": "seq"}, a_row(2.0, START, seq=1), 0),
        ("corrected", LATE, a_row(2.0, START, START + HOUR), 0),
    ],
)
def test_rows_that_nothing_orders_are_found_before_anything_is_built(
    engine: Engine, name: str, order: dict[str, Any], second: Row, ties: int
) -> None:
    view = a_view(name, **order)
    engine.load([], [a_row(1.0, START, START), second])
    found = engine.ties(view)
    assert [row["n_rows"] for row in found] == ([ties] if ties else [])
    said = tie_objections(view, found)
    assert all(f"view:{name}@1 has 2 rows for w=w, a=1, b=12, ts=2013-03-10" in s for s in said)


def test_zoned_times_are_the_instants_they_name(engine: Engine) -> None:
    """Both sides of the hour that New York lived through twice."""
    new_york = ZoneInfo("America/New_York")
    first = datetime(2013, 11, 3, 1, 30, tzinfo=new_york)
    again = datetime(2013, 11, 3, 1, 30, fold=1, tzinfo=new_york)
    zoned = pa.timestamp("us", "America/New_York")
    rows = as_table([a_row(1.0, START), a_row(2.0, START)], RAW)
    rows = rows.set_column(3, "ts", pa.array([first, again], zoned))
    engine.warehouse.load("wh.raw", rows)
    moments = [first, first.astimezone(UTC) + HOUR - TICK, again]
    spine = as_table(at(START, START, START), SPINE).set_column(4, "t", pa.array(moments, zoned))
    engine.warehouse.load("wh.spine", spine)
    view, how = a_view("plain", ttl=timedelta(0)), Join(engine.dialect, tuple(SPINE.names))
    sql = point_in_time_sql("wh.spine", "id", "t", [(view, engine.build(view))], None, how)
    found = sorted(engine.rows(sql), key=lambda row: row["id"])
    assert [row["x"] for row in found] == [1.0, None, 2.0]


def test_types_are_kept(engine: Engine) -> None:
    view = a_view("plain")
    engine.load(at(START), [a_row(None, START)])
    how = Join(engine.dialect, tuple(SPINE.names))
    sql = point_in_time_sql("wh.spine", "id", "t", [(view, engine.build(view))], None, how)
    types = engine.warehouse.columns(sql)
    assert list(types) == [*SPINE.names, *KINDS]
    wanted = ["DOUBLE", "BIGINT", "VARCHAR", "BOOLEAN", "DATE"]
    assert [types[name] for name in KINDS] == wanted
    assert [types[name] for name in ("id", "w", "t")] == ["BIGINT", "VARCHAR", "TIMESTAMP"]
