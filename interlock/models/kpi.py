"""A service's own number under the old and the new scores: does its owner lose?

Both releases are measured on the same decision units, so the difference is paired; the
day is the observation, because one storm touches every unit of its day.

pass          the worse end of the interval of the relative change is within the margin
fail          even the better end is beyond the margin
inconclusive  the interval straddles the margin, or nothing could be measured; it blocks

Narrow noise passes: the owner accepted the margin, and the interval shows that the loss,
if any, is inside it. Wide noise does not: not knowing is not the same as no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.define.definitions import Kpi
from interlock.errors import Unusable
from interlock.models.compare import Verdict
from interlock.models.metrics import Estimate, Floats, estimate, finite

UNMATCHED = 0.01
"""Share of units that only one release may have before the two are not comparable."""


@dataclass(frozen=True)
class KpiRows:
    """What the KPI's SQL returned: one row per decision unit. Without weights each counts once."""

    unit: NDArray[Any]
    day: NDArray[Any]
    value: Floats
    weight: Floats | None = None

    @property
    def weights(self) -> Floats:
        return np.ones(len(self.value)) if self.weight is None else self.weight


@dataclass(frozen=True)
class KpiComparison:
    """`change` is (new - old) / |old|; `worsening` is the same, positive where it harms."""

    name: str
    verdict: Verdict
    old: float
    new: float
    change: Estimate
    worsening: Estimate
    units: int
    unmatched: int
    sentence: str

    def to_json(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "old": finite(self.old),
            "new": finite(self.new),
            "change": self.change.to_json(),
            "worsening": self.worsening.to_json(),
        }


def compare_kpi(old: KpiRows, new: KpiRows, kpi: Kpi) -> KpiComparison:
    """The relative change of `kpi` from `old` to `new`, with a verdict against its margin."""
    _check(old, "stable")
    _check(new, "candidate")
    change = _relative_change(old, new)
    worsening = change if kpi.better == "lower" else _mirrored(change)
    units_old, units_new = set(_keys(old)), set(_keys(new))
    every, unmatched = len(units_old | units_new), len(units_old ^ units_new)
    comparable = every > 0 and unmatched <= UNMATCHED * every
    verdict = _verdict(worsening, kpi.margin) if comparable else "inconclusive"
    return KpiComparison(
        kpi.name,
        verdict,
        _level(old),
        _level(new),
        change,
        worsening,
        every,
        unmatched,
        _sentence(kpi, (_level(old), _level(new)), change, verdict, (every, unmatched)),
    )


def _check(rows: KpiRows, whose: str) -> None:
    if not np.isfinite(rows.value).all() or not np.isfinite(rows.weights).all():
        raise Unusable(f"the KPI of the {whose} release has values that are not numbers")
    keys = _keys(rows)
    if len(set(keys)) != len(keys):
        raise Unusable(
            f"the KPI of the {whose} release has several rows for one unit and day",
            help="group its SQL by the decision unit",
        )


def _keys(rows: KpiRows) -> list[tuple[str, str]]:
    return [(str(unit), str(day)) for unit, day in zip(rows.unit, rows.day, strict=True)]


def _level(rows: KpiRows) -> float:
    total = float(rows.weights.sum())
    return float(rows.value.sum()) / total if total else float("nan")


def _relative_change(old: KpiRows, new: KpiRows) -> Estimate:
    """Delta method for a ratio of two ratios; units of one day are one observation.

    Day totals are all it needs, and the same day stands in both, which is the pairing.
    """
    days = np.unique(np.concatenate([old.day.astype(str), new.day.astype(str)]))
    level_old, level_new = _level(old), _level(new)
    if not level_old or not np.isfinite(level_old + level_new):
        return estimate(float("nan"), np.zeros(len(days)), np.arange(len(days)))
    pull_old, pull_new = _pull(old, level_old, days), _pull(new, level_new, days)
    influence = (pull_new - level_new / level_old * pull_old) / abs(level_old)
    return estimate((level_new - level_old) / abs(level_old), influence, np.arange(len(days)))


def _pull(rows: KpiRows, level: float, days: NDArray[Any]) -> Floats:
    """How each day pulls the level, summing to zero."""
    where = np.searchsorted(days, rows.day.astype(str))
    pull = (rows.value - level * rows.weights) / rows.weights.sum()
    return np.asarray(np.bincount(where, weights=pull, minlength=len(days)), dtype=np.float64)


def _mirrored(change: Estimate) -> Estimate:
    return Estimate(-change.value, change.se, -change.high, -change.low, change.clusters)


def _verdict(worsening: Estimate, margin: float) -> Verdict:
    if not np.isfinite(worsening.se):
        return "inconclusive"
    if worsening.high <= margin:
        return "pass"
    return "fail" if worsening.low > margin else "inconclusive"


def _sentence(
    kpi: Kpi,
    levels: tuple[float, float],
    change: Estimate,
    verdict: Verdict,
    counted: tuple[int, int],
) -> str:
    units, unmatched = counted
    if unmatched > UNMATCHED * units or not units:
        return f"{kpi.name}: {unmatched} of {units} units were measured under one release only"
    if not np.isfinite(change.se):
        return f"{kpi.name}: {units} units on {change.clusters} days are not enough to compare"
    word = {
        "pass": "within",
        "fail": "worse beyond",
        "inconclusive": "not shown to be within",
    }[verdict]
    return (
        f"{kpi.name} {levels[0]:.4g} -> {levels[1]:.4g}, {change.value:+.1%} "
        f"[{change.low:+.1%}, {change.high:+.1%}] over {change.clusters} days "
        f"({kpi.better} is better): {word} the margin of {kpi.margin:.1%}"
    )
