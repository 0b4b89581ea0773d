"""SQL text made from values for the embedded engine, and when two values differ on any.

What runs on every engine is written with a `Dialect`; where something runs on DuckDB alone,
it says so and is written with the short names of this module.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from interlock.define.definitions import ColumnType
from interlock.features.dialect import DUCKDB, Dialect

SQL_TYPES = DUCKDB.types
TOLERANCE = 1e-9
# Beyond it, a difference of two doubles may leave their range: these must be equal.
_LARGEST = 1e300


def quoted(name: str) -> str:
    """`name` as an identifier; reserved words and odd letters are harmless."""
    return DUCKDB.quoted(name)


def address(name: str) -> str:
    """`schema.table` with each part quoted."""
    return DUCKDB.address(name)


def text(value: str) -> str:
    """A string literal."""
    return DUCKDB.text(value)


def instant(at: datetime) -> str:
    """A timestamp literal in UTC; a naive instant is refused, it could be any hour."""
    return DUCKDB.instant(at)


def duration(length: timedelta) -> str:
    """An exact length of time: microseconds, so that a day is 24 hours across any clock change."""
    return f"to_microseconds({length // timedelta(microseconds=1)})"


def differs(old: str, new: str, type: ColumnType, dialect: Dialect = DUCKDB) -> str:
    """True where two values are not the same; NULL equals NULL, NaN equals NaN.

    Doubles may differ by rounding: sums in another order are the same value.
    """
    distinct = f"{old} IS DISTINCT FROM {new}"
    if type != "double":
        return f"({distinct})"
    a, b = (dialect.cast(value, "double") for value in (old, new))
    room = f"{TOLERANCE} * greatest(1.0, least(abs({a}), abs({b})))"
    # In order: an engine may say that a difference is out of range rather than infinite.
    near = (
        f"CASE WHEN abs({a}) < {_LARGEST!r} AND abs({b}) < {_LARGEST!r} "
        f"THEN abs({a} - {b}) <= {room} ELSE false END"
    )
    return f"({distinct} AND NOT {near})"
