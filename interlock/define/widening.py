"""Which type holds every value of another: the lattice in which a contract may grow.

A wider type takes nothing from those who read; a narrower one, or one beside it, does.
What is not understood is beside everything but itself: unknown is never safe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from interlock.define.definitions import ColumnType

TypeChange = Literal["same", "wider", "narrower", "other"]
Family = Literal["boolean", "whole", "decimal", "float", "string", "date", "timestamp", "other"]


@dataclass(frozen=True)
class Exact:
    """A type by what it holds.

    `low` and `high` bound whole numbers. `digits` stand before the point of a decimal and
    `scale` behind it. `size`: bits of a float's mantissa, most letters of a text (None: no
    bound), digits of a second in a timestamp. `text` tells apart what is not understood.
    """

    family: Family
    low: int = 0
    high: int = 0
    digits: int = 0
    scale: int = 0
    size: int | None = None
    text: str = ""


def _whole(bits: int, signed: bool = True) -> Exact:
    low = -(2 ** (bits - 1)) if signed else 0
    return Exact("whole", low, 2 ** (bits - 1 if signed else bits) - 1)


_DAY, _SECONDS, _MICROS = Exact("date"), 0, 6
_BY_CONTRACT: Mapping[ColumnType, Exact] = {
    "boolean": Exact("boolean"), "integer": _whole(64), "double": Exact("float", size=53),
    "string": Exact("string"), "date": _DAY, "timestamp": Exact("timestamp", size=_MICROS),
    "other": Exact("other", text="other"),
}  # fmt: skip
_SIGNED = {
    8: "tinyint int1 int8_t i8", 16: "smallint int2 int16 i16", 32: "integer int int4 int32 i32",
    64: "bigint int8 int64 long i64", 128: "hugeint int128 i128",
}  # fmt: skip
_UNSIGNED = {
    8: "utinyint uint8 u8", 16: "usmallint uint16 u16", 32: "uinteger uint uint4 uint32 u32",
    64: "ubigint uint64 u64", 128: "uhugeint uint128 u128",
}  # fmt: skip
_NAMED: Mapping[str, Exact] = {
    **{name: _whole(bits) for bits, names in _SIGNED.items() for name in names.split()},
    **{name: _whole(bits, False) for bits, names in _UNSIGNED.items() for name in names.split()},
    **dict.fromkeys(["boolean", "bool", "logical"], Exact("boolean")),
    **dict.fromkeys(["real", "float4", "float32", "f32"], Exact("float", size=24)),
    **dict.fromkeys(
        ["double", "double precision", "float8", "float64", "f64"], Exact("float", size=53)
    ),
    "date": _DAY,
    "timestamp_s": Exact("timestamp", size=_SECONDS),
    "timestamp_ms": Exact("timestamp", size=3),
    **dict.fromkeys(
        ["timestamp", "datetime", "timestamp without time zone", "timestamp_ntz", "timestamp_us"],
        Exact("timestamp", size=_MICROS),
    ),
    **dict.fromkeys(
        ["timestamptz", "timestamp with time zone", "timestamp_tz"],
        Exact("timestamp", size=_MICROS, text="zone"),
    ),
    **dict.fromkeys(["varchar", "text", "string", "bpchar"], Exact("string")),
    "character varying": Exact("string"),
}  # `float` and nanoseconds are missing on purpose: engines disagree on what they hold
_SIZED = re.compile(r"([a-z_0-9 ]+?)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)\s*([a-z ]*)")
_CONTRACT: Mapping[Family, ColumnType] = {
    "boolean": "boolean", "whole": "integer", "decimal": "double", "float": "double",
    "string": "string", "date": "date", "timestamp": "timestamp", "other": "other",
}  # fmt: skip


def exact(type: ColumnType, physical: str | None = None) -> Exact:
    """What a column holds: by its engine's own type when that is named."""
    return parse_type(physical) if physical else _BY_CONTRACT[type]


def contract_type(physical: str) -> ColumnType:
    """The contract type that goes with an engine's own; `other` when none does."""
    return _CONTRACT[parse_type(physical).family]


def parse_type(physical: str) -> Exact:
    """`DECIMAL(10, 2)`, `varchar(20)`, `BIGINT`, ...; anything else stands for itself."""
    text = re.sub(r"\s+", " ", physical.strip().lower())
    named = _NAMED.get(text)
    if named is not None:
        return named
    hit = _SIZED.fullmatch(text)
    return (_sized(hit, text) if hit else None) or Exact("other", text=text)


def _sized(hit: re.Match[str], text: str) -> Exact | None:
    name, size, scale = hit[1], int(hit[2]), int(hit[3] or 0)
    if name in ("decimal", "numeric", "number") and not hit[4] and scale <= size:
        return Exact("decimal", digits=size - scale, scale=scale)
    if name in ("varchar", "character varying", "text", "string") and not hit[3] and not hit[4]:
        return Exact("string", size=size)
    if name in ("timestamp", "datetime") and size <= _MICROS:
        plain = _NAMED.get(f"{name} {hit[4]}".strip())
        return Exact("timestamp", size=size, text=plain.text) if plain else None
    return None


def type_change(old: Exact, new: Exact) -> TypeChange:
    """What `new` is to those who relied on `old`."""
    if old == new:
        return "same"
    if holds(new, old):
        return "wider"
    return "narrower" if holds(old, new) else "other"


def holds(wide: Exact, narrow: Exact) -> bool:
    """Whether every value of `narrow` is, unchanged, a value of `wide`."""
    if wide == narrow:
        return True
    match (wide.family, narrow.family):
        case ("whole", "whole"):
            return wide.low <= narrow.low and narrow.high <= wide.high
        case ("decimal", "whole"):
            return bool(10**wide.digits > max(-narrow.low, narrow.high))
        case ("float", "whole"):
            return bool(2 ** (wide.size or 0) >= max(-narrow.low, narrow.high))
        case ("decimal", "decimal"):
            return wide.digits >= narrow.digits and wide.scale >= narrow.scale
        case ("float", "decimal"):  # 0.1 is no binary fraction
            return bool(not narrow.scale and 2 ** (wide.size or 0) >= 10**narrow.digits)
        case ("float", "float"):
            return (wide.size or 0) >= (narrow.size or 0)
        case ("string", "string"):
            return wide.size is None or (narrow.size is not None and wide.size >= narrow.size)
        case ("timestamp", "timestamp"):
            return wide.text == narrow.text and (wide.size or 0) >= (narrow.size or 0)
        case ("timestamp", "date"):  # midnight; with a zone it would be somebody's midnight
            return not wide.text
        case ("whole", "decimal"):
            low, high = 1 - 10**narrow.digits, 10**narrow.digits - 1
            return not narrow.scale and wide.low <= low and high <= wide.high
    return False
