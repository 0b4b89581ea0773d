"""Do rows come as soon as they should, and as many as at this hour of other weeks?

The newest row says when a source stopped; a source that trickles, or is hours behind, still
has a new row every minute. So rows are counted by the hour of their event: those that came
in time, and those known by now beside those known by then, one to four weeks ago. A night
without departures is compared with nights, and an hour that is half over with halves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from statistics import median
from typing import Literal

from interlock.define.definitions import Arrival, Table
from interlock.define.durations import format_duration
from interlock.features.contract import Finding
from interlock.features.dialect import Dialect

WEEKS = 4
FEW = 0.2
"""Hours with at most this share of the usual rows are missing: a holiday has half of them."""
CHANCE = 1e-6
"""How rarely so few rows may come by chance, or nothing is said: many stretches are looked at."""
_WEEK = 7 * 24
_SHIFTS = (-1, 0, 1)  # hours: people change their clocks, UTC does not


@dataclass(frozen=True)
class Hour:
    """Rows whose event lies in one hour: those known, and of them those that came in time."""

    rows: int
    in_time: int


def hours_sql(table: Table, promise: Arrival, built: str, now: datetime, dialect: Dialect) -> str:
    """`hour` (whole hours since 1970 UTC), `n` and `in_time`, of this week and those before.

    A week counts what was known when it stood where `now` stands.
    """
    event, known = dialect.quoted(table.event_time or ""), dialect.quoted(table.available_at or "")
    spans = []
    for week in range(WEEKS + 1):
        then = now - timedelta(weeks=week)
        start, end = (dialect.instant(at) for at in (_first(promise, then), then))
        spans.append(f"({event} >= {start} AND {event} <= {end} AND {known} <= {end})")
    hour = dialect.cast(f"floor({dialect.number(event, 'timestamp')} / 3600)", "integer")
    soon = dialect.within(event, promise.within, known)
    return (
        f"SELECT {hour} AS hour, count(*) AS n, sum(CASE WHEN {soon} THEN 1 ELSE 0 END) AS in_time "
        f"FROM {built} AS t WHERE {' OR '.join(spans)} GROUP BY 1"
    )


def arrived(
    table: Table, promise: Arrival, hours: Mapping[int, Hour], now: datetime
) -> tuple[Finding, Finding]:
    """Whether rows come in time, and whether any stretch of hours has hardly a row.

    `unknown` where no row is due, or too few weeks were seen to say what is usual.
    """
    return _in_time(table, promise, hours, now), _complete(table, promise, hours, now)


def _first(promise: Arrival, now: datetime) -> datetime:
    """The whole hour at which the look back from `now` begins."""
    since = now.astimezone(UTC) - promise.over
    return since.replace(minute=0, second=0, microsecond=0)


def _looked_at(promise: Arrival, now: datetime) -> range:
    return range(_number(_first(promise, now)), _number(now) + 1)


def _number(at: datetime) -> int:
    return int(at.timestamp() // 3600)


def _in_time(table: Table, promise: Arrival, hours: Mapping[int, Hour], now: datetime) -> Finding:
    due = [h for h in _looked_at(promise, now) if _number(now - promise.within) > h]
    seen = [hours[h] for h in due if h in hours]
    rows, limit = sum(hour.rows for hour in seen), format_duration(promise.within)
    if not rows:
        said = f"{table.name}: no row of the last {format_duration(promise.over)} is due yet"
        return Finding("arrival", "unknown", said, None, promise.at_least)
    share = sum(hour.in_time for hour in seen) / rows
    said = (
        f"{table.name}: {share:.2%} of {rows} rows came within {limit}, "
        f"at least {promise.at_least:.2%} must"
    )
    verdict: Literal["pass", "fail"] = "pass" if share >= promise.at_least else "fail"
    return Finding("arrival", verdict, said, share, promise.at_least)


def _complete(table: Table, promise: Arrival, hours: Mapping[int, Hour], now: datetime) -> Finding:
    looked = _looked_at(promise, now)
    rows = _counts(hours, looked, 0)
    weeks = [
        [_counts(hours, looked, week * _WEEK + shift) for shift in _SHIFTS]
        for week in range(1, WEEKS + 1)
    ]
    weeks = [week for week in weeks if any(counts[-1] for counts in week)]
    if len(weeks) < 2:
        said = f"{table.name}: too few weeks were seen to say how many rows are usual"
        return Finding("rows per hour", "unknown", said)
    worst = _emptiest(rows, weeks)
    if worst is None:
        said = f"{table.name} has rows in every hour that usually has"
        return Finding("rows per hour", "pass", said, float(rows[-1]))
    start, end, seen, usual = worst
    at = [datetime.fromtimestamp(h * 3600, UTC) for h in (looked[start], looked[0] + end)]
    # The hour that is not over yet ends now.
    since, until = at[0], min(at[1], now.astimezone(UTC))
    said = (
        f"{table.name} has {seen} rows from {since:%Y-%m-%d %H:%M} to {until:%H:%M} UTC, "
        f"usually {usual:.0f}"
    )
    return Finding("rows per hour", "fail", said, float(seen), FEW * usual)


def _counts(hours: Mapping[int, Hour], looked: range, back: int) -> list[int]:
    """Rows `back` hours ago, up to the start of each hour that is looked at, and up to the end."""
    none = Hour(0, 0)
    return [0, *accumulate(hours.get(h - back, none).rows for h in looked)]


def _emptiest(
    rows: Sequence[int], weeks: Sequence[Sequence[Sequence[int]]]
) -> tuple[int, int, int, float] | None:
    """The stretch that lacks most: its first hour, the hour after it, its rows, the usual rows."""
    found, most = None, 0.0
    for end in range(1, len(rows)):
        for start in range(end):
            seen = rows[end] - rows[start]
            usual = median(min(c[end] - c[start] for c in week) for week in weeks)
            # Each hour with more than its few rows makes a stretch worse, so none is swallowed.
            lacking = FEW * usual - seen
            if lacking > most and _chance(seen, usual) < CHANCE:
                found, most = (start, end, seen, usual), lacking
    return found


def _chance(seen: int, usual: float) -> float:
    """A bound on how probable so few rows are where `usual` come each by itself (Chernoff's)."""
    return math.exp(seen - usual + (seen * math.log(usual / seen) if seen else 0.0))
