"""Buckets added up into strata: only what happened at one time in one stage is compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum

import numpy as np

from interlock.errors import Unusable
from interlock.ports import Bucket
from interlock.rollout.eprocess import Moments
from interlock.rollout.metrics import Guardrail

Key = tuple[int, str]  # (start of the time bucket, stage): also the order of looking


@dataclass(frozen=True)
class Strata:
    """One metric, arm by arm, on the same list of keys (oldest first)."""

    keys: tuple[Key, ...]
    arms: Mapping[str, Moments]

    def units(self, arm: str, stage: str | None = None) -> float:
        """Units of `arm` in `stage` (None: in the whole rollout)."""
        chosen = [stage is None or key[1] == stage for key in self.keys]
        return float(self.arms[arm].n[chosen].sum()) if self.keys else 0.0


def strata(guardrail: Guardrail, buckets: Iterable[Bucket]) -> Strata:
    """The buckets of one guardrail; refuses counts that nothing can have produced."""
    mine = [b for b in buckets if b.metric == guardrail.metric and b.slice == guardrail.slice]
    names = ("paired",) if guardrail.form == "paired" else ("candidate", "stable")
    mine = [b for b in mine if b.arm in names]
    mine = list(widen(mine, guardrail.bucket_s)) if guardrail.bucket_s else mine
    keys = tuple(sorted({(b.at, b.stage) for b in mine}))
    return Strata(keys, {name: _moments(mine, name, keys, guardrail) for name in names})


def _moments(
    buckets: Sequence[Bucket], arm: str, keys: Sequence[Key], guardrail: Guardrail
) -> Moments:
    mine = [bucket for bucket in buckets if bucket.arm == arm]
    # Each part is checked: two wrongs may add up to something plausible.
    Moments.checked(*([getattr(b, part) for b in mine] for part in ("n", "total", "squares")))
    parts: dict[Key, list[Bucket]] = {key: [] for key in keys}
    for bucket in mine:
        parts[bucket.at, bucket.stage].append(bucket)
    # fsum: the same sum whatever the order in which replicas reported.
    n, total, squares = (
        np.array([fsum(getattr(b, part) for b in parts[key]) for key in keys])
        for part in ("n", "total", "squares")
    )
    if guardrail.form == "rate" and ((total > n) | (total < 0)).any():
        raise Unusable(f"{guardrail.metric}: more events than units", help="count each unit once")
    return Moments.checked(n, total, squares)


def matured(
    guardrails: Sequence[Guardrail], buckets: Iterable[Bucket], now: float
) -> tuple[Bucket, ...]:
    """Without cohorts whose labels may still be on their way (`now` in seconds since 1970), and
    without what is stamped later than now: a clock that is wrong has measured nothing yet.

    Labels come at a speed that depends on what they say. Judged too early, a cohort is
    a biased one, and under a ramp the bias differs between the arms.
    """
    horizon = {g.metric: g.maturity_s for g in guardrails if g.labels}
    return tuple(b for b in buckets if b.at + horizon.get(b.metric, 0.0) <= now)


def widen(buckets: Iterable[Bucket], seconds: int) -> tuple[Bucket, ...]:
    """The same counts in longer time buckets, for traffic whose noise lasts."""
    return tuple(replace(b, at=b.at - b.at % seconds) for b in buckets)
