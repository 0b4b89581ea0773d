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
    LINES,
    RAW,
    SPINE,
    START,
    TICK,
    VIEWS,
    Line,
    Row,
    a_row,
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


@dataclass
class Engine:
    """One warehouse, with the crowd in it: everything is loaded, built and asked once."""

    warehouse: Warehouse
    dialect: Dialect

    @property
    def how(self) -> Join:
        return Join(self.dialect, tuple(SPINE.names), stamps=True)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return self.warehouse.query(sql).to_pylist()  # type: ignore[no-any-return]

    def load(self, spine: pa.Table, rows: pa.Table) -> None:
        self.warehouse.load("wh.raw", rows)
        self.warehouse.load("wh.spine", spine)

    def ties(self, view: FeatureView) -> list[dict[str, Any]]:
        rows = view_rows_sql(view, {}, self.dialect)
        return self.rows(duplicates_sql(view, f"({rows})", 5, self.dialect))

    def join_sql(self, views: Sequence[FeatureView]) -> str:
        built = []
        for view in views:
            self.warehouse.build(f"il.{view.view}", build_view_sql(view, {}, self.dialect))
            built.append((view, f"il.{view.view}"))
        return point_in_time_sql("wh.spine", "id", "t", built, None, self.how)


@dataclass(frozen=True)
class Crowd:
    """Histories, questions, and what the oracle answers; worked out once for all engines."""

    rows: list[Row]
    spine: list[Row]
    answers: dict[str, list[str]]


@dataclass(frozen=True)
class Told:
    """What an engine answered, by view, and in which types."""

    rows: dict[str, list[dict[str, Any]]]
    types: dict[str, str]

    def of(self, view: FeatureView) -> list[dict[str, Any]]:
        """The columns of one view, under short names."""
        name = f"{view.view}_1"
        return [
            {
                **{column: row[column] for column in SPINE.names},
                **{kind: row[f"{name}__{kind}"] for kind in KINDS},
                "ts": row[f"{name}__ts"],
                "status": row[f"{name}__status"],
            }
            for row in self.rows[view.view]
        ]


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    rng = random.Random(20130310)
    rows, spine = histories(rng, 60), questions(rng, 60, 35)
    for line in LINES:
        rows += line.rows
        spine += line.asked
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


@pytest.fixture(scope="module")
def told(engine: Engine, crowd: Crowd) -> Told:
    engine.load(as_table(crowd.spine, SPINE), as_table(crowd.rows, RAW))
    rows, types = {}, {}
    # Three at a time: Spark plans a join of nine ten times as long as three joins of three.
    for views in (VIEWS[:3], VIEWS[3:6], VIEWS[6:]):
        sql = engine.join_sql(views)
        found = engine.rows(sql)
        rows |= {view.view: found for view in views}
        types |= engine.warehouse.columns(sql)
    return Told(rows, types)


def test_ten_thousand_questions_come_back_once_each(told: Told, crowd: Crowd) -> None:  # R-B3
    assert {len(rows) for rows in told.rows.values()} == {len(crowd.spine)}
    assert len(crowd.spine) > 10_000


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.view)
def test_every_kind_of_view_agrees_with_the_oracle(  # R-A7
    told: Told, crowd: Crowd, view: FeatureView
) -> None:
    assert as_a_bag(told.of(view)) == crowd.answers[view.view]
    never_stale = view.ttl is None or view.ttl.days > 10**6
    seen = {row["status"] for row in told.of(view)}
    assert seen == {"missing", "fresh"} | (set() if never_stale else {"stale"})


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.world)
def test_a_line_of_the_contract(told: Told, line: Line) -> None:
    (view,) = [view for view in VIEWS if view.view == line.view]
    found = {row["t"]: row["x"] for row in told.of(view) if row["w"] == line.world}
    assert found == dict(zip(line.times, line.x, strict=True))


def test_types_are_kept(told: Told) -> None:
    wanted = {"x": "DOUBLE", "n": "BIGINT", "word": "VARCHAR", "yes": "BOOLEAN", "day": "DATE"}
    for view in VIEWS:
        assert {kind: told.types[f"{view.view}_1__{kind}"] for kind in KINDS} == wanted
    assert list(told.types)[: len(SPINE)] == SPINE.names
    assert [told.types[name] for name in ("id", "w", "t")] == ["BIGINT", "VARCHAR", "TIMESTAMP"]


PAIRS: dict[str, Row] = {
    "time": a_row("time", 2.0, START, START + HOUR, seq=1),
    "arrival": a_row("arrival", 2.0, START, START, seq=1),
    "number": a_row("number", 2.0, START, START + HOUR),
}


@pytest.mark.parametrize(
    ("order", "tied"),
    [
        ({}, {"time", "arrival", "number"}),
        (LATE, {"arrival"}),
        ({"tie_break": "seq"}, {"number"}),
        ({**LATE, "tie_break": "seq"}, set()),
    ],
    ids=["by_time", "by_arrival", "by_number", "by_all"],
)
def test_rows_that_nothing_orders_are_found_before_anything_is_built(
    engine: Engine, order: dict[str, Any], tied: set[str]
) -> None:
    rows = [row for world, row in PAIRS.items() for row in (a_row(world, 1.0, START, START), row)]
    engine.warehouse.load("wh.pairs", as_table(rows, RAW))
    view = a_view("pairs", **order).model_copy(update={"sql": "SELECT * FROM wh.pairs"})
    found = engine.ties(view)
    assert {row["w"]: row["n_rows"] for row in found} == dict.fromkeys(tied, 2)
    said = tie_objections(view, found)
    assert all("view:pairs@1 has 2 rows for w=" in one for one in said)


def test_zoned_times_are_the_instants_they_name(engine: Engine, told: Told) -> None:
    """Both sides of the hour that New York lived through twice."""
    new_york = ZoneInfo("America/New_York")
    first = datetime(2013, 11, 3, 1, 30, tzinfo=new_york)
    again = datetime(2013, 11, 3, 1, 30, fold=1, tzinfo=new_york)
    zoned = pa.timestamp("us", "America/New_York")
    rows = as_table([a_row("w", 1.0, START), a_row("w", 2.0, START)], RAW)
    moments = [first, first.astimezone(UTC) + HOUR - TICK, again]
    line = Line("w", "", (), (START, START, START), ())
    spine = as_table(line.asked, SPINE).set_column(4, "t", pa.array(moments, zoned))
    engine.load(spine, rows.set_column(3, "ts", pa.array([first, again], zoned)))
    found = engine.rows(engine.join_sql([a_view("zoned", ttl=timedelta(0))]))
    assert {row["id"]: row["x"] for row in found} == {0: 1.0, 1: None, 2: 2.0}
