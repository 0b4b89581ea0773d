"""Any view as JSON values: the `.json` twin of each page."""

from __future__ import annotations

import math
import sys
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from typing import Any


def iso(at: datetime) -> str:
    """`at` as a UTC instant with a Z."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def to_json(value: Any) -> Any:
    """A view as JSON values.

    JSON has no infinity: endless evidence becomes the largest float, because null would
    say "not measured". NaN is not measured.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    match value:
        case tuple() | list():
            return [to_json(item) for item in value]
        case datetime():
            return iso(value)
        case date():
            return value.isoformat()
        case float() if math.isnan(value):
            return None
        case float() if math.isinf(value):
            return math.copysign(sys.float_info.max, value)
    return value
