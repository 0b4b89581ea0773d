"""Frozen edges, and rows per bin: one native aggregate of the engine, additive over any parts.

Zero and NULL have bins of their own: among quantiles of a mostly-zero feature every
edge is zero, and any change hides in the one bin that is left.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from interlock.features.dialect import DUCKDB, Dialect
from interlock.features.tally import places, read_places

BINS = 10
# Below zero, and nothing between: the bin from here up to zero holds zero alone.
_BELOW_ZERO = -5e-324


def edges_sql(
    relation: str, features: Sequence[str], bins: int = BINS, dialect: Dialect = DUCKDB
) -> str:
    """One row: per feature the quantiles of its values that are neither NULL nor zero.

    All `features` are numbers: a truth value is not, on every engine.
    """
    lists = (
        f"{quantiles(dialect.cast(q, 'double'), bins, dialect)} AS {q}"
        for q in map(dialect.quoted, features)
    )
    return f"SELECT {', '.join(lists)} FROM {relation} AS t"


def quantiles(value: str, bins: int = BINS, dialect: Dialect = DUCKDB) -> str:
    """SQL: the inner edges of `bins` bins with as many rows each, zero left out."""
    # A hair below the share: where it falls on a row exactly, no engine rounds past it.
    inner = ", ".join(f"{i / bins - 1e-12!r}" for i in range(1, bins))
    kept = f"CASE WHEN {value} <> 0 AND {dialect.finite(value)} THEN {value} END"
    return dialect.quantiles.format(x=kept, at=inner)


def freeze(row: Mapping[str, Sequence[float] | None]) -> dict[str, tuple[float, ...]]:
    """The answer of `edges_sql` as edges to keep: sorted, each once.

    Where values lie on both sides of zero it is an edge too, so that the bins have an order.
    """
    return {name: _with_zero(sorted(set(edges or ()))) for name, edges in row.items()}


def _with_zero(edges: list[float]) -> tuple[float, ...]:
    both = bool(edges) and edges[0] < 0 < edges[-1]
    return tuple(sorted({*edges, 0.0}) if both else edges)


def counts_sql(
    relation: str, edges: Mapping[str, Sequence[float]], dialect: Dialect = DUCKDB
) -> str:
    """One row: per feature what `bin_counts` puts in order."""
    counts = ", ".join(
        f"{binned(name, cuts, dialect)} AS {dialect.quoted(name)}" for name, cuts in edges.items()
    )
    values = {name: dialect.cast(dialect.quoted(name), "double") for name in edges}
    rows = placing(relation, values, edges, dialect)
    return f"WITH r {placed_once(dialect)} (SELECT * FROM {rows} AS t) SELECT {counts} FROM r AS t"


def placing(
    relation: str,
    values: Mapping[str, str],
    edges: Mapping[str, Sequence[float]],
    dialect: Dialect = DUCKDB,
) -> str:
    """`relation`, with the bin of each of `values` (doubles by name) where `binned` needs it."""
    if dialect.tally == "histogram":
        return relation
    own = "".join(
        f", {placed(value, dialect.listed(edges[name]), str(len(edges[name])), dialect)} "
        f"AS {dialect.quoted(_place(name))}"
        for name, value in values.items()
    )
    return f"(SELECT t.*{own} FROM {relation} AS t)"


def placed_once(dialect: Dialect) -> str:
    """How a CTE of `placing` begins: a place is read many times, and worked out once."""
    return "AS" if dialect.tally == "histogram" else dialect.once


def placed(value: str, edges: str, count: str, dialect: Dialect) -> str:
    """SQL of `bin_of`: `value` is a double, `edges` a sorted list of `count`."""
    below = dialect.below.format(x=value, edges=edges)
    nan = f"{value} = {dialect.cast(dialect.text('NaN'), 'double')}"
    return (
        f"CASE WHEN {value} IS NULL THEN 0 WHEN {value} = 0 THEN 1 "
        f"WHEN {nan} THEN 2 + {count} ELSE 2 + {below} END"
    )


def _place(name: str) -> str:
    return f"__bin_{name}"


def binned(name: str, edges: Sequence[float], dialect: Dialect = DUCKDB) -> str:
    """SQL: rows per bin of a column of `placing`; of a histogram also what it does not tell."""
    if dialect.tally != "histogram":
        return places(dialect.quoted(_place(name)), len(edges) + 3, dialect)
    value = dialect.cast(dialect.quoted(name), "double")
    cuts = dialect.listed(cuts_of(edges))
    return (
        f"struct_pack(nulls := count(*) - count({value}), high := max({value}), "
        f"bins := histogram({value}, {cuts}))"
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
    if found is None or not isinstance(found, Mapping):
        return tuple(read_places(found, len(edges) + 3))
    counts = [0] * (len(edges) + 3)
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
