"""Frozen edges, counts per bin, and how far two histograms are apart (PSI).

Zero and NULL have bins of their own: among quantiles of a mostly-zero feature every
edge is zero, and any change hides in the one bin that is left.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from math import log
from typing import Any

from interlock.features.text import quoted


def edges_sql(relation: str, features: Sequence[str], bins: int = 10) -> str:
    """One row: per feature the quantiles of its values that are neither NULL nor zero."""
    inner = ", ".join(f"{i / bins}" for i in range(1, bins))
    lists = ", ".join(
        f"quantile_disc({quoted(f)}::DOUBLE, [{inner}]) "
        f"FILTER (WHERE {quoted(f)} <> 0 AND isfinite({quoted(f)}::DOUBLE)) AS {quoted(f)}"
        for f in features
    )
    return f"SELECT {lists} FROM {relation} AS t"


def freeze(row: Mapping[str, Sequence[float] | None]) -> dict[str, tuple[float, ...]]:
    """The answer of `edges_sql` as edges to keep: sorted, each once."""
    return {name: tuple(sorted(set(edges or ()))) for name, edges in row.items()}


def counts_sql(relation: str, edges: Mapping[str, Sequence[float]]) -> str:
    """One row: per feature a map bin -> rows; `bin_counts` puts it in order."""
    maps = ", ".join(
        f"histogram({_bin(name, cuts)}) AS {quoted(name)}" for name, cuts in edges.items()
    )
    return f"SELECT {maps} FROM {relation} AS t"


def bin_counts(found: Any, edges: Sequence[float]) -> tuple[int, ...]:
    """Rows per bin: NULL, zero, then up to each edge (inclusive), then above the last."""
    counts = dict(found or ())
    return tuple(int(counts.get(i, 0)) for i in range(len(edges) + 3))


def bin_of(value: float | None, edges: Sequence[float]) -> int:
    """The bin of one value, the same as the SQL's; NaN is above everything, not NULL."""
    if value is None:
        return 0
    if value == 0:
        return 1
    return 2 + (len(edges) if value != value else bisect_left(edges, value))


def psi(old_counts: Sequence[int], new_counts: Sequence[int]) -> float:
    """Population stability index of two histograms over the same bins; 0 is no shift.

    Half a row is added to every bin, so that an empty one is far, not infinitely far.
    """
    if len(old_counts) != len(new_counts):
        raise ValueError("histograms over different bins cannot be compared")
    old, new = _shares(old_counts), _shares(new_counts)
    return sum((b - a) * log(b / a) for a, b in zip(old, new, strict=True))


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) + 0.5 * len(counts)
    return [(count + 0.5) / total for count in counts]


def _bin(name: str, edges: Sequence[float]) -> str:
    value = f"{quoted(name)}::DOUBLE"
    above = " + ".join(f"({value} > '{edge!r}'::DOUBLE)::INT" for edge in edges) or "0"
    return f"CASE WHEN {value} IS NULL THEN 0 WHEN {value} = 0 THEN 1 ELSE 2 + {above} END"
