"""Rows pushed into a table's log: durable when acknowledged, online at once, in the warehouse soon.

One log per table feeds both sides. Who takes rows gives them their arrival, writes them to a
segment and, where a view only renames columns, to the online stores. The controller reads the
segments into the warehouse and makes every other view from there.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from interlock.adapters.predictions import JsonLinesLog
from interlock.adapters.pushlog import PushLog
from interlock.define.refs import Ref
from interlock.errors import NotFound, Unavailable, about
from interlock.ports import Json, OnlineStore
from interlock.serve.push import PushSpec, checked_rows, identity, online_rows
from interlock.serve.spec import ServingSpec

if TYPE_CHECKING:
    from interlock.app.build import Builder
    from interlock.app.workspace import Workspace
    from interlock.define.definitions import Table

RETRY_AFTER = 5  # seconds; a look of the controller makes room
SCHEMA, CURSORS = "push", "il.push_read"
ID = "il_id"


class Full(Unavailable):
    """The buffer of a log is full: nothing was taken, and later there will be room."""


@dataclass(frozen=True)
class Pushed:
    """What became of a batch. `arrived` is when its new rows became available."""

    table: str
    accepted: int
    duplicates: int
    arrived: str | None
    online: int

    def to_json(self) -> Json:
        return dict(self.__dict__)


class Pusher:
    """Takes rows in one process. Thread-safe; logs open when first pushed to."""

    def __init__(self, state: Path, store: OnlineStore, writer: str = "") -> None:
        self._folder = state / "push"
        self._store = store
        self._writer = writer or f"push-{os.getpid()}"
        self._logs: dict[str, tuple[PushLog, JsonLinesLog]] = {}
        self._lock = threading.Lock()

    def push(self, spec: PushSpec, rows: Sequence[Any], now: datetime) -> Pushed:
        """Take every row not seen before; raises `Unusable` with every bad row, or `Full`."""
        checked = checked_rows(spec, rows)
        ids = [identity(row) for row in checked]
        with self._lock:
            log, lines = self._log(spec.table)

            def write(fresh: list[int], arrived: float) -> int:
                stamp = {spec.arrived: _text(arrived)}
                said = [{ID: ids[at].hex(), **checked[at], **stamp} for at in fresh]
                lines.append(said)
                return len(orjson.dumps(said))

            taken = log.take(ids, now.timestamp(), spec.buffer, write)
        if taken is None:
            raise Full(
                f"the log of table:{spec.table} is full: {spec.buffer} bytes wait to be read",
                help="is a controller running? `interlock tick` reads them",
            )
        fresh, arrived = taken
        online = self._online(spec, [checked[at] for at in fresh], arrived)
        told = _text(arrived) if fresh else None
        return Pushed(spec.table, len(fresh), len(checked) - len(fresh), told, online)

    def _online(self, spec: PushSpec, rows: Sequence[Json], arrived: float) -> int:
        """Rows of plain views, at once. A store that is away gets them from the warehouse."""
        kept = 0
        for feed in spec.feeds:
            try:
                due = online_rows(feed, rows, spec, arrived)
                kept += self._store.write(feed.fingerprint, due)
            except Unavailable:
                continue
        return kept

    def _log(self, table: str) -> tuple[PushLog, JsonLinesLog]:
        if table not in self._logs:
            folder = self._folder / table
            log = PushLog(folder / "seen")
            self._logs[table] = log, JsonLinesLog(folder, self._writer, sync=True)
        return self._logs[table]

    def settle(self, table: str, after: Json | None = None) -> JsonLinesLog:
        """Rows that arrived before now are in segments when this returns; `after` is read."""
        with self._lock:
            log, lines = self._log(table)
            if after is None:
                log.settle(lambda: lines.waiting({}))
            else:
                log.settle(lambda: lines.waiting(after))
        return lines

    def close(self) -> None:
        for log, lines in self._logs.values():
            log.close()
            lines.close()


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def spec_of(specs: Sequence[ServingSpec], table: str) -> PushSpec:
    """How `table` takes rows in the releases that answer now, stable first."""
    found = [push for spec in specs for push in spec.pushes if push.table == table]
    if not found:
        known = sorted({push.table for spec in specs for push in spec.pushes})
        raise NotFound(
            f"no table {table!r} takes pushed rows here",
            help=f"known: {', '.join(known) or 'none'}",
        )
    feeds = {feed.fingerprint: feed for push in found for feed in push.feeds}
    return PushSpec(**{**found[0].__dict__, "feeds": tuple(feeds.values())})


def push_rows(workspace: Workspace, table: str, rows: Sequence[Mapping[str, Any]]) -> Pushed:
    """The same from Python, in a process that may open the project."""
    route = workspace.route()
    digests = [digest for digest in (route.stable, route.candidate) if digest]
    entries = [workspace.record.get(Ref("serving", digest)) for digest in digests]
    specs = [ServingSpec.from_json(entry.body) for entry in entries if entry]
    spec = spec_of(specs, table)
    return workspace.pusher.push(spec, rows, workspace.now())


# --- into the warehouse ---------------------------------------------------------------


def log_table(builder: Builder, table: Table) -> str:
    """The table that holds everything ever pushed, made with the columns declared now."""
    from interlock.app.engines import embedded_only
    from interlock.features.text import SQL_TYPES, quoted

    warehouse = builder.workspace.warehouse
    embedded_only(warehouse, "a table that takes pushed rows")
    name = f"{SCHEMA}.{table.name.replace('.', '_')}"
    columns = {one: SQL_TYPES[said.type] for one, said in table.columns.items()}
    if not warehouse.has(name):
        listed = ", ".join(f"{quoted(one)} {kind}" for one, kind in columns.items())
        warehouse.execute(
            f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}; CREATE TABLE {name} ({ID} VARCHAR, {listed})"
        )
    there = warehouse.columns(f"SELECT * FROM {name}")
    for one, kind in columns.items():
        if one not in there:
            warehouse.execute(f"ALTER TABLE {name} ADD COLUMN {quoted(one)} {kind}")
    return name


class TakenIn(NamedTuple):
    """Up to `until` nothing pushed is missing in the warehouse; `changed` are views (by
    fingerprint) of which rows that were fed long ago may say something else now."""

    until: datetime
    changed: frozenset[str] = frozenset()


def take_in(workspace: Workspace) -> TakenIn:
    """Read every segment into the warehouse, and make anew what stands on it."""
    from interlock.app.versions import stored

    route, until = workspace.route(), workspace.now()
    versions = [stored(workspace, digest) for digest in (route.stable, route.candidate) if digest]
    builders = [version.builder(workspace) for version in versions]
    done: set[str] = set()
    for builder in builders:
        for table in builder.project.tables.values():
            if table.push and table.name not in done and _read(builder, table):
                done.add(table.name)
    changed = [_make_anew(builder, done) for builder in builders if done]
    return TakenIn(until, frozenset().union(*changed))


def _read(builder: Builder, table: Table) -> bool:
    """One table's new rows and the cursor, in one transaction; a row seen before stays as it was.

    A kill repeats and loses nothing.
    """
    workspace, warehouse = builder.workspace, builder.workspace.warehouse
    target = log_table(builder, table)
    cursor = _cursor(workspace, table.name)
    rows, after = workspace.pusher.settle(table.name, cursor).read(cursor)
    if not rows:
        return False
    with about(table.ref):
        warehouse.load("il.push_new", _as_table(rows, table))
        names = ", ".join(f'"{name}"' for name in (ID, *table.columns))
        casts = ", ".join(_cast(name, table) for name in table.columns)
        said = json.dumps(after).replace("'", "''")
        warehouse.execute(
            f"BEGIN; INSERT INTO {target} ({names}) SELECT {ID}, {casts} FROM il.push_new AS n "
            f"WHERE NOT EXISTS (SELECT 1 FROM {target} AS t WHERE t.{ID} = n.{ID}) "
            f"QUALIFY row_number() OVER (PARTITION BY {ID} ORDER BY il_place) = 1; "
            f"DELETE FROM {CURSORS} WHERE name = '{table.name}'; "
            f"INSERT INTO {CURSORS} VALUES ('{table.name}', '{said}'); COMMIT"
        )
    workspace.pusher.settle(table.name, after)
    return True


def _cursor(workspace: Workspace, table: str) -> Json:
    warehouse = workspace.warehouse
    if not warehouse.has(CURSORS):
        warehouse.execute(
            f"CREATE SCHEMA IF NOT EXISTS il; CREATE TABLE {CURSORS} (name VARCHAR, cursor VARCHAR)"
        )
    said = warehouse.query(f"SELECT cursor FROM {CURSORS} WHERE name = '{table}'").to_pylist()
    return json.loads(said[0]["cursor"]) if said else {}


def _as_table(rows: Sequence[Json], table: Table) -> Any:
    """As text, in the order of arrival; the warehouse casts to the declared types."""
    import pyarrow as pa

    ordered = sorted(rows, key=lambda row: (row[str(table.available_at)], row[ID]))
    names = (ID, *table.columns)
    columns = {name: pa.array([_as_text(row.get(name)) for row in ordered], pa.string())
               for name in names}  # fmt: skip
    return pa.table({**columns, "il_place": pa.array(range(len(ordered)), pa.int64())})


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool) else repr(value)


def _cast(name: str, table: Table) -> str:
    from interlock.features.text import SQL_TYPES, quoted

    kind = SQL_TYPES[table.columns[name].type]
    text = f"rtrim(n.{quoted(name)}, 'Z')" if kind == "TIMESTAMP" else f"n.{quoted(name)}"
    return f"CAST({text} AS {kind})"


def _make_anew(builder: Builder, changed: set[str]) -> set[str]:
    """Tables and views of this version that stand on `changed`, sources first, if built.

    Those views whose rows may change afterwards: all but the ones that only rename columns.
    """
    from interlock.features.compile import build_view_sql, physical
    from interlock.features.plain import plain_table
    from interlock.impact.sql import tables_read

    warehouse, moved = builder.workspace.warehouse, set(changed)
    waiting = [one for one in builder.project.tables.values() if one.sql]
    while ready := [one for one in waiting if moved & tables_read(str(one.sql))]:
        one = min(ready, key=lambda t: len(tables_read(str(t.sql)) & {w.name for w in waiting}))
        waiting.remove(one)
        moved.add(one.name)
        target = physical(one.name, builder.facts.fingerprint(one.ref))
        if warehouse.has(target):
            warehouse.build(target, builder.table_sql(str(one.sql)))
    found = set()
    for view in builder.project.views.values():
        print_ = builder.facts.fingerprint(view.ref)
        target = physical(f"{view.view}@{view.version}", print_)
        if moved & tables_read(view.sql) and warehouse.has(target):
            bound = builder.bindings(tables_read(view.sql))
            warehouse.build(target, build_view_sql(view, bound))
            if plain_table(view.sql) not in changed:
                found.add(print_)
    return found
