"""Rows pushed into a table's log: durable when acknowledged, online at once, in the warehouse soon.

One log per table feeds both sides. Who takes rows gives them their arrival, writes them to a
segment and, where a view only renames columns, to the online stores. The controller reads the
segments into the warehouse and makes every other view from there.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from interlock.adapters.predictions import JsonLinesLog
from interlock.adapters.pushlog import PushLog, Taken
from interlock.define.refs import Ref
from interlock.errors import Corrupt, NotFound, Unavailable, about
from interlock.ports import Json, OnlineStore, Replacement
from interlock.serve.push import PushSpec, checked_rows, identity, online_rows
from interlock.serve.request import instant
from interlock.serve.spec import ServingSpec

if TYPE_CHECKING:
    from interlock.app.build import Builder
    from interlock.app.versions import Version
    from interlock.app.workspace import Workspace
    from interlock.define.definitions import Table
    from interlock.features.dialect import Dialect

RETRY_AFTER = 5  # seconds; a look of the controller makes room
SCHEMA, CURSORS = "push", "il.push_read"
_INCOMING, _FED = "il.push_new", ":fed"
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
        # A name that never comes again: what was read of it stays read when its files are gone.
        self._writer = writer or f"push-{os.getpid()}-{secrets.token_hex(6)}"
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

            taken = log.take(ids, _instants(spec, checked), now.timestamp(), spec.buffer, write)
        if taken is None:
            raise Full(
                f"the log of table:{spec.table} is full: {spec.buffer} bytes wait to be read",
                help="is a controller running? `interlock tick` reads them",
            )
        fresh = [checked[at] for at in taken.places]
        online = self._online(spec, fresh, taken)
        told = _text(taken.arrived) if fresh else None
        return Pushed(spec.table, len(fresh), len(checked) - len(fresh), told, online)

    def _online(self, spec: PushSpec, rows: Sequence[Json], taken: Taken) -> int:
        """Rows of plain views, at once. A store that is away gets them from the warehouse.

        So do rows of long ago: whether they were seen before, only the warehouse remembers.
        """
        kept, times = 0, _instants(spec, rows)
        rows = [row for row, at in zip(rows, times, strict=True) if at >= taken.sure_since]
        for feed in spec.feeds:
            try:
                due = online_rows(feed, rows, spec, taken.arrived)
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

    def give_up(self, table: str, read: Json, keep: timedelta) -> None:
        """Segments that `read` has in the warehouse, and the memory of rows, after `keep`.

        A row that is sent again later is written again, and the warehouse knows it.
        """
        log, lines = self._log(table)
        if lines.give_up(read, keep.total_seconds()):
            log.forget(keep.total_seconds())

    def pruned(self, table: str, read: Json) -> Json:
        """The cursor `read` without segments that were given up."""
        return self._log(table)[1].pruned(read)

    def close(self) -> None:
        for log, lines in self._logs.values():
            log.close()
            lines.close()


def _instants(spec: PushSpec, rows: Sequence[Json]) -> list[float]:
    """The event time of each row, in seconds since 1970."""
    return [instant(row[spec.event_time], spec.event_time).timestamp() for row in rows]


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
    releases = workspace.route().releases
    entries = [workspace.record.get(Ref("serving", digest)) for digest in releases]
    specs = [ServingSpec.from_json(entry.body) for entry in entries if entry]
    spec = spec_of(specs, table)
    return workspace.pusher.push(spec, rows, workspace.now())


# --- into the warehouse ---------------------------------------------------------------


def log_table(builder: Builder, table: Table) -> str:
    """The table that holds everything ever pushed, made with the columns declared now."""
    from interlock.app.engines import embedded_only
    from interlock.features.dialect import POSTGRES

    warehouse, dialect = builder.workspace.warehouse, builder.dialect
    embedded_only(warehouse, "a table that takes pushed rows", POSTGRES)
    name = f"{SCHEMA}.{table.name.replace('.', '_')}"
    empty = {
        one: f"{dialect.cast('NULL', said.type)} AS {dialect.quoted(one)}"
        for one, said in table.columns.items()
    }
    if not warehouse.has(name):
        id = f"{dialect.cast('NULL', 'string')} AS {ID}"
        warehouse.build(name, f"SELECT {', '.join([id, *empty.values()])} WHERE FALSE")
    there = warehouse.columns(f"SELECT * FROM {name}")
    new = [null for one, null in empty.items() if one not in there]
    if new:  # declared since; what was pushed before has none
        warehouse.build(name, f"SELECT t.*, {', '.join(new)} FROM {name} AS t")
    return name


class TakenIn(NamedTuple):
    """Up to `until` nothing pushed is missing in the warehouse; `changed` are views (by
    fingerprint) of which rows that were fed long ago may say something else now, because of
    `tables`. `unfit`: releases that one may go back to and cannot make anew, and why not."""

    until: datetime
    changed: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    unfit: Mapping[str, str] = MappingProxyType({})


def take_in(workspace: Workspace) -> TakenIn:
    """Read every segment into the warehouse, and make anew what stands on it.

    So in releases that one may go back to: rows of the time since must not be missing there.
    Until `fed_on` says that the stores have it too, each look does it again.
    """
    from interlock.app.versions import stored

    route, until = workspace.route(), workspace.now()
    versions = [stored(workspace, digest) for digest in route.releases]
    older, unfit = _older(workspace)
    builders = [version.builder(workspace) for version in (*versions, *older)]
    # The newest declaration of a table reads it: it knows every column that came in.
    pushed = {t.name: (b, t) for b in reversed(builders) for t in _taking(b)}
    done = {name for name, (builder, table) in pushed.items() if _read(builder, table)}
    made: set[str] = set()
    changed = [_make_anew(builder, done, made) for builder in builders if done]
    return TakenIn(until, frozenset().union(*changed), frozenset(done), unfit)


def _older(workspace: Workspace) -> tuple[list[Version], dict[str, str]]:
    """Releases that one may go back to; of those whose definitions are lost, why."""
    from interlock.app.changes import may_go_back_to
    from interlock.app.versions import stored

    found, unfit = [], {}
    for release in may_go_back_to(workspace):
        try:
            found.append(stored(workspace, release))
        except (NotFound, Corrupt) as error:
            unfit[release] = f"release {release[:12]} gets no rows any more: {error.message}"
    return found, unfit


def _taking(builder: Builder) -> list[Table]:
    return [table for table in builder.project.tables.values() if table.push]


def fed_on(workspace: Workspace, tables: Iterable[str]) -> None:
    """All that was read of `tables` has gone its whole way: a kill from here on repeats nothing."""
    parts = [
        _kept(workspace, f"{table}{_FED}", _cursor(workspace, table)) for table in sorted(tables)
    ]
    if parts:
        workspace.warehouse.replace(parts)


def _read(builder: Builder, table: Table) -> bool:
    """One table's new rows and the cursor, in one transaction; a row seen before stays as it was.

    Says whether something stands on them that was not made anew and fed. A kill repeats and
    loses nothing. What was read long ago is given up on the disk.
    """
    workspace, warehouse = builder.workspace, builder.workspace.warehouse
    target = log_table(builder, table)
    cursor = _cursor(workspace, table.name)
    rows, after = workspace.pusher.settle(table.name, cursor).read(cursor)
    if rows:
        with about(table.ref):
            after = workspace.pusher.pruned(table.name, after)
            warehouse.load(_INCOMING, _as_table(rows, table))
            warehouse.replace(
                [
                    Replacement(target, "FALSE", _new_rows(builder, table, target)),
                    _kept(workspace, table.name, after),
                ]
            )
        workspace.pusher.settle(table.name, after)
        cursor = after
    assert table.push is not None
    workspace.pusher.give_up(table.name, cursor, table.push.keep)
    return cursor != _cursor(workspace, f"{table.name}{_FED}")


def _kept(workspace: Workspace, name: str, cursor: Json) -> Replacement:
    from interlock.features.dialect import dialect_of

    text = dialect_of(workspace.warehouse).text
    return Replacement(
        CURSORS, f"name = {text(name)}", f"SELECT {text(name)}, {text(json.dumps(cursor))}"
    )


def _new_rows(builder: Builder, table: Table, target: str) -> str:
    """What came in, once each and in the columns of `target`, but for rows it has already."""
    there = builder.workspace.warehouse.columns(f"SELECT * FROM {target}")
    dialect = builder.dialect
    columns = [f"n.{ID}"] + [
        _cast(name, table, dialect) if name in table.columns else "NULL"
        for name in there
        if name != ID
    ]
    known = f"SELECT 1 FROM {target} AS t WHERE t.{ID} = n.{ID}"
    rows = (
        f"SELECT n.*, row_number() OVER (PARTITION BY n.{ID} ORDER BY n.il_place) AS il_time "
        f"FROM {_INCOMING} AS n WHERE NOT EXISTS ({known})"
    )
    return f"SELECT {', '.join(columns)} FROM ({rows}) AS n WHERE n.il_time = 1"


def _cursor(workspace: Workspace, table: str) -> Json:
    import pyarrow as pa

    warehouse = workspace.warehouse
    if not warehouse.has(CURSORS):
        none = pa.array([], pa.string())
        warehouse.load(CURSORS, pa.table({"name": none, "cursor": none}))
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


def _cast(name: str, table: Table, dialect: Dialect) -> str:
    kind, text = table.columns[name].type, f"n.{dialect.quoted(name)}"
    return dialect.cast(f"rtrim({text}, 'Z')" if kind == "timestamp" else text, kind)


def _make_anew(builder: Builder, taken: set[str], made: set[str]) -> set[str]:
    """Tables and views of this version that stand on tables of `taken`, sources first, if built.

    Those views whose rows may change afterwards: all but the ones that only rename columns.
    What another version shares is in `made` and is not made twice.
    """
    from interlock.features.compile import build_view_sql, physical
    from interlock.features.plain import plain_table
    from interlock.impact.sql import tables_read

    changed = taken & {table.name for table in _taking(builder)}
    warehouse, moved = builder.workspace.warehouse, set(changed)
    waiting = [one for one in builder.project.tables.values() if one.sql]
    while ready := [one for one in waiting if moved & tables_read(str(one.sql))]:
        one = min(ready, key=lambda t: len(tables_read(str(t.sql)) & {w.name for w in waiting}))
        waiting.remove(one)
        moved.add(one.name)
        target = physical(one.name, builder.facts.fingerprint(one.ref))
        if target not in made and warehouse.has(target):
            made.add(target)
            warehouse.build(target, builder.table_sql(str(one.sql)))
    found = set()
    for view in builder.project.views.values():
        print_ = builder.facts.fingerprint(view.ref)
        target = physical(f"{view.view}@{view.version}", print_)
        if moved & tables_read(view.sql) and warehouse.has(target):
            if target not in made:
                made.add(target)
                bound = builder.bindings(tables_read(view.sql))
                warehouse.build(target, build_view_sql(view, bound, builder.dialect))
            if plain_table(view.sql) not in changed:
                found.add(print_)
    return found
