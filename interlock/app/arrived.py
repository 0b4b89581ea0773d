"""What is wrong with rows that just arrived, asked before anything long is begun."""

from __future__ import annotations

from datetime import datetime, timedelta

from interlock.app.recompute import Node
from interlock.app.workspace import WallClock
from interlock.define.definitions import Table

FAR = timedelta(days=366)
"""An event this far ahead of the wall clock is a wrong unit or a wrong year."""


def wrong_with(node: Node, new: str) -> list[str]:
    """What the staged rows of a table, in `new`, may not be; one sentence each."""
    workspace = node.builder.workspace
    warehouse = workspace.warehouse
    wall = workspace.now() if isinstance(workspace.clock, WallClock) else None
    counted = warehouse.query(_checks_sql(node, new, wall)).to_pylist()[0]
    said = [f"{node.ref}: {n} rows {what}" for what, n in counted.items() if n and what != "rows"]
    rows = warehouse.query(f"SELECT count(*) AS n FROM {node.target}").to_pylist()[0]["n"]
    if rows and not counted["rows"]:
        said.append(f"{node.ref}: the file is empty, and {rows} rows were read from it before")
    was, now = (warehouse.columns(f"SELECT * FROM {name}") for name in (node.target, new))
    if was != now:
        said.append(f"{node.ref}: its columns were {was} and are {now}")
    return said


def _checks_sql(node: Node, rows: str, wall: datetime | None) -> str:
    """How many rows there are, and of each thing that is wrong, how many; `wall`: the time now."""
    table, dialect = node.thing, node.builder.dialect
    assert isinstance(table, Table)
    q, parts = dialect.quoted, {"rows": "count(*)"}
    needed = {*table.key, *(name for name, column in table.columns.items() if not column.nullable)}
    for name in sorted(needed):
        parts[f"have no {name}"] = f"sum(CASE WHEN {q(name)} IS NULL THEN 1 ELSE 0 END)"
    unique = [table.key] if table.key else []
    unique += [(name,) for name, column in table.columns.items() if column.unique]
    for names in dict.fromkeys(unique):
        keys = ", ".join(map(q, names))
        parts[f"repeat {', '.join(names)} of another"] = (
            f"(SELECT sum(n) FROM (SELECT count(*) - 1 AS n FROM {rows} GROUP BY {keys}) AS k)"
        )
    if table.event_time and wall:
        late = f"{q(table.event_time)} > {dialect.instant(wall + FAR)}"
        parts[f"have {table.event_time} more than a year ahead"] = (
            f"sum(CASE WHEN {late} THEN 1 ELSE 0 END)"
        )
    asked = ", ".join(f"{sql} AS {q(name)}" for name, sql in parts.items())
    return f"SELECT {asked} FROM {rows}"
