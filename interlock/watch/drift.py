"""Which features moved most, from counts. A ranking to look at, never a trigger.

On the flights year PSI is above the usual 0.2 in every week, and highest in weeks when
the model was at its best; what triggers is calibration from labels.

Counts are those of `features.histogram`: bin 0 is NULL, bin 1 is zero, and they add.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interlock.features.distance import psi

Counts = Sequence[int]


@dataclass(frozen=True)
class Drift:
    """One feature's place in the ranking; shares are of all rows."""

    feature: str
    psi: float
    null_before: float
    null_after: float
    rows: int


def added(parts: Sequence[Counts]) -> tuple[int, ...]:
    """Counts over the same edges as one: days into a window, replicas into a day."""
    return tuple(sum(column) for column in zip(*parts, strict=True))


def ranking(before: Mapping[str, Counts], after: Mapping[str, Counts]) -> tuple[Drift, ...]:
    """Features counted on both sides, the most moved first; those without rows are left out."""
    found = [
        _drift(name, before[name], after[name])
        for name in before.keys() & after.keys()
        if sum(before[name]) and sum(after[name])
    ]
    return tuple(sorted(found, key=lambda drift: (-drift.psi, drift.feature)))


def _drift(name: str, before: Counts, after: Counts) -> Drift:
    rows = sum(after)
    return Drift(name, psi(before, after), before[0] / sum(before), after[0] / rows, rows)
