"""What a table holds, and whether it keeps its contract: all of it in one aggregate query.

Counts add: profiles of days, slices or replicas over one frozen frame are merged into the
profile of the whole, which is what makes them worth keeping. The queries are DuckDB's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import reduce
from math import isfinite
from typing import Any

from interlock.define.definitions import Column, Table
from interlock.features.histogram import bin_counts, binned, freeze, quantiles
from interlock.features.text import quoted, text

BINS = 20
VALUES = 20
_NUMBERS = ("boolean", "integer", "double")


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


def frame_sql(table: Table, built: str, bins: int = BINS) -> str | None:
    """One row from which a frame is frozen; None when no column can have one."""
    parts = [
        f"{quantiles(f'{quoted(name)}::DOUBLE', bins)} AS {quoted(name)}"
        for name in _kind(table, _NUMBERS)
    ]
    parts += [
        f"approx_top_k({quoted(name)}, {VALUES}) AS {quoted(name)}"
        for name in _kind(table, ("string",))
    ]
    return f"SELECT {', '.join(parts)} FROM {built} AS t" if parts else None


def read_frame(table: Table, row: Mapping[str, Any]) -> Frame:
    """The answer of `frame_sql`. The empty text has no place of its own: it is among the others."""
    edges = freeze({name: row[name] for name in _kind(table, _NUMBERS)})
    values = {
        name: tuple(sorted(v for v in row[name] or () if v)) for name in _kind(table, ("string",))
    }
    return Frame(edges, values)


def profile_sql(table: Table, built: str, frame: Frame | None = None, by: str | None = None) -> str:
    """One row about the rows of `table` stored in `built`, or one per value of the column `by`.

    As in a SQL CHECK, a condition that is NULL is not broken: whether values may be
    missing is said by `nullable`, once.
    """
    parts = [f"count(*) AS {quoted('__rows')}"]
    parts += [
        f"struct_pack({', '.join(_asked(name, column, frame or Frame()))}) AS {quoted(name)}"
        for name, column in table.columns.items()
    ]
    for label, stamp in (("__event", table.event_time), ("__available", table.available_at)):
        newest = f"CAST(max({quoted(stamp)}) AS TIMESTAMP)" if stamp else "NULL::TIMESTAMP"
        parts.append(f"{newest} AS {quoted(label)}")
    if stamp := table.available_at or table.event_time:
        parts.append(f"histogram(CAST({quoted(stamp)} AS DATE)) AS {quoted('__days')}")
    parts += [
        f"count(*) FILTER (WHERE NOT ({check.sql})) AS {quoted(f'check:{check.name}')}"
        for check in table.checks
    ]
    if by is not None:
        each = f"CAST({quoted(by)} AS VARCHAR) AS {quoted('__slice')}"
        return f"SELECT {each}, {', '.join(parts)} FROM {built} AS t GROUP BY 1"
    parts += [f"{sql} AS {quoted(f'repeated:{name}')}" for name, sql in _repeats(table)]
    return f"SELECT {', '.join(parts)} FROM {built} AS t"


def read_profile(table: Table, row: Mapping[str, Any], frame: Frame | None = None) -> TableProfile:
    """One row of `profile_sql`; its instants are UTC."""
    keys = [name for name, _ in _repeats(table)]
    whole = all(f"repeated:{name}" in row for name in keys)
    return TableProfile(
        row["__rows"],
        {name: _column(name, row[name], frame or Frame()) for name in table.columns},
        _utc(row["__event"]),
        _utc(row["__available"]),
        {check.name: int(row[f"check:{check.name}"]) for check in table.checks},
        {name: int(row[f"repeated:{name}"]) for name in keys} if whole else None,
        {day: int(n) for day, n in row.get("__days") or () if day is not None},
    )


def merged(parts: Sequence[TableProfile]) -> TableProfile:
    """Parts that share no row, profiled over one frame, as one."""
    return reduce(_both, parts)


# --- what is asked of a column ------------------------------------------------------


def _asked(name: str, column: Column, frame: Frame) -> Iterable[str]:
    value = quoted(name)
    yield f"nulls := count(*) - count({value})"
    if column.type == "other":
        return
    yield f"distinct_ := approx_count_distinct({value})"
    if column.classification == "sensitive":
        return  # what is kept and shown holds no value of it
    if column.type != "string":  # the first text of the alphabet says nothing but itself
        yield f"low := min({value})"
        yield f"high := max({value})"
    if (edges := frame.edges.get(name)) is not None:
        yield f"bins := {binned(name, edges)}"
    if kept := frame.values.get(name):
        yield f"seen := histogram_exact({value}, [{', '.join(map(text, kept))}])"


def _kind(table: Table, types: Sequence[str]) -> list[str]:
    """Columns of these types that may be looked into; of a key every value is another."""
    return [
        name
        for name, column in table.columns.items()
        if column.type in types and column.classification != "sensitive" and table.key != (name,)
    ]


def _repeats(table: Table) -> list[tuple[str, str]]:
    """What must not repeat, with the SQL that counts the rows that do; `key` is the whole key."""
    found = []
    if table.key:
        packed = ", ".join(f"{quoted(name)} := {quoted(name)}" for name in table.key)
        found.append(("key", f"count(*) - count(DISTINCT struct_pack({packed}))"))
    for name, column in table.columns.items():
        if column.unique and table.key != (name,):
            found.append((name, f"count({quoted(name)}) - count(DISTINCT {quoted(name)})"))
    return found


def _column(name: str, seen: Mapping[str, Any], frame: Frame) -> ColumnProfile:
    edges, values = frame.edges.get(name), frame.values.get(name)
    # Of no row at all the engine returns no histogram: then every count is zero.
    found = dict(seen.get("seen") or ())
    return ColumnProfile(
        int(seen["nulls"]),
        seen.get("low"),
        seen.get("high"),
        seen.get("distinct_"),
        bin_counts(seen["bins"], edges) if edges is not None and "bins" in seen else None,
        {v: int(found.get(v, 0)) for v in (*values, "")} if values and "seen" in seen else None,
    )


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
