"""E-processes: evidence that may be looked at after every bucket and still keeps its error rate.

An e-process starts at 1 and, while its null hypothesis is true, ever reaches 1/a with
chance at most a. All functions work on arrays of shape (..., buckets), oldest bucket
first, and return the natural logarithm after each bucket. A bucket without units in
one arm says nothing and leaves the path where it was.

The formulas, and the simulations that chose them, are described in docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from interlock.errors import Unusable
from interlock.rollout.bound import Bound

Array = NDArray[np.float64]

BETS: Array = np.geomspace(1.05, 16.0, 24)  # rate ratios bet on; the reciprocals for the other side
SHIFTS: Array = np.array([0.05, 0.1, 0.2, 0.4, 0.8, 1.6])  # log odds a broken split may be off by
OPTIMAL_BUCKETS = 60  # the optimum is flat: 10 to 360 cost at most half as many buckets again


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of squares of one arm, bucket by bucket."""

    n: Array
    total: Array
    squares: Array

    @classmethod
    def checked(cls, n: Any, total: Any, squares: Any) -> Moments:
        """Refuses what no set of numbers can have produced: it is never judged."""
        made = cls(*(np.asarray(part, dtype=np.float64) for part in (n, total, squares)))
        wrong = made._what_is_wrong()
        if wrong:
            raise Unusable(f"these measurements are refused: {wrong}", help="count them again")
        return made

    def _what_is_wrong(self) -> str:
        if not all(np.isfinite(part).all() for part in (self.n, self.total, self.squares)):
            return "a count or a sum is not a finite number"
        if (self.n < 0).any():
            return "a count is negative"
        if ((self.n == 0) & ((self.total != 0) | (self.squares != 0))).any():
            return "a sum without any unit"
        least = self.total**2 / np.maximum(self.n, 1e-300)
        if ((self.n > 0) & (self.squares < least - 1e-9 * np.maximum(least, 1e-12))).any():
            return "a sum of squares is smaller than the squared sum divided by the count"
        return ""

    @property
    def mean(self) -> Array:
        return _over(self.total, self.n)

    def at(self, keys: Sequence[bool]) -> Moments:
        """Only the buckets marked in `keys`."""
        chosen = np.asarray(keys, dtype=bool)
        return Moments(self.n[..., chosen], self.total[..., chosen], self.squares[..., chosen])

    @property
    def within(self) -> Array:
        """Sum of squares around the bucket's own mean."""
        return np.maximum(self.squares - _over(self.total**2, self.n), 0.0)


def _over(a: Array, b: Array) -> Array:
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b > 0)


def best_rho(variance: float, error: float) -> float:
    """The mixture width for about 60 buckets of planned `variance`; fixed before the rollout."""
    x = 2 * log(1 / (2 * error))
    return OPTIMAL_BUCKETS * variance / (x + log(1 + x))


def mixture(total: Array, variance: Array, rho: float) -> Array:
    """One-sided normal mixture: log e that the sum `total` drifts upwards."""
    width = variance + rho
    z: Array = total / np.sqrt(width)
    return np.asarray(0.5 * np.log(4 * rho / width) + z**2 / 2 + log_ndtr(z))


def rate(candidate: Moments, stable: Moments, bound: Bound, burst: Array | float = 1.0) -> Array:
    """Events per unit against the bound: exact for any base rate, however it moves.

    With c = q*bet + 1 - q and q = n1*ratio / (n1*ratio + n0), the expectation of
    (bet/c)^e1 * (1/c)^e0 is at most exp((1-q)(bet-1)/c * n1 * (p1 - ratio*p0)),
    because 1 + x <= exp(x); the last term pays for the absolute part of the bound.
    Events that come `burst` at a time count as that many fewer.
    """
    both = candidate.n * bound.ratio + stable.n
    q = _over(candidate.n * bound.ratio, both)
    bets = BETS if bound.above else 1 / BETS
    paths = np.stack([_one_bet(bet, q, (candidate, stable), bound) for bet in bets])
    return _log_mean_exp(paths / burst)


def bursts(stable: Moments, at_least: float) -> Array:
    """How many events come at a time, from how much the stable arm jumps between buckets."""
    used = stable.n > 0
    jumps = _over(_dispersion(stable, used), _pooled((stable,), used))
    return np.maximum(jumps, at_least)


def _one_bet(bet: float, q: Array, arms: tuple[Moments, Moments], bound: Bound) -> Array:
    candidate, stable = arms
    c = q * bet + 1 - q
    paid = (1 - q) * (bet - 1) / c * candidate.n * bound.absolute
    seen = candidate.total * log(bet) - (candidate.total + stable.total) * np.log(c)
    heard = (candidate.n > 0) & (stable.n > 0)
    return np.asarray(np.cumsum(np.where(heard, seen - paid, 0.0), axis=-1))


def mean(candidate: Moments, stable: Moments, bound: Bound, rho: float) -> Array:
    """Means against the bound, stratified by bucket, with a variance that errs upwards."""
    x, planned, _ = _mean_terms(candidate, stable, bound)
    return mixture(np.cumsum(x, axis=-1), _robust(x, planned), rho)


def _mean_terms(
    candidate: Moments, stable: Moments, bound: Bound
) -> tuple[Array, Array, NDArray[np.float64]]:
    """Per bucket: the weighted difference, its planned variance so far, and the weight."""
    h = _over(candidate.n * stable.n, candidate.n + stable.n)
    one = np.ones_like(h)
    off = candidate.mean - bound.ratio * stable.mean - bound.absolute
    weight = h**2 * (_over(one, candidate.n) + bound.ratio**2 * _over(one, stable.n))
    used = h > 0
    spread = np.maximum(_pooled((candidate, stable), used), _dispersion(stable, used))
    return h * off * (1 if bound.above else -1), spread * np.cumsum(weight, axis=-1), h


def paired(difference: Moments, bound: Bound, rho: float) -> Array:
    """Differences on the same unit (candidate minus stable) against `bound.absolute`."""
    x, planned = _paired_terms(difference, bound)
    return mixture(np.cumsum(x, axis=-1), _robust(x, planned), rho)


def overdispersion(arms: Mapping[str, Moments]) -> float:
    """How much more the arms differ from bucket to bucket than single units explain, at least 1."""
    both = arms["candidate"], arms["stable"]
    expected = float(_pooled(both, (both[0].n > 0) & (both[1].n > 0))[-1])
    seen = float((standardised(arms) ** 2).mean())
    return max(seen / expected, 1.0) if expected > 0 else 1.0


def standardised(arms: Mapping[str, Moments]) -> Array:
    """Per bucket in which both arms were heard, how far they lie apart, all on one scale."""
    x, _, h = _mean_terms(arms["candidate"], arms["stable"], Bound(1.0, 0.0, above=True))
    return np.asarray((x / np.sqrt(np.maximum(h, 1e-300)))[h > 0])


def _paired_terms(difference: Moments, bound: Bound) -> tuple[Array, Array]:
    off = difference.total - difference.n * bound.absolute
    spread = _pooled((difference,), difference.n > 0)
    return off * (1 if bound.above else -1), spread * np.cumsum(difference.n, axis=-1)


def _robust(x: Array, planned: Array) -> Array:
    # A third of what was seen and two thirds of what was expected survives skew and
    # unequal arms; the larger of both for the expectation survives correlation inside buckets.
    seen = np.cumsum(x**2, axis=-1)
    return np.asarray((seen + 2 * np.maximum(seen, planned)) / 3)


def _pooled(arms: Sequence[Moments], used: NDArray[np.bool_]) -> Array:
    """Variance of one unit inside its bucket and arm, from everything seen so far."""
    around = sum(np.where(used, arm.within, 0.0) for arm in arms)
    freedom = sum(np.where(used, np.maximum(arm.n - 1, 0.0), 0.0) for arm in arms)
    return _over(np.cumsum(around, axis=-1), np.cumsum(freedom, axis=-1))


def _dispersion(stable: Moments, used: NDArray[np.bool_]) -> Array:
    """Variance of one unit as it shows between neighbouring buckets of the stable arm.

    Events that come in bursts look calm inside a bucket: at small canary shares this
    term is what keeps false promotions under their bound.
    """
    before = _last_used_before(used)
    known = used & (before >= 0)
    index = np.maximum(before, 0)
    step = stable.mean - np.take_along_axis(stable.mean, index, axis=-1)
    one = _over(np.ones_like(stable.n), stable.n)
    size = one + np.take_along_axis(one, index, axis=-1)
    moved = np.cumsum(np.where(known, step**2, 0.0), axis=-1)
    return _over(moved, np.cumsum(np.where(known, size, 0.0), axis=-1))


def _last_used_before(used: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For each bucket the index of the last earlier bucket with data, or -1."""
    index = np.where(used, np.arange(used.shape[-1]), -1)
    latest = np.maximum.accumulate(index, axis=-1)
    return np.concatenate([np.full_like(latest[..., :1], -1), latest[..., :-1]], axis=-1)


def inside(arms: Mapping[str, Moments], bound: Bound) -> bool:
    """Whether the candidate lies on the bound's side by its plain (stratified) mean."""
    if "paired" in arms:
        x = arms["paired"].total - arms["paired"].n * bound.absolute
        return bool(x.sum() > 0) if bound.above else bool(x.sum() < 0)
    x, _, _ = _mean_terms(arms["candidate"], arms["stable"], bound)
    return bool(x.sum() > 0)


def split_fail(candidate: Array, stable: Array, share: Array) -> Array:
    """Evidence that units are not split as planned (`share` per bucket goes to the candidate)."""
    shifts = np.concatenate([SHIFTS, -SHIFTS])
    steps = np.stack([_split_step(candidate, stable, share, shift) for shift in shifts])
    return _log_mean_exp(np.cumsum(steps, axis=-1))


def split_pass(candidate: Array, stable: Array, share: Array, margin: float) -> list[Array]:
    """Evidence on each side that the split is off by less than `margin` in log odds."""
    return [
        np.cumsum(-_split_step(candidate, stable, share, shift), axis=-1)
        for shift in (margin, -margin)
    ]


def _split_step(candidate: Array, stable: Array, share: Array, shift: float) -> Array:
    moved = 1 / (1 + (1 - share) / share * np.exp(-shift))
    return np.asarray(
        candidate * np.log(moved / share) + stable * np.log((1 - moved) / (1 - share))
    )


def _log_mean_exp(paths: Array) -> Array:
    top = paths.max(axis=0)
    return np.asarray(top + np.log(np.exp(paths - top).mean(axis=0)))


def average(paths: Sequence[Array], weights: Sequence[float] | None = None) -> Array:
    """Weighted mean of e-processes (as logs): an e-process whatever their dependence."""
    shares = np.asarray(weights if weights is not None else [1.0] * len(paths), dtype=np.float64)
    stack = np.stack(list(paths))
    top = stack.max(axis=0)
    column = (shares / shares.sum()).reshape((-1,) + (1,) * (stack.ndim - 1))
    return np.asarray(top + np.log((np.exp(stack - top) * column).sum(axis=0)))


def interval(arms: Sequence[Moments], rho: float, error: float) -> tuple[float, float] | None:
    """Where the difference (candidate minus stable) lies, by the last bucket; for display.

    `arms` is (differences,) or (candidate, stable). Two-sided, valid at any look.
    """
    level = Bound(1.0, 0.0, above=True)
    if len(arms) == 1:
        x, planned = _paired_terms(arms[0], Bound(0.0, 0.0, above=True))
        h = arms[0].n
    else:
        x, planned, h = _mean_terms(arms[0], arms[1], level)
    size = float(h.sum())
    if size == 0:
        return None
    width = float(_robust(x, planned)[-1]) + rho
    half = sqrt(width * log(width / (rho * error**2)))
    return (float(x.sum()) - half) / size, (float(x.sum()) + half) / size
