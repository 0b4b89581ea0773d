"""Names for the changes that people make by accident: another unit under the old column name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Conversion:
    """`new = factor * old + offset`."""

    old: str
    new: str
    factor: float
    offset: float = 0.0

    @property
    def name(self) -> str:
        if self.offset:
            return f"{self.old} -> {self.new}"
        return f"{self.old} -> {self.new} (x{_short(self.factor)})"


_FORWARD = (
    Conversion("minutes", "seconds", 60),
    Conversion("hours", "minutes", 60),
    Conversion("hours", "seconds", 3600),
    Conversion("days", "hours", 24),
    Conversion("weeks", "days", 7),
    Conversion("seconds", "milliseconds", 1000),
    Conversion("mph", "km/h", 1.609344),
    Conversion("miles", "km", 1.609344),
    Conversion("mph", "m/s", 0.44704),
    Conversion("knots", "km/h", 1.852),
    Conversion("knots", "mph", 1.150779),
    Conversion("nautical miles", "km", 1.852),
    Conversion("feet", "metres", 0.3048),
    Conversion("inches", "mm", 25.4),
    Conversion("inches", "cm", 2.54),
    Conversion("hPa", "inHg", 0.029529983),
    Conversion("hPa", "Pa", 100),
    Conversion("pounds", "kg", 0.45359237),
    Conversion("share", "percent", 100),
    Conversion("Fahrenheit", "Celsius", 5 / 9, -160 / 9),
    Conversion("Fahrenheit", "kelvin", 5 / 9, 459.67 * 5 / 9),
    Conversion("Celsius", "kelvin", 1, 273.15),
)
_BACK = tuple(Conversion(c.new, c.old, 1 / c.factor, -c.offset / c.factor) for c in _FORWARD)
CONVERSIONS = _FORWARD + _BACK

# How contracts write the units above.
_SPELLED = {
    "min": "minutes", "mins": "minutes", "minute": "minutes", "s": "seconds", "sec": "seconds",
    "secs": "seconds", "second": "seconds", "h": "hours", "hr": "hours", "hrs": "hours",
    "hour": "hours", "d": "days", "day": "days", "ms": "milliseconds",
    "mi": "miles", "mile": "miles", "kph": "km/h", "kmh": "km/h", "kilometers": "km",
    "ft": "feet", "m": "metres", "meters": "metres", "in": "inches", "inch": "inches",
    "mb": "hpa", "mbar": "hpa", "lb": "pounds", "%": "percent", "f": "fahrenheit",
    "degf": "fahrenheit", "c": "celsius", "degc": "celsius", "k": "kelvin", "kt": "knots",
    "probability": "share", "ratio": "share", "fraction": "share",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """`new = factor * old + offset`, as it was fitted through rows.

    `mean` is that of the old values, `spread` the standard deviation of the new ones, and
    `error` how far beside the line the new mean may lie by chance (one standard error).
    """

    factor: float
    offset: float = 0.0
    mean: float = 0.0
    spread: float = 0.0
    error: float = 0.0

    @property
    def size(self) -> float:
        """How large the new values are."""
        return max(abs(self.factor * self.mean + self.offset), self.spread)


ROOM = 1e-3
"""Factors and offsets are written down with three digits or more."""
_DUST = 1e-6  # of the spread: what sums of many doubles lose
_HOTTEST = 10_000  # degrees; what is larger is measured in something else


def name_change(line: Line, unit: str | None = None) -> str | None:
    """What the line is known as; several names when several fit, None when nothing supports one.

    `unit` is the declared unit of the old values: a known one leaves only what starts from it.
    """
    found = [c for c in CONVERSIONS if _fits(c, line)]
    if unit and any(_same_unit(unit, c.old) for c in CONVERSIONS):
        found = [c for c in found if _same_unit(unit, c.old)]
    return " or ".join(c.name for c in found) or None


def _fits(known: Conversion, line: Line) -> bool:
    """Is the line this conversion, as far as the rows can tell?

    Judged at the mean, where a fitted line is surest. An offset that is small beside what
    the rows leave open is no evidence: anything that moves huge numbers a little has it.
    """
    if abs(line.factor - known.factor) > ROOM * abs(known.factor):
        return False
    off = abs((line.factor - known.factor) * line.mean + line.offset - known.offset)
    room = ROOM * (abs(known.offset) + abs(known.factor * line.mean))
    room += 4 * line.error + _DUST * line.spread
    if not known.offset:
        return off <= room
    return off <= room < abs(known.offset) / 10 and line.size < _HOTTEST


def _same_unit(said: str, known: str) -> bool:
    plain = said.lower().strip()
    return _SPELLED.get(plain, plain) == known.lower()


def _short(factor: float) -> str:
    return f"{factor:.7g}" if factor >= 1 else f"1/{1 / factor:.7g}"
