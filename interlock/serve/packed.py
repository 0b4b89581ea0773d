"""The stored form of an online row: the same bytes in every store, so that they may be compared.

Little-endian doubles: event time, availability, tie-break, then the values. NULL is one
reserved NaN bit pattern that packing never produces for a real NaN, so a row has a fixed
width and reading is one unpack.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Iterable
from functools import lru_cache

from interlock.errors import Corrupt, Unusable
from interlock.ports import OnlineRow, Span

NULL = struct.pack("<Q", 0x7FF8_0000_494C_4E55)  # a quiet NaN whose payload spells ILNU
NAN = struct.pack("<d", math.nan)
HEAD = 24
LONGEST_KEY = 487  # LMDB takes 511 bytes, the view's prefix among them


@lru_cache(maxsize=256)
def _layout(size: int) -> struct.Struct:
    return struct.Struct(f"<{size // 8}d")


@lru_cache(maxsize=256)
def _reader(size: int) -> Callable[[bytes], tuple[float, ...]]:
    return _layout(size).unpack


def pack(row: OnlineRow) -> bytes:
    """The stored form of `row`; a row without a place in the order is refused."""
    event_time, values, available_at, tie = row
    if event_time != event_time or available_at != available_at or tie != tie:
        raise Unusable("an online row's event time, availability and tie-break are numbers")
    if None not in values and not any(v != v for v in values):
        return _layout(HEAD + 8 * len(values)).pack(event_time, available_at, tie, *values)
    parts = [NULL if v is None else NAN if v != v else struct.pack("<d", v) for v in values]
    return struct.pack("<3d", event_time, available_at, tie) + b"".join(parts)


@lru_cache(maxsize=1 << 15)
def unpack(data: bytes) -> OnlineRow:
    """The inverse of `pack`.

    Kept by content, so never out of date: most rows are asked for many times between writes.
    """
    try:
        numbers = _reader(len(data))(data)
        event_time, available_at, tie = numbers[:3]
    except (struct.error, ValueError) as broken:
        raise Corrupt(f"an online row of {len(data)} bytes cannot be read") from broken
    values: tuple[float | None, ...] = numbers[3:]
    if NULL in data:
        # The pattern may also straddle two values: only whole values are compared.
        cells = (data[at : at + 8] for at in range(HEAD, len(data), 8))
        values = tuple(None if cell == NULL else v for cell, v in zip(cells, values, strict=True))
    return OnlineRow(event_time, values, available_at, tie)


def unpack_all(found: Iterable[bytes | None]) -> list[OnlineRow | None]:
    """`unpack` of each row that is there."""
    return [None if data is None else unpack(data) for data in found]


def whole(found: list[bytes | None]) -> list[bytes | None]:
    """`found`, when each has the width of some row; raises `Corrupt`."""
    for size in {len(data) for data in found if data is not None}:
        if size < HEAD or size % 8:
            raise Corrupt(f"an online row of {size} bytes cannot be read")
    return found


def order(data: bytes) -> tuple[float, float, float]:
    """`OnlineRow.order` of a packed row."""
    event_time, available_at, tie = struct.unpack_from("<3d", data)
    return event_time, available_at, tie


def stored_key(view: str, key: str) -> bytes:
    """Twelve characters of the fingerprint, a separator, and the key (its hash when long)."""
    text = key.encode()
    if len(text) > LONGEST_KEY:
        return view[:12].encode() + b"\1" + hashlib.sha256(text).hexdigest().encode()
    return view[:12].encode() + b"\0" + text


def stored_keys(wanted: Iterable[tuple[str, str]]) -> list[bytes]:
    """`stored_key` of each (view, key), quickly."""
    return [
        # 487 bytes are at least 121 characters: shorter keys need no second look.
        f"{view[:12]}\0{key}".encode() if len(key) < 120 else stored_key(view, key)
        for view, key in wanted
    ]


def due(
    rows: Iterable[tuple[str, OnlineRow]], span: Span | None
) -> Iterable[tuple[str, OnlineRow]]:
    """`rows` without those stamped after the end of `span`."""
    if span is None:
        return rows
    until = span[1]
    return (pair for pair in rows if pair[1].event_time <= until)


def moved(stood: float | None, span: Span | None) -> float | None:
    """Where a watermark stands after `span` was written; None while it stands nowhere."""
    if span is None:
        return stood
    since, until = span
    reaches = since is None or (stood is not None and stood >= since)
    if not reaches:
        return stood
    return until if stood is None else max(stood, until)
