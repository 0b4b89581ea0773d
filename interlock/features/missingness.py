"""Does a missing value tell the label? Finds what replay cannot: a table edited in place.

Where a column is NULL because of what happened later - a cancelled flight lost its tail number
when the file was put right - the past as it is stored today already holds the future, and
cutting it at T changes nothing. What gives it away is that labels differ between rows with and
without a value, by more than any honest feature's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any, Literal

from interlock.features.dialect import DUCKDB, Dialect

ALPHA = 0.05
ROOM = 0.35
"""A difference of label rates that missing values may honestly have: at dawn there is no recent
delay, and few flights are late. Chosen on the flights of 2013: see docs/statistics.md."""
FEWEST = 20
"""Rows on either side below which nothing is said."""
_ALL = 0.98
_MORE = 0.05

Says = Literal["tells", "quiet", "few"]


@dataclass(frozen=True)
class Missing:
    """One column: label rates of rows without and with a value, and the difference's interval.

    `says` is `tells` when the whole interval lies further out than `ROOM`, or when rows without
    a value have one and the same label and others do not; `few` when a side has too few rows.
    """

    column: str
    missing: int
    known: int
    rate_missing: float
    rate_known: float
    low: float
    high: float
    says: Says

    @property
    def sentence(self) -> str:
        """The result as a person would say it."""
        return (
            f"{self.column}: {self.rate_missing:.0%} of {self.missing} rows without a value have "
            f"the label and {self.rate_known:.0%} of {self.known} with one "
            f"(difference {self.low:+.2f} to {self.high:+.2f})"
        )


def missingness_sql(
    rows: str, label: str, columns: Sequence[str], dialect: Dialect = DUCKDB
) -> str:
    """One row about all `columns` of `rows`, which also hold the 0 or 1 of `label`."""
    y = dialect.cast(dialect.quoted(label), "double")
    parts = ["count(*) AS __rows", f"coalesce(sum({y}), 0) AS __late"]
    for i, name in enumerate(map(dialect.quoted, columns)):
        parts.append(f"count(*) - count({name}) AS missing{i}")
        parts.append(f"coalesce({dialect.among('sum', y, f'{name} IS NULL')}, 0) AS late{i}")
    return f"SELECT {', '.join(parts)} FROM {rows} AS t"


def read_missingness(
    found: Sequence[tuple[Mapping[str, Any], Mapping[str, str]]],
) -> list[Missing]:
    """Answers of `missingness_sql`, each with what its columns are called to people.

    A column without missing values is left out. The columns that can be judged are judged
    together: each gets its share of ALPHA.
    """
    counts = [
        (said, (int(row[f"missing{i}"]), float(row[f"late{i}"])), _all(row))
        for row, columns in found
        for i, said in enumerate(columns.values())
    ]
    sides = [(said, one, (n - one[0], late - one[1])) for said, one, (n, late) in counts if one[0]]
    tests = sum(min(one[0], other[0]) >= FEWEST for _, one, other in sides)
    return [_judged(said, one, other, ALPHA / max(tests, 1)) for said, one, other in sides]


def _all(row: Mapping[str, Any]) -> tuple[int, float]:
    return int(row["__rows"]), float(row["__late"])


def _judged(
    name: str, missing: tuple[int, float], known: tuple[int, float], alpha: float
) -> Missing:
    rates = [hits / n if n else 0.0 for n, hits in (missing, known)]
    low, high = newcombe(missing, known, alpha)
    _, least, most = _wilson(*missing, _z(alpha))
    same = (least > _ALL and low > _MORE) or (most < 1 - _ALL and high < -_MORE)
    says: Says = "tells" if same or low > ROOM or high < -ROOM else "quiet"
    if min(missing[0], known[0]) < FEWEST:
        says = "few"
    return Missing(name, missing[0], known[0], rates[0], rates[1], low, high, says)


def newcombe(one: tuple[int, float], other: tuple[int, float], alpha: float) -> tuple[float, float]:
    """Interval of the difference of two rates, each given as (rows, hits).

    The hybrid of two score intervals (Newcombe 1998, method 10): right at 0 and at 1, where a
    leak lies and the usual interval has no width.
    """
    if not one[0] or not other[0]:
        return -1.0, 1.0
    z = _z(alpha)
    (p, low_p, high_p), (q, low_q, high_q) = (_wilson(*side, z) for side in (one, other))
    return (
        p - q - sqrt((p - low_p) ** 2 + (high_q - q) ** 2),
        p - q + sqrt((high_p - p) ** 2 + (q - low_q) ** 2),
    )


def _z(alpha: float) -> float:
    return NormalDist().inv_cdf(1 - alpha / 2)


def _wilson(rows: int, hits: float, z: float) -> tuple[float, float, float]:
    p, more = hits / rows, z * z / rows
    middle = (p + more / 2) / (1 + more)
    width = z * sqrt(p * (1 - p) / rows + more / (4 * rows)) / (1 + more)
    return p, middle - width, middle + width
