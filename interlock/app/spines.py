"""The rows somebody wants features for: from a file, a SELECT, or an Arrow table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.app.build import Builder
from interlock.define.definitions import Model
from interlock.errors import NotFound, Refused, Unavailable, Unusable
from interlock.features.text import address
from interlock.impact.sql import substitute, tables_read, understand

if TYPE_CHECKING:
    import pyarrow as pa

READERS = (".parquet", ".csv", ".arrow")


@dataclass(frozen=True)
class Spine:
    """A relation in the warehouse, its columns by engine type, and what its rows are known by."""

    relation: str
    columns: Mapping[str, str]
    digest: str


def spine_of(
    builder: Builder, model: Model, given: Path | str | pa.Table | None, zone: str | None
) -> Spine:
    """Where the rows of `given` are; None is the model's own training window."""
    warehouse = builder.workspace.warehouse
    if given is None:
        span = model.training
        relation = (
            f"(SELECT * FROM {builder.table(model.spine)} WHERE {model.time} >= "
            f"TIMESTAMP '{span.start}' AND {model.time} < TIMESTAMP '{span.end}')"
        )
        return Spine(relation, warehouse.columns(f"SELECT * FROM {relation}"), _hash(relation))
    if isinstance(given, str):
        relation = f"({_bound(builder, given)})"
        return Spine(relation, warehouse.columns(f"SELECT * FROM {relation}"), _hash(relation))
    rows = _read(given) if isinstance(given, Path) else given
    rows = _in_utc(rows, zone)
    digest = _digest(rows)
    name = f"il.spine__{digest[:12]}"
    if not warehouse.has(name):
        warehouse.load(name, rows)
    relation = address(name)
    return Spine(relation, warehouse.columns(f"SELECT * FROM {relation}"), digest)


def _bound(builder: Builder, sql: str) -> str:
    """A SELECT over the project's tables, on the physical tables of this version."""
    facts = understand(sql, {})
    if wrong := [e for e in facts.errors if e.message.startswith("SQL:")]:
        raise Unusable(f"the spine is no SELECT: {wrong[0].message}", help=wrong[0].fix)
    read = tables_read(sql)
    if strange := sorted(set(read) - set(builder.project.tables)):
        known = ", ".join(sorted(builder.project.tables))
        raise NotFound(f"the spine reads {', '.join(strange)}", help=f"tables: {known}")
    return substitute(sql, builder.bindings(read))


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
    for place, field in enumerate(rows.schema):
        if not pa.types.is_timestamp(field.type):
            continue
        column = rows.column(place)
        if not field.type.tz:
            try:
                column = pc.assume_timezone(column, zone, ambiguous="latest", nonexistent="latest")
            except pa.ArrowInvalid as error:
                raise Unusable(f"no time zone {zone!r}", help="as in Europe/Berlin") from error
        # Cut to the microsecond the question comes a little earlier: less is known, never more.
        plain = pc.floor_temporal(column, unit="microsecond").cast(pa.timestamp("us", "UTC"))
        rows = rows.set_column(place, field.name, plain.cast(pa.timestamp("us")))
    return rows


def _digest(rows: pa.Table) -> str:
    """What the rows are known by: the same rows have the same digest, however they were cut."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema.remove_metadata()) as writer:
        writer.write_table(rows.replace_schema_metadata(None).combine_chunks())
    return sha256(sink.getvalue()).hexdigest()


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
