"""Calibration from arrived labels, as cells that add: day by day, replica by replica.

A cell holds the sums of one day, per score bin. The bins are those of the offline ECE,
so that what is gated before release and what is watched after it are one number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.errors import Unusable
from interlock.models.metrics import BINS, Floats, bin_of, ece_of_cells

_SURE = 3.0
"""Standard deviations above the mean ECE of a perfectly calibrated model that noise may reach."""


@dataclass(frozen=True)
class DayCells:
    """One day's sums per score bin: rows, scores, outcomes."""

    day: date
    n: tuple[int, ...]
    predicted: tuple[float, ...]
    observed: tuple[float, ...]

    def __add__(self, other: DayCells) -> DayCells:
        """Rows of the same day that arrived elsewhere, or later."""
        if self.day != other.day:
            raise Unusable(f"cells of {self.day} and {other.day} are two cells, not one")
        return DayCells(
            self.day,
            tuple(a + b for a, b in zip(self.n, other.n, strict=True)),
            tuple(a + b for a, b in zip(self.predicted, other.predicted, strict=True)),
            tuple(a + b for a, b in zip(self.observed, other.observed, strict=True)),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "day": self.day.isoformat(),
            "n": list(self.n),
            "predicted": list(self.predicted),
            "observed": list(self.observed),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> DayCells:
        """The inverse of `to_json`."""
        return cls(
            date.fromisoformat(body["day"]),
            tuple(body["n"]),
            tuple(body["predicted"]),
            tuple(body["observed"]),
        )


@dataclass(frozen=True)
class Calibration:
    """Scores against outcomes over some days.

    `noise` is the ECE that a perfectly calibrated model may show on as many rows: below
    it, a high ECE means few rows, not a bad model.
    """

    n: int
    days: int
    mean_score: float
    mean_label: float
    ece: float
    noise: float

    def over(self, limit: float, min_rows: int) -> bool:
        """Beyond `limit`, beyond what chance can do, and on enough rows to say so."""
        return self.n >= max(min_rows, 1) and self.ece > max(limit, self.noise)


def cells(days: Sequence[date], score: Floats, label: Floats) -> tuple[DayCells, ...]:
    """Rows with known outcomes as one cell per day, oldest first."""
    if not (np.isfinite(score).all() and np.isin(label, (0, 1)).all()):
        raise Unusable("calibration needs numbers as scores and 0 or 1 as labels")
    ordinals = np.array([day.toordinal() for day in days], dtype=np.intp)
    return tuple(
        _cell(date.fromordinal(int(one)), score[ordinals == one], label[ordinals == one])
        for one in np.unique(ordinals)
    )


def _cell(day: date, score: Floats, label: Floats) -> DayCells:
    where = bin_of(score)

    def sums(weights: NDArray[Any] | None) -> NDArray[Any]:
        return np.bincount(where, weights=weights, minlength=BINS)

    return DayCells(
        day,
        tuple(int(count) for count in sums(None)),
        tuple(float(total) for total in sums(score)),
        tuple(float(total) for total in sums(label)),
    )


def merged(parts: Iterable[DayCells]) -> tuple[DayCells, ...]:
    """One cell per day, oldest first, in whatever order and pieces they came."""
    found: dict[date, DayCells] = {}
    for part in parts:
        found[part.day] = found[part.day] + part if part.day in found else part
    return tuple(found[day] for day in sorted(found))


def window(parts: Iterable[DayCells], until: date, length: timedelta) -> tuple[DayCells, ...]:
    """The cells of the days in [until - length, until)."""
    start = until - length
    return tuple(part for part in parts if start <= part.day < until)


def calibration(parts: Sequence[DayCells]) -> Calibration:
    """All of `parts` together; nothing measured has an ECE of not-a-number."""
    n = np.sum([part.n for part in parts], axis=0) if parts else np.zeros(BINS)
    predicted = np.sum([part.predicted for part in parts], axis=0) if parts else np.zeros(BINS)
    observed = np.sum([part.observed for part in parts], axis=0) if parts else np.zeros(BINS)
    total = int(n.sum())
    days = len({part.day for part in parts})
    if not total:
        return Calibration(0, days, *[float("nan")] * 4)
    return Calibration(
        total,
        days,
        float(predicted.sum()) / total,
        float(observed.sum()) / total,
        ece_of_cells(predicted, observed, total),
        _noise(n, predicted, total),
    )


def _noise(n: NDArray[Any], predicted: NDArray[Any], total: int) -> float:
    """Mean plus three standard deviations of ECE when every score is the true chance.

    Each bin's gap is then about normal with variance n p (1 - p), and its absolute
    value has mean sqrt(2/pi) and variance 1 - 2/pi in that unit.
    """
    p = np.divide(predicted, n, out=np.zeros(len(n)), where=n > 0)
    variance = n * p * (1 - p)
    centre = np.sqrt(2 / np.pi) * np.sqrt(variance).sum()
    spread = np.sqrt((1 - 2 / np.pi) * variance.sum())
    return float((centre + _SURE * spread) / total)


def ece(parts: Sequence[DayCells]) -> float:
    """The expected calibration error of `parts` together."""
    return calibration(parts).ece
