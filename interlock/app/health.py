"""What a service stands on, day by day: rows of its tables, and how its own answers went.

Pages cannot ask the warehouse, which one process holds: what a controller or `watch` counted
last is kept in the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from interlock.app.ingest import LOG
from interlock.app.reliability import fresh
from interlock.define.definitions import Service, Table
from interlock.define.refs import Ref
from interlock.features.dialect import dialect_of
from interlock.ports import Json, Put, RecordReader
from interlock.watch.freshness import per_day_sql
from interlock.watch.reliability import PERIOD

if TYPE_CHECKING:
    from interlock.app.versions import Version
    from interlock.app.workspace import Workspace


def kept(record: RecordReader, environment: str) -> Json:
    """What was counted last: `at`, `services` and `tables` by name; empty before anybody did."""
    entry = record.get(_ref(environment))
    return entry.body if entry else {}


def keep(workspace: Workspace, version: Version, every: timedelta = timedelta(0)) -> None:
    """Count the days of `version`, unless that was done less than `every` ago."""
    before, now = workspace.record.get(_ref(workspace.environment)), workspace.now()
    if before and fresh(datetime.fromisoformat(before.body["at"]), now, every):
        return
    # How right a model was is known of whole days: once a day is often enough.
    is_new_day = before is None or before.body["at"][:10] < now.isoformat()[:10]
    if (is_new_day or not every) and workspace.warehouse.has(LOG):
        from interlock.app.accuracy import keep_days  # a page loads nothing of it

        for model in version.project.models.values():
            keep_days(workspace, version, model, now)
    body = {
        "at": now.isoformat(),
        "services": dict(_services(workspace, version, now)),
        "tables": dict(_tables(workspace, version, now)),
    }
    if before is None or before.body != body:
        put = Put(_ref(workspace.environment), body, before.version if before else 0)
        workspace.record.write([put], by="watch", at=now)


def _ref(environment: str) -> Ref:
    return Ref("note", f"health-{environment}")


def _services(
    workspace: Workspace, version: Version, now: datetime
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Per service a line per day on which somebody asked: answers, and those of each trouble.

    The log says which model was asked, so an answer counts for each service of that model.
    """
    if not workspace.warehouse.has(LOG):
        return
    for service in version.project.services.values():
        rows = workspace.warehouse.query(_days_sql(workspace, service, now)).to_pylist()
        yield service.service, [{**row, "day": str(row["day"])} for row in rows]


def _days_sql(workspace: Workspace, service: Service, now: datetime) -> str:
    dialect = dialect_of(workspace.warehouse)
    mine = ", ".join(map(dialect.text, service.models))
    slow = f"latency_us > {service.slo.latency.total_seconds() * 1e6!r}"
    count = {"errors": "error", "slow": slow, "fallbacks": "fallback", "stale": "stale"}
    sums = ", ".join(f"sum(CASE WHEN {what} THEN 1 ELSE 0 END) AS {n}" for n, what in count.items())
    columns = ", ".join(dialect.cast(name, "integer") + f" AS {name}" for name in ("n", *count))
    return (
        f"SELECT day, {columns} FROM (SELECT {dialect.cast('asked_at', 'date')} AS day, "
        f"count(*) AS n, {sums} FROM {LOG} AS p WHERE model IN ({mine}) "
        f"AND asked_at >= {dialect.instant(now - PERIOD)} AND asked_at <= {dialect.instant(now)} "
        "GROUP BY 1) AS d ORDER BY day"
    )


def _tables(
    workspace: Workspace, version: Version, now: datetime
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Per table that rows come into from outside: its rows per day, days it lacks, who reads it."""
    from interlock.app.risk import behind, missing_days  # a page loads nothing of it

    for table in version.project.tables.values():
        stamp = table.available_at or table.event_time
        if table.sql is not None or stamp is None or not workspace.warehouse.has(table.name):
            continue
        yield (
            table.name,
            {
                "days": _rows(workspace, table, stamp, now),
                "missing": [
                    {"day": str(gap.day), "said": gap.sentence}
                    for gap in missing_days(
                        workspace.warehouse, table, table.name, now, PERIOD // timedelta(days=1)
                    )
                ],
                "services": [
                    name.partition(":")[2]
                    for name in behind(version.facts, str(table.ref))
                    if name.startswith("service:")
                ],
            },
        )


def _rows(workspace: Workspace, table: Table, stamp: str, now: datetime) -> list[dict[str, Any]]:
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    dialect = dialect_of(workspace.warehouse)
    sql = per_day_sql(table.name, stamp, today - PERIOD, today, dialect)
    rows = workspace.warehouse.query(sql).to_pylist()
    return [{"day": str(row["day"]), "n": int(row["n"])} for row in rows]
