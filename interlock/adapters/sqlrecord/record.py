"""The record over SQL: one writer at a time, many processes, one or many machines.

The compare-and-swap IS the primary key of `entry`: two writers of the same version
cannot both be stored. A write is one transaction that holds the puts, their audit
leaves, the head of the tree and the buckets, so a process killed at any moment leaves all
of it or nothing. On SQLite (WAL, synchronous=NORMAL) a commit survives the death of the
process; a power cut may lose the newest commits, never half of one. On Postgres it is as
durable as the server. Reading is tried again once when the connection went; writing only
where nothing was written yet.
"""

from __future__ import annotations

import copy
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from interlock.adapters.sqlrecord import tables
from interlock.adapters.sqlrecord.connect import Ready, lost, reach
from interlock.adapters.sqlrecord.turns import Turns
from interlock.adapters.sqlrecord.values import (
    SCHEMA_VERSION,
    Draft,
    entry_of,
    moved_on,
    named_in,
    stored,
    to_write,
)
from interlock.change.audit import leaf_of
from interlock.change.names import (
    SALT_BYTES,
    new_name,
    nobody,
    people_in,
    unknown,
)
from interlock.change.tree import Peaks
from interlock.define.refs import Kind, Ref
from interlock.errors import Corrupt, Unavailable
from interlock.ports import Bucket, Checkpoint, Entry, Json, Named, Put, Stored, Written

PAGE = 5000  # leaves read at once
_T = TypeVar("_T")
_LEAF = itemgetter(*tables.leaf.c.keys())
_BEFORE_ALL = -(1 << 62)


class SqlRecord:
    """The Record port over `target`: a file of SQLite, or the URL of a Postgres.

    `wall` gives seconds for leases; they are about processes, never about replayed time.
    Without it they go by this machine's clock, and on Postgres by the server's, which is
    one for all machines. `source` is where this process's writes come from.
    """

    def __init__(
        self, target: Path | str, wall: Callable[[], float] | None = None, source: str = "python"
    ) -> None:
        self._place = reach(target)
        self._turns = Turns(self._place)
        self._source = source
        self._wall = wall or (None if self._place.server else time.time)
        self._claim = tables.claim(tables.TOLD_CLOCK if self._wall else tables.SERVER_CLOCK)
        engine = self._place.engine
        self._newest = Ready(tables.NEWEST_VERSION, engine, ("ref",))
        self._insert = Ready(sa.insert(tables.entry), engine, Stored._fields)
        self._append = Ready(sa.insert(tables.leaf), engine, tables.leaf.c.keys())
        self._advance = Ready(sa.update(tables.head), engine, ("size", "peaks", "names"))
        read = tables.HEAD.with_for_update() if self._place.server else tables.HEAD
        self._begin_alone = Ready(sa.text("BEGIN IMMEDIATE"), engine, ())
        self._queue = Ready(read, engine, ())
        # How often names had changed when they were read, and the pseudonym of each.
        self._known: tuple[int, Mapping[str, str]] = (-1, {})
        try:
            with self._place.errors():
                self._open()
        except Unavailable:
            self._place.engine.dispose()
            raise

    # --- reading ---

    def get(self, ref: Ref) -> Entry | None:
        found = self._entries(lambda c: c.execute(tables.NEWEST, {"ref": str(ref)}).all())
        return found[0] if found else None

    def list(self, kind: Kind) -> tuple[Entry, ...]:
        # ";" follows ":" in the order of characters, so this range is exactly one kind.
        ends = {"low": f"{kind}:", "high": f"{kind};"}
        return self._entries(lambda c: c.execute(tables.LIST, ends).all())

    def history(self, ref: Ref, after: int = 0) -> tuple[Entry, ...]:
        asked = {"ref": str(ref), "after": after}
        return self._entries(lambda c: c.execute(tables.HISTORY, asked).all())

    def parts(self, kind: Kind, of: Sequence[str], since: datetime) -> tuple[Entry, ...]:
        at = since.astimezone(UTC).isoformat()
        asked = {"low": f"{kind}:", "high": f"{kind};", "since": at}
        return self._entries(lambda c: c.execute(tables.parts(of, c.dialect.name), asked).all())

    def buckets(self, change: str) -> tuple[Bucket, ...]:
        columns = [tables.bucket.c[name] for name in Bucket.__dataclass_fields__]
        query = sa.select(*columns).where(tables.bucket.c.change == change)
        query = query.order_by(*tables.bucket.primary_key.columns)
        return tuple(Bucket(*row) for row in self._reading(lambda c: c.execute(query).all()))

    def audit(self) -> tuple[Json, ...]:
        query = sa.select(tables.leaf).order_by(tables.leaf.c.seq)
        rows = self._reading(lambda c: c.execute(query).mappings().all())
        return tuple(dict(row) for row in rows)

    def written(self, after: int | None = None) -> Iterator[Written]:
        at = _BEFORE_ALL if after is None else after
        width = len(tables.leaf.c)
        names = [column.name for column in tables.leaf.c]
        while True:
            rows = self._page(at)
            for row in rows:
                kept = None if row[width] is None else Stored(*row[width:])
                yield Written(dict(zip(names, row[:width], strict=True)), kept)
            if len(rows) < PAGE:
                break
            at = rows[-1][0]
        if after is None:
            left = self._reading(lambda c: c.execute(tables.WITHOUT_LEAF).all())
            yield from (Written(None, Stored(*row)) for row in left)

    def _page(self, after: int) -> Sequence[Any]:
        asked = {"after": after, "many": PAGE}
        return self._reading(lambda c: c.execute(tables.WRITTEN, asked).all())

    def head(self) -> Checkpoint:
        return self._reading(lambda c: self._head(c.execute(tables.HEAD).first()))[0].checkpoint()

    def origin(self) -> str:
        query = sa.select(tables.meta.c.value).where(tables.meta.c.name == "origin")
        return str(self._reading(lambda c: c.execute(query).scalar()))

    def names(self) -> tuple[Named, ...]:
        columns = (tables.name.c[part] for part in Named.__dataclass_fields__)
        query = sa.select(*columns).order_by(tables.name.c.name)
        return tuple(Named(*row) for row in self._reading(lambda c: c.execute(query).all()))

    # --- writing ---

    def write(
        self,
        puts: Sequence[Put],
        *,
        by: str,
        at: datetime,
        buckets: Mapping[str, Sequence[Bucket]] | None = None,
    ) -> tuple[Entry, ...]:
        drafts = to_write(puts, at, by, self._source)
        rows = [{"change": c, **b.__dict__} for c, many in (buckets or {}).items() for b in many]

        def work(connection: sa.Connection, peaks: Peaks, names: int) -> None:
            self._refuse_moved(connection, puts)
            self._store(connection, drafts, peaks, names)
            if rows:
                connection.execute(tables.UPSERT, rows)

        self._writing(work)
        return tuple(entry for entry, _ in drafts)

    def forget(self, name: str, *, by: str, at: datetime) -> str:
        gone = sa.delete(tables.name).where(tables.name.c.name == name)

        def work(connection: sa.Connection, peaks: Peaks, names: int) -> str:
            found = connection.execute(gone.returning(tables.name.c.pseudonym)).scalar()
            if found is None:
                raise nobody(name)
            put = Put(Ref("erasure", found), {"pseudonym": found}, 0)
            self._store(connection, to_write([put], at, by, self._source), peaks, names + 1)
            return str(found)

        forgotten = self._writing(work, erasing=True)
        self._sweep()
        return forgotten

    def _refuse_moved(self, connection: sa.Connection, puts: Sequence[Put]) -> None:
        newest: dict[str, int] = {}
        moved: dict[str, str] = {}
        for put in puts:
            ref = str(put.ref)
            if ref not in newest:
                newest[ref] = self._newest(connection, (ref,)).fetchone()[0] or 0
            if newest[ref] != put.expected:
                moved[ref] = f"{ref} is at version {newest[ref]}, expected {put.expected}"
            newest[ref] += 1
        if moved:
            raise moved_on(tuple(moved), tuple(moved.values()))

    def _store(
        self, connection: sa.Connection, drafts: Sequence[Draft], peaks: Peaks, names: int
    ) -> None:
        """The entries, a leaf for each, and the head over them."""
        if not drafts:
            return
        known, new = self._pseudonyms(connection, [entry for entry, _ in drafts], names)
        kept = [stored(draft, known) for draft in drafts]
        leaves = [leaf_of(number, one) for number, one in enumerate(kept, peaks.size + 1)]
        for leaf in leaves:
            peaks.add(bytes.fromhex(leaf["leaf"]))
        try:
            self._insert.all(connection, kept)
        except (sa.exc.IntegrityError, sqlite3.IntegrityError) as error:
            raise moved_on([one.ref for one in kept], [str(error)]) from error
        self._append.all(connection, [_LEAF(leaf) for leaf in leaves])
        self._advance(connection, (peaks.size, peaks.text, names + new))

    def _pseudonyms(
        self, connection: sa.Connection, entries: Sequence[Entry], changed: int
    ) -> tuple[Mapping[str, str], int]:
        """Of everybody known and everybody new in `entries`; how many are new."""
        if self._known[0] != changed:
            rows = connection.execute(sa.select(tables.name.c.name, tables.name.c.pseudonym))
            self._known = (changed, {row.name: row.pseudonym for row in rows})
        known = self._known[1]
        people = {who for one in entries for who in (one.by, one.source, *people_in(one.body))}
        fresh = [new_name(who, secrets.token_bytes(SALT_BYTES)) for who in unknown(people, known)]
        if fresh:
            connection.execute(sa.insert(tables.name), [dict(one.__dict__) for one in fresh])
            # Not remembered here: this transaction may yet come to nothing.
            known = {**known, **{one.name: one.pseudonym for one in fresh}}
        return known, len(fresh)

    def _sweep(self) -> None:
        """What was deleted must not stay readable in the database's own files."""
        with self._place.errors(), self._place.engine.connect() as connection:
            if self._place.server:
                alone = connection.execution_options(isolation_level="AUTOCOMMIT")
                alone.exec_driver_sql("VACUUM name")
            else:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    # --- leases ---

    def claim(self, name: str, holder: str, seconds: float) -> int | None:
        asked: Json = {"name": name, "holder": holder, "seconds": seconds}
        if self._wall:
            asked["now"] = self._wall()
        with self._place.errors(), self._place.engine.begin() as connection:
            fence = connection.execute(self._claim, asked).scalar()
        return None if fence is None else int(fence)

    def release(self, name: str, holder: str) -> None:
        lease = tables.lease
        mine = (lease.c.name == name) & (lease.c.holder == holder)
        with self._place.errors(), self._place.engine.begin() as connection:
            # The row stays, because its number must never be given out again.
            connection.execute(sa.update(lease).where(mine).values(until=0.0))

    def written_from(self, source: str) -> SqlRecord:
        other = copy.copy(self)
        other._source = source
        return other

    def close(self) -> None:
        self._turns.close()
        self._place.engine.dispose()

    # --- inside ---

    def _entries(self, ask: Callable[[sa.Connection], Sequence[Any]]) -> tuple[Entry, ...]:
        """Rows as entries, with the names of everybody who is still known."""
        rows, names = self._reading(lambda connection: _with_names(connection, ask(connection)))
        return tuple(entry_of(row, names, self._place.name) for row in rows)

    def _head(self, row: Any) -> tuple[Peaks, int]:
        try:
            if row is None:
                raise ValueError("its head is gone")
            size, peaks, names = row
            return Peaks.parse(size, peaks), int(names)
        except ValueError as error:
            raise Corrupt(
                f"the audit of {self._place.name} cannot go on: {error}",
                help="restore the record from a backup",
            ) from error

    def _open(self) -> None:
        tables_there = self._reading(self._tables)
        if not tables_there:
            self._make(lambda c: None if self._tables(c) else tables.create(c))
        elif "meta" not in tables_there:
            raise Corrupt(
                f"{self._place.name} is a database, but not a record of Interlock",
                help="move it away, or name another file",
            )
        found = self._reading(_schema)
        if found > SCHEMA_VERSION:
            raise Unavailable(
                f"{self._place.name} was written by a newer Interlock:"
                f" its schema is {found}, this program knows {SCHEMA_VERSION}",
                help="upgrade Interlock; nothing was changed",
            )
        if found < SCHEMA_VERSION:
            self._make(lambda c: tables.migrate(c, _schema(c)))

    def _tables(self, connection: sa.Connection) -> set[str]:
        return set(sa.inspect(connection).get_table_names(self._place.schema))

    def _make(self, work: Callable[[sa.Connection], None]) -> None:
        """Tables, made or changed by one process while others wait and then find them done."""
        with self._place.engine.connect() as connection, connection.begin():
            if self._place.server:
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7305)")
                connection.exec_driver_sql(f'CREATE SCHEMA IF NOT EXISTS "{self._place.schema}"')
            else:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            work(connection)

    def _reading(self, ask: Callable[[sa.Connection], _T]) -> _T:
        """Asked again once on another connection when this one went."""
        with self._place.errors():
            try:
                with self._place.engine.connect() as connection:
                    return ask(connection)
            except (sa.exc.DBAPIError, OSError) as error:
                if not lost(error):
                    raise
            with self._place.engine.connect() as connection:
                return ask(connection)

    def _writing(
        self, work: Callable[[sa.Connection, Peaks, int], _T], erasing: bool = False
    ) -> _T:
        """`work` in a transaction that no other writer is in, told the head that it finds."""
        with self._place.errors():
            connection, (peaks, names) = self._queued(erasing)
            whole = False
            try:
                done = work(connection, peaks, names)
                self._commit(connection)
                whole = True
                return done
            finally:
                self._turns.give(connection, whole)

    def _queued(self, erasing: bool) -> tuple[sa.Connection, tuple[Peaks, int]]:
        """Nothing is written yet, so that a connection that went can be replaced."""
        try:
            return self._begin(erasing)
        except (sa.exc.DBAPIError, OSError) as error:
            if not lost(error):
                raise
        return self._begin(erasing)

    def _begin(self, erasing: bool) -> tuple[sa.Connection, tuple[Peaks, int]]:
        connection = self._turns.take()
        try:
            if erasing and not self._place.server:
                connection.exec_driver_sql("PRAGMA secure_delete = ON")
            if not self._place.server:
                self._begin_alone(connection)
            return connection, self._head(self._queue(connection).fetchone())
        except BaseException:
            self._turns.give(connection, whole=False)
            raise

    def _commit(self, connection: sa.Connection) -> None:
        try:
            if self._place.server:
                connection.commit()
            else:
                connection.connection.commit()
        except (sa.exc.DBAPIError, OSError) as error:
            if not lost(error):
                raise
            raise Unavailable(
                f"the record {self._place.name} went away while a write was being kept:"
                " it may be there and it may not",
                help="look at it (`interlock status`) before trying again",
            ) from error


def _with_names(
    connection: sa.Connection, found: Sequence[Any]
) -> tuple[Sequence[Stored], Mapping[str, str]]:
    rows = [Stored(*row) for row in found]
    wanted = named_in(rows)
    names = connection.execute(tables.NAMES, {"pseudonyms": wanted}).all() if wanted else ()
    return rows, {row.pseudonym: row.name for row in names}


def _schema(connection: sa.Connection) -> int:
    query = sa.select(tables.meta.c.value).where(tables.meta.c.name == "schema")
    return int(connection.execute(query).scalar() or 0)
