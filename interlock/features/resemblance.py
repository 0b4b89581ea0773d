"""How close made-up rows are to real ones, and whether any of them remembers a real row.

Closeness: per column the distance of the two distributions, per pair of columns the
difference of their rank correlation. Privacy: the distance of each made-up row to the nearest
row it was learnt from, against the nearest of rows that were held out. Who remembers is nearer
to what was learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.features.synth import Part, scores

Floats = NDArray[np.float64]
MOST = 1_500
"""Rows that are compared each with each."""
NEARER = 0.60
"""More made-up rows than this nearer to what was learnt are no chance any more."""


@dataclass(frozen=True)
class Closeness:
    """One column: `distance` is Kolmogorov-Smirnov for numbers, total variation for categories.

    None for texts that are made up by shape. Nulls are shares.
    """

    column: str
    distance: float | None
    null_real: float
    null_made: float


@dataclass(frozen=True)
class Distance:
    """`ratio` of the median distances to the nearest learnt and the nearest held-out row.

    1 and a share of one half: nothing is remembered. None: too few rows to say.
    """

    ratio: float | None
    nearer_share: float | None
    rows: int

    @property
    def sentence(self) -> str:
        if self.nearer_share is None or self.ratio is None:
            return "too few rows to say whether real rows are remembered"
        word = "remembered" if self.nearer_share > NEARER else "not remembered"
        return (
            f"real rows are {word}: {self.nearer_share:.0%} of {self.rows} made-up rows are nearer "
            f"to a row that was learnt than to one held out (chance is 50%), ratio {self.ratio:.2f}"
        )


def closeness(real: Sequence[Part], made: Mapping[str, Floats]) -> list[Closeness]:
    """Column by column, in the order of the table."""
    found = []
    for part in real:
        x, y = part.x, made.get(part.name)
        if y is None:
            found.append(Closeness(part.name, None, _nulls(x), _nulls(x)))
            continue
        own = _variation(x, y) if part.labels else _smirnov(x, y)
        found.append(Closeness(part.name, own, _nulls(x), _nulls(y)))
    return found


def correlation_difference(real: Sequence[Part], made: Mapping[str, Floats]) -> tuple[float, float]:
    """Mean and largest difference of rank correlations between columns that are numbers."""
    names = [p.name for p in real if not p.labels and len(np.unique(p.x)) > 1]
    if len(names) < 2:
        return 0.0, 0.0
    x = {p.name: p.x for p in real}
    one, two = (np.corrcoef([scores(m[n]) for n in names]) for m in (x, made))
    gaps = np.abs(np.nan_to_num(one) - np.nan_to_num(two))[np.triu_indices(len(names), 1)]
    return float(gaps.mean()), float(gaps.max())


def distance(learnt: Sequence[Part], held: Sequence[Part], made: Mapping[str, Floats]) -> Distance:
    """Nearest neighbours among equally many learnt and held-out rows, over shared columns."""
    shared = [p for p in learnt if p.name in made]
    rows = min(MOST, len(held[0].x) if held else 0, len(shared[0].x) if shared else 0)
    if rows < 50:
        return Distance(None, None, rows)
    outside = {p.name: p.x for p in held}
    parts = [_scaled(p, outside[p.name][:rows], made[p.name]) for p in shared]
    near = [np.min(_between(parts, side), axis=1) for side in (0, 1)]
    middle = [float(np.median(d)) for d in near]
    ratio = middle[0] / middle[1] if middle[1] else 1.0
    # A tie is half of each.
    share = float(np.mean(near[0] < near[1]) + np.mean(near[0] == near[1]) / 2)
    return Distance(ratio, share, len(near[0]))


@dataclass(frozen=True)
class _Scaled:
    sides: tuple[Floats, Floats]
    made: Floats
    labels: bool


def _scaled(part: Part, held: Floats, made: Floats) -> _Scaled:
    """Learnt, held-out and made-up values of a column: ranks among the learnt, or codes."""
    columns = [part.x[: len(held)], held, made[:MOST]]
    if part.labels:
        one, two, three = (np.nan_to_num(c, nan=-1.0) for c in columns)
        return _Scaled((one, two), three, True)
    known = np.sort(part.x[~np.isnan(part.x)])
    ranks = [np.searchsorted(known, c) / max(len(known), 1) for c in columns]
    one, two, three = (np.where(np.isnan(c), -1.0, r) for c, r in zip(columns, ranks, strict=True))
    return _Scaled((one, two), three, False)


def _between(parts: Sequence[_Scaled], side: int) -> Any:
    """float32 [made-up rows, rows of the side]: how many columns apart."""
    total = np.zeros((len(parts[0].made), len(parts[0].sides[side])), np.float32)
    for part in parts:
        gap = np.abs(part.made[:, None] - part.sides[side][None, :])
        total += (gap > 0) if part.labels else np.minimum(gap, 1.0)
    return total


def _smirnov(x: Floats, y: Floats) -> float:
    x, y = np.sort(x[~np.isnan(x)]), np.sort(y[~np.isnan(y)])
    if not len(x) or not len(y):
        return 0.0 if len(x) == len(y) else 1.0
    every = np.concatenate([x, y])
    gaps = np.searchsorted(x, every, "right") / len(x) - np.searchsorted(y, every, "right") / len(y)
    return float(np.abs(gaps).max())


def _variation(x: Floats, y: Floats) -> float:
    x, y = x[~np.isnan(x)], y[~np.isnan(y)]
    if not len(x) or not len(y):
        return 0.0 if len(x) == len(y) else 1.0
    every = np.unique(np.concatenate([x, y]))
    shares = [np.bincount(np.searchsorted(every, c), minlength=len(every)) / len(c) for c in (x, y)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _nulls(x: Floats) -> float:
    return float(np.isnan(x).mean()) if len(x) else 0.0
