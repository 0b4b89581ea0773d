"""Age against the promise, and the day that is not there."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import duckdb
import pytest

from interlock.define.definitions import Freshness
from interlock.watch.freshness import freshness, gaps, newest_sql, per_day_sql

PROMISE = Freshness(warn_after=timedelta(hours=2), error_after=timedelta(hours=6))
NOW = datetime(2013, 6, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "status"), [(0, "ok"), (2, "ok"), (2.01, "warn"), (6, "warn"), (6.01, "error")]
)
def test_age_against_the_promise(hours: float, status: str) -> None:
    found = freshness("wh.weather", NOW - timedelta(hours=hours), PROMISE, NOW)
    assert found.status == status
    assert found.age == timedelta(hours=hours)


def test_an_empty_table_is_an_error_and_a_row_from_tomorrow_is_not_old() -> None:
    assert freshness("wh.weather", None, PROMISE, NOW).status == "error"
    assert freshness("wh.weather", NOW + timedelta(days=1), PROMISE, NOW).age == timedelta(0)


def test_a_missing_day_is_found_in_the_source() -> None:
    """24 June without departures: the 24-hour average over them has no NULL, only old rows."""
    con = duckdb.connect()
    con.execute(
        "CREATE TABLE departures AS SELECT TIMESTAMP '2013-06-20' + n * INTERVAL 1 MINUTE AS at "
        "FROM range(7200) t(n) WHERE n // 1440 <> 4 OR n % 1440 = 0"
    )
    start, end = datetime(2013, 6, 20, tzinfo=UTC), datetime(2013, 6, 25, tzinfo=UTC)
    rows = dict(con.execute(per_day_sql("departures", "at", start, end)).fetchall())
    found = gaps("departures", rows, start.date(), end.date())
    assert [(gap.day, gap.rows) for gap in found] == [(date(2013, 6, 24), 1)]
    assert found[0].sentence == "departures has 1 rows for 2013-06-24, usually 1440"
    newest = con.execute(newest_sql("departures", "at", datetime(2013, 6, 22, tzinfo=UTC)))
    assert newest.fetchall()[0][0] == datetime(2013, 6, 22)


def test_a_table_without_any_day_lacks_every_day() -> None:
    assert len(gaps("t", {}, date(2013, 6, 1), date(2013, 6, 4))) == 3


def test_a_day_is_measured_by_its_own_weekday() -> None:
    """Nothing on Sundays, half on Saturdays: usual. A Tuesday like a Saturday is not."""
    first = date(2013, 5, 20)  # a Monday
    usual = (100, 100, 100, 100, 100, 45, 0)
    days = {first + timedelta(days=at): usual[at % 7] for at in range(35)}
    rows = {day: count for day, count in days.items() if count}
    end = first + timedelta(days=35)
    assert gaps("t", rows, first, end) == ()
    rows[end - timedelta(days=6)] = 45
    assert [gap.day.isoweekday() for gap in gaps("t", rows, first, end)] == [2]
