"""What came of it: how right models were, and what services reached, from what was kept.

Accuracy is of arrived labels, per release, as `watch` keeps it day by day. What services reached
is their own number, on the subjects of each arm of a rollout, as the looks of it counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from interlock.ports import Bucket

KPI = "kpi:"
_ARMS = {
    "stable": "stable",
    "candidate": "candidate",
    # Units that both have scored: the mean of what differs.
    "paired": "candidate less stable",
}


@dataclass(frozen=True)
class Accuracy:
    """One model under one release: `n` answers whose labels came, over `days` days.

    `error` is the mean calibration error, 0 to 1; `bias` is what was predicted less what came.
    """

    model: str
    release: str
    days: int
    n: int
    error: float
    bias: float

    @property
    def sentence(self) -> str:
        return (
            f"{self.model} ({self.release[:12] or 'a release from before this was kept'}): "
            f"calibration error {self.error:.3f}, predicts {self.bias:+.3f} of what came, "
            f"on {self.n} labels of {self.days} days"
        )

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Outcome:
    """A service's own number under one arm of a change: the mean of `n` units.

    `arm` is `stable`, `candidate`, or `paired`: candidate less stable on the same units.
    """

    service: str
    change: str
    arm: str
    n: float
    value: float

    @property
    def sentence(self) -> str:
        arm = _ARMS[self.arm]
        return f"{self.service} ({self.change}, {arm}): {self.value:.4g} on {self.n:.0f} units"

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


def accuracy(
    model: str, rows: Iterable[Mapping[str, Any]], since: datetime, until: datetime
) -> tuple[Accuracy, ...]:
    """Of the days of [since, until) that `watch` kept, one figure per release, oldest first."""
    by_release: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        day = datetime.combine(date.fromisoformat(row["day"]), datetime.min.time(), UTC)
        if since <= day < until and row["n"]:
            by_release.setdefault(row.get("release") or "", []).append(row)
    return tuple(_accuracy(model, release, days) for release, days in by_release.items())


def _accuracy(model: str, release: str, days: Sequence[Mapping[str, Any]]) -> Accuracy:
    n = sum(int(row["n"]) for row in days)
    error = sum(row["n"] * row["ece"] for row in days) / n
    bias = sum(row["n"] * (row["mean_score"] - row["mean_label"]) for row in days) / n
    return Accuracy(model, release, len(days), n, error, bias)


def outcomes(
    change: str, buckets: Iterable[Bucket], since: datetime, until: datetime
) -> tuple[Outcome, ...]:
    """What each service reached in the buckets of [since, until), per arm of `change`."""
    sums: dict[tuple[str, str], list[float]] = {}
    for one in buckets:
        within = since.timestamp() <= one.at < until.timestamp()
        if within and one.metric.startswith(KPI) and one.arm in _ARMS and not one.slice:
            held = sums.setdefault((one.metric.removeprefix(KPI), one.arm), [0.0, 0.0])
            held[0] += one.n
            held[1] += one.total
    return tuple(
        Outcome(service, change, arm, n, total / n)
        for (service, arm), (n, total) in sorted(sums.items())
        if n
    )
