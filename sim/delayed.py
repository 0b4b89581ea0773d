"""Labels that come later, at a speed that depends on what they say, while a ramp goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from interlock.rollout.eprocess import Array, Moments
from interlock.rollout.evidence import evidence
from interlock.rollout.strata import Strata
from sim.cells import Ask, Promise, values
from sim.traffic import Rng, ramp, strata

BUCKETS, UNITS, EVERY = 150, 100, 15
HORIZON = 24.0
# Hours until a label is known at the latest: what is true is seen soon, what is not takes a day.
TRUE, FALSE = 6.0, 24.0


@dataclass(frozen=True)
class Delayed:
    """One line of the table: a ramp in which both arms lose alike, judged by the labels there are.

    `horizon` is the age at which a cohort is judged, in buckets; the candidate's labels come
    `later` times as late. The judge looks every `EVERY` buckets and counts everything anew.
    """

    name: str
    horizon: float = HORIZON
    later: float = 1.0
    promise: Promise = "at most"
    bound: float = 0.05
    group: str = "A/A"
    ask: Ask = "fail"

    def yes(self, rng: Rng, runs: int) -> int:
        """In how many of `runs` rollouts any look took it back."""
        shape = ramp(UNITS, BUCKETS)
        counts = dict(zip(("candidate", "stable"), shape.counts(), strict=True))
        arms = {name: self._arm(rng, runs, n, name) for name, n in counts.items()}
        back = np.zeros(runs, dtype=bool)
        for now in range(EVERY, BUCKETS + int(HORIZON) + EVERY, EVERY):
            found = self._seen(arms, now)
            path = evidence(values(shape, "losses"), found, 0.05, 0.05).fail
            back |= path.max(axis=-1) >= np.log(20)
        return int(back.sum())

    def _arm(self, rng: Rng, runs: int, n: np.ndarray, name: str) -> tuple[Array, Array]:
        """Of each unit its loss, NaN where a bucket holds fewer, and when its label is known."""
        size = (runs, len(n), int(n.max()))
        p = np.clip(rng.beta(1.2, 3.6, size), 1e-4, 1 - 1e-4)
        true = rng.random(size) < p
        loss = np.where(np.arange(size[-1]) < n[:, None], -np.log(np.where(true, p, 1 - p)), np.nan)
        slowest = np.where(true, TRUE, FALSE) * (self.later if name == "candidate" else 1.0)
        return loss, np.arange(len(n))[:, None] + slowest * rng.random(size)

    def _seen(self, arms: dict[str, tuple[Array, Array]], now: int) -> Strata:
        ripe = max(min(int(now - self.horizon) + 1, BUCKETS), 1)
        found = {}
        for name, (loss, known) in arms.items():
            there = (known[:, :ripe] <= now) & ~np.isnan(loss[:, :ripe])
            kept = np.where(there, loss[:, :ripe], 0.0)
            found[name] = Moments(there.sum(-1) * 1.0, kept.sum(-1), (kept**2).sum(-1))
        return strata(found)


def delayed_cells() -> Iterator[Delayed]:
    """With cohorts judged when they are ripe; and what is outside of any promise."""
    what = "ramp 1-50 %, true labels four times as soon"
    yield Delayed(f"{what}, ripe cohorts")
    late = f"{what}, one arm's 1.5 times as late"
    yield Delayed(f"{late}, horizon past them", horizon=36.0, later=1.5)
    yield Delayed(f"{late}, judged after a quarter of that", horizon=6.0, later=1.5,
                  promise="outside", group="outside")  # fmt: skip
