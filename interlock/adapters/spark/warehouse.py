"""The warehouse on Spark: local with several partitions, or a cluster by its URL. Never pandas.

Two gaps, both declared: pointers move one after the other, and of a plain table that is built
or loaded anew a reader may meet the moment between old and new.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from interlock.adapters.spark.pieces import Pieces, address
from interlock.errors import Unavailable, Unusable
from interlock.features.dialect import SPARK
from interlock.ports import Abilities, Replacement

_BATCH = 50_000  # rows
# Data exceptions, wrong SQL and what is not supported; anything else is the engine's trouble.
_OURS = ("22", "42", "0A", "21", "23", "54")
# A name that is missing for a moment, or was read as files that have another name now.
_GONE = ("TABLE_OR_VIEW_NOT_FOUND", "FAILED_READ_FILE.FILE_NOT_EXIST")
T = TypeVar("T")
_SPELLED = {
    "boolean": "BOOLEAN", "tinyint": "TINYINT", "smallint": "SMALLINT", "int": "INTEGER",
    "bigint": "BIGINT", "float": "FLOAT", "double": "DOUBLE", "string": "VARCHAR",
    "date": "DATE", "timestamp_ntz": "TIMESTAMP", "timestamp": "TIMESTAMP WITH TIME ZONE",
}  # fmt: skip


class SparkWarehouse:
    """The Warehouse on `master` (`local[2]`, `spark://host:7077`).

    A local one keeps its tables and its catalog in `folder`; a cluster has its own, as its
    `spark-defaults.conf` says. One session per process: Spark knows no more.
    """

    abilities = Abilities(dialect=SPARK.name, parts_atomic=True)

    def __init__(self, master: str, folder: Path) -> None:
        logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
        settings = {
            "spark.sql.session.timeZone": "UTC",
            # A timestamp is a plain one, as in every definition.
            "spark.sql.timestampType": "TIMESTAMP_NTZ",
            # On, planning a join with nine views takes minutes; no row depends on it.
            "spark.sql.constraintPropagation.enabled": "false",
            # A query of evidence compiles hundreds of small pieces; with the 100 that are kept
            # else, every task of it compiles all of them again.
            "spark.sql.codegen.cache.maxEntries": "4000",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            **(_local(folder, master) if master.startswith("local") else {}),
        }
        self._master = master
        builder = SparkSession.builder.master(master).appName("interlock")
        for name, value in settings.items():
            builder = builder.config(name, value)
        with self._translated():
            self._spark = builder.getOrCreate()
            self._spark.sparkContext.setLogLevel("OFF")
        self._pieces = Pieces(self._spark)

    def query(self, sql: str) -> pa.Table:
        with self._translated():
            return self._there(lambda: self._spark.sql(sql).toArrow())

    def batches(self, sql: str) -> pa.RecordBatchReader:
        """One partition at a time comes here, in order."""
        with self._translated():
            found = self._spark.sql(sql)
            schema = to_arrow_schema(found.schema, timezone="UTC")
            rows = _plain_times(found).toLocalIterator()

        def read() -> Iterator[pa.RecordBatch]:
            with self._translated():
                while part := list(islice(rows, _BATCH)):
                    yield _batch(part, schema)

        return pa.RecordBatchReader.from_batches(schema, read())

    def execute(self, sql: str) -> None:
        with self._translated():
            self._spark.sql(sql).collect()

    def build(self, name: str, sql: str) -> int:
        with self._translated(), self._staged(name) as staged:
            self._there(lambda: self._spark.sql(f"CREATE TABLE {staged} USING parquet AS {sql}"))
            return int(self._spark.table(staged).count())

    def replace(self, parts: Sequence[Replacement]) -> None:
        with self._translated():
            self._pieces.replace(parts)

    def drop(self, name: str) -> None:
        with self._translated():
            self._pieces.drop(name)

    def point(self, pointers: Mapping[str, str]) -> None:
        with self._translated():
            for name in pointers:
                self._make_schema(name)
            lost = [target for target in pointers.values() if not self.has(target)]
            if lost:
                raise Unusable(f"there is no table {', '.join(lost)}", help="build it first")
            if tables := [name for name in pointers if self._pieces.shown(name)]:
                raise Unusable(f"{', '.join(tables)} is a table", help="name the pointer otherwise")
            for name, physical in pointers.items():
                # A view is not made in the place of a table: Spark refuses that itself.
                self._pieces.view(name, f"* FROM {address(physical)}")

    def columns(self, sql: str) -> dict[str, str]:
        with self._translated():
            types = self._there(lambda: self._spark.sql(sql).dtypes)
        return {name: _spelled(type) for name, type in types}

    def has(self, name: str) -> bool:
        with self._translated():
            return self._pieces.has(name)

    def load(self, name: str, rows: pa.Table, append: bool = False) -> None:
        with self._translated():
            incoming = self._spark.createDataFrame(_taken(name, rows))
            if append and self.has(name):
                view = f"incoming_{secrets.token_hex(6)}"
                incoming.createOrReplaceTempView(view)
                self._append(name, incoming.columns, view)
                self._spark.catalog.dropTempView(view)
                return
            with self._staged(name) as staged:
                incoming.write.format("parquet").saveAsTable(staged)

    def _append(self, name: str, given: Sequence[str], incoming: str) -> None:
        """The rows of view `incoming` behind those of `name`, by column name."""
        columns = ", ".join(map(SPARK.quoted, given))
        if self._pieces.shown(name) is None:
            into = f"INSERT INTO {address(name)} ({columns})"
            self._spark.sql(f"{into} SELECT {columns} FROM {incoming}")
            return
        there = self._spark.table(address(name)).columns
        if unknown := [one for one in given if one not in there]:
            raise Unusable(f"{name} has no column {', '.join(unknown)}", help=", ".join(there))
        rows = ", ".join(SPARK.quoted(one) if one in given else "NULL" for one in there)
        self._pieces.replace([Replacement(name, "FALSE", f"SELECT {rows} FROM {incoming}")])

    def close(self) -> None:
        self._spark.stop()

    def _there(self, ask: Callable[[], T]) -> T:
        """What `ask` finds; again when another thread just made a view of a table it reads."""
        try:
            return ask()
        except (PySparkException, Py4JError) as error:
            if not any(f"[{what}]" in str(error) for what in _GONE):
                raise
        with self._pieces.becoming:
            pass
        return ask()

    @contextmanager
    def _staged(self, name: str) -> Iterator[str]:
        """A table beside `name` that takes its place once it is whole; removed if it never is."""
        self._make_schema(name)
        schema = name.rpartition(".")[0] or "default"
        staged = address(f"{schema}.staged_{secrets.token_hex(6)}")
        try:
            yield staged
            if self._pieces.shown(name):
                self._pieces.put(name, staged)
                return
            self._spark.sql(f"DROP TABLE IF EXISTS {address(name)}")
            self._spark.sql(f"ALTER TABLE {staged} RENAME TO {address(name)}")
        finally:
            self._spark.sql(f"DROP TABLE IF EXISTS {staged}")

    def _make_schema(self, name: str) -> None:
        schema = name.rpartition(".")[0]
        if schema:
            self._spark.sql(f"CREATE SCHEMA IF NOT EXISTS {SPARK.quoted(schema)}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        where = f"the warehouse on Spark ({self._master})"
        try:
            yield
        except (PySparkException, Py4JError) as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            state = error.getSqlState() if isinstance(error, PySparkException) else None
            if state and state.startswith(_OURS):
                raise Unusable(
                    f"{where} refused the SQL: {said}", help="mend the SQL it names"
                ) from error
            raise Unavailable(
                f"{where} did not answer: {said}", help="see to the cluster, then try again"
            ) from error


def _local(folder: Path, master: str) -> dict[str, str]:
    """Everything of a local Spark in one folder, nothing on the network."""
    cores = master.removeprefix("local[").rstrip("]")
    home = folder.resolve()
    home.mkdir(parents=True, exist_ok=True)
    derby = f"-Dderby.system.home={home} -Dderby.stream.error.file={home / 'derby.log'}"
    return {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        # Several, and no more than work at once: each of them prepares its part of a query.
        "spark.sql.shuffle.partitions": str(max(int(cores), 2)) if cores.isdigit() else "4",
        # Planning anew after every stage pays on a cluster; here it costs more than the stage.
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.warehouse.dir": str(home / "tables"),
        "spark.sql.catalogImplementation": "hive",
        "spark.hadoop.javax.jdo.option.ConnectionURL": (
            f"jdbc:derby:;databaseName={home / 'catalog'};create=true"
        ),
        "spark.driver.extraJavaOptions": derby,
    }


def _spelled(type: str) -> str:
    return _SPELLED.get(type, type.upper())


def _taken(name: str, rows: pa.Table) -> pa.Table:
    """`rows` in types that Spark reads; finer times than microseconds are refused, not cut."""
    schema = pa.schema([f.with_type(_taken_type(f.type)) for f in rows.schema])
    try:
        return rows.cast(schema)
    except pa.ArrowInvalid as error:
        raise Unusable(
            f"{name} holds values that Spark cannot: {error}",
            help="round event times up and asked times down to microseconds before loading them",
        ) from error


def _taken_type(type: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(type):
        return pa.timestamp("us", type.tz)
    if pa.types.is_unsigned_integer(type):
        return pa.int64()
    return pa.string() if pa.types.is_null(type) or pa.types.is_string_view(type) else type


def _plain_times(found: DataFrame) -> DataFrame:
    """Zoned times as plain UTC: as Python values they would be in this machine's zone."""
    columns = ", ".join(
        f"CAST({SPARK.quoted(name)} AS TIMESTAMP_NTZ) AS {SPARK.quoted(name)}"
        if type == "timestamp"
        else SPARK.quoted(name)
        for name, type in found.dtypes
    )
    return found.sparkSession.sql(f"SELECT {columns} FROM {{found}}", found=found)


def _batch(rows: list[Any], schema: pa.Schema) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) if len(schema) else []
    plain = [pa.timestamp("us") if pa.types.is_timestamp(f.type) else f.type for f in schema]
    arrays = [
        pa.array(values, type).cast(field.type)
        for values, type, field in zip(columns, plain, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
