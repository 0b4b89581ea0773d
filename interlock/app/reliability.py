"""Error budgets, measured from the prediction log and kept in the record.

Whoever books a time cannot look into the warehouse, which one process holds: what a controller
or `watch` measured last is kept, and is what the calendar asks.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from interlock.app.ingest import LOG
from interlock.define.definitions import Service
from interlock.define.refs import Ref
from interlock.features.dialect import Dialect, dialect_of
from interlock.ports import Put, RecordReader
from interlock.watch.reliability import PERIOD, Reliability, Spent

if TYPE_CHECKING:
    from interlock.app.versions import Version
    from interlock.app.workspace import Workspace

EVERY = timedelta(hours=1)
"""Looks of a controller measure again after this long."""


def kept(record: RecordReader, environment: str) -> Reliability | None:
    """What was measured last; None before anybody has."""
    entry = record.get(_ref(environment))
    return Reliability.from_json(entry.body) if entry else None


def left(record: RecordReader, environment: str) -> dict[str, float]:
    """By `service:NAME`, the share of its error budget that is left, as far as it is known."""
    found = kept(record, environment)
    return found.left if found else {}


def _ref(environment: str) -> Ref:
    return Ref("note", f"budgets-{environment}")


def keep(workspace: Workspace, version: Version, every: timedelta = timedelta(0)) -> Reliability:
    """Measure the services of `version`, unless that was done less than `every` ago."""
    before = workspace.record.get(_ref(workspace.environment))
    now = workspace.now()
    if before is not None:
        last = Reliability.from_json(before.body)
        if fresh(last.at, now, every):
            return last
    found = Reliability(now, measured(workspace, version))
    if before is None or before.body != found.to_json():
        put = Put(_ref(workspace.environment), found.to_json(), before.version if before else 0)
        workspace.record.write([put], by="watch", at=now)
    return found


def fresh(last: datetime, now: datetime, every: timedelta) -> bool:
    """Was it done less than `every` ago? Later than now it is from before a clock went back."""
    return last <= now < last + every


def measured(workspace: Workspace, version: Version) -> tuple[Spent, ...]:
    """What callers got in the period, for every service: one pass over the log.

    The log says which model was asked, so an answer counts for each service of that model.
    """
    services = tuple(version.project.services.values())
    warehouse = workspace.warehouse
    if not services or not warehouse.has(LOG):
        return tuple(Spent(one.service, one.slo.availability, 0, 0) for one in services)
    dialect, now = dialect_of(warehouse), workspace.now()
    counts = ", ".join(_counted(n, one, dialect) for n, one in enumerate(services))
    row = warehouse.query(
        f"SELECT {counts} FROM {LOG} WHERE asked_at >= {dialect.instant(now - PERIOD)} "
        f"AND asked_at <= {dialect.instant(now)}"
    ).to_pylist()[0]
    return tuple(
        Spent(one.service, one.slo.availability, int(row[f"n{n}"] or 0), int(row[f"bad{n}"] or 0))
        for n, one in enumerate(services)
    )


def _counted(n: int, service: Service, dialect: Dialect) -> str:
    mine = f"model IN ({', '.join(map(dialect.text, service.models))})"
    slow = service.slo.latency.total_seconds() * 1e6
    bad = f"({mine}) AND (error OR latency_us > {slow!r})"
    return (
        f"sum(CASE WHEN {mine} THEN 1 ELSE 0 END) AS n{n}, "
        f"sum(CASE WHEN {bad} THEN 1 ELSE 0 END) AS bad{n}"
    )
