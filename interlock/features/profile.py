"""What a table holds, and whether it keeps its contract: all of it in one aggregate query.

Counts add: profiles of days, slices or replicas over one frozen frame are merged into the
profile of the whole, which is what makes them worth keeping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import reduce
from math import isfinite
from typing import Any

from interlock.define.definitions import Column, Table
from interlock.features.dialect import DUCKDB, Dialect
from interlock.features.histogram import bin_counts, binned, freeze, placed_once, placing, quantiles
from interlock.features.tally import Rows, frequent, places, read_places, read_values, values
from interlock.impact.sql import expression

BINS = 20
VALUES = 20
_NUMBERS = ("boolean", "integer", "double")
_DAYS = 100_000  # more than any two days of a table lie apart


@dataclass(frozen=True)
class Frame:
    """What is frozen, so that profiles of different days can be laid on one another.

    `edges` of columns that are numbers, the most frequent `values` of those that are texts.
    """

    edges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {name: {n: list(v) for n, v in kept.items()} for name, kept in vars(self).items()}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Frame:
        return cls(**{name: {n: tuple(v) for n, v in kept.items()} for name, kept in body.items()})


@dataclass(frozen=True)
class ColumnProfile:
    """One column: how much is missing, between what it lies, and where.

    `distinct` is an estimate, and None for a merged profile: values of two parts may be the
    same. `bins` are rows as `histogram.bin_counts` puts them; `values` rows per frozen
    value, every other value under the empty text. None: not measured.
    """

    nulls: int
    low: Any = None
    high: Any = None
    distinct: int | None = None
    bins: tuple[int, ...] | None = None
    values: Mapping[str, int] | None = None

    @property
    def zeros(self) -> int | None:
        return self.bins[1] if self.bins else None

    def to_json(self) -> dict[str, Any]:
        ends = {"low": _plain(self.low), "high": _plain(self.high)}
        return {**vars(self), **ends, "bins": list(self.bins) if self.bins else None}


@dataclass(frozen=True)
class TableProfile:
    """One table, or a part of it; the two instants are those of its newest row.

    `broken` counts, by check, the rows that do not satisfy it; `repeated` by key the rows
    that repeat it, which no part can tell of the whole: None there. `days` are rows per UTC
    day of when they became available, or of their event.
    """

    rows: int
    columns: Mapping[str, ColumnProfile]
    newest_event: datetime | None
    newest_available: datetime | None
    broken: Mapping[str, int] = field(default_factory=dict)
    repeated: Mapping[str, int] | None = None
    days: Mapping[date, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "columns": {name: seen.to_json() for name, seen in self.columns.items()},
            "newest_event": _plain(self.newest_event),
            "newest_available": _plain(self.newest_available),
            "days": {day.isoformat(): rows for day, rows in sorted(self.days.items())},
        }


def frame_sql(table: Table, built: str, bins: int = BINS, dialect: Dialect = DUCKDB) -> str | None:
    """One row from which a frame is frozen; None when no column can have one."""
    q, rows = dialect.quoted, Rows(built, "t")
    parts = [
        f"{quantiles(_number(table, name, dialect), bins, dialect)} AS {q(name)}"
        for name in _kind(table, _NUMBERS)
    ]
    parts += [
        f"{frequent(q(name), VALUES, rows, dialect)} AS {q(name)}"
        for name in _kind(table, ("string",))
    ]
    return f"SELECT {', '.join(parts)} FROM {built} AS t" if parts else None


def _number(table: Table, name: str, dialect: Dialect) -> str:
    return dialect.number(dialect.quoted(name), table.columns[name].type)


def read_frame(table: Table, row: Mapping[str, Any]) -> Frame:
    """The answer of `frame_sql`. The empty text has no place of its own: it is among the others."""
    edges = freeze({name: row[name] for name in _kind(table, _NUMBERS)})
    values = {
        name: tuple(sorted(v for v in row[name] or () if v)) for name in _kind(table, ("string",))
    }
    return Frame(edges, values)


def profile_sql(
    table: Table,
    built: str,
    frame: Frame | None = None,
    by: str | None = None,
    dialect: Dialect = DUCKDB,
) -> str:
    """One row about the rows of `table` stored in `built`, or one per value of the column `by`.

    As in a SQL CHECK, a condition that is NULL is not broken: whether values may be
    missing is said by `nullable`, once.
    """
    q, frame = dialect.quoted, frame or Frame()
    rows = Rows("r", "t", "__slice" if by is not None else "")
    parts = ["count(*) AS __rows"]
    for i, (name, column) in enumerate(table.columns.items()):
        asked = _asked(name, column, frame, dialect)
        parts += [f"{value} AS c{i}_{key}" for key, value in asked.items()]
    for label, stamp in (("__event", table.event_time), ("__available", table.available_at)):
        newest = f"max({q(stamp)})" if stamp else "NULL"
        parts.append(f"{dialect.cast(newest, 'timestamp')} AS {label}")
    if stamp := table.available_at or table.event_time:
        day = dialect.cast(q(stamp), "date")
        parts.append(f"{values(day, _DAYS, rows, dialect)} AS __days")
    parts += [
        f"{dialect.among('count', '1', f'NOT ({kept})')} AS broken{i}"
        for i, check in enumerate(table.checks)
        for kept in [expression(check.sql, dialect.name)]
    ]
    source = _source(table, built, frame, by, dialect)
    if by is not None:
        return f"{source} SELECT __slice, {', '.join(parts)} FROM r AS t GROUP BY __slice"
    repeats = _repeats(table, dialect)
    parts += [f"{sql} AS repeated{i}" for i, (_, sql) in enumerate(repeats)]
    return f"{source} SELECT {', '.join(parts)} FROM r AS t"


def _source(table: Table, built: str, frame: Frame, by: str | None, dialect: Dialect) -> str:
    """The rows, with their slice, and with their places in the frame where they are needed."""
    q, own = dialect.quoted, list[str]()
    if by is not None:
        own.append(f"{dialect.cast(f't.{q(by)}', 'string')} AS __slice")
    if dialect.tally != "histogram":
        own += [f"{_value_place(name, kept, dialect)} AS __v{i}"
                for i, (name, kept) in enumerate(frame.values.items())]  # fmt: skip
    numbers = {name: _number(table, name, dialect) for name in frame.edges}
    relation = placing(built, numbers, frame.edges, dialect) if numbers else built
    return f"WITH r {placed_once(dialect)} (SELECT {', '.join(['t.*', *own])} FROM {relation} AS t)"


def _value_place(name: str, kept: Sequence[str], dialect: Dialect) -> str:
    value = f"t.{dialect.quoted(name)}"
    whens = " ".join(
        f"WHEN {value} = {dialect.text(one)} THEN {at}" for at, one in enumerate(kept, start=2)
    )
    return f"CASE WHEN {value} IS NULL THEN 0 {whens} ELSE 1 END"


def read_profile(table: Table, row: Mapping[str, Any], frame: Frame | None = None) -> TableProfile:
    """One row of `profile_sql`; its instants are UTC."""
    keys = [name for name, _ in _repeats(table)]
    frame = frame or Frame()
    return TableProfile(
        row["__rows"],
        {name: _column(row, i, name, frame) for i, name in enumerate(table.columns)},
        _utc(row["__event"]),
        _utc(row["__available"]),
        {check.name: int(row[f"broken{i}"]) for i, check in enumerate(table.checks)},
        {name: int(row[f"repeated{i}"]) for i, name in enumerate(keys)}
        if all(f"repeated{i}" in row for i in range(len(keys)))
        else None,
        {_day(day): n for day, n in read_values(row.get("__days")).items()},
    )


def _day(day: date | str) -> date:
    return day if isinstance(day, date) else date.fromisoformat(day)


def merged(parts: Sequence[TableProfile]) -> TableProfile:
    """Parts that share no row, profiled over one frame, as one."""
    return reduce(_both, parts)


# --- what is asked of a column ------------------------------------------------------


def _asked(name: str, column: Column, frame: Frame, dialect: Dialect) -> dict[str, str]:
    value = dialect.quoted(name)
    asked = {"nulls": f"count(*) - count({value})"}
    if column.type == "other":
        return asked
    asked["distinct"] = dialect.distinct.format(x=value)
    if column.classification == "sensitive":
        return asked  # what is kept and shown holds no value of it
    if column.type != "string":  # the first text of the alphabet says nothing but itself
        ends = ("bool_and", "bool_or") if column.type == "boolean" else ("min", "max")
        asked |= {"low": f"{ends[0]}({value})", "high": f"{ends[1]}({value})"}
    if (edges := frame.edges.get(name)) is not None:
        asked["bins"] = binned(name, edges, dialect)
    if kept := frame.values.get(name):
        asked["seen"] = _seen_sql(name, frame, kept, dialect)
    return asked


def _seen_sql(name: str, frame: Frame, kept: Sequence[str], dialect: Dialect) -> str:
    if dialect.tally == "histogram":
        listed = ", ".join(map(dialect.text, kept))
        return f"histogram_exact({dialect.quoted(name)}, [{listed}])"
    return places(f"__v{list(frame.values).index(name)}", len(kept) + 2, dialect)


def _kind(table: Table, types: Sequence[str]) -> list[str]:
    """Columns of these types that may be looked into; of a key every value is another."""
    return [
        name
        for name, column in table.columns.items()
        if column.type in types and column.classification != "sensitive" and table.key != (name,)
    ]


def _repeats(table: Table, dialect: Dialect = DUCKDB) -> list[tuple[str, str]]:
    """What must not repeat, with the SQL that counts the rows that do; `key` is the whole key."""
    q, found = dialect.quoted, []
    if table.key:
        packed = dialect.row.format(items=", ".join(map(q, table.key)))
        found.append(("key", f"count(*) - {_distinct(packed, dialect)}"))
    for name, column in table.columns.items():
        if column.unique and table.key != (name,):
            found.append((name, f"count({q(name)}) - {_distinct(q(name), dialect)}"))
    return found


def _distinct(value: str, dialect: Dialect) -> str:
    counted = f"count(DISTINCT {value})"
    return f"(SELECT {counted} FROM r AS b)" if dialect.apart else counted


def _column(row: Mapping[str, Any], at: int, name: str, frame: Frame) -> ColumnProfile:
    edges, kept = frame.edges.get(name), frame.values.get(name)
    bins, seen = row.get(f"c{at}_bins"), f"c{at}_seen"
    return ColumnProfile(
        int(row[f"c{at}_nulls"]),
        row.get(f"c{at}_low"),
        row.get(f"c{at}_high"),
        row.get(f"c{at}_distinct"),
        bin_counts(bins, edges) if edges is not None and f"c{at}_bins" in row else None,
        _read_seen(row[seen], kept) if kept and seen in row else None,
    )


def _read_seen(found: Any, kept: Sequence[str]) -> dict[str, int]:
    """Rows by frozen value; every other value stands under the empty text."""
    # Of no row at all an engine may return no histogram: then every count is zero.
    if found and isinstance(found[0], tuple):
        counts = dict(found)
        return {v: int(counts.get(v, 0)) for v in (*kept, "")}
    by_place = read_places(found, len(kept) + 2)
    return dict(zip((*kept, ""), (*by_place[2:], by_place[1]), strict=True))


# --- adding -------------------------------------------------------------------------


def _both(one: TableProfile, other: TableProfile) -> TableProfile:
    return TableProfile(
        one.rows + other.rows,
        {name: _columns(seen, other.columns[name]) for name, seen in one.columns.items()},
        _end(max, one.newest_event, other.newest_event),
        _end(max, one.newest_available, other.newest_available),
        _added(one.broken, other.broken),
        None,
        _added(one.days, other.days),
    )


def _columns(one: ColumnProfile, other: ColumnProfile) -> ColumnProfile:
    bins = values = None
    if one.bins is not None and other.bins is not None:
        bins = tuple(a + b for a, b in zip(one.bins, other.bins, strict=True))
    if one.values is not None and other.values is not None:
        values = _added(one.values, other.values)
    low, high = _end(min, one.low, other.low), _end(max, one.high, other.high)
    return ColumnProfile(one.nulls + other.nulls, low, high, None, bins, values)


def _added(one: Mapping[Any, int], other: Mapping[Any, int]) -> dict[Any, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}


def _end(which: Any, one: Any, other: Any) -> Any:
    """The lower or higher of two ends, either of which may be unknown; NaN is above all."""
    if one is None or other is None:
        return other if one is None else one
    nan = [end for end in (one, other) if end != end]
    if nan:
        plain = [end for end in (one, other) if end == end]
        return nan[0] if which is max or not plain else plain[0]
    return which(one, other)


def _plain(value: Any) -> Any:
    """A value as JSON holds it; what is not a finite number is its name."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    number = float(value) if isinstance(value, float | Decimal) else None
    return number if number is not None and isfinite(number) else str(value)


def _utc(value: datetime | None) -> datetime | None:
    return value.replace(tzinfo=UTC) if value else None
