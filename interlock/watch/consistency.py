"""Do two sides say the same of a feature? Online against offline, or a version against another.

Values are compared request by request. A value that the second side had a little earlier
(`lag`) is late, not wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["pass", "fail", "inconclusive"]
Number = float | None


@dataclass(frozen=True)
class Feature:
    """Counts of one feature over `n` requests; `example` is the first request that differs.

    `mismatch`: both have a value, not the same. `missing`: only the second side has one.
    `extra`: only the first has one. `late`: the first says what the second said before.
    """

    feature: str
    n: int
    mismatch: int = 0
    missing: int = 0
    extra: int = 0
    late: int = 0
    example: Mapping[str, Any] | None = None

    @property
    def rate(self) -> float:
        """The share of requests that are wrong; NaN when there were none."""
        return (self.mismatch + self.missing + self.extra) / self.n if self.n else math.nan


@dataclass(frozen=True)
class Consistency:
    """Every feature, worst first, against `bound`; nothing compared is inconclusive."""

    what: str
    requests: int
    features: tuple[Feature, ...]
    bound: float
    tolerance: float
    lag: float
    unanswered: int = 0

    @property
    def worst(self) -> float:
        return max((one.rate for one in self.features if one.n), default=math.nan)

    @property
    def verdict(self) -> Verdict:
        if not self.requests or any(one.n == 0 for one in self.features) or not self.features:
            return "inconclusive"
        return "fail" if self.worst > self.bound else "pass"

    @property
    def sentence(self) -> str:
        if self.verdict == "inconclusive":
            return f"{self.what}: no request could be compared"
        first = self.features[0]
        said = "agree" if self.verdict == "pass" else "do not agree"
        return (
            f"{self.what} {said}: {self.requests} requests, worst {first.feature} "
            f"with {first.rate:.3%} (bound {self.bound:.3%})"
        )

    def to_json(self) -> dict[str, Any]:
        names = ("what", "requests", "unanswered", "bound", "tolerance", "lag", "verdict")
        features = [{**asdict(f), "rate": None if f.n == 0 else f.rate} for f in self.features]
        said = {name: getattr(self, name) for name in names}
        return {**said, "sentence": self.sentence, "features": features}


def compared(
    feature: str,
    first: Sequence[Number],
    second: Sequence[Number],
    earlier: Sequence[Number] | None,
    labels: Sequence[Mapping[str, Any]],
    tolerance: float,
) -> Feature:
    """One feature, request by request; `earlier` is the second side one lag before."""
    counts = dict.fromkeys(("mismatch", "missing", "extra", "late"), 0)
    example: Mapping[str, Any] | None = None
    for at, (one, two) in enumerate(zip(first, second, strict=True)):
        kind = _kind(one, two, tolerance)
        if kind is None:
            continue
        if earlier is not None and _kind(one, earlier[at], tolerance) is None:
            kind = "late"
        elif example is None:
            example = {**labels[at], "first": _plain(one), "second": _plain(two), "kind": kind}
        counts[kind] += 1
    return Feature(feature, len(first), example=example, **counts)


def _kind(one: Number, two: Number, tolerance: float) -> str | None:
    # A log cannot tell NaN from NULL, and neither can a matrix.
    nothing = one is None or one != one, two is None or two != two
    if all(nothing):
        return None
    if any(nothing):
        return "missing" if nothing[0] else "extra"
    assert one is not None
    assert two is not None
    near = math.isfinite(one - two) and abs(one - two) <= tolerance * max(1.0, abs(two))
    return None if one == two or near else "mismatch"


def _plain(value: Number) -> Number:
    return None if value is None or not math.isfinite(value) else value


def ordered(features: Sequence[Feature]) -> tuple[Feature, ...]:
    """Worst first."""
    return tuple(sorted(features, key=lambda one: (-(one.rate if one.n else 2.0), one.feature)))
