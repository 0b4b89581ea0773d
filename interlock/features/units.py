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
    "min": "minutes", "minute": "minutes", "s": "seconds", "sec": "seconds", "second": "seconds",
    "h": "hours", "hour": "hours", "d": "days", "day": "days", "ms": "milliseconds",
    "mi": "miles", "mile": "miles", "kph": "km/h", "kmh": "km/h", "kilometers": "km",
    "ft": "feet", "m": "metres", "meters": "metres", "in": "inches", "inch": "inches",
    "mb": "hpa", "mbar": "hpa", "lb": "pounds", "%": "percent", "f": "fahrenheit",
    "degf": "fahrenheit", "c": "celsius", "degc": "celsius", "k": "kelvin", "kt": "knots",
    "probability": "share", "ratio": "share", "fraction": "share",
}  # fmt: skip


def name_change(
    factor: float, offset: float, spread: float, unit: str | None = None, room: float = 1e-3
) -> str | None:
    """What `new = factor * old + offset` is known as; several names when several fit.

    `spread` is the standard deviation of the new values: an offset is judged against it.
    `unit` is the declared unit of the old values and decides between equal factors.
    """
    found = [
        c
        for c in CONVERSIONS
        if abs(factor - c.factor) <= room * abs(c.factor)
        and abs(offset - c.offset) <= room * abs(c.offset) + 0.02 * spread
    ]
    declared = [c for c in found if unit and _same_unit(unit, c.old)]
    return " or ".join(c.name for c in declared or found) or None


def _same_unit(said: str, known: str) -> bool:
    plain = said.lower().strip()
    return _SPELLED.get(plain, plain) == known.lower()


def _short(factor: float) -> str:
    return f"{factor:.7g}" if factor >= 1 else f"1/{1 / factor:.7g}"
