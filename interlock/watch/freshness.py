"""Is the data there, and how old is it? Asked of sources, by age and by rows per day.

A missing day of departures leaves a 24-hour average full of older flights and without one
NULL: only the row count of the source shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median
from typing import Literal

from interlock.define.definitions import Freshness
from interlock.define.durations import format_duration
from interlock.features.dialect import DUCKDB, Dialect

Status = Literal["ok", "warn", "error"]

FEW = 0.5
"""A day with less than this share of the usual rows is incomplete."""
_WEEKS = 3  # of one weekday, before they are believed rather than all days together


@dataclass(frozen=True)
class Age:
    """How old the newest row of a table is; None when it has no row."""

    table: str
    status: Status
    age: timedelta | None
    sentence: str


@dataclass(frozen=True)
class Gap:
    """A day with no rows, or too few."""

    table: str
    day: date
    rows: int
    usual: float

    @property
    def sentence(self) -> str:
        return f"{self.table} has {self.rows} rows for {self.day}, usually {self.usual:.0f}"


def newest_sql(table: str, column: str, now: datetime, dialect: Dialect = DUCKDB) -> str:
    """The newest instant in `column` that is not in the future."""
    stamp = dialect.quoted(column)
    known = f"{stamp} <= {dialect.instant(now)}"
    return f"SELECT max({stamp}) AS newest FROM {table} AS t WHERE {known}"


def per_day_sql(
    table: str, column: str, start: datetime, end: datetime, dialect: Dialect = DUCKDB
) -> str:
    """Rows per UTC day with `column` in [start, end)."""
    stamp, instant = dialect.quoted(column), dialect.instant
    return (
        f"SELECT {dialect.cast(stamp, 'date')} AS day, count(*) AS n FROM {table} AS t "
        f"WHERE {stamp} >= {instant(start)} AND {stamp} < {instant(end)} "
        "GROUP BY 1 ORDER BY 1"
    )


def freshness(table: str, newest: datetime | None, promise: Freshness, now: datetime) -> Age:
    """The age of the newest row against what was promised; an empty table is an error."""
    if newest is None:
        return Age(table, "error", None, f"{table} has no rows")
    # A table may hold rows known in advance, or stamped wrongly: neither is old.
    age = max(now - newest, timedelta(0))
    said = f"the newest row of {table} is {age / timedelta(hours=1):.1f} hours old"
    if age > promise.error_after:
        limit = format_duration(promise.error_after)
        return Age(table, "error", age, f"{said}, over the limit of {limit}")
    if age > promise.warn_after:
        limit = format_duration(promise.warn_after)
        return Age(table, "warn", age, f"{said}; expected within {limit}")
    return Age(table, "ok", age, said)


def gaps(
    table: str, per_day: Mapping[date, int], start: date, end: date, few: float = FEW
) -> tuple[Gap, ...]:
    """Days in [start, end) without rows, or with far fewer than is usual.

    Usual is the median day of `per_day`; where it reaches back over two more of the same
    weekday, the median of those: an office that is closed on Sundays loses nothing on them.
    """
    days = [start + timedelta(days=at) for at in range((end - start).days)]
    found = ((day, per_day.get(day, 0), _usual(per_day, day, end)) for day in days)
    return tuple(
        Gap(table, day, rows, usual)
        for day, rows, usual in found
        if rows <= few * usual and (usual or not any(per_day.values()))
    )


def _usual(per_day: Mapping[date, int], day: date, end: date) -> float:
    filled = [rows for rows in per_day.values() if rows]
    first = min(per_day, default=day)
    weeks = range((first - day).days // 7, (end - day).days // 7 + 1)
    alike = [day + timedelta(weeks=at) for at in weeks]
    same = [per_day.get(other, 0) for other in alike if first <= other < end]
    if len(same) >= _WEEKS:
        return float(median(same))
    return float(median(filled)) if filled else 0.0
