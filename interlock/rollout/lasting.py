"""Noise that lasts: how long a bucket must be so that neighbouring ones say different things.

Asked before a rollout, of traffic in which nothing differed: in a rollout a harm that
begins half way looks the same as noise that lasts, and must not be waited away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from interlock.ports import Bucket
from interlock.rollout import eprocess
from interlock.rollout.metrics import Guardrail
from interlock.rollout.strata import Strata, strata

# With neighbours this alike at most, simulated false alarms stayed under their bound.
MOST = 0.1
# Of fewer buckets the likeness of neighbours is a guess.
FEWEST = 20


@dataclass(frozen=True)
class Width:
    """A length of bucket, and the likeness of neighbours (lag-1) that chose it.

    `likeness` is None where there were too few buckets to tell, and `seconds` then is the
    longest at which there were enough. `burst` is how many times as much the arms differ, at
    that length, as events that come one by one would make them. `holds` says how many of the
    shortest go into one.
    """

    seconds: int
    likeness: float | None
    burst: float = 1.0
    holds: int = 1

    @property
    def settled(self) -> bool:
        return self.likeness is not None and self.likeness <= MOST


def fitted(guardrail: Guardrail, width: Width | None) -> Guardrail:
    """`guardrail` with buckets, and bursts, as long and large as noise was seen to be."""
    if width is None or width.likeness is None:
        return guardrail
    burst = max(guardrail.burst, width.burst)
    units = guardrail.bucket_units * width.holds
    return replace(guardrail, bucket_s=width.seconds, burst=burst, bucket_units=units)


def likeness(found: Strata) -> float | None:
    """Lag-1 autocorrelation of the difference between the arms; None of too few buckets."""
    if not found.keys:
        return None
    off = eprocess.standardised(found.arms)
    if len(off) < FEWEST or not off.any():
        return None
    off = off - off.mean()
    around = float((off**2).sum())
    return float((off[1:] * off[:-1]).sum()) / around if around else 0.0


def width(guardrail: Guardrail, calm: Sequence[Bucket], shortest: int) -> Width:
    """The shortest bucket, `shortest` seconds doubled as often as needed, without likeness.

    `calm` are counts of two arms between which nothing differs.
    """
    found = Width(shortest, None)
    while True:
        seconds = shortest if found.likeness is None else found.seconds * 2
        there = strata(replace(guardrail, bucket_s=seconds), calm)
        seen = likeness(there)
        if seen is None:
            return found
        burst = eprocess.overdispersion(there.arms)
        found = Width(seconds, seen, burst, seconds // shortest)
        if seen <= MOST:
            return found
