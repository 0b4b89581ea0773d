"""The warehouse on Postgres: Arrow in and out by ADBC, everything that moves in one transaction."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import pyarrow as pa
from adbc_driver_manager import DataError, Error, NotSupportedError, ProgrammingError
from adbc_driver_postgresql import dbapi

from interlock.errors import Unavailable, Unusable
from interlock.features.dialect import POSTGRES
from interlock.features.text import text
from interlock.ports import Abilities, Replacement

# Connection, resources, operator intervention, system, rollback and locks: the engine's
# trouble. Everything else it says is about the SQL.
_AWAY = ("08", "53", "57", "58", "40", "55", "XX", "25P")
_REQUESTS = (ProgrammingError, DataError, NotSupportedError)
# How the port spells types; what is not here keeps the engine's name.
_SPELLED = {
    "bool": "BOOLEAN", "int2": "SMALLINT", "int4": "INTEGER", "int8": "BIGINT",
    "float4": "FLOAT", "float8": "DOUBLE", "numeric": "DECIMAL", "text": "VARCHAR",
    "varchar": "VARCHAR", "bpchar": "VARCHAR", "date": "DATE", "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE", "uuid": "UUID",
}  # fmt: skip


class PostgresWarehouse:
    """The Warehouse in one Postgres database; many processes at once.

    Every call takes a connection of its own, so threads do not meet; one that failed is
    thrown away, so that trying again starts afresh.
    """

    abilities = Abilities(
        dialect=POSTGRES.name, parts_atomic=True, concurrent_processes=True, pointers_atomic=True
    )

    def __init__(self, url: str) -> None:
        self._url = _in_utc(url)
        self._where = f"the warehouse on {urlsplit(url).hostname or 'this machine'}"
        self._idle: list[Any] = [self._connect()]

    def query(self, sql: str) -> pa.Table:
        with self._cursor() as cursor:
            cursor.execute(sql)
            return _plain(cursor.fetch_arrow_table())

    def batches(self, sql: str) -> pa.RecordBatchReader:
        """The connection is held, and its errors are ours, as long as its rows are read."""

        def read() -> Iterator[Any]:
            with self._cursor() as cursor:
                cursor.execute(sql)
                reader = cursor.fetch_record_batch()
                yield _plain(reader.schema.empty_table()).schema
                for batch in reader:
                    yield from _plain(pa.Table.from_batches([batch])).to_batches()

        rows = read()
        return pa.RecordBatchReader.from_batches(next(rows), rows)

    def execute(self, sql: str) -> None:
        with self._cursor() as cursor:
            cursor.execute(sql)

    def build(self, name: str, sql: str) -> int:
        with self._cursor() as cursor, _staged(cursor, name) as staged:
            cursor.execute(f"CREATE TABLE {staged} AS {sql}")
            cursor.execute(f"SELECT count(*) FROM {staged}")
            return int(cursor.fetchall()[0][0])

    def replace(self, parts: Sequence[Replacement]) -> None:
        with self._cursor() as cursor:
            for name, where, sql in parts:
                cursor.execute(f"DELETE FROM {_address(name)} WHERE {where}")
                cursor.execute(f"INSERT INTO {_address(name)} {sql}")

    def point(self, pointers: Mapping[str, str]) -> None:
        with self._cursor() as cursor:
            for name, physical in pointers.items():
                _make_schema(cursor, name)
                cursor.execute(_moved(_address(name), _address(physical)))

    def columns(self, sql: str) -> dict[str, str]:
        with self._cursor() as cursor:
            schema = cursor.adbc_execute_schema(sql)
        return {field.name: _type_of(field) for field in schema}

    def has(self, name: str) -> bool:
        with self._cursor() as cursor:
            cursor.execute(f"SELECT to_regclass({text(_address(name))}) IS NOT NULL")
            return bool(cursor.fetchall()[0][0])

    def drop(self, name: str) -> None:
        found = (
            f"SELECT relkind = 'v' FROM pg_class WHERE oid = to_regclass({text(_address(name))})"
        )
        with self._cursor() as cursor:
            cursor.execute(found)
            for (view,) in cursor.fetchall():
                cursor.execute(f"DROP {'VIEW' if view else 'TABLE'} {_address(name)}")

    def load(self, name: str, rows: pa.Table, append: bool = False) -> None:
        rows = _in_microseconds(name, rows)
        if append and self.has(name):
            schema, table = _split(name)
            with self._cursor() as cursor:
                cursor.adbc_ingest(table, rows, mode="append", db_schema_name=schema)
            return
        with self._cursor() as cursor, _staged(cursor, name) as staged:
            schema, table = (part.strip('"') for part in staged.split("."))
            cursor.adbc_ingest(table, rows, mode="create", db_schema_name=schema)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _connect(self) -> Any:
        try:
            return dbapi.connect(self._url)
        except Error as error:
            raise Unavailable(
                f"{self._where} cannot be reached: {_first_line(error)}",
                help="is the server up, and are the address, the name and the password right?",
            ) from error

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        """One transaction on one connection; committed at the end, taken back on any error."""
        connection, kept = self._taken(), False
        try:
            with connection.cursor() as cursor:
                yield cursor
            connection.commit()
            kept = True
        except (Error, OSError) as error:  # OSError: met on the way, while rows were read
            raise self._translated(error) from error
        finally:
            # Also when a reader of `batches` stops halfway.
            self._idle.append(connection) if kept else connection.close()

    def _taken(self) -> Any:
        """A connection that stood idle and still answers, or a new one."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._connect()
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                    cursor.fetchall()
                return connection
            except Error:  # the server ended it, or was started again, while nobody used it
                connection.close()

    def _translated(self, error: Error | OSError) -> Exception:
        said, state = _first_line(error), getattr(error, "sqlstate", None) or ""
        # Without a state the client spoke: of a wrong request, or of a line that is gone.
        wrong = isinstance(error, _REQUESTS) or (
            isinstance(error, OSError) and "ERROR:" in str(error)
        )
        if state.startswith(_AWAY) if state else not wrong:
            return Unavailable(
                f"{self._where} did not answer: {said}", help="see to the server, then try again"
            )
        return Unusable(f"{self._where} refused the SQL: {said}", help="mend the SQL it names")


@contextmanager
def _staged(cursor: Any, name: str) -> Iterator[str]:
    """A table beside `name` that takes its place at the end: readers wait for a rename only."""
    _make_schema(cursor, name)
    schema, table = _split(name)
    staged = f"{POSTGRES.quoted(schema)}.{POSTGRES.quoted(f'__staged_{secrets.token_hex(6)}')}"
    yield staged
    cursor.execute(f"ANALYZE {staged}")
    cursor.execute(f"DROP TABLE IF EXISTS {_address(name)}")
    cursor.execute(f"ALTER TABLE {staged} RENAME TO {POSTGRES.quoted(table)}")


def _moved(name: str, physical: str) -> str:
    """A view replaced in place, so that what reads it stays; made anew when its columns differ.

    Tried on the server: the client cannot go on in a transaction after an error.
    """
    view = f"VIEW {name} AS SELECT * FROM {physical}"
    return (
        f"DO $move$ BEGIN CREATE OR REPLACE {view}; "
        f"EXCEPTION WHEN invalid_table_definition THEN DROP VIEW {name}; CREATE {view}; END $move$"
    )


def _make_schema(cursor: Any, name: str) -> None:
    cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {POSTGRES.quoted(_split(name)[0])}")


def _split(name: str) -> tuple[str, str]:
    schema, _, table = name.rpartition(".")
    return schema or "public", table


def _address(name: str) -> str:
    return ".".join(POSTGRES.quoted(part) for part in _split(name))


def _type_of(field: pa.Field) -> str:
    name = (field.metadata or {}).get(b"POSTGRESQL:type", b"").decode()
    return _SPELLED.get(name, name.upper() or str(field.type))


def _plain(rows: pa.Table) -> pa.Table:
    """Exact numerics as doubles: Arrow would bring them as text."""
    fields = [
        pa.field(f.name, pa.float64() if _type_of(f) == "DECIMAL" else f.type) for f in rows.schema
    ]
    columns = [
        pa.chunked_array([_storage(chunk) for chunk in column.chunks], _storage_type(f.type)).cast(
            pa.float64()
        )
        if _type_of(f) == "DECIMAL"
        else column
        for f, column in zip(rows.schema, rows.columns, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _storage(chunk: pa.Array) -> pa.Array:
    return chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk


def _storage_type(type: pa.DataType) -> pa.DataType:
    return type.storage_type if isinstance(type, pa.BaseExtensionType) else type


def _in_microseconds(name: str, rows: pa.Table) -> pa.Table:
    """Postgres keeps microseconds; finer times are refused, cut they would be a leak."""
    fields = [
        f.with_type(pa.timestamp("us", f.type.tz)) if pa.types.is_timestamp(f.type) else f
        for f in rows.schema
    ]
    try:
        return rows.cast(pa.schema(fields))
    except pa.ArrowInvalid as error:
        raise Unusable(
            f"{name} holds times that microseconds cannot: {error}",
            help="round event times up and asked times down before loading them",
        ) from error


def _in_utc(url: str) -> str:
    """`url` with sessions in UTC, so that a cast from a zoned time is exact."""
    parts = urlsplit(url)
    asked = dict(parse_qsl(parts.query))
    asked["options"] = f"{asked.get('options', '')} -c TimeZone=UTC".strip()
    return urlunsplit(parts._replace(query=urlencode(asked, quote_via=quote)))


def _first_line(error: Exception) -> str:
    said = str(error).split("ERROR:")[-1].strip()
    return (said.splitlines() or [type(error).__name__])[0].strip()
