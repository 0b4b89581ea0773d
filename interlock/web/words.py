"""Numbers, instants and addresses as people read them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

ABSENT = "–"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None) -> str:
    """Four significant digits; a dash for what was not measured, never a zero."""
    if value is None or math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size >= 1e7 or 0 < size < 1e-4:
        digits, power = f"{value:.1e}".split("e")
        return f"{digits} × 10{str(int(power)).translate(_RAISED)}".replace("-", "−")
    whole = size >= 1000 or float(value).is_integer()
    # 0.99998 of the rows is not all of the rows.
    text = f"{value:,.0f}" if whole else f"{value:.6g}" if 0.999 < size < 1 else f"{value:.4g}"
    return text.replace(",", "\u202f").replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """`[low, high]`, or nothing where no interval was measured."""
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def percent(share: float) -> str:
    """0.25 -> `25 %`; a share that is not zero never reads as zero."""
    text = f"{share * 100:.3g}"
    return f"{text}\u00a0%"


def instant(at: datetime | None) -> str:
    """To the minute, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if at else ABSENT


def tick(at: datetime, step: timedelta) -> str:
    """An axis label: the hour, or at midnight and for long steps the day."""
    at = at.astimezone(UTC)
    midnight = at.hour == at.minute == 0
    return f"{at.day} {at:%b}" if midnight or step >= timedelta(days=1) else f"{at:%H:%M}"


def short(digest: str) -> str:
    """A digest as people compare it: twelve digits. Other text stays whole."""
    return digest[:12] if re.fullmatch(r"[0-9a-f]{16,}", digest) else digest


def cut(text: str, most: int) -> str:
    """`text` in at most `most` characters."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def slug(text: str) -> str:
    """`text` as an HTML id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"
