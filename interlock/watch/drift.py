"""Which features moved most, from counts. A ranking to look at, never a trigger.

On the flights year PSI is above the usual 0.2 in every week, and highest in weeks when
the model was at its best; what triggers is calibration from labels.

Zero and NULL have bins of their own: quantile edges of a feature that is mostly zero are
all zero, and a change of its unit would then be invisible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from interlock.errors import Unusable
from interlock.models.metrics import Floats

_LEAST = 1e-4
"""A share no bin falls below, so that an empty bin costs much, and not infinitely much."""


@dataclass(frozen=True)
class Counts:
    """Rows by bin: NULL, exactly zero, then the bins between the frozen edges."""

    nulls: int
    zeros: int
    bins: tuple[int, ...]

    @property
    def n(self) -> int:
        return self.nulls + self.zeros + sum(self.bins)

    def __add__(self, other: Counts) -> Counts:
        bins = tuple(a + b for a, b in zip(self.bins, other.bins, strict=True))
        return Counts(self.nulls + other.nulls, self.zeros + other.zeros, bins)


@dataclass(frozen=True)
class Drift:
    """One feature's place in the ranking; shares are of all rows."""

    feature: str
    psi: float
    null_before: float
    null_after: float


def freeze(values: Floats, bins: int = 10) -> tuple[float, ...]:
    """Inner edges from the quantiles of the known, non-zero reference values."""
    known = values[~np.isnan(values) & (values != 0)]
    if not len(known):
        return ()
    return tuple(float(e) for e in np.unique(np.quantile(known, np.arange(1, bins) / bins)))


def count(values: Floats, edges: Sequence[float]) -> Counts:
    """`values` in the bins of `edges`; a value on an edge belongs to the bin above it."""
    null = np.isnan(values)
    zero = values == 0
    where = np.searchsorted(np.asarray(edges), values[~null & ~zero], side="right")
    bins = np.bincount(where, minlength=len(edges) + 1)
    return Counts(int(null.sum()), int(zero.sum()), tuple(int(b) for b in bins))


def counts_sql(relation: str, edges: Mapping[str, Sequence[float]]) -> str:
    """One aggregate query for all features: a column `<feature>__<bin>` for each bin."""
    parts = [part for feature, marks in edges.items() for part in _filters(feature, marks)]
    return "SELECT\n  " + ",\n  ".join(parts) + f"\nFROM {relation}"


def _filters(feature: str, edges: Sequence[float]) -> list[str]:
    name = f'"{feature}"'
    # Two names for missing: engines keep NaN apart from NULL, the matrix does not.
    null = f"{name} IS NULL OR isnan({name}::DOUBLE)"
    low, high = [None, *edges], [*edges, None]
    tests = {"null": null, "zero": f"{name} = 0"}
    for at, (floor, ceiling) in enumerate(zip(low, high, strict=True)):
        above = "" if floor is None else f" AND {name} >= {floor!r}"
        below = "" if ceiling is None else f" AND {name} < {ceiling!r}"
        tests[str(at)] = f"NOT ({null}) AND {name} <> 0{above}{below}"
    return [f'count(*) FILTER (WHERE {t}) AS "{feature}__{bin}"' for bin, t in tests.items()]


def counts_of(row: Mapping[str, Any], feature: str, edges: Sequence[float]) -> Counts:
    """The counts of `feature` from the row that `counts_sql` gives."""
    bins = tuple(int(row[f"{feature}__{at}"]) for at in range(len(edges) + 1))
    return Counts(int(row[f"{feature}__null"]), int(row[f"{feature}__zero"]), bins)


def psi(before: Counts, after: Counts) -> float:
    """Population stability index; NaN when either side has no rows."""
    if len(before.bins) != len(after.bins):
        raise Unusable("counts over different edges cannot be compared")
    if not before.n or not after.n:
        return float("nan")
    p, q = _shares(before), _shares(after)
    return float(np.sum((q - p) * np.log(q / p)))


def _shares(counts: Counts) -> Floats:
    raw = np.array([counts.nulls, counts.zeros, *counts.bins], dtype=np.float64) / counts.n
    return np.asarray(np.maximum(raw, _LEAST), dtype=np.float64)


def ranking(before: Mapping[str, Counts], after: Mapping[str, Counts]) -> tuple[Drift, ...]:
    """Features of both sides, the most moved first; the unmeasurable last."""
    found = [
        Drift(
            name,
            psi(before[name], after[name]),
            before[name].nulls / max(before[name].n, 1),
            after[name].nulls / max(after[name].n, 1),
        )
        for name in before.keys() & after.keys()
    ]
    return tuple(sorted(found, key=lambda d: (np.isnan(d.psi), -d.psi, d.feature)))
