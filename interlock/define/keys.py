"""Entity key text: offline builds, the online store and gateways must write the same one.

Values are joined with `|`; a backslash stands before every `|` and backslash inside a
value, so that ("1|2",) and ("1", "2") stay two keys. A NULL anywhere means no key.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime

from interlock.errors import Unusable


def entity_key(values: Sequence[object]) -> str | None:
    """The key of one row, or None if a value is NULL (then there is nothing to look up).

    >>> entity_key(["UA", 15, "EWR"])
    'UA|15|EWR'
    """
    parts = [part for value in values if (part := key_part(value)) is not None]
    return "|".join(parts) if len(parts) == len(values) else None


def entity_keys(columns: Sequence[Sequence[object]]) -> list[str | None]:
    """The keys of many rows given as columns of equal length; equal to `entity_key` row by row."""
    return join_parts([key_parts(column) for column in columns])


def join_parts(parts: Sequence[list[str | None]]) -> list[str | None]:
    """Keys from columns of parts: a caller with many views makes each column text only once."""
    if len(parts) == 1:
        return parts[0]
    if any(None in column for column in parts):
        return [None if None in row else "|".join(row) for row in zip(*parts, strict=True)]
    return list(map("|".join, zip(*parts, strict=True)))


def key_parts(column: Sequence[object]) -> list[str | None]:
    """`key_part` of every value."""
    kinds = set(map(type, column))
    if kinds == {int}:
        return list(map(str, column))
    if kinds == {str}:
        texts: list[str] = column  # type: ignore[assignment]  # all of it is text
        together = "".join(texts)
        if "|" not in together and "\\" not in together:
            return list(texts)
    return list(map(key_part, column))


def key_part(value: object) -> str | None:
    """One value as text: integers in decimal, instants as ISO in UTC, NULL and NaN as None.

    A naive datetime is UTC, because that is what a plain TIMESTAMP is inside the engines.
    """
    match value:
        case None:
            return None
        case str():
            return value.replace("\\", "\\\\").replace("|", "\\|")
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case datetime():
            return instant_text(value)
        case date():
            return value.isoformat()
        case _:
            return _foreign(value)


def instant_text(value: datetime) -> str:
    """`2013-04-01T06:00:00Z`; a fraction of a second is kept when there is one."""
    if value.tzinfo is not None:
        value = value.astimezone(UTC)
    return value.replace(tzinfo=None).isoformat() + "Z"


def _foreign(value: object) -> str | None:
    """Values of numpy, integers that a nullable column turned into floats, and UUIDs."""
    known = sys.modules.get("uuid")  # slow to import, and nobody has a UUID without it
    if known is not None and isinstance(value, known.UUID):
        return str(value)
    unboxed = getattr(value, "item", lambda: value)()
    if type(unboxed) is not type(value):
        return key_part(unboxed)
    if isinstance(unboxed, float):
        if unboxed != unboxed:
            return None
        if unboxed.is_integer():
            return str(int(unboxed))
    raise Unusable(
        f"{value!r} cannot be part of an entity key",
        help="keys are text, whole numbers, booleans, dates, instants and UUIDs",
    )
