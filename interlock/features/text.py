"""SQL text made from values: names, instants, durations, types, and when two values differ."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from interlock.define.definitions import ColumnType
from interlock.errors import Unusable

SQL_TYPES: Mapping[ColumnType, str] = {
    "boolean": "BOOLEAN",
    "integer": "BIGINT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}
TOLERANCE = 1e-9
# Longer durations would carry a timestamp past what the engine can hold; in 200,000
# years nothing has expired anyway.
_LONGEST = timedelta(days=73_000_000)


def quoted(name: str) -> str:
    """`name` as an identifier; reserved words and odd letters are harmless."""
    return '"' + name.replace('"', '""') + '"'


def address(name: str) -> str:
    """`schema.table` with each part quoted."""
    return ".".join(quoted(part) for part in name.split(".", 1))


def text(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("'", "''") + "'"


def instant(at: datetime) -> str:
    """A timestamp literal in UTC; a naive instant is refused, it could be any hour."""
    if at.tzinfo is None:
        raise Unusable(f"{at.isoformat()} has no zone", help="pass an aware UTC instant")
    plain = at.astimezone(UTC).replace(tzinfo=None)
    return f"TIMESTAMP '{plain.isoformat(sep=' ', timespec='microseconds')}'"


def duration(length: timedelta) -> str:
    """An exact length of time: microseconds, so that a day is 24 hours across any clock change."""
    return f"to_microseconds({min(length, _LONGEST) // timedelta(microseconds=1)})"


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


def as_utc(expression: str) -> str:
    """`expression` as a plain UTC timestamp, never earlier than it was.

    Nanoseconds are rounded up: cut to the microsecond, a row would be seen before it existed.
    """
    plain = f"CAST({expression} AS TIMESTAMP)"
    return f"CASE WHEN {plain} < {expression} THEN {plain} + to_microseconds(1) ELSE {plain} END"


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
