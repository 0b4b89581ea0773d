"""Planted leaks are found by replay, honest features are clean, and silence is no proof."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.define.definitions import Column, FeatureValue, FeatureView, Table
from interlock.features.compile import build_view_sql, duplicates_sql
from interlock.features.replay import Replay, Spine, pick_cutoffs, run_replay, truncate

NOON = datetime(2013, 5, 15, 12, tzinfo=UTC)
SPINE = Spine("wh.spine", "flight_id", "cutoff")
BINDINGS = {
    "wh.flights": "il.wh_flights__1", "wh.departures": "il.wh_departures__1",
    "wh.planes": "il.wh_planes__1", "wh.hourly": "il.wh_hourly__1",
}  # fmt: skip

FLIGHTS = """SELECT flight_id, origin, sched_dep, sched_dep - INTERVAL 30 DAYS AS available_at
FROM raw_f"""
DEPARTURES = """SELECT flight_id, origin, sched_dep, dep_delay, dep_delay IS NULL AS cancelled,
CASE WHEN dep_delay IS NULL THEN sched_dep
ELSE sched_dep + dep_delay * INTERVAL 1 MINUTE END AS available_at FROM raw_f"""
# An hour is known when it is over, not when it begins.
HOURLY = """SELECT DISTINCT origin, date_trunc('hour', available_at) + INTERVAL 1 HOUR AS hour
FROM wh.departures"""

# SCENARIO of a leak or of its absence: entity, SQL.
VIEWS = {
    "honest_2h": (
        ("origin",),
        """SELECT DISTINCT origin, available_at AS ts, avg(dep_delay) OVER w AS x
        FROM wh.departures WHERE NOT cancelled WINDOW w AS (PARTITION BY origin
        ORDER BY available_at RANGE BETWEEN INTERVAL 2 HOURS PRECEDING AND CURRENT ROW)""",
    ),
    "own_delay": (
        ("flight_id",),
        "SELECT flight_id, sched_dep - INTERVAL 3 HOURS AS ts, dep_delay AS x FROM wh.departures",
    ),
    "by_schedule": (
        ("origin",),
        """SELECT DISTINCT origin, sched_dep AS ts, avg(dep_delay) OVER w AS x
        FROM wh.departures WHERE NOT cancelled WINDOW w AS (PARTITION BY origin
        ORDER BY sched_dep RANGE BETWEEN INTERVAL 2 HOURS PRECEDING AND CURRENT ROW)""",
    ),
    "day_at_midnight": (
        ("origin",),
        """SELECT origin, date_trunc('day', sched_dep) AS ts, avg(dep_delay) AS x
        FROM wh.departures GROUP BY ALL""",
    ),
    # Overdue flights have no row in departures until they leave: right on history, wrong live.
    "overdue_v1": (
        ("origin",),
        """SELECT origin, ts, sum(sum(d)) OVER (PARTITION BY origin ORDER BY ts) AS x FROM (
        SELECT origin, sched_dep + INTERVAL 15 MINUTES AS ts, 1 AS d FROM wh.departures
        WHERE cancelled OR dep_delay > 15
        UNION ALL SELECT origin, CASE WHEN cancelled THEN sched_dep + INTERVAL 3 HOURS
        ELSE available_at END, -1 FROM wh.departures WHERE cancelled OR dep_delay > 15)
        GROUP BY origin, ts""",
    ),
    "overdue_v2": (
        ("origin",),
        """SELECT origin, ts, sum(sum(d)) OVER (PARTITION BY origin ORDER BY ts) AS x FROM (
        SELECT f.origin, f.sched_dep + INTERVAL 15 MINUTES AS ts, 1 AS d FROM wh.flights f
        LEFT JOIN wh.departures x USING (flight_id)
        WHERE x.flight_id IS NULL OR x.cancelled OR x.dep_delay > 15
        UNION ALL SELECT origin, CASE WHEN cancelled THEN sched_dep + INTERVAL 3 HOURS
        ELSE available_at END, -1 FROM wh.departures WHERE cancelled OR dep_delay > 15)
        GROUP BY origin, ts""",
    ),
    "plane_seats": (("flight_id",), "SELECT flight_id, ts, seats AS x FROM wh.planes"),
    # Built by SQL from a table that can be cut, so it can be cut too.
    "hours_seen": (
        ("origin",),
        """SELECT origin, hour AS ts, count(*) OVER (PARTITION BY origin ORDER BY hour) AS x
        FROM wh.hourly""",
    ),
    "hours_in_all": (
        ("origin",),
        """SELECT origin, date_trunc('day', hour) AS ts, count(*) AS x
        FROM wh.hourly GROUP BY ALL""",
    ),
}


def a_table(name: str, columns: str, available: bool = True, sql: str | None = None) -> Table:
    typed = {column: Column(type="double") for column in columns.split()}
    known = "available_at" if available else None
    return Table(name=name, owner="data", columns=typed, available_at=known, sql=sql)


TABLES: Mapping[str, Table] = {
    "wh.flights": a_table("wh.flights", "flight_id available_at"),
    "wh.departures": a_table("wh.departures", "flight_id available_at"),
    "wh.planes": a_table("wh.planes", "flight_id", available=False),
    "wh.hourly": a_table("wh.hourly", "origin hour", available=False, sql=HOURLY),
}


def a_view(name: str) -> FeatureView:
    entity, sql = VIEWS[name]
    return FeatureView(
        owner="data", view=name, version=1, entity=entity, ttl=timedelta(hours=24),
        features={"x": FeatureValue()}, sql=sql,
    )  # fmt: skip


@pytest.fixture(scope="module")
def warehouse() -> Iterator[DuckDBWarehouse]:
    """Six weeks of made-up departures from three airports, late ones very late."""
    rng = random.Random(3)
    start = datetime(2013, 4, 20)
    rows = [
        {
            "flight_id": i, "origin": rng.choice(["EWR", "JFK", "LGA"]),
            "sched_dep": start + timedelta(minutes=5 * (i // 2)),
            "dep_delay": None if rng.random() < 0.04 else round(rng.expovariate(1 / 25)) - 5,
        }
        for i in range(20_000)
    ]  # fmt: skip
    opened = DuckDBWarehouse(None)
    opened.load("raw_f", pa.Table.from_pylist(rows))
    opened.build(BINDINGS["wh.flights"], FLIGHTS)
    opened.build(BINDINGS["wh.departures"], DEPARTURES)
    opened.build(BINDINGS["wh.planes"], "SELECT flight_id, sched_dep - INTERVAL 1 DAY AS ts, "
                 "100 + flight_id % 90 AS seats FROM raw_f")  # fmt: skip
    hourly = HOURLY.replace("wh.departures", BINDINGS["wh.departures"])
    opened.build(BINDINGS["wh.hourly"], hourly)
    opened.build("wh.spine", "SELECT flight_id, origin, sched_dep, sched_dep - INTERVAL 2 HOURS "
                 "AS cutoff FROM raw_f WHERE sched_dep >= '2013-05-01'")  # fmt: skip
    yield opened
    opened.close()


def replayed(warehouse: DuckDBWarehouse, name: str) -> Replay:
    view = a_view(name)
    built = f"il.{name}"
    warehouse.build(built, build_view_sql(view, BINDINGS))
    assert warehouse.query(duplicates_sql(view, built)).num_rows == 0
    cutoffs = pick_cutoffs(warehouse, SPINE, 15)
    return run_replay(warehouse, view, built, SPINE, TABLES, BINDINGS, cutoffs)


@pytest.mark.parametrize(
    "name", ["own_delay", "by_schedule", "day_at_midnight", "overdue_v1", "hours_in_all"]
)
def test_a_planted_leak_is_found(warehouse: DuckDBWarehouse, name: str) -> None:  # R-A7
    seen = replayed(warehouse, name)
    assert seen.status == "leak"
    assert seen.mismatches > 0.3 * seen.rows
    assert {"key", "at", "feature", "trained", "replayed"} == set(seen.examples[0])
    assert f"{seen.mismatches} of {seen.rows} rows at 15 cutoffs" in seen.sentence


@pytest.mark.parametrize("name", ["honest_2h", "overdue_v2", "hours_seen"])
def test_an_honest_feature_is_clean(warehouse: DuckDBWarehouse, name: str) -> None:  # R-A7
    seen = replayed(warehouse, name)
    assert (seen.status, seen.mismatches, seen.cutoffs) == ("clean", 0, 15)
    assert seen.rows >= 30


def test_the_two_forms_of_overdue_agree_on_history(warehouse: DuckDBWarehouse) -> None:
    # Invisible offline: only replay tells them apart.
    queries = [build_view_sql(a_view(f"overdue_v{n}"), BINDINGS) for n in (1, 2)]
    both = f"({queries[0]} EXCEPT ALL {queries[1]})"
    assert warehouse.query(f"SELECT count(*) AS n FROM {both} AS d").to_pylist() == [{"n": 0}]


def test_a_source_that_does_not_say_when_is_unprovable_never_clean(
    warehouse: DuckDBWarehouse,
) -> None:  # R-A7
    seen = replayed(warehouse, "plane_seats")
    assert (seen.status, seen.unprovable_sources) == ("unprovable", ("wh.planes",))
    assert seen.mismatches == 0
    assert "wh.planes does not say when" in seen.sentence


def test_no_row_to_compare_proves_nothing(warehouse: DuckDBWarehouse) -> None:
    view = a_view("honest_2h")
    warehouse.build("il.h", build_view_sql(view, BINDINGS))
    nowhere = NOON + timedelta(seconds=1)
    seen = run_replay(warehouse, view, "il.h", SPINE, TABLES, BINDINGS, [nowhere])
    assert (seen.status, seen.rows) == ("unprovable", 0)


def test_an_edited_training_value_is_a_mismatch_and_rounding_is_not(
    warehouse: DuckDBWarehouse,
) -> None:
    view = a_view("honest_2h")
    sql = build_view_sql(view, BINDINGS)
    cutoffs = pick_cutoffs(warehouse, SPINE, 4)

    def status(change: str) -> str:
        warehouse.build("il.edited", f"SELECT * REPLACE ({change} AS x) FROM ({sql}) AS q")
        seen = run_replay(warehouse, view, "il.edited", SPINE, TABLES, BINDINGS, cutoffs)
        return seen.status

    assert status("x * (1 + 1e-12)") == "clean"
    assert status("x * (1 + 1e-6) + 1e-6") == "leak"
    assert status("NULL::DOUBLE") == "leak"


def test_a_table_whose_row_has_no_availability_was_never_known(
    warehouse: DuckDBWarehouse,
) -> None:
    warehouse.build("il.some", "SELECT * FROM (VALUES (1, TIMESTAMP '2013-05-01'), (2, NULL), "
                    "(3, TIMESTAMP '2013-06-01')) t(x, available_at)")  # fmt: skip
    cut = truncate("SELECT x FROM wh.flights", TABLES, {"wh.flights": "il.some"}, NOON)
    sql = f"SELECT x FROM {cut.replacements['wh.flights']} AS t"
    assert warehouse.query(sql).to_pylist() == [{"x": 1}]


def test_cutoffs_are_spread_and_the_same_each_time(warehouse: DuckDBWarehouse) -> None:
    first = pick_cutoffs(warehouse, SPINE, 6)
    assert first == sorted(set(first)) == pick_cutoffs(warehouse, SPINE, 6)
    assert len(first) == 6
    assert first[-1] - first[0] > timedelta(days=12)


def test_null_and_duplicate_spine_keys_cost_no_row(warehouse: DuckDBWarehouse) -> None:
    view = a_view("honest_2h")
    warehouse.build("il.h", build_view_sql(view, BINDINGS))
    spine = (
        "(SELECT * FROM (VALUES (1, 'EWR'), (1, 'EWR'), (NULL, 'JFK'), (4, NULL)) "
        "t(flight_id, origin) CROSS JOIN (SELECT TIMESTAMP '2013-05-15 12:00:00' AS cutoff))"
    )
    at = Spine(spine, "flight_id", "cutoff")
    seen = run_replay(warehouse, view, "il.h", at, TABLES, BINDINGS, [NOON])
    assert (seen.status, seen.rows) == ("clean", 4)
