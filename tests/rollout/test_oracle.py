"""The judge's numbers against the formulas as they are written down, in plain Python, bucket by
bucket: nothing here is shared with the code but the bets, the shifts and the 60 buckets."""

from __future__ import annotations

from collections.abc import Sequence
from math import erfc, exp, fsum, log, pi, sqrt
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.ports import Bucket
from interlock.rollout import eprocess
from interlock.rollout.eprocess import Bound, Moments
from interlock.rollout.judge import judge
from interlock.rollout.metrics import Guardrail

calm = settings(derandomize=True, max_examples=40, deadline=None)


class Cell(NamedTuple):
    """One bucket: units, events or sum, and sum of squares of candidate and stable."""

    n1: int
    s1: float
    q1: float
    n0: int
    s0: float
    q0: float


def log_mean(logs: Sequence[float], weights: Sequence[float] | None = None) -> float:
    shares = weights or [1.0] * len(logs)
    top = max(logs)
    return top + log(
        fsum(w * exp(x - top) for w, x in zip(shares, logs, strict=True)) / sum(shares)
    )


def rate(cells: Sequence[Cell], bound: Bound) -> float:
    logs = []
    for step in range(24):
        bet = 1.05 * (16 / 1.05) ** (step / 23)
        bet = bet if bound.above else 1 / bet
        found = 0.0
        for it in cells:
            if it.n1 and it.n0:
                q = it.n1 * bound.ratio / (it.n1 * bound.ratio + it.n0)
                c = q * bet + 1 - q
                found += it.s1 * log(bet) - (it.s1 + it.s0) * log(c)
                found -= (1 - q) * (bet - 1) / c * it.n1 * bound.absolute
        logs.append(found)
    return log_mean(logs)


def normal(total: float, variance: float, rho: float) -> float:
    z = total / sqrt(variance + rho)
    # log of the normal distribution function; far out by Mills' ratio, which erfc cannot reach.
    below = log(erfc(-z / sqrt(2)) / 2) if z > -25 else -z * z / 2 - log(-z * sqrt(2 * pi))
    return 0.5 * log(4 * rho / (variance + rho)) + z * z / 2 + below


def mean(cells: Sequence[Cell], bound: Bound, rho: float) -> float:
    sign = 1 if bound.above else -1
    heard = [it for it in cells if it.n1 and it.n0]
    if not heard:
        return normal(0.0, 0.0, rho)
    total = seen = weight = around = freedom = moved = size = 0.0
    last: Cell | None = None
    for it in heard:
        h = it.n1 * it.n0 / (it.n1 + it.n0)
        x = sign * h * (it.s1 / it.n1 - bound.ratio * it.s0 / it.n0 - bound.absolute)
        total, seen = total + x, seen + x * x
        weight += h * h * (1 / it.n1 + bound.ratio**2 / it.n0)
        around += max(it.q1 - it.s1**2 / it.n1, 0) + max(it.q0 - it.s0**2 / it.n0, 0)
        freedom += it.n1 - 1 + it.n0 - 1
        if last is not None:
            moved += (it.s0 / it.n0 - last.s0 / last.n0) ** 2
            size += 1 / it.n0 + 1 / last.n0
        last = it
    spread = max(around / freedom if freedom else 0.0, moved / size if size else 0.0)
    planned = spread * weight
    return normal(total, (seen + 2 * max(seen, planned)) / 3, rho)


def split(cells: Sequence[Cell], share: float, shift: float) -> float:
    """Exact: the ratio of two binomial likelihoods."""
    odds = share / (1 - share) * exp(shift)
    moved = odds / (1 + odds)
    return fsum(it.n1 * log(moved / share) + it.n0 * log((1 - moved) / (1 - share)) for it in cells)


def arms(cells: Sequence[Cell]) -> tuple[Moments, Moments]:
    made = np.array(cells, dtype=float).T
    return Moments(*made[:3]), Moments(*made[3:])


@st.composite
def events(draw: st.DrawFn) -> Cell:
    n1, n0 = draw(st.integers(0, 60)), draw(st.integers(0, 400))
    s1, s0 = draw(st.integers(0, n1)), draw(st.integers(0, n0))
    return Cell(n1, s1, s1, n0, s0, s0)


@st.composite
def sums(draw: st.DrawFn) -> Cell:
    sizes = st.lists(st.floats(-50, 50), max_size=6)
    one, two = draw(sizes), draw(sizes)
    return Cell(len(one), fsum(one), fsum(x * x for x in one),
                len(two), fsum(two), fsum(x * x for x in two))  # fmt: skip


bounds = st.builds(Bound, st.floats(0.2, 4), st.sampled_from([0.0, 0.01, 0.3]), st.booleans())


@calm
@given(st.lists(events(), min_size=1, max_size=12), bounds)
def test_rates_are_the_formula(cells: list[Cell], bound: Bound) -> None:
    found = eprocess.rate(*arms(cells), bound)
    expected = [rate(cells[: end + 1], bound) for end in range(len(cells))]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@calm
@given(st.lists(sums(), min_size=1, max_size=12), bounds, st.sampled_from([0.3, 40.0]))
def test_means_are_the_formula_with_the_variance_between_buckets(
    cells: list[Cell], bound: Bound, rho: float
) -> None:
    found = eprocess.mean(*arms(cells), bound, rho)
    expected = [mean(cells[: end + 1], bound, rho) for end in range(len(cells))]
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


@calm
@given(st.lists(sums(), min_size=1, max_size=12), st.floats(-2, 2), st.booleans())
def test_pairs_are_the_formula(cells: list[Cell], off: float, above: bool) -> None:
    found = eprocess.paired(arms(cells)[0], Bound(0.0, off, above), 7.0)
    sign = 1 if above else -1
    for end in range(1, len(cells) + 1):
        some = cells[:end]
        steps = [sign * (it.s1 - it.n1 * off) for it in some]
        seen, n = fsum(x * x for x in steps), sum(it.n1 for it in some)
        around = fsum(max(it.q1 - it.s1**2 / it.n1, 0) for it in some if it.n1)
        freedom = sum(max(it.n1 - 1, 0) for it in some)
        planned = around / freedom * n if freedom else 0.0
        variance = (seen + 2 * max(seen, planned)) / 3
        assert found[end - 1] == pytest.approx(normal(fsum(steps), variance, 7.0), abs=1e-6)


@calm
@given(st.lists(events(), min_size=1, max_size=12), st.sampled_from([0.01, 0.1, 0.5]))
def test_the_split_is_the_ratio_of_two_likelihoods(cells: list[Cell], share: float) -> None:
    n1, n0 = (arm.n for arm in arms(cells))
    shares = np.full(len(cells), share)
    shifts = [sign * by for by in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6) for sign in (1, -1)]
    broken = log_mean([split(cells, share, shift) for shift in shifts])
    assert eprocess.split_fail(n1, n0, shares)[-1] == pytest.approx(broken, rel=1e-9, abs=1e-9)
    kept = [-split(cells, share, shift) for shift in (0.1, -0.1)]
    found = [path[-1] for path in eprocess.split_pass(n1, n0, shares, 0.1)]
    assert found == pytest.approx(kept, rel=1e-9, abs=1e-9)


def test_the_width_is_made_for_sixty_buckets() -> None:
    x = 2 * log(1 / 0.1)
    assert eprocess.best_rho(3.0, 0.05) == pytest.approx(60 * 3.0 / (x + log(1 + x)))


@calm
@given(st.lists(st.tuples(events(), events()), min_size=1, max_size=8))
def test_all_guardrails_together_are_their_weighted_mean_at_its_peak(
    both: list[tuple[Cell, Cell]],
) -> None:
    """And nothing that one of them has not measured is evidence of another."""
    guards = [
        Guardrail(name, name, "rate", margin=0.5, weight=weight, bursty=False)
        for name, weight in (("a", 0.7), ("b", 0.2), ("c", 0.1))
    ]
    buckets = [
        Bucket("half", name, arm, at, n, e, e)
        for at, pair in enumerate(both)
        for name, it in zip("ab", pair, strict=True)
        for arm, n, e in (("candidate", it.n1, it.s1), ("stable", it.n0, it.s0))
    ]
    bound, peak = Bound(1.0, 0.0, above=True), 0.0
    for end in range(1, len(both) + 1):
        logs = [rate([pair[place] for pair in both[:end]], bound) for place in (0, 1)]
        peak = max(peak, log_mean([*logs, 0.0], [0.7, 0.2, 0.1]))
    found = judge(guards, buckets, 0.05, 0.05)
    assert log(found.combined_e) == pytest.approx(min(peak, 700.0), rel=1e-9, abs=1e-9)
    assert (found.verdict == "harm") == (peak >= log(20))


@calm
@given(st.lists(events(), min_size=1, max_size=10))
def test_who_looks_seldom_is_told_what_who_looked_often_was_told(cells: list[Cell]) -> None:
    """Looking is free: harm at any look is harm at each later one, and no look brings it about."""
    it = Guardrail("errors", "errors", "rate", scale=0.01, margin=0.5, bucket_units=20)
    rows = [
        Bucket("half", "errors", arm, at, n, e, e)
        for at, cell in enumerate(cells)
        for arm, n, e in (("candidate", cell.n1, cell.s1), ("stable", cell.n0, cell.s0))
    ]

    def harm(by: int) -> bool:
        return judge([it], [b for b in rows if b.at < by], 0.05, 0.05).verdict == "harm"

    often = [harm(by) for by in range(1, len(cells) + 1)]
    assert often == sorted(often)
    assert harm(len(cells)) == any(often)
