"""Noise that lasts is seen before a rollout, and its buckets are made long enough for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rollout_story import ALPHA, BETA, ERRORS

from interlock.ports import Bucket
from interlock.rollout.evidence import evidence
from interlock.rollout.judge import judge
from interlock.rollout.lasting import MOST, fitted, likeness, width
from interlock.rollout.strata import strata

HOUR = 3600
PLAIN = replace(ERRORS, margin_absolute=0.0, scale=0.02, bucket_units=2500)


def counted(rng: np.random.Generator, hours: int, lasts: float, n: int = 5000) -> Iterator[Bucket]:
    """Errors around 2 % whose rate wanders in each arm by itself; `lasts` is how long."""
    for arm in ("stable", "candidate"):
        level = 0.0
        for hour in range(hours):
            level = lasts * level + 0.3 * float(rng.standard_normal())
            events = rng.binomial(n, min(0.02 * np.exp(level), 1.0))
            yield Bucket("tenth", "errors", arm, hour * HOUR, n, float(events), float(events))


@pytest.mark.parametrize(("lasts", "least", "most"), [(0.0, 1, 1), (0.5, 2, 8), (0.9, 8, 64)])
def test_buckets_grow_with_how_long_noise_lasts(lasts: float, least: int, most: int) -> None:
    calm = list(counted(np.random.default_rng(3), 6000, lasts))
    found = width(PLAIN, calm, HOUR)
    assert least * HOUR <= found.seconds <= most * HOUR
    assert found.settled
    shorter = strata(replace(PLAIN, bucket_s=found.seconds // 2), calm)
    assert found.seconds == HOUR or (likeness(shorter) or 0) > MOST


def test_too_little_history_says_so_and_chooses_no_width() -> None:
    few = width(PLAIN, list(counted(np.random.default_rng(3), 15, 0.9)), HOUR)
    assert (few.seconds, few.likeness, few.settled) == (HOUR, None, False)
    none = width(PLAIN, [], HOUR)
    assert (none.seconds, none.likeness) == (HOUR, None)
    some = width(PLAIN, list(counted(np.random.default_rng(3), 60, 0.98)), HOUR)
    assert not some.settled
    assert (some.likeness or 0) > MOST


def test_the_judge_adds_hours_up_as_it_was_agreed() -> None:
    rows = list(counted(np.random.default_rng(5), 48, 0.0, 50))
    wide = replace(ERRORS, bucket_s=6 * HOUR)
    by_hand = [replace(b, at=b.at - b.at % (6 * HOUR)) for b in rows]
    assert judge([wide], rows, ALPHA, BETA).per_guardrail == (
        judge([ERRORS], by_hand, ALPHA, BETA).per_guardrail
    )


def test_what_was_seen_before_mends_the_false_alarms_of_lasting_noise() -> None:
    rng, taken_back, runs = np.random.default_rng(8), {"plain": 0, "fitted": 0}, 80
    it = fitted(PLAIN, width(PLAIN, list(counted(rng, 672, 0.8)), HOUR))
    for _ in range(runs):
        rows: Any = list(counted(rng, 200, 0.8))
        for name, one in (("plain", PLAIN), ("fitted", it)):
            fail = evidence(one, strata(one, rows), ALPHA, BETA).fail
            taken_back[name] += bool(fail.max() >= np.log(1 / ALPHA))
    assert taken_back["plain"] > runs / 4, "these are false alarms, or the noise is none"
    assert taken_back["fitted"] <= runs * 0.05 + 3 * (runs * 0.05 * 0.95) ** 0.5
