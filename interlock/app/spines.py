"""The rows somebody wants features for: from a file, a SELECT, or an Arrow table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.app.build import Builder
from interlock.define.definitions import Model
from interlock.define.digest import digest_bytes
from interlock.errors import NotFound, Refused, Unavailable, Unusable
from interlock.features.compile import physical
from interlock.features.dialect import DUCKDB, Dialect
from interlock.impact.asked import understand
from interlock.impact.sql import substitute, tables_read
from interlock.ports import Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

ROW = "__spine_row"
STRETCH = 200_000  # rows joined at once
READERS = (".parquet", ".csv", ".arrow")


@dataclass(frozen=True)
class Spine:
    """A relation in the warehouse, its columns by engine type, and what its rows are known by.

    The relation also holds `ROW`: the place of each row in the order asked for.
    """

    relation: str
    columns: Mapping[str, str]
    digest: str


def spine_of(
    builder: Builder, model: Model, given: Path | str | pa.Table | None, zone: str | None
) -> Spine:
    """Where the rows of `given` are; None is the model's own training window."""
    if given is None:
        span, time = model.training, builder.dialect.quoted(model.time)
        return _numbered(
            builder, model,
            f"SELECT * FROM {builder.table(model.spine)} AS t WHERE {time} >= "
            f"TIMESTAMP '{span.start}' AND {time} < TIMESTAMP '{span.end}'",
        )  # fmt: skip
    if isinstance(given, str):
        return _numbered(builder, model, _bound(builder, given))
    return _loaded(builder, _in_utc(_read(given) if isinstance(given, Path) else given, zone))


def _numbered(builder: Builder, model: Model, sql: str) -> Spine:
    """The rows of a SELECT. Only DuckDB hands them on in the order in which they came."""
    dialect = builder.dialect
    order = "" if dialect is DUCKDB else f"ORDER BY {dialect.quoted(model.time)}"
    row = f"row_number() OVER ({order}) AS {dialect.quoted(ROW)}"
    columns = builder.workspace.warehouse.columns(f"SELECT * FROM ({sql}) AS r")
    return Spine(f"(SELECT r.*, {row} FROM ({sql}) AS r)", columns, digest_bytes(sql.encode()))


def _loaded(builder: Builder, rows: pa.Table) -> Spine:
    import pyarrow as pa

    warehouse = builder.workspace.warehouse
    digest = _digest(rows)
    name = physical("spine", digest)
    if not warehouse.has(name):
        warehouse.load(name, rows.append_column(ROW, pa.array(range(rows.num_rows), pa.int64())))
    columns = warehouse.columns(f"SELECT * FROM {name} AS r")
    return Spine(name, {c: kind for c, kind in columns.items() if c != ROW}, digest)


@contextmanager
def stretches(warehouse: Warehouse, dialect: Dialect, spine: Spine) -> Iterator[list[str]]:
    """The spine in parts, joined one after the other: memory follows the largest part."""
    counted = f"SELECT count(*) AS n FROM {spine.relation} AS r"
    count = warehouse.query(counted).to_pylist()[0]["n"]
    if count <= STRETCH:
        yield [spine.relation]
        return
    # Written down first: a SELECT that is asked again may number its rows otherwise.
    kept, row = physical("asked", spine.digest), dialect.quoted(ROW)
    warehouse.build(kept, f"SELECT * FROM {spine.relation} AS r")
    try:
        yield [
            f"(SELECT * FROM {kept} AS r WHERE {row} > {start} AND {row} <= {start + STRETCH})"
            for start in range(-1, count + 1, STRETCH)
        ]
    finally:
        warehouse.drop(kept)


def _bound(builder: Builder, sql: str) -> str:
    """A SELECT over the project's tables, on the physical tables of this version."""
    facts = understand(sql, {})
    if wrong := [e for e in facts.errors if e.message.startswith("SQL:")]:
        raise Unusable(f"the spine is no SELECT: {wrong[0].message}", help=wrong[0].fix)
    read = tables_read(sql)
    if strange := sorted(set(read) - set(builder.project.tables)):
        known = ", ".join(sorted(builder.project.tables))
        raise NotFound(f"the spine reads {', '.join(strange)}", help=f"tables: {known}")
    return substitute(sql, builder.bindings(read), builder.dialect.name)


def _read(file: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    readers: Mapping[str, Any] = {
        ".parquet": pa.parquet.read_table,
        ".csv": pa.csv.read_csv,
        ".arrow": lambda path: pa.ipc.open_file(path).read_all(),
    }
    if file.suffix not in readers:
        raise Unusable(f"{file.name} has no known ending", help=f"use {', '.join(READERS)}")
    try:
        return readers[file.suffix](str(file))
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {file}", help="name the spine's file") from error
    except (pa.ArrowException, OSError) as error:
        raise Unavailable(f"{file} cannot be read: {error}", help="is it whole?") from error


def _in_utc(rows: pa.Table, zone: str | None) -> pa.Table:
    """Every timestamp as a plain UTC one; a time that could be any hour is refused."""
    import pyarrow as pa
    import pyarrow.compute as pc

    naive = [f.name for f in rows.schema if pa.types.is_timestamp(f.type) and not f.type.tz]
    if naive and zone is None:
        raise Refused(
            f"{', '.join(naive)} of the spine has no time zone",
            help="say which with --zone UTC (or Europe/Berlin), or write offsets",
        )
    if naive:
        _refuse_no_hour(rows, naive, str(zone))
    for place, field in enumerate(rows.schema):
        if not pa.types.is_timestamp(field.type):
            continue
        column = rows.column(place)
        if not field.type.tz:
            column = pc.assume_timezone(column, zone)
        # Cut to the microsecond the question comes a little earlier: less is known, never more.
        plain = pc.floor_temporal(column, unit="microsecond").cast(pa.timestamp("us", "UTC"))
        rows = rows.set_column(place, field.name, plain.cast(pa.timestamp("us")))
    return rows


def _refuse_no_hour(rows: pa.Table, names: list[str], zone: str) -> None:
    """Where clocks change, a local time may be two hours or none: which one is not guessed.

    A guess that is an hour late sees an hour more than was known.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    objections = []
    for name in names:
        column = rows.column(name)
        try:
            low = pc.assume_timezone(column, zone, ambiguous="earliest", nonexistent="earliest")
            high = pc.assume_timezone(column, zone, ambiguous="latest", nonexistent="latest")
        except pa.ArrowInvalid as error:
            raise Unusable(f"no time zone {zone!r}", help="as in Europe/Berlin") from error
        wrong = column.filter(pc.not_equal(low, high))
        if len(wrong):
            said = f"{name}: {len(wrong)} times occur twice or never in {zone}"
            objections.append(f"{said}, as {wrong[0].as_py().isoformat(sep=' ')}")
    if objections:
        raise Refused(
            "the clocks were changed, and these times name no one hour",
            help="write them with their offset, as in 2013-11-03T01:30:00-05:00",
            objections=tuple(objections),
        )


def _digest(rows: pa.Table) -> str:
    """What the rows are known by: the same rows have the same digest, however they were cut."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema.remove_metadata()) as writer:
        writer.write_table(rows.replace_schema_metadata(None).combine_chunks())
    return digest_bytes(sink.getvalue())
