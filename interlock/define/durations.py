"""Durations as people write them: `90s`, `15m`, `2h`, `7d`; exact (a day is 24 hours)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def parse_duration(value: Any) -> timedelta:
    """`"36h"` -> timedelta; a timedelta stays itself. Raises ValueError saying what is expected."""
    if isinstance(value, timedelta):
        return value
    found = _TEXT.fullmatch(str(value).strip())
    if not found:
        raise ValueError(f"{value!r} is not a duration; write 90s, 15m, 2h, 7d or 4w")
    return timedelta(seconds=float(found[1]) * _SECONDS[found[2]])


def format_duration(value: timedelta) -> str:
    """The shortest exact text, in the largest unit that divides: 36 h -> '36h', 48 h -> '2d'."""
    seconds = value.total_seconds()
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{int(seconds // _SECONDS[unit])}{unit}"
    return f"{seconds:g}s"


Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration, return_type=str)
]
