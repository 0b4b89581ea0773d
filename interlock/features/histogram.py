"""Frozen edges, and rows per bin: one native aggregate of the engine, additive over any parts.

Zero and NULL have bins of their own: among quantiles of a mostly-zero feature every
edge is zero, and any change hides in the one bin that is left. The queries are DuckDB's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from interlock.features.text import quoted

BINS = 10
# Below zero, and nothing between: the bin from here up to zero holds zero alone.
_BELOW_ZERO = -5e-324


def edges_sql(relation: str, features: Sequence[str], bins: int = BINS) -> str:
    """One row: per feature the quantiles of its values that are neither NULL nor zero."""
    lists = ", ".join(f"{quantiles(f'{quoted(f)}::DOUBLE', bins)} AS {quoted(f)}" for f in features)
    return f"SELECT {lists} FROM {relation} AS t"


def quantiles(value: str, bins: int = BINS) -> str:
    """SQL: the inner edges of `bins` bins with as many rows each, zero left out."""
    inner = ", ".join(f"{i / bins}" for i in range(1, bins))
    return f"quantile_disc({value}, [{inner}]) FILTER (WHERE {value} <> 0 AND isfinite({value}))"


def freeze(row: Mapping[str, Sequence[float] | None]) -> dict[str, tuple[float, ...]]:
    """The answer of `edges_sql` as edges to keep: sorted, each once.

    Where values lie on both sides of zero it is an edge too, so that the bins have an order.
    """
    return {name: _with_zero(sorted(set(edges or ()))) for name, edges in row.items()}


def _with_zero(edges: list[float]) -> tuple[float, ...]:
    both = bool(edges) and edges[0] < 0 < edges[-1]
    return tuple(sorted({*edges, 0.0}) if both else edges)


def counts_sql(relation: str, edges: Mapping[str, Sequence[float]]) -> str:
    """One row: per feature what `bin_counts` puts in order."""
    counts = ", ".join(f"{binned(name, cuts)} AS {quoted(name)}" for name, cuts in edges.items())
    return f"SELECT {counts} FROM {relation} AS t"


def binned(name: str, edges: Sequence[float]) -> str:
    """SQL: the histogram of a column with what it does not tell, the NULLs and the NaNs."""
    value = f"{quoted(name)}::DOUBLE"
    cuts = ", ".join(f"'{cut!r}'" for cut in cuts_of(edges))
    return (
        f"struct_pack(nulls := count(*) - count({quoted(name)}), high := max({value}), "
        f"bins := histogram({value}, [{cuts}]::DOUBLE[]))"
    )


def coarser(
    counts: Sequence[int], edges: Sequence[float], kept: Sequence[float]
) -> tuple[int, ...]:
    """The same rows over the edges `kept`, some of `edges`."""
    found = [0] * (len(kept) + 3)
    found[:2] = counts[:2]
    for at, rows in enumerate(counts[2:]):
        found[2 + (bisect_left(kept, edges[at]) if at < len(edges) else len(kept))] += rows
    return tuple(found)


def cuts_of(edges: Iterable[float]) -> list[float]:
    """The upper ends of the engine's bins: the edges, and two that leave zero alone in a bin."""
    return sorted({float("-inf"), _BELOW_ZERO, 0.0, *edges})


def bin_counts(found: Any, edges: Sequence[float]) -> tuple[int, ...]:
    """Rows per bin: NULL, zero, then up to each edge (inclusive), then above the last."""
    counts = [0] * (len(edges) + 3)
    if found is None:
        return tuple(counts)
    counts[0] = int(found["nulls"])
    # NaN stands above everything, but the engine's bisection leaves it in the lowest bin.
    nan = found["high"] is not None and found["high"] != found["high"]
    for cut, rows in found["bins"] or ():
        lowest = nan and cut == float("-inf")
        counts[-1 if lowest else bin_of(cut, edges)] += int(rows)
    return tuple(counts)


def bin_of(value: float | None, edges: Sequence[float]) -> int:
    """The bin of one value, the same as the SQL's; NaN is above everything, not NULL."""
    if value is None:
        return 0
    if value == 0:
        return 1
    return 2 + (len(edges) if value != value else bisect_left(edges, value))
