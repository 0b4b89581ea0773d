"""Numbers that only exist as two lines over time: compared by batch means, and never decided by.

A monitoring system keeps rates and quantiles, not who asked. Points next to each other are
alike, so they are put in batches until the batches are not. The interval looks once; asked again
and again it cries wolf more often than it says. So what it says can hold a rollout and nothing
else: it takes nothing back, and promotes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from interlock.rollout.eprocess import Array

FEWEST = 8  # of fewer batches the spread is a guess
ALIKE = 0.1
LEVEL = 0.99

SeriesVerdict = Literal["fine", "worse", "unknown"]


@dataclass(frozen=True)
class SeriesRuling:
    """Candidate minus the most that is allowed, in the metric's unit; `worse` when surely above 0.

    `interval` is one-sided on the side that matters; None when nothing can be said.
    """

    verdict: SeriesVerdict
    value: float | None
    bound: float | None
    batches: int
    sentence: str


def compare(
    stable: Mapping[int, float], candidate: Mapping[int, float], margin: float, worse_up: bool
) -> SeriesRuling:
    """Points of both arms by their instant (seconds); `margin` is relative to the stable arm.

    Points that only one arm has are left out; too few to tell is `unknown`, which is not fine.
    """
    shared = sorted(set(stable) & set(candidate))
    old, new = (np.array([arm[at] for at in shared], dtype=float) for arm in (stable, candidate))
    known = np.isfinite(old) & np.isfinite(new)
    old, new = old[known], new[known]
    off = new - old * (1 + margin) if worse_up else old * (1 - margin) - new
    means = batched(off)
    if means is None:
        return SeriesRuling("unknown", None, None, 0, f"{len(off)} points tell too little")
    value, count = float(means.mean()), len(means)
    half = float(stdtrit(count - 1, LEVEL)) * float(means.std(ddof=1)) / count**0.5
    low = value - half
    said = f"{float(new.mean()):.4g} after {float(old.mean()):.4g}, in {count} batches"
    verdict: SeriesVerdict = "worse" if low > 0 else "fine"
    return SeriesRuling(verdict, value, low, count, said)


def batched(values: Array) -> Array | None:
    """Means of batches, doubled until neighbours differ; None when too few of them are left."""
    size = 1
    while len(values) // size >= FEWEST:
        used = values[len(values) % size :]
        means = np.asarray(used.reshape(-1, size).mean(axis=1))
        if _likeness(means) <= ALIKE:
            return means
        size *= 2
    return None


def _likeness(means: Array) -> float:
    off = means - means.mean()
    around = float((off**2).sum())
    return float((off[1:] * off[:-1]).sum()) / around if around else 0.0
