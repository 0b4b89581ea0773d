"""Is what was sent what the model takes? Every refusal names the input and what was expected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from math import inf, isfinite
from types import MappingProxyType, NoneType
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


# What a warehouse's whole numbers hold: a larger one could be answered, and never be counted.
_MOST = MappingProxyType({"integer": 2**63 - 1})


def _fits_alone(value: object, holds: frozenset[type], most: float) -> bool:
    kind = type(value)
    if kind is int:
        return int in holds and value <= most  # type: ignore[operator]  # an int
    return kind in holds and (kind is not float or isfinite(value))  # type: ignore[arg-type]


class Signature:
    """What requests for one model may send and must, worked out once.

    `types` are the declared column types by name, `required` names without which nothing
    can be answered.
    """

    def __init__(self, types: Mapping[str, str], required: Sequence[str]) -> None:
        self.types = types
        self.required = tuple(required)
        self._must = frozenset(required)
        self._fits = {
            (name, datatype): (
                name,
                _HOLDS[datatype],
                _TEXTS.get(declared),
                _MOST.get(declared, inf),
            )
            for name, declared in types.items()
            for datatype in _ACCEPTS[declared]
        }

    def columns(self, sent: Mapping[str, Sent]) -> dict[str, Sequence[object]]:
        """The columns of a request, instants in their one text form; raises `Unusable`.

        A value may be null: that is a missing value.
        """
        if not self._must <= sent.keys():
            name = next(name for name in self.required if name not in sent)
            said = ", ".join(self.required)
            raise Unusable(f"input {name!r} is missing; required: {said}")
        out: dict[str, Sequence[object]] = {}
        for name, (datatype, data) in sent.items():
            fit = self._fits.get((name, datatype))
            if fit is None:
                raise self._unfit(name, datatype)
            # The declared name is one object: what is looked up by it later is found at once.
            own, holds, text, most = fit
            if text is None and len(data) == 1 and _fits_alone(data[0], holds, most):
                out[own] = data  # of requests with one row this is nearly every column
                continue
            held = set(map(type, data))
            if not held <= holds:
                odd = next(iter(held - holds)).__name__
                raise Unusable(f"input {name!r} says {datatype} but holds a value of type {odd}")
            numbers = [v for v in data if v is not None] if NoneType in held else data
            if float in held and not all(map(isfinite, numbers)):  # type: ignore[arg-type]  # floats, as `held` says
                raise Unusable(
                    f"input {name!r} holds a value that is not finite; send null for missing"
                )
            if most < inf and max(numbers, default=0) > most:  # type: ignore[type-var,operator]  # ints
                raise Unusable(f"input {name!r} holds a number larger than {most}")
            out[own] = data if text is None else [v if v is None else text(v, name) for v in data]
        return out

    def _unfit(self, name: str, datatype: str) -> Unusable:
        declared = self.types.get(name)
        if declared is None:
            return Unusable(f"unknown input {name!r}; known: {', '.join(self.types)}")
        wanted = {"double": "FP64", "integer": "INT64"}.get(declared, min(_ACCEPTS[declared]))
        return Unusable(f"input {name!r} is {declared}: send datatype {wanted}, not {datatype}")


def instant(text: str, name: str) -> datetime:
    """An aware instant from ISO text; a text without a zone is refused, not guessed."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Unusable(f"{name!r}: {text!r} is not an ISO 8601 instant") from error
    if found.tzinfo is None:
        raise Unusable(f"{name!r}: {text!r} has no time zone; write 2013-04-01T06:00:00Z")
    try:
        return found.astimezone(UTC)
    except OverflowError as error:
        raise Unusable(f"{name!r}: {text!r} is no instant of the years 1 to 9999 UTC") from error


def _day(text: object, name: str) -> str:
    try:
        return date.fromisoformat(str(text)).isoformat()
    except ValueError as error:
        raise Unusable(f"input {name!r}: {text!r} is not an ISO 8601 date") from error


def _moment(text: object, name: str) -> str:
    return instant_text(instant(str(text), name))


_TEXTS: Mapping[str, Callable[[object, str], str]] = MappingProxyType(
    {"timestamp": _moment, "date": _day}
)
