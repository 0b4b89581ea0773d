"""Late rows, lost hours, and what is neither: a night, a change of clocks, half a holiday."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.adapters.postgres import PostgresWarehouse
from interlock.app.risk import arrivals
from interlock.define.definitions import Arrival, Column, Table
from interlock.ports import Warehouse

FIRST = datetime(2013, 9, 1, tzinfo=UTC)
NOW = datetime(2013, 10, 8, 19, 30, tzinfo=UTC)
TABLE = Table(
    name="wh.seen",
    owner="ops",
    columns={"born": Column(type="timestamp"), "known": Column(type="timestamp")},
    event_time="born",
    available_at="known",
    arrival=Arrival(within=timedelta(hours=2)),
)
# Every two minutes by day, none from four to nine; one in fifty is two and a half hours late.
ROWS = """
SELECT born, born + CASE WHEN n % 50 = 7 THEN INTERVAL '150 minutes' ELSE INTERVAL '20 minutes' END
  AS known
FROM (SELECT n, TIMESTAMP '2013-09-01' + n * INTERVAL '2 minutes' AS born
      FROM generate_series(0, 64799) AS g(n)) AS r
WHERE extract(hour FROM born) NOT BETWEEN 4 AND 8"""


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest) -> Iterator[Warehouse]:
    opened: Warehouse
    if request.param == "duckdb":
        opened = DuckDBWarehouse(None)
    else:
        opened = PostgresWarehouse(request.getfixturevalue("postgres_database"))
    opened.build("wh.seen", ROWS)
    yield opened
    opened.close()


def said(warehouse: Warehouse, rows: str = "wh.seen", now: datetime = NOW) -> dict[str, str]:
    found = arrivals(warehouse, TABLE, rows, now)
    assert [one.check for one in found] == ["arrival", "rows per hour"]
    return {one.check: one.sentence for one in found if one.verdict != "pass"}


def test_what_comes_in_time_and_whole_is_fine_at_every_hour(warehouse: Warehouse) -> None:
    for hour in range(0, 48, 5):
        assert said(warehouse, now=NOW + timedelta(hours=hour, minutes=hour)) == {}


def test_rows_that_come_late_are_counted(warehouse: Warehouse) -> None:
    late = (
        "(SELECT born, CASE WHEN extract(minute FROM born) < 6 THEN known + INTERVAL '6 hours' "
        "ELSE known END AS known FROM wh.seen)"
    )
    found = said(warehouse, late)
    assert list(found) == ["arrival"]
    assert found["arrival"].startswith("wh.seen: 8")
    assert found["arrival"].endswith("rows came within 2h, at least 95.00% must")


def test_hours_without_rows_are_named_also_after_they_are_over(warehouse: Warehouse) -> None:
    for start, hours in ((13, 6.5), (10, 3)):
        at = NOW.replace(hour=start, minute=0)
        lost = (
            f"(SELECT * FROM wh.seen WHERE known < TIMESTAMP '{at:%Y-%m-%d %H:%M}' "
            f"OR known >= TIMESTAMP '{at + timedelta(hours=hours):%Y-%m-%d %H:%M}')"
        )
        found = said(warehouse, lost)
        assert list(found) == ["rows per hour"], found
        assert f" rows from 2013-10-08 {start}:00 to " in found["rows per hour"]


def test_a_source_that_stopped_for_good_lacks_the_whole_day(warehouse: Warehouse) -> None:
    stopped = "(SELECT * FROM wh.seen WHERE known < TIMESTAMP '2013-10-06')"
    found = said(warehouse, stopped)
    assert found["rows per hour"].startswith("wh.seen has 0 rows from 2013-10-07 ")
    assert "no row of the last 1d is due yet" in found["arrival"]


def test_a_change_of_clocks_and_half_a_holiday_are_no_gap(warehouse: Warehouse) -> None:
    since = "born >= TIMESTAMP '2013-10-06'"
    for hours in (1, -1):
        moved = (
            f"(SELECT born + INTERVAL '{hours} hours' AS born, "
            f"known + INTERVAL '{hours} hours' AS known FROM wh.seen WHERE {since} "
            f"UNION ALL SELECT born, known FROM wh.seen WHERE NOT ({since}))"
        )
        for hour in (0, 6, 14):
            assert said(warehouse, moved, NOW + timedelta(hours=hour)) == {}
    half = f"(SELECT * FROM wh.seen WHERE NOT ({since} AND extract(minute FROM born) >= 30))"
    assert said(warehouse, half) == {}


def test_too_short_a_history_is_unknown_never_fine(warehouse: Warehouse) -> None:
    young = "(SELECT * FROM wh.seen WHERE born >= TIMESTAMP '2013-09-28')"
    (in_time, whole) = arrivals(warehouse, TABLE, young, NOW)
    assert (in_time.verdict, whole.verdict) == ("pass", "unknown")
    assert arrivals(warehouse, TABLE.model_copy(update={"arrival": None}), "wh.seen", NOW) == ()
