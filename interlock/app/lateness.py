"""Which tables are late, or are being loaded again, right now: nothing moves on top of them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from interlock.app.ledger import Ledger, ledger_ref
from interlock.app.risk import arrivals
from interlock.app.versions import Version
from interlock.app.workspace import Workspace
from interlock.define.definitions import Table
from interlock.features.compile import physical
from interlock.features.dialect import dialect_of
from interlock.features.ranges import spans_from
from interlock.watch.freshness import Age, freshness, newest_sql


def late(
    workspace: Workspace, version: Version, tables: Collection[str], now: datetime
) -> dict[str, str]:
    """By `table:name`, why the rows of `tables` cannot be trusted yet: a load that is not
    through, a newest row older than the contract calls an error, rows that do not come in time.
    """
    found = {}
    for table in version.project.tables.values():
        if str(table.ref) in tables:
            said = loading(workspace, version, table) or too_old(workspace, table, now)
            said = said or "; ".join(behind_time(workspace, table, now))
            if said:
                found[str(table.ref)] = said
    return found


def loading(workspace: Workspace, version: Version, table: Table) -> str:
    """What is being loaded again of a table; empty when nothing is."""
    name = physical(table.name, version.facts.fingerprint(table.ref))
    declared = version.project.environments[workspace.environment].warehouse
    entry = workspace.record.get(ledger_ref(name, declared))
    ledger = Ledger.from_json(entry.body) if entry else None
    if ledger is None or ledger.doing is None:
        return ""
    todo, left = len(spans_from(ledger.doing["todo"])), len(ledger.left())
    failed = f"; the last try failed: {ledger.failed}" if ledger.failed else ""
    return f"{table.name} is being loaded again, {left} of {todo} ranges are left{failed}"


def too_old(workspace: Workspace, table: Table, now: datetime) -> str:
    """How much older the newest known row is than its contract allows; empty when it is not."""
    age = age_of(workspace, table, now)
    return age.sentence if age is not None and age.status == "error" else ""


def behind_time(workspace: Workspace, table: Table, now: datetime) -> list[str]:
    """What its contract says of when rows come, and is not so; a sentence each."""
    found = arrivals(workspace.warehouse, table, table.name, now)
    return [finding.sentence for finding in found if finding.verdict == "fail"]


def age_of(workspace: Workspace, table: Table, now: datetime) -> Age | None:
    """How old the newest known row of a table is; None where nothing was promised."""
    if table.freshness is None or table.available_at is None:
        return None
    sql = newest_sql(table.name, table.available_at, now, dialect_of(workspace.warehouse))
    newest = workspace.warehouse.query(sql).to_pylist()[0]["newest"]
    at = newest.replace(tzinfo=UTC) if newest else None
    return freshness(table.name, at, table.freshness, now)
