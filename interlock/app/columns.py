"""Columns of a table as numbers and back, for `synth`: some to learn from, some held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from interlock.define.definitions import ColumnType, Table
from interlock.features.synth import Floats, Kind, Part
from interlock.features.text import SQL_TYPES, quoted
from interlock.ports import Warehouse

SAMPLE = 100_000
"""Rows that are learnt from; which ones is decided by a hash of the row."""
HELD = 5  # every fifth row is not learnt from
_KINDS: Mapping[ColumnType, Kind] = {
    "integer": "whole", "double": "number", "timestamp": "time", "date": "date",
}  # fmt: skip
_MICRO = 1_000_000


@dataclass(frozen=True)
class Real:
    """What is known of a real table: parts to learn from, parts held out, and given keys."""

    count: int
    hidden: frozenset[str]
    parts: Mapping[str, Part]
    held: Mapping[str, Part]
    given: Mapping[str, Floats]


def read_real(
    warehouse: Warehouse, table: Table, built: str, hidden: frozenset[str], given: Sequence[str]
) -> Real:
    """A sample of the stored table, the same at every call."""
    count = int(warehouse.query(f"SELECT count(*) AS n FROM {built}").to_pylist()[0]["n"])
    columns = ", ".join(
        f"CAST({quoted(n)} AS {SQL_TYPES[c.type]}) AS {quoted(n)}" for n, c in table.columns.items()
    )
    order = f"ORDER BY hash(t), {', '.join(map(quoted, table.columns))}"
    rows = warehouse.query(
        f"SELECT * FROM (SELECT {columns} FROM {built}) AS t {order} LIMIT {SAMPLE}"
    )
    every = {n: _part(n, c.type, rows.column(n), n in hidden) for n, c in table.columns.items()}
    out = np.arange(rows.num_rows) % HELD == HELD - 1
    keys: dict[str, Floats] = {}
    if given:
        listed = ", ".join(map(quoted, given))
        found = warehouse.query(f"SELECT {listed} FROM {built} AS t ORDER BY hash(row({listed}))")
        for name in given:
            part = _part(name, table.columns[name].type, found.column(name), False)
            keys[name] = part.x
            every[name] = _with_labels(every[name], part)
    return Real(
        count, hidden,
        {n: _rows(p, ~out) for n, p in every.items()},
        {n: _rows(p, out) for n, p in every.items()},
        keys,
    )  # fmt: skip


def _with_labels(sampled: Part, whole: Part) -> Part:
    """The sample's column with the codes of the whole one."""
    if not whole.labels:
        return sampled
    at = {label: code for code, label in enumerate(whole.labels)}
    codes = np.array([at[label] for label in sampled.labels] or [0], np.float64)
    x = np.where(np.isnan(sampled.x), np.nan, codes[np.nan_to_num(sampled.x).astype(np.int64)])
    return Part(sampled.name, sampled.kind, x, whole.labels, sampled.classified)


def _rows(part: Part, which: Any) -> Part:
    return Part(part.name, part.kind, part.x[which], part.labels, part.classified)


def _part(name: str, type: ColumnType, column: Any, classified: bool) -> Part:
    """Times in seconds, texts and booleans as codes of their sorted values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if type in ("integer", "double"):
        x = pc.fill_null(column.cast("float64"), float("nan")).to_numpy()
        return Part(name, _KINDS[type], np.asarray(x, np.float64), (), classified)
    if type in ("date", "timestamp"):
        micros = column.cast(pa.timestamp("us")).cast("int64")
        x = pc.fill_null(micros.cast("float64"), float("nan")).to_numpy() / _MICRO
        return Part(name, _KINDS[type], np.asarray(x, np.float64), (), classified)
    values = column.cast("string")
    labels = sorted({v for v in values.unique().to_pylist() if v is not None})
    codes = pc.index_in(values, value_set=pa.array(labels, pa.string())).cast("float64")
    x = pc.fill_null(codes, float("nan")).to_numpy()
    return Part(name, "label", np.asarray(x, np.float64), tuple(labels), classified)


def arrow(values: Any, type: ColumnType) -> Any:
    """Numbers of `Part`, or a list of texts, as a column of the contract's type."""
    import pyarrow as pa

    if isinstance(values, list):
        if type == "boolean":
            values = [None if v is None else v == "true" for v in values]
        kind = {"integer": pa.int64(), "boolean": pa.bool_()}.get(type, pa.string())
        return pa.array(values, kind)
    gone = np.isnan(values)
    if type == "double":
        return pa.array(values, pa.float64(), mask=gone)
    whole = np.round(np.nan_to_num(values) * (_MICRO if type in ("date", "timestamp") else 1))
    made = pa.array(whole.astype(np.int64), pa.int64(), mask=gone)
    if type in ("date", "timestamp"):
        made = made.cast(pa.timestamp("us"))
    return made.cast(pa.date32()) if type == "date" else made
