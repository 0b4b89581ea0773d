"""How good a column of scores is, and how sure we are: log-loss, AUC, calibration.

Everything here is paired and clustered: two models are compared on the same rows, and
rows of one day move together, so the day is what counts as an observation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Floats = NDArray[np.float64]
Whole = NDArray[np.intp]

CLIP = 1e-4
"""Scores are clipped to [CLIP, 1 - CLIP] before log-loss, so that one sure mistake costs 9.2."""

BINS = 15
"""Equal-width bins of [0, 1] for ECE (Guo et al. 2017, "On Calibration of Modern Neural
Networks", use 15). Equal width, because fixed edges let the days of a window be added up."""


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error and two-sided interval.

    With fewer than two clusters the interval is infinite: what cannot be measured must
    not look certain.
    """

    value: float
    se: float
    low: float
    high: float
    clusters: int

    @property
    def p_positive(self) -> float:
        """One-sided p-value of "the truth is not above zero"."""
        if not np.isfinite(self.se):
            return 1.0
        if self.se == 0:
            return 0.0 if self.value > 0 else 1.0
        return float(stdtr(self.clusters - 1, -self.value / self.se))

    def to_json(self) -> dict[str, Any]:
        return {name: finite(value) for name, value in self.__dict__.items()}


def finite(value: float) -> float | None:
    """`value` as JSON can hold it: not-a-number and infinity become None."""
    return float(value) if np.isfinite(value) else None


def clusters_of(labels: NDArray[Any] | None, n: int) -> Whole:
    """A cluster index per row; without labels every row stands alone."""
    if labels is None:
        return np.arange(n)
    return np.unique(labels, return_inverse=True)[1].reshape(-1)


def estimate(value: float, influence: Floats, cluster: Whole, alpha: float = 0.05) -> Estimate:
    """An interval from per-row influences (they sum to about 0), summed within clusters."""
    per_cluster = np.bincount(cluster, weights=influence) if len(cluster) else np.zeros(0)
    count = len(per_cluster)
    if count < 2 or not np.isfinite(value):
        return Estimate(float(value), float("inf"), float("-inf"), float("inf"), count)
    centred = per_cluster - per_cluster.mean()
    se = float(np.sqrt(count / (count - 1) * np.sum(centred**2)))
    half = float(stdtrit(count - 1, 1 - alpha / 2)) * se
    return Estimate(float(value), se, float(value) - half, float(value) + half, count)


def ratio(over: Floats, under: Floats, cluster: Whole, alpha: float = 0.05) -> Estimate:
    """sum(over) / sum(under) with a delta-method interval, robust to clusters."""
    total = float(under.sum())
    if total == 0:
        return estimate(float("nan"), over, cluster, alpha)
    value = float(over.sum()) / total
    return estimate(value, (over - value * under) / total, cluster, alpha)


def mean(values: Floats, cluster: Whole, alpha: float = 0.05) -> Estimate:
    """The mean with an interval robust to clusters."""
    return ratio(values, np.ones(len(values)), cluster, alpha)


def log_loss(y: Floats, p: Floats) -> Floats:
    """The loss of each row."""
    clipped = np.clip(p, CLIP, 1 - CLIP)
    return -np.asarray(np.where(y > 0.5, np.log(clipped), np.log1p(-clipped)), dtype=np.float64)


def brier(y: Floats, p: Floats) -> float:
    """Mean squared difference of score and outcome."""
    return float(np.mean((p - y) ** 2))


def _midranks(values: Floats) -> Floats:
    """Ranks from 1, ties share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    upper = np.cumsum(counts)
    return np.asarray((upper - (counts - 1) / 2)[inverse.reshape(-1)], dtype=np.float64)


def _placements(y: Floats, p: Floats) -> tuple[float, Floats]:
    """AUC, and for each row the share of the other class that it beats (DeLong's components)."""
    positive = y > 0.5
    m, n = int(positive.sum()), int((~positive).sum())
    everyone = _midranks(p)
    placed = np.empty(len(p))
    placed[positive] = (everyone[positive] - _midranks(p[positive])) / n
    placed[~positive] = 1 - (everyone[~positive] - _midranks(p[~positive])) / m
    return float(placed[positive].mean()), placed


def auc(y: Floats, p: Floats) -> float:
    """The chance that a late row outscores an on-time one; NaN when one class is missing."""
    positive = y > 0.5
    if positive.all() or not positive.any():
        return float("nan")
    return _placements(y, p)[0]


def auc_difference(
    y: Floats, old: Floats, new: Floats, cluster: Whole, alpha: float = 0.05
) -> Estimate:
    """AUC(new) - AUC(old): fast paired DeLong (Sun and Xu 2014); clusters as Obuchowski (1997).

    With every row its own cluster this is DeLong's variance up to the pooling of
    n/(n-1) corrections.
    """
    positive = y > 0.5
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        return estimate(float("nan"), np.zeros(len(y)), cluster, alpha)
    (auc_old, placed_old), (auc_new, placed_new) = _placements(y, old), _placements(y, new)
    shift = (placed_new - placed_old) - (auc_new - auc_old)
    return estimate(auc_new - auc_old, shift / np.where(positive, m, n), cluster, alpha)


def bin_of(p: Floats) -> Whole:
    """The calibration bin of each score."""
    return np.clip((p * BINS).astype(np.intp), 0, BINS - 1)


def ece_of_cells(predicted: Floats, observed: Floats, n: float) -> float:
    """ECE from per-bin sums of scores and of outcomes over `n` rows."""
    return float(np.abs(predicted - observed).sum() / n) if n else float("nan")


def ece(y: Floats, p: Floats, weight: Floats | None = None) -> float:
    """Expected calibration error: mean gap of score and outcome over the bins."""
    rows = np.ones(len(y)) if weight is None else weight
    where = bin_of(p)
    predicted: Floats = np.bincount(where, rows * p, BINS).astype(np.float64)
    observed: Floats = np.bincount(where, rows * y, BINS).astype(np.float64)
    return ece_of_cells(predicted, observed, float(rows.sum()))


def ece_difference(
    y: Floats, old: Floats, new: Floats, cluster: Whole, reps: int = 100
) -> Estimate:
    """ECE(new) - ECE(old), bias-corrected bootstrap over clusters: estimate - bias +- 1.96 sd.

    ECE is a sum of absolute values and so biased upwards; a percentile interval
    over-covers. The seed is fixed: the same rows give the same evidence.
    """
    count = int(cluster.max()) + 1 if len(cluster) else 0
    value = ece(y, new) - ece(y, old) if len(y) else float("nan")
    if count < 2:
        return Estimate(value, float("inf"), float("-inf"), float("inf"), count)
    rng = np.random.default_rng(20130624)
    draws = np.empty(reps)
    for rep in range(reps):
        weight = rng.multinomial(count, np.full(count, 1 / count))[cluster].astype(np.float64)
        draws[rep] = ece(y, new, weight) - ece(y, old, weight)
    sd, corrected = float(np.nanstd(draws, ddof=1)), 2 * value - float(np.nanmean(draws))
    return Estimate(corrected, sd, corrected - 1.96 * sd, corrected + 1.96 * sd, count)


def calibration_line(y: Floats, p: Floats) -> tuple[float, float]:
    """Intercept and slope of the logistic regression of outcome on logit(score); ideal is 0, 1.

    Slope below 1: scores too extreme. NaN when it cannot be fitted (one class, one score).
    """
    clipped = np.clip(p, CLIP, 1 - CLIP)
    logit = np.log(clipped) - np.log1p(-clipped)
    if len(y) < 2 or np.ptp(logit) == 0 or np.ptp(y) == 0:
        return float("nan"), float("nan")
    design = np.column_stack([np.ones(len(y)), logit])
    beta = np.array([0.0, 1.0])
    for _ in range(25):
        fitted = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        curvature = design.T @ (design * (fitted * (1 - fitted))[:, None])
        if np.linalg.cond(curvature) > 1e12:
            return float("nan"), float("nan")
        step = np.linalg.solve(curvature, design.T @ (y - fitted))
        beta = beta + step
        if np.abs(step).max() < 1e-9:
            break
    return float(beta[0]), float(beta[1])


def holm(p_values: Floats, alpha: float) -> NDArray[np.bool_]:
    """Which hypotheses fall at family-wise error `alpha` (step-down Bonferroni)."""
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    passed = p_values[order] <= alpha / (count - np.arange(count))
    flagged = np.zeros(count, dtype=np.bool_)
    flagged[order[: int(np.argmin(passed)) if not passed.all() else count]] = True
    return flagged


def benjamini_hochberg(p_values: Floats, rate: float) -> NDArray[np.bool_]:
    """Which hypotheses fall at false discovery rate `rate`."""
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    passed = np.flatnonzero(p_values[order] <= rate * np.arange(1, count + 1) / count)
    flagged = np.zeros(count, dtype=np.bool_)
    flagged[order[: passed[-1] + 1 if len(passed) else 0]] = True
    return flagged
