"""The record in a SQL database: SQLite in WAL mode, one writer at a time, many processes.

The compare-and-swap IS the primary key of `entry`: two writers of the same version
cannot both be stored. A write is one transaction that holds the puts, their audit
leaves and the buckets, so a process killed at any moment leaves all of it or nothing.
With synchronous=NORMAL a commit survives the death of the process; a power cut may
lose the newest commits, never half of one.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from interlock.change.audit import leaf_of
from interlock.define.digest import canonical
from interlock.define.refs import Kind, Ref
from interlock.errors import Corrupt, Stale, Unavailable, Unusable
from interlock.ports import Bucket, Entry, Json, Put

SCHEMA_VERSION = 1
BUSY_SECONDS = 10.0

_META = sa.MetaData()
_meta = sa.Table(
    "meta", _META, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text)
)
_entry = sa.Table(
    "entry",
    _META,
    sa.Column("ref", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("written_at", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
)
_audit = sa.Table(
    "audit",
    _META,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("ref", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("body_digest", sa.Text, nullable=False),
    sa.Column("written_at", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("leaf", sa.Text, nullable=False),
    sa.UniqueConstraint("ref", "version"),
)
_bucket = sa.Table(
    "bucket",
    _META,
    *(sa.Column(name, sa.Text, primary_key=True) for name in ("change", "stage", "metric", "arm")),
    sa.Column("at", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("slice", sa.Text, primary_key=True),
    *(sa.Column(name, sa.Double, nullable=False) for name in ("n", "total", "squares")),
)
_lease = sa.Table(
    "lease",
    _META,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("until", sa.Double, nullable=False),
)

# Compiled once: gateways ask for their Route some fifty times a second.
_NEWEST = (
    sa.select(_entry.c.version, _entry.c.body, _entry.c.written_at, _entry.c.by)
    .where(_entry.c.ref == sa.bindparam("ref"))
    .order_by(_entry.c.version.desc())
    .limit(sa.literal_column("1"))
)
_HISTORY = (
    sa.select(_entry)
    .where(_entry.c.ref == sa.bindparam("ref"), _entry.c.version > sa.bindparam("after"))
    .order_by(_entry.c.version)
)
_of_ref = _entry.alias("same")
_LIST = (
    sa.select(_entry)
    # An entry whose leaf was removed must still be seen, or the audit would miss it.
    .outerjoin(_audit, (_audit.c.ref == _entry.c.ref) & (_audit.c.version == 1))
    .where(_entry.c.ref >= sa.bindparam("low"), _entry.c.ref < sa.bindparam("high"))
    .where(
        _entry.c.version
        == sa.select(sa.func.max(_of_ref.c.version))
        .where(_of_ref.c.ref == _entry.c.ref)
        .scalar_subquery()
    )
    .order_by(_audit.c.seq.is_(None), _audit.c.seq)
)
_UPSERT = sa.text(
    'INSERT INTO bucket ("change", stage, metric, arm, "at", slice, n, total, squares)'
    " VALUES (:change, :stage, :metric, :arm, :at, :slice, :n, :total, :squares)"
    ' ON CONFLICT ("change", stage, metric, arm, "at", slice) DO UPDATE'
    " SET n = excluded.n, total = excluded.total, squares = excluded.squares"
)
# What makes writers queue from their first statement, so that audit numbers have no gaps.
_SERIALISE = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "LOCK TABLE audit IN EXCLUSIVE MODE"}

_HELP = {
    "SQLITE_FULL": "make room on the disk; nothing was written",
    "SQLITE_IOERR": "is the disk full or away? nothing was written",
    "SQLITE_BUSY": "another process holds the record; try again",
    "SQLITE_CANTOPEN": "does the folder exist, and may this user write to it?",
}


class SqlRecord:
    """The Record port over `target`: a file of SQLite, or the URL of another database.

    `wall` gives seconds for leases; they are about processes, never about replayed time.
    """

    def __init__(self, target: Path | str, wall: Callable[[], float] = time.time) -> None:
        url = str(target) if "://" in str(target) else f"sqlite:///{target}"
        self._name = str(target)
        self._wall = wall
        self._engine = sa.create_engine(url)
        if self._engine.dialect.name == "sqlite":
            _refuse_other_files(Path(self._engine.url.database or ""))
            sa.event.listen(self._engine, "connect", _prepare)
        try:
            with self._errors():
                self._open()
        except Unavailable:
            self._engine.dispose()
            raise

    # --- reading ---

    def get(self, ref: Ref) -> Entry | None:
        with self._reading() as connection:
            row = connection.execute(_NEWEST, {"ref": str(ref)}).first()
        return self._entry(ref, *row) if row else None

    def list(self, kind: Kind) -> tuple[Entry, ...]:
        # ";" follows ":" in the order of characters, so this range is exactly one kind.
        with self._reading() as connection:
            rows = connection.execute(_LIST, {"low": f"{kind}:", "high": f"{kind};"}).all()
        return tuple(self._entry(Ref.parse(row[0]), *row[1:]) for row in rows)

    def history(self, ref: Ref, after: int = 0) -> tuple[Entry, ...]:
        with self._reading() as connection:
            rows = connection.execute(_HISTORY, {"ref": str(ref), "after": after}).all()
        return tuple(self._entry(ref, *row[1:]) for row in rows)

    def buckets(self, change: str) -> tuple[Bucket, ...]:
        columns = [_bucket.c[name] for name in Bucket.__dataclass_fields__]
        query = sa.select(*columns).where(_bucket.c.change == change)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(*_bucket.primary_key.columns)).all()
        return tuple(Bucket(*row) for row in rows)

    def audit(self) -> tuple[Json, ...]:
        with self._reading() as connection:
            rows = connection.execute(sa.select(_audit).order_by(_audit.c.seq)).mappings()
            return tuple(dict(row) for row in rows)

    # --- writing ---

    def write(
        self,
        puts: Sequence[Put],
        *,
        by: str,
        at: datetime,
        buckets: Mapping[str, Sequence[Bucket]] | None = None,
    ) -> tuple[Entry, ...]:
        if at.tzinfo is None:
            raise Unusable(f"{at} has no time zone", help="pass an aware instant")
        entries = tuple(_to_write(put, at.astimezone(UTC), by) for put in puts)
        with self._writing() as connection:
            self._refuse_moved(connection, puts)
            self._store(connection, entries)
            rows = [
                {"change": c, **b.__dict__} for c, many in (buckets or {}).items() for b in many
            ]
            if rows:
                connection.execute(_UPSERT, rows)
        return entries

    def _refuse_moved(self, connection: sa.Connection, puts: Sequence[Put]) -> None:
        newest: dict[str, int] = {}
        moved: dict[str, str] = {}
        for put in puts:
            ref = str(put.ref)
            if ref not in newest:
                row = connection.execute(_NEWEST, {"ref": ref}).first()
                newest[ref] = row.version if row else 0
            if newest[ref] != put.expected:
                moved[ref] = f"{ref} is at version {newest[ref]}, expected {put.expected}"
            newest[ref] += 1
        if moved:
            raise _stale(tuple(moved), tuple(moved.values()))

    def _store(self, connection: sa.Connection, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        seq = connection.execute(sa.select(sa.func.max(_audit.c.seq))).scalar() or 0
        rows = [
            {
                "ref": str(entry.ref),
                "version": entry.version,
                "body": canonical(entry.body).decode(),
                "written_at": entry.written_at.isoformat(),
                "by": entry.by,
            }
            for entry in entries
        ]
        try:
            connection.execute(sa.insert(_entry), rows)
        except sa.exc.IntegrityError as error:
            raise _stale([str(entry.ref) for entry in entries], [str(error.orig)]) from error
        leaves = [leaf_of(number, entry) for number, entry in enumerate(entries, seq + 1)]
        connection.execute(sa.insert(_audit), leaves)

    # --- leases ---

    def claim(self, name: str, holder: str, seconds: float) -> int | None:
        now = self._wall()
        with self._writing() as connection:
            row = connection.execute(sa.select(_lease).where(_lease.c.name == name)).first()
            by, fence, until = (row.holder, row.fence, row.until) if row else ("", 0, 0.0)
            if until > now and by != holder:
                return None
            # A lease that ran out gets a new number even for its old holder: whatever
            # that holder started before may have been overtaken meanwhile.
            fence += 0 if until > now else 1
            value = {"holder": holder, "fence": fence, "until": now + seconds}
            if row is None:
                connection.execute(sa.insert(_lease).values(name=name, **value))
            else:
                connection.execute(sa.update(_lease).where(_lease.c.name == name).values(**value))
        return int(fence)

    def release(self, name: str, holder: str) -> None:
        mine = (_lease.c.name == name) & (_lease.c.holder == holder)
        with self._writing() as connection:
            # The row stays, because its number must never be given out again.
            connection.execute(sa.update(_lease).where(mine).values(until=0.0))

    def close(self) -> None:
        self._engine.dispose()

    # --- inside ---

    def _entry(self, ref: Ref, version: int, body: str, written_at: str, by: str) -> Entry:
        try:
            return Entry(ref, version, json.loads(body), datetime.fromisoformat(written_at), by)
        except ValueError as error:
            raise Corrupt(
                f"{ref} version {version} in {self._name} cannot be read: {error}",
                help="restore the record from a backup",
            ) from error

    def _open(self) -> None:
        with self._reading() as connection:
            tables = set(sa.inspect(connection).get_table_names())
        if not tables:
            self._create()
        elif "meta" not in tables:
            raise Corrupt(
                f"{self._name} is a database, but not a record of Interlock",
                help="move it away, or name another file",
            )
        query = sa.select(_meta.c.value).where(_meta.c.name == "schema")
        with self._reading() as connection:
            found = int(connection.execute(query).scalar() or 0)
        if found > SCHEMA_VERSION:
            raise Unavailable(
                f"{self._name} was written by a newer Interlock:"
                f" its schema is {found}, this program knows {SCHEMA_VERSION}",
                help="upgrade Interlock; nothing was changed",
            )

    def _create(self) -> None:
        with self._writing() as connection:
            # Another process may have made the tables while this one waited its turn.
            if not sa.inspect(connection).get_table_names():
                _META.create_all(connection)
                row = {"name": "schema", "value": str(SCHEMA_VERSION)}
                connection.execute(sa.insert(_meta), [row])

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        # One statement each, so each sees one snapshot without a transaction around it.
        with self._errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._errors(), self._engine.connect() as connection, connection.begin():
            connection.exec_driver_sql(_SERIALISE[self._engine.dialect.name])
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise _translated(error.orig, self._name) from error
        except sqlite3.Error as error:
            # While a connection is being prepared nothing wraps the driver's errors.
            raise _translated(error, self._name) from error


def _refuse_other_files(file: Path) -> None:
    """SQLite takes a very short file for an empty database, and writes over it."""
    try:
        with file.open("rb") as opened:
            head = opened.read(16)
    except OSError:
        return  # not there, or not for us: opening it will say which
    if head and head != b"SQLite format 3\0":
        raise Corrupt(f"{file} is not a record", help="restore it from a backup, or move it away")


def _prepare(connection: Any, _: object) -> None:
    """Every new connection to SQLite: wait for locks, and leave transactions to us."""
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")


def _use_wal(connection: Any) -> None:
    """WAL mode. The first switch needs the file alone and does not wait for it by itself."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _to_write(put: Put, at: datetime, by: str) -> Entry:
    try:
        body = json.loads(canonical(put.body))
    except (TypeError, ValueError) as error:
        raise Unusable(
            f"the body of {put.ref} is not JSON: {error}", help="keep plain values in it"
        ) from error
    return Entry(put.ref, put.expected + 1, body, at, by)


def _stale(refs: Sequence[str], said: Sequence[str]) -> Stale:
    return Stale(
        f"{', '.join(refs)} moved since it was read; nothing was written",
        help="read again, look at what changed, and retry",
        objections=said,
    )


def _translated(error: BaseException | None, name: str) -> Unavailable:
    reason = getattr(error, "sqlite_errorname", "")
    if reason.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return Corrupt(f"{name} is not a readable record: {error}", help="restore it from a backup")
    kind = "_".join(reason.split("_")[:2])
    return Unavailable(
        f"the record {name} did not answer: {error}", help=_HELP.get(kind, "try again")
    )
