"""Each injection harms what it says, inside the window, the same rows each time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import duckdb
import pytest

from interlock.define.definitions import Table
from interlock.features.inject import INJECTIONS, Window, applicable, harmed_sql, injected

WINDOW = Window(datetime(2013, 4, 2, tzinfo=UTC), datetime(2013, 4, 4, tzinfo=UTC))
TABLE = Table.model_validate(
    {
        "name": "wh.seen",
        "key": ["id"],
        "event_time": "seen_at",
        "available_at": "known",
        "owner": "ops",
        "columns": {
            "id": {"type": "integer"},
            "seen_at": {"type": "timestamp"},
            "known": {"type": "timestamp"},
            "temp": {"type": "double"},
            "minutes": {"type": "integer", "unit": "min"},
            "gate": {"type": "integer"},
        },
    }
)
ROWS = """
SELECT i AS id, TIMESTAMP '2013-04-01' + to_minutes(i) AS seen_at,
  TIMESTAMP '2013-04-01' + to_minutes(i + 60) AS known,
  CASE WHEN i % 7 > 0 THEN i / 10.0 END AS temp,
  i % 60 + 1 AS minutes, i % 9 + 1 AS gate
FROM range(5760) AS r(i)"""
INSIDE = "seen_at >= TIMESTAMP '2013-04-02' AND seen_at < TIMESTAMP '2013-04-04'"


@pytest.fixture
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE seen AS {ROWS}")
    yield connection
    connection.close()


def harm(engine: duckdb.DuckDBPyConnection, name: str) -> None:
    engine.execute(f"CREATE OR REPLACE TABLE after AS {injected(name, TABLE, 'seen', WINDOW)}")


def one(engine: duckdb.DuckDBPyConnection, sql: str) -> int:
    return int(engine.execute(sql).fetchall()[0][0])


@pytest.mark.parametrize("name", INJECTIONS)
def test_only_rows_of_the_window_are_harmed(engine: duckdb.DuckDBPyConnection, name: str) -> None:
    harm(engine, name)
    assert one(engine, harmed_sql("seen", "after")) > 0
    outside = f"SELECT * FROM {{}} WHERE NOT ({INSIDE})"
    before, after = outside.format("seen"), outside.format("after")
    assert one(engine, f"SELECT count(*) FROM ({before} EXCEPT ALL {after})") == 0
    assert one(engine, f"SELECT count(*) FROM ({after} EXCEPT ALL {before})") == 0


@pytest.mark.parametrize("name", INJECTIONS)
def test_the_same_rows_are_taken_each_time(engine: duckdb.DuckDBPyConnection, name: str) -> None:
    harm(engine, name)
    engine.execute("CREATE TABLE first AS SELECT * FROM after")
    engine.execute(f"CREATE OR REPLACE TABLE seen AS SELECT * FROM ({ROWS}) ORDER BY id DESC")
    harm(engine, name)
    assert one(engine, harmed_sql("first", "after")) == 0


def test_each_does_what_it_says(engine: duckdb.DuckDBPyConnection) -> None:
    rows = one(engine, f"SELECT count(*) FROM seen WHERE {INSIDE}")
    harm(engine, "gap")
    assert one(engine, "SELECT count(*) FROM after") == 5760 - rows / 4
    harm(engine, "outage")
    lost = "SELECT count(*) FROM seen WHERE known >= TIMESTAMP '2013-04-03 18:00'"
    assert one(engine, "SELECT 5760 - count(*) FROM after") == 6 * 60
    assert one(engine, lost.replace("seen", "after", 1)) == one(engine, lost) - 6 * 60
    harm(engine, "latency")
    moved = "SELECT count(*) FROM seen s JOIN after a USING (id) WHERE a.known - s.known = "
    assert one(engine, f"{moved} INTERVAL 6 HOUR") == rows
    harm(engine, "late")
    assert 0.07 * rows < one(engine, f"{moved} INTERVAL 6 HOUR") < 0.13 * rows
    harm(engine, "duplicates")
    assert 0.03 * rows < one(engine, "SELECT count(*) - 5760 FROM after") < 0.07 * rows
    harm(engine, "outliers")
    wild = "SELECT count(*) FROM seen s JOIN after a USING (id) WHERE a.{0} = s.{0} * 1000"
    assert 0.003 * rows < one(engine, wild.format("minutes")) < 0.02 * rows
    assert one(engine, wild.format("gate")) == 0  # a whole number without a unit is a name


def test_without_a_time_nothing_can_be_late() -> None:
    timeless = TABLE.model_copy(update={"event_time": None, "available_at": None})
    assert applicable(timeless) == ()
    undated = TABLE.model_copy(update={"available_at": None})
    assert set(applicable(undated)) == {"gap", "outage", "outliers", "duplicates"}
    assert set(applicable(TABLE)) == set(INJECTIONS)
