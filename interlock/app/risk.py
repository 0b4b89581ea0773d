"""What stands behind a table: the models and services that suffer when it does."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from interlock.define.definitions import Table
from interlock.features.contract import Finding
from interlock.features.dialect import dialect_of
from interlock.impact.facts import Facts
from interlock.impact.lineage import lineage
from interlock.ports import Warehouse
from interlock.watch.arrival import Hour, arrived, hours_sql
from interlock.watch.freshness import Gap, gaps, per_day_sql

WEEKS = 4
"""How far back the usual number of rows of a weekday is learnt."""


def behind(facts: Facts, ref: str) -> tuple[str, ...]:
    """The models and services downstream of `ref`, services last."""
    nodes = lineage(facts, ref, "downstream").nodes
    return tuple(sorted(n for n in nodes if n.partition(":")[0] in ("model", "service")))


def missing_days(
    warehouse: Warehouse, table: Table, built: str, now: datetime, days: int = 7
) -> tuple[Gap, ...]:
    """Of the last `days` whole days those that `table`, stored in `built`, lacks rows of.

    Asked of the table itself: an average over it is computed from what is left, without a
    NULL. A day is missing when too few rows arrived on it AND too few happened on it: what is
    published ahead, or comes weeks later, lacks nothing.
    """
    stamps = [stamp for stamp in (table.available_at, table.event_time) if stamp]
    dialect = dialect_of(warehouse)
    known = table.available_at and f"{dialect.quoted(table.available_at)} <= {dialect.instant(now)}"
    relation = f"(SELECT * FROM {built} AS b WHERE {known or 'TRUE'})"
    found = [_lacking(warehouse, (table.name, relation, stamp), now, days) for stamp in stamps]
    both = set.intersection(*({gap.day for gap in gaps} for gaps in found)) if found else set()
    return tuple(gap for gap in (found[0] if found else ()) if gap.day in both)


def arrivals(warehouse: Warehouse, table: Table, built: str, now: datetime) -> tuple[Finding, ...]:
    """What `table`, stored in `built`, promises of when its rows come, kept or broken by `now`.

    None where it promises nothing.
    """
    promise = table.arrival
    if promise is None:
        return ()
    sql = hours_sql(table, promise, built, now, dialect_of(warehouse))
    rows = warehouse.query(sql).to_pylist()
    hours = {int(row["hour"]): Hour(int(row["n"]), int(row["in_time"])) for row in rows}
    return arrived(table, promise, hours, now)


def _lacking(
    warehouse: Warehouse, where: tuple[str, str, str], now: datetime, days: int
) -> tuple[Gap, ...]:
    name, relation, stamp = where
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - timedelta(weeks=WEEKS)
    sql = per_day_sql(relation, stamp, since, today, dialect_of(warehouse))
    per_day = {row["day"]: int(row["n"]) for row in warehouse.query(sql).to_pylist()}
    # A table that begins in the middle lacks nothing of the time before it.
    first: date = max(min(per_day, default=today.date()), today.date() - timedelta(days=days))
    return gaps(name, per_day, first, today.date())
