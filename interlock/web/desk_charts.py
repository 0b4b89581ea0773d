"""Charts from additive buckets: any width of bar is a sum, so a long rollout stays readable."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from interlock.ports import Bucket, Json
from interlock.web.figures import Chart, Line, Point

_Z = 1.96
_MOST = 60
_WIDTHS = (3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 7 * 86400)
# What people look at first comes first.
_TITLES: Mapping[str, str] = {
    "log_loss_paired": "Log-loss on the same predictions: candidate minus stable",
    "log_loss": "Log-loss on arrived labels",
    "score_shift": "Share of scores above the stable release's 90th percentile",
    "errors": "Share of answers that failed",
    "slow": "Share of answers slower than promised",
    "fallbacks": "Share of answers with a fallback value",
    "label_missing": "Share of labels missing when due",
    "units": "Units judged",
}
_RATES = frozenset({"score_shift", "errors", "slow", "fallbacks", "label_missing"})


@dataclass(frozen=True)
class _Sum:
    """Counts of one arm in one bar."""

    n: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, bucket: Bucket) -> _Sum:
        return _Sum(self.n + bucket.n, self.total + bucket.total, self.squares + bucket.squares)


def charts(buckets: Iterable[Bucket]) -> tuple[Chart, ...]:
    """A chart per metric that was measured."""
    by_metric: dict[str, list[Bucket]] = {}
    for bucket in buckets:
        if not bucket.slice:
            by_metric.setdefault(bucket.metric, []).append(bucket)
    return tuple(_chart(metric, by_metric[metric]) for metric in sorted(by_metric, key=_rank))


def _rank(metric: str) -> tuple[float, str]:
    known = list(_TITLES)
    # The business number stands behind the two of the model and before the alarms.
    return (known.index(metric) if metric in _TITLES else 1.5), metric


def _title(metric: str) -> str:
    if metric.startswith("kpi:"):
        return f"{metric[4:]}: its KPI per decision, candidate minus stable"
    return _TITLES.get(metric, metric.replace("_", " "))


def _chart(metric: str, buckets: Sequence[Bucket]) -> Chart:
    width = _width([bucket.at for bucket in buckets])
    arms: dict[str, dict[int, _Sum]] = {}
    for bucket in buckets:
        bars = arms.setdefault(bucket.arm, {})
        at = bucket.at // width * width
        bars[at] = bars.get(at, _Sum()) + bucket
    name, per = metric.replace("_", " "), _per(width)
    if metric == "units":
        return Chart(name, f"{_title(metric)} {per}", _counts(arms), note="Both arms, as answered.")
    note = f"Means {per}; the band holds 95 % of the uncertainty of each mean by itself."
    if "paired" in arms:
        line = Line("difference", "candidate", _points(arms["paired"], metric, banded=True))
        return Chart(name, _title(metric), (line,), bound=0.0, bound_label="no difference",
                     note=note)  # fmt: skip
    lines = tuple(
        Line(arm, "candidate" if arm == "candidate" else "stable",
             _points(arms[arm], metric, banded=arm == "candidate"))
        for arm in ("candidate", "stable") if arm in arms
    )  # fmt: skip
    return Chart(name, _title(metric), lines, note=note)


def _width(times: Sequence[int]) -> int:
    span = max(times) - min(times)
    return next((width for width in _WIDTHS if span / width <= _MOST), _WIDTHS[-1])


def _per(width: int) -> str:
    if width % 86400 == 0:
        return "per day" if width == 86400 else f"per {width // 86400} days"
    return "per hour" if width == 3600 else f"per {width // 3600} hours"


def _counts(arms: Mapping[str, Mapping[int, _Sum]]) -> tuple[Line, ...]:
    return tuple(
        Line(arm, "candidate" if arm == "candidate" else "stable",
             tuple(Point(_when(at), bars.n) for at, bars in sorted(arms[arm].items())))
        for arm in ("candidate", "stable") if arm in arms
    )  # fmt: skip


def _points(bars: Mapping[int, _Sum], metric: str, banded: bool) -> tuple[Point, ...]:
    return tuple(_point(at, one, metric, banded) for at, one in sorted(bars.items()) if one.n > 0)


def _point(at: int, one: _Sum, metric: str, banded: bool) -> Point:
    mean = one.total / one.n
    if not banded:
        return Point(_when(at), mean)
    if metric in _RATES:
        return Point(_when(at), mean, *_wilson(mean, one.n))
    if one.n < 2:
        return Point(_when(at), mean)  # one value says nothing about its own uncertainty
    variance = max(one.squares / one.n - mean * mean, 0.0) * one.n / (one.n - 1)
    half = _Z * math.sqrt(variance / one.n)
    return Point(_when(at), mean, mean - half, mean + half)


def _wilson(share: float, n: float) -> tuple[float, float]:
    """The interval of a share; zero events in ten answers are not zero for certain."""
    size = 1 + _Z * _Z / n
    middle = (share + _Z * _Z / (2 * n)) / size
    half = _Z / size * math.sqrt(share * (1 - share) / n + _Z * _Z / (4 * n * n))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _when(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def calibration(days: Sequence[Json], model: str, limit: float | None) -> Chart | None:
    """Calibration error of each week of arrived labels; None while there is no day."""
    points = tuple(_day(day) for day in days)
    if not any(point.value is not None for point in points):
        return None
    line = Line(model, "candidate", points)
    return Chart(
        "ece", f"Calibration error of {model} over the week", (line,), bound=limit,
        bound_label="retrain above" if limit is not None else "",
        note="Of the labels that have arrived, over the seven days that end with each day.",
    )  # fmt: skip


def _day(day: Mapping[str, Any]) -> Point:
    at = datetime.fromisoformat(day["day"]).replace(tzinfo=UTC)
    return Point(at, day.get("week_ece", day["ece"]))
