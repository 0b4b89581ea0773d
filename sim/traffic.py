"""Generated traffic with a known truth, as the counts the judge reads; many rollouts at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from interlock.rollout.eprocess import Array, Moments
from interlock.rollout.strata import Strata

Rng = np.random.Generator


@dataclass(frozen=True)
class Shape:
    """Units per bucket of both arms, the candidate's share bucket by bucket, and correlation
    of units within one arm and bucket."""

    units: int
    shares: tuple[float, ...]
    correlation: float = 0.0

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """(candidate, stable) units per bucket."""
        candidate = np.maximum(np.round(self.units * np.array(self.shares)), 1).astype(int)
        return candidate, self.units - candidate


def flat(units: int, share: float, buckets: int, correlation: float = 0.0) -> Shape:
    """The same share in every bucket."""
    return Shape(units, (share,) * buckets, correlation)


RAMP = (0.01, 0.05, 0.25, 0.50)


def ramp(units: int, buckets: int) -> Shape:
    """1 %, 5 %, 25 %, 50 %, a quarter of the time each."""
    return Shape(units, tuple(RAMP[i * 4 // buckets] for i in range(buckets)))


def strata(arms: Mapping[str, Moments]) -> Strata:
    """One stage, one bucket per second."""
    buckets = next(iter(arms.values())).n.shape[-1]
    return Strata(tuple((at, "step") for at in range(buckets)), arms)


def rates(rng: Rng, runs: int, shape: Shape, stable: Array, candidate: Array) -> Strata:
    """Events at rate `stable` and `candidate` per bucket; beta-binomial when correlated."""
    n1, n0 = shape.counts()
    return strata(
        {
            "candidate": _events(rng, (runs, len(n1)), n1, candidate, shape.correlation),
            "stable": _events(rng, (runs, len(n0)), n0, stable, shape.correlation),
        }
    )


def _events(
    rng: Rng, size: tuple[int, int], n: np.ndarray, rate: Array, correlation: float
) -> Moments:
    p = np.broadcast_to(rate, size)
    if correlation:
        k = (1 - correlation) / correlation
        p = rng.beta(np.maximum(p * k, 1e-9), (1 - p) * k)
    events = rng.binomial(np.broadcast_to(n, size), p).astype(float)
    return Moments(np.broadcast_to(n, size).astype(float), events, events)


def batches(rng: Rng, runs: int, shape: Shape, rates_: tuple[float, float], of: int) -> Strata:
    """Errors that come `of` at a time; rates are (stable, candidate)."""
    arms = {}
    for name, n, rate in zip(("stable", "candidate"), shape.counts()[::-1], rates_, strict=True):
        size = (runs, len(n))
        events = of * rng.binomial(np.broadcast_to(n // of, size), rate).astype(float)
        arms[name] = Moments(np.broadcast_to(n, size).astype(float), events, events)
    return strata(arms)


def latencies(rng: Rng, size: Sequence[int]) -> Array:
    """Heavy-tailed: lognormal with sigma 1."""
    return rng.lognormal(0.0, 1.0, tuple(size))


def losses(rng: Rng, size: Sequence[int]) -> Array:
    """Log-loss of a calibrated model on labels with a mean of about a quarter."""
    p = np.clip(rng.beta(1.2, 3.6, tuple(size)), 1e-4, 1 - 1e-4)
    return -np.log(np.where(rng.random(tuple(size)) < p, p, 1 - p))


MEAN = {
    "latencies": float(np.exp(0.5)),
    "losses": float(losses(np.random.default_rng(0), (2_000_000,)).mean()),
}
VARIANCE = {
    "latencies": float((np.e - 1) * np.e),
    "losses": float(losses(np.random.default_rng(0), (2_000_000,)).var()),
}


def means(rng: Rng, runs: int, shape: Shape, kind: str, factor: float) -> Strata:
    """Values of `kind`; the candidate's are `factor` times as large."""
    n1, n0 = shape.counts()
    return strata(
        {
            "candidate": _values(rng, runs, n1, (kind, factor), shape.correlation),
            "stable": _values(rng, runs, n0, (kind, 1.0), shape.correlation),
        }
    )


def _values(
    rng: Rng, runs: int, n: np.ndarray, law: tuple[str, float], correlation: float
) -> Moments:
    kind, factor = law
    draw = {"latencies": latencies, "losses": losses}[kind]
    rows = factor * draw(rng, (runs, len(n), int(n.max())))
    together = np.sqrt(correlation * VARIANCE[kind]) * rng.standard_normal((runs, len(n), 1))
    used = np.arange(int(n.max())) < n[:, None]
    return _moments(np.where(used, rows + together, 0.0), np.broadcast_to(n, (runs, len(n))))


def differences(rng: Rng, runs: int, shape: Shape, shift: float) -> Strata:
    """Paired log-loss differences of two alike models, skewed, with mean `shift`."""
    size = (runs, len(shape.shares), shape.units)
    noise = 0.15 * (rng.gamma(1.0, 1.0, size) - 1.0) * np.where(rng.random(size) < 0.5, 1, -0.5)
    together = 0.15 * np.sqrt(shape.correlation) * rng.standard_normal((*size[:2], 1))
    return strata({"paired": _moments(noise + together + shift, np.full(size[:2], shape.units))})


def _moments(rows: Array, n: Array) -> Moments:
    return Moments(n.astype(float), rows.sum(axis=-1), (rows**2).sum(axis=-1))


def money(rng: Rng, runs: int, shape: Shape, factor: float) -> Strata:
    """What each unit brought: mostly nothing, else a sum with a heavy tail; the candidate's are
    `factor` times as large."""
    arms = {}
    for name, n in zip(("candidate", "stable"), shape.counts(), strict=True):
        size = (runs, len(n), int(n.max()))
        bought = rng.random(size) < 0.05
        rows = np.where(bought & (np.arange(size[-1]) < n[:, None]), latencies(rng, size), 0.0)
        rows = rows * (factor if name == "candidate" else 1.0)
        arms[name] = _moments(rows, np.broadcast_to(n, size[:2]))
    return strata(arms)


def split(rng: Rng, runs: int, shape: Shape, shift: float) -> Strata:
    """Units of each arm when the share is off by `shift` in log odds."""
    share = np.array(shape.shares)
    p = 1 / (1 + (1 - share) / share * np.exp(-shift))
    n1 = rng.binomial(shape.units, p, (runs, len(share))).astype(float)
    zero = np.zeros_like(n1)
    return strata(
        {"candidate": Moments(n1, zero, zero), "stable": Moments(shape.units - n1, zero, zero)}
    )


def wandering(rng: Rng, runs: int, shape: Shape, base: float) -> Strata:
    """Errors whose rate wanders in each arm by itself (AR .8): noise that lasts."""
    n1, n0 = shape.counts()
    arms = {}
    for name, n in (("candidate", n1), ("stable", n0)):
        level = np.zeros((runs, len(n)))
        for at in range(1, len(n)):
            level[:, at] = 0.8 * level[:, at - 1] + 0.3 * rng.standard_normal(runs)
        arms[name] = _events(rng, level.shape, n, np.minimum(base * np.exp(level), 1.0), 0.0)
    return strata(arms)


def pods(rng: Rng, runs: int, shape: Shape, base: float) -> Strata:
    """2 candidate replicas against 18 stable ones, each with an error level of its own (sd .3)."""
    n1, n0 = shape.counts()
    arms = {}
    for name, n, replicas in (("candidate", n1, 2), ("stable", n0, 18)):
        level = np.exp(0.3 * rng.standard_normal((runs, replicas))).mean(axis=1, keepdims=True)
        arms[name] = _events(rng, (runs, len(n)), n, base * level, 0.0)
    return strata(arms)


def widened(found: Strata, by: int) -> Strata:
    """The same counts in buckets `by` times as long: fewer looks."""
    keep = len(found.keys) // by * by

    def add(part: Array) -> Array:
        return np.asarray(part[:, :keep].reshape(part.shape[0], -1, by).sum(axis=-1))

    return strata(
        {name: Moments(add(m.n), add(m.total), add(m.squares)) for name, m in found.arms.items()}
    )


def logarithms(rng: Rng, runs: int, shape: Shape, shift: float) -> Strata:
    """Logarithms of latencies with variance 0.3; the candidate's lie `shift` higher."""
    arms = {}
    for name, n, off in zip(("candidate", "stable"), shape.counts(), (shift, 0.0), strict=True):
        rows = rng.normal(off, np.sqrt(0.3), (runs, len(n), int(n.max())))
        together = np.sqrt(0.3 * shape.correlation) * rng.standard_normal((runs, len(n), 1))
        arms[name] = _moments(rows + together, np.broadcast_to(n, (runs, len(n))))
    return strata(arms)


def decisions(rng: Rng, runs: int, shape: Shape, differ: float, shift: float) -> Strata:
    """Per unit +1, 0 or -1: the candidate acts where stable does not, both alike, or the reverse.

    On `differ` of the units they disagree; the candidate acts on `shift` more in the mean.
    """
    size = (runs, len(shape.shares))
    more = np.full(size, (differ + shift) / 2)
    if shape.correlation:
        k = (1 - shape.correlation) / shape.correlation
        more = rng.beta(more * k, (1 - more) * k)
    plus = rng.binomial(shape.units, more).astype(float)
    minus = rng.binomial(shape.units, (differ - shift) / 2, size).astype(float)
    n = np.full(size, float(shape.units))
    return strata({"paired": Moments(n, plus - minus, plus + minus)})


def users(rng: Rng, runs: int, shape: Shape, many: tuple[int, float], base: float) -> Strata:
    """Few users ask all day, each with an error level of its own; `many` is (users, log sd)."""
    arms, (count, spread) = {}, many
    for name, n in zip(("candidate", "stable"), shape.counts(), strict=True):
        own = rng.lognormal(-(spread**2) / 2, spread, (runs, count // 2))
        arms[name] = _events(rng, (runs, len(n)), n, base * own.mean(axis=1, keepdims=True), 0.0)
    return strata(arms)
