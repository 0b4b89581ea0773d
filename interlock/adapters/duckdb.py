"""The embedded warehouse: DuckDB, one process at a time."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from interlock.define.definitions import CsvSource, Table
from interlock.errors import Invalid, Problem, Unavailable, Unusable
from interlock.features.text import SQL_TYPES, address, quoted, text
from interlock.ports import Abilities, Replacement

if TYPE_CHECKING:
    import pyarrow as pa

# What the engine itself could not do; everything else it says is about the SQL.
_AWAY = (
    duckdb.IOException,
    duckdb.OutOfMemoryException,
    duckdb.TransactionException,
    duckdb.ConnectionException,
    duckdb.InterruptException,
    duckdb.FatalException,
    duckdb.InternalException,
    duckdb.PermissionException,
    duckdb.ResourceInUseException,
)

_BATCH = 50_000  # rows


class DuckDBWarehouse:
    """The Warehouse in one file, or in memory when `path` is None.

    Every call has its own cursor, so threads do not meet in one result.
    """

    abilities = Abilities(parts_atomic=True, pointers_atomic=True, asof_join=True, nanoseconds=True)

    def __init__(self, path: Path | None, threads: int = 2) -> None:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "threads": threads,
            "preserve_insertion_order": False,
        }
        # The engine names its catalog after the file, and a schema of that name cannot
        # be addressed any more.
        self._catalog = path.name.split(".")[0] if path else "memory"
        with _translated("the warehouse"):
            self._connection = duckdb.connect(str(path or ":memory:"), config=settings)
            self._connection.execute("SET GLOBAL TimeZone = 'UTC'")

    def query(self, sql: str) -> pa.Table:
        with self._cursor() as cursor:
            relation = cursor.sql(sql)
            if relation is None:
                raise Unusable("a statement that returns no rows is not a query", help=sql[:200])
            return relation.to_arrow_table()

    def batches(self, sql: str) -> pa.RecordBatchReader:
        import pyarrow as pa

        # The cursor lives as long as its rows are read, and an engine error met on the way
        # is one of ours all the same.
        cursor = self._connection.cursor()
        with _translated("the warehouse"):
            reader = cursor.sql(sql).to_arrow_reader(_BATCH)

        def read() -> Iterator[pa.RecordBatch]:
            with _translated("the warehouse"), cursor:
                yield from reader

        return pa.RecordBatchReader.from_batches(reader.schema, read())

    def execute(self, sql: str) -> None:
        with self._cursor() as cursor:
            cursor.execute(sql)

    def build(self, name: str, sql: str) -> int:
        with self._transaction() as cursor:
            self._make_schema(cursor, name)
            cursor.execute(f"CREATE OR REPLACE TABLE {address(name)} AS {sql}")
            return _count(cursor, name)

    def replace(self, parts: Sequence[Replacement]) -> None:
        with self._transaction() as cursor:
            for name, where, sql in parts:
                cursor.execute(f"DELETE FROM {address(name)} WHERE {where}")
                cursor.execute(f"INSERT INTO {address(name)} {sql}")

    def point(self, pointers: Mapping[str, str]) -> None:
        with self._transaction() as cursor:
            for name, physical in pointers.items():
                self._make_schema(cursor, name)
                cursor.execute(
                    f"CREATE OR REPLACE VIEW {address(name)} AS SELECT * FROM {address(physical)}"
                )

    def columns(self, sql: str) -> dict[str, str]:
        with self._cursor() as cursor:
            rows = cursor.execute(f"DESCRIBE {sql}").fetchall()
        return {str(name): str(type) for name, type, *_ in rows}

    def has(self, name: str) -> bool:
        schema, _, table = name.rpartition(".")
        found = "SELECT 1 FROM information_schema.tables WHERE table_schema = ? AND table_name = ?"
        with self._cursor() as cursor:
            return bool(cursor.execute(found, [schema or "main", table]).fetchall())

    def drop(self, name: str) -> None:
        schema, _, table = name.rpartition(".")
        found = (
            "SELECT table_type FROM information_schema.tables "
            "WHERE table_schema = ? AND table_name = ?"
        )
        with self._transaction() as cursor:
            for (kind,) in cursor.execute(found, [schema or "main", table]).fetchall():
                cursor.execute(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {address(name)}")

    def load(self, name: str, rows: pa.Table, append: bool = False) -> None:
        with self._transaction() as cursor:
            self._make_schema(cursor, name)
            cursor.register("__incoming", rows)
            if append and self.has(name):
                cursor.execute(f"INSERT INTO {address(name)} BY NAME SELECT * FROM __incoming")
            else:
                cursor.execute(
                    f"CREATE OR REPLACE TABLE {address(name)} AS SELECT * FROM __incoming"
                )

    def copy_to(self, path: Path) -> None:
        """Everything as it is now, in a new file at `path`; nobody is disturbed."""
        with self._cursor() as cursor:
            name = "".join(c for c in path.stem if c.isalnum()) + "_copy"
            cursor.execute(f"ATTACH '{str(path).replace(chr(39), chr(39) * 2)}' AS {name}")
            try:
                cursor.execute(f"COPY FROM DATABASE {address(self._catalog)} TO {name}")
            finally:
                cursor.execute(f"DETACH {name}")

    def close(self) -> None:
        self._connection.close()

    def _make_schema(self, cursor: duckdb.DuckDBPyConnection, name: str) -> None:
        schema = name.rpartition(".")[0]
        if schema.lower() == self._catalog.lower():
            raise Unusable(
                f"the schema of {name} has the name of the warehouse file",
                help="DuckDB cannot tell them apart; name the schema differently",
            )
        if schema:
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with _translated("the warehouse"), self._connection.cursor() as cursor:
            yield cursor

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """All or nothing; closing the cursor of a failed transaction takes it back."""
        with self._cursor() as cursor:
            cursor.begin()
            yield cursor
            cursor.commit()


def source_sql(table: Table, root: Path) -> str:
    """The rows of a table that comes from a CSV file, cast to the types of its contract.

    Raises `Invalid` when the file or a declared column is not there. Times with an
    offset become UTC, times without one are UTC; `zones_sql` finds both in one
    column. Everything about the format is said, nothing guessed: a guess looks at the first
    rows only.
    """
    if table.source is None:
        raise Unusable(f"{table.ref} has no source", help="declare source: {csv: <path>}")
    path = root / table.source.csv
    header = _header(table, path)
    lost = [name for name in table.columns if name not in header]
    if lost:
        message = f"{table.source.csv} has no column {', '.join(lost)} (it has {', '.join(header)})"
        raise Invalid.of(
            [Problem(table.file, table.line, message, "mend the contract or the file")]
        )
    values = ", ".join(_cast(name, SQL_TYPES[c.type]) for name, c in table.columns.items())
    return f"SELECT {values} FROM {_texts(table.source, path, header)}"


def zones_sql(table: Table, root: Path) -> str:
    """How many times of each timestamp column (`column`) carry an offset, and how many none.

    Empty for a table without such a column.
    """
    assert table.source is not None
    path = root / table.source.csv
    rows = _texts(table.source, path, _header(table, path))
    zoned = r"\d:\d\d[\d:.,]*\s*([+-]\d|[A-Za-z])"
    names = [name for name, column in table.columns.items() if column.type == "timestamp"]
    counts = (
        f"SELECT {text(name)} AS column, count(*) FILTER (WHERE z) AS zoned, "
        f"count(*) FILTER (WHERE NOT z) AS naive "
        f"FROM (SELECT regexp_matches({quoted(name)}, {text(zoned)}) AS z FROM r)"
        for name in names
    )
    counted = " UNION ALL ".join(counts)
    listed = ", ".join(map(quoted, names))
    return f"WITH r AS MATERIALIZED (SELECT {listed} FROM {rows}) {counted}" if names else ""


def _texts(source: CsvSource, path: Path, header: list[str]) -> str:
    """The rows of a file as they are written."""
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in header)
    nulls = ", ".join(text(null) for null in source.nulls)
    return (
        f"read_csv({text(str(path))}, auto_detect=false, header=true, "
        f"delim=',', quote='\"', escape='\"', nullstr=[{nulls}], columns={{{columns}}})"
    )


def _header(table: Table, path: Path) -> list[str]:
    if not path.is_file():
        message = f"{table.ref} reads {path}, and there is no such file"
        raise Invalid.of([Problem(table.file, table.line, message, "put the file there")])
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as lines:
        return next(csv.reader(lines), [])


def _cast(name: str, type: str) -> str:
    column = quoted(name)
    if type == "TIMESTAMP":
        return f"CAST(CAST({column} AS TIMESTAMPTZ) AS TIMESTAMP) AS {column}"
    return f"CAST({column} AS {type}) AS {column}"


def _count(cursor: duckdb.DuckDBPyConnection, name: str) -> int:
    return int(cursor.execute(f"SELECT count(*) FROM {address(name)}").fetchall()[0][0])


def _first_line(error: duckdb.Error) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    # Of a bad CSV value the first line is only its place; the value comes two lines later.
    return " - ".join(lines[:3]) if "CSV Error" in lines[0] else lines[0]


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """What the engine says, as one of our refusals, with its first line."""
    try:
        yield
    except duckdb.Error as error:
        said = _first_line(error)
        if "Could not set lock" in str(error):
            holder = re.search(r"PID (\d+)", str(error))
            process = f" (process {holder[1]})" if holder else ""
            raise Unavailable(
                f"{what} is in use by another interlock process{process}",
                help="wait until it is done or stop it, then run this again",
            ) from error
        if isinstance(error, _AWAY):
            raise Unavailable(
                f"{what} did not answer: {said}", help="see that the disk has room, try again"
            ) from error
        raise Unusable(f"{what} refused the SQL: {said}", help="mend the SQL it names") from error
