"""Is what was sent what the model takes? Every refusal names the input and what was expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from math import isfinite
from types import NoneType
from typing import NamedTuple
from zlib import crc32

from interlock.define.keys import instant_text
from interlock.errors import Unusable

_WHOLE = frozenset(("INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8"))
_ACCEPTS = {
    "integer": _WHOLE, "double": _WHOLE | {"FP64", "FP32"}, "string": frozenset(["BYTES"]),
    "timestamp": frozenset(["BYTES"]), "date": frozenset(["BYTES"]), "boolean": frozenset(["BOOL"]),
}  # fmt: skip
_HOLDS: dict[str, frozenset[type]] = {
    **{name: frozenset((int, NoneType)) for name in _WHOLE},
    "FP64": frozenset((float, int, NoneType)),
    "FP32": frozenset((float, int, NoneType)),
    "BYTES": frozenset((str, NoneType)),
    "BOOL": frozenset((bool, NoneType)),
}
DATATYPES = frozenset(_HOLDS)


class Sent(NamedTuple):
    """One input as it came: the protocol's datatype, and a value (or None) per row."""

    datatype: str
    data: list[object]


SAMPLED = 16


def sampled(key: object) -> bool:
    """Whether requests for `key` are logged with their columns, to be replayed: one key in 16.

    By key, not by chance: all requests of one key are in the sample, or none.
    """
    return crc32(str(key).encode()) % SAMPLED == 0


def checked(
    sent: Mapping[str, Sent], types: Mapping[str, str], required: Sequence[str]
) -> dict[str, Sequence[object]]:
    """The columns of a request, instants in their one text form; raises `Unusable`.

    `types` are the declared column types. A value may be null: that is a missing value.
    """
    for name in required:
        if name not in sent:
            raise Unusable(f"input {name!r} is missing; required: {', '.join(required)}")
    return {name: _column(name, one, types) for name, one in sent.items()}


def _column(name: str, sent: Sent, types: Mapping[str, str]) -> Sequence[object]:
    declared = types.get(name)
    if declared is None:
        raise Unusable(f"unknown input {name!r}; known: {', '.join(types)}")
    datatype, data = sent
    if datatype not in _ACCEPTS[declared]:
        wanted = "FP64" if declared == "double" else sorted(_ACCEPTS[declared])[0]
        wanted = "INT64" if declared == "integer" else wanted
        raise Unusable(f"input {name!r} is {declared}: send datatype {wanted}, not {datatype}")
    held = set(map(type, data))
    if not held <= _HOLDS[datatype]:
        odd = next(iter(held - _HOLDS[datatype])).__name__
        raise Unusable(f"input {name!r} says {datatype} but holds a value of type {odd}")
    if float in held and not all(isfinite(v) for v in data if v is not None):  # type: ignore[arg-type]  # floats, as `held` says
        raise Unusable(f"input {name!r} holds a value that is not finite; send null for missing")
    if declared == "timestamp":
        return [None if v is None else instant_text(instant(str(v), name)) for v in data]
    if declared == "date":
        return [None if v is None else _day(str(v), name) for v in data]
    return data


def instant(text: str, name: str) -> datetime:
    """An aware instant from ISO text; a text without a zone is refused, not guessed."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Unusable(f"{name!r}: {text!r} is not an ISO 8601 instant") from error
    if found.tzinfo is None:
        raise Unusable(f"{name!r}: {text!r} has no time zone; write 2013-04-01T06:00:00Z")
    return found


def _day(text: str, name: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise Unusable(f"input {name!r}: {text!r} is not an ISO 8601 date") from error
