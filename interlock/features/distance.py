"""How far two histograms over the same bins are apart: PSI, Kolmogorov-Smirnov, Wasserstein.

Counts are those of `histogram.bin_counts`: bin 0 is NULL, bin 1 is zero. PSI looks at all
bins; the other two ask about sizes, and look at the values there are. Formulas and their
sources stand in docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from math import isfinite, log


def psi(old_counts: Sequence[int], new_counts: Sequence[int]) -> float:
    """Population stability index; 0 is no shift.

    Half a row is added to every bin, so that an empty one is far, not infinitely far.
    """
    _same_bins(old_counts, new_counts)
    old, new = _smoothed(old_counts), _smoothed(new_counts)
    return sum((b - a) * log(b / a) for a, b in zip(old, new, strict=True))


def psi_of_values(old: Mapping[str, int], new: Mapping[str, int]) -> float:
    """The same over values that have no order: codes and names, one bin each."""
    names = sorted(old.keys() | new.keys())
    return psi([old.get(name, 0) for name in names], [new.get(name, 0) for name in names])


def ks(old_counts: Sequence[int], new_counts: Sequence[int], edges: Sequence[float]) -> float:
    """Largest difference of the two distribution functions at an edge, from 0 to 1.

    What lies inside one bin is not seen: the true distance is at most one bin's share more.
    """
    old, new = (_cumulated(counts, edges) for counts in (old_counts, new_counts))
    return max((abs(a - b) for a, b in zip(old, new, strict=True)), default=0.0)


def wasserstein(
    old_counts: Sequence[int],
    new_counts: Sequence[int],
    edges: Sequence[float],
    ends: tuple[float, float],
) -> float | None:
    """How far a value must travel on average, in its own unit; inside a bin they lie evenly.

    `ends` are the lowest and highest value of both sides together. None where one side has
    no value, or an end is not a finite number: such a distance has no size.
    """
    old, new = (_cumulated(counts, edges) for counts in (old_counts, new_counts))
    if not old[-1] or not new[-1] or not all(map(isfinite, ends)):
        return None
    gaps = [a - b for a, b in zip(old, new, strict=True)]
    places = [min(max(at, ends[0]), ends[1]) for at, _ in _ordered(edges)]
    start = zip(pairwise([ends[0], *places]), pairwise([0.0, *gaps]), strict=True)
    return sum(_area(width[1] - width[0], *gap) for width, gap in start)


def _area(width: float, a: float, b: float) -> float:
    """The area between zero and a straight line from `a` to `b`."""
    if a * b >= 0:
        return width * (abs(a) + abs(b)) / 2
    return width * (a * a + b * b) / (2 * (abs(a) + abs(b)))


def _ordered(edges: Sequence[float]) -> Iterator[tuple[float, int]]:
    """(upper end, bin) from the lowest value to the highest; zero has its place among them."""
    below = [edge for edge in edges if edge < 0]
    bins = [*((edge, 2 + at) for at, edge in enumerate(edges)), (float("inf"), 2 + len(edges))]
    # A bin that reaches across zero is taken to lie above it; `freeze` leaves no big one.
    at = len(below) + (0.0 in edges)
    yield from (*bins[:at], (0.0, 1), *bins[at:])


def _cumulated(counts: Sequence[int], edges: Sequence[float]) -> list[float]:
    if len(counts) != len(edges) + 3:
        raise ValueError("histograms over different bins cannot be compared")
    total = sum(counts[1:])
    inside = accumulate(counts[at] for _, at in _ordered(edges))
    return [rows / total if total else 0.0 for rows in inside]


def _smoothed(counts: Sequence[int]) -> list[float]:
    total = sum(counts) + 0.5 * len(counts)
    return [(count + 0.5) / total for count in counts]


def _same_bins(old: Sequence[int], new: Sequence[int]) -> None:
    if len(old) != len(new):
        raise ValueError("histograms over different bins cannot be compared")
