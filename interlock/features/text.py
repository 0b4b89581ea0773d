"""DuckDB's SQL text made from values: names, instants, types, and when two values differ.

What runs on every engine is written with a `Dialect`; profiles, comparisons, histograms and
replay are written with this, and run on DuckDB alone.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from interlock.define.definitions import ColumnType
from interlock.features.dialect import DUCKDB

SQL_TYPES = DUCKDB.types
TOLERANCE = 1e-9


def quoted(name: str) -> str:
    """`name` as an identifier; reserved words and odd letters are harmless."""
    return DUCKDB.quoted(name)


def address(name: str) -> str:
    """`schema.table` with each part quoted."""
    return ".".join(quoted(part) for part in name.split(".", 1))


def text(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("'", "''") + "'"


def instant(at: datetime) -> str:
    """A timestamp literal in UTC; a naive instant is refused, it could be any hour."""
    return DUCKDB.instant(at)


def duration(length: timedelta) -> str:
    """An exact length of time: microseconds, so that a day is 24 hours across any clock change."""
    return f"to_microseconds({length // timedelta(microseconds=1)})"


def literal(value: object) -> str:
    """One value that came out of the warehouse, as it goes back in; naive datetimes are UTC."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return f"'{value!r}'::DOUBLE"
        case datetime():
            return instant(value if value.tzinfo else value.replace(tzinfo=UTC))
        case date():
            return f"DATE '{value.isoformat()}'"
        case _:
            return text(str(value))


def differs(old: str, new: str, type: ColumnType) -> str:
    """True where two values are not the same; NULL equals NULL, NaN equals NaN.

    Doubles may differ by rounding: sums in another order are the same value.
    """
    distinct = f"{old} IS DISTINCT FROM {new}"
    if type != "double":
        return f"({distinct})"
    room = f"{TOLERANCE} * greatest(1.0, least(abs({old}), abs({new})))"
    near = f"isfinite({old}) AND isfinite({new}) AND abs({old} - {new}) <= {room}"
    return f"({distinct} AND NOT coalesce({near}, false))"
