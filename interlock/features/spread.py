"""How two sides of a comparison spread: part of its one query, read into distances.

The bins are quantiles of the very rows that are compared: a hundred of the old values and a
hundred of the new, for the two distances that ask about sizes. PSI looks at twenty bins of the
old values alone, as is the custom; many bins only make it noisy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interlock.define.definitions import ColumnType
from interlock.features.dialect import DUCKDB, Dialect
from interlock.features.distance import ks, psi, psi_of_values, wasserstein
from interlock.features.histogram import (
    bin_counts,
    coarser,
    cuts_of,
    freeze,
    placed,
    quantiles,
)
from interlock.features.tally import Rows, places, read_values, values

FINE = 100
_TOGETHER = 5
MOST_VALUES = 1000
"""Texts with more values than this are no categories; nothing is said of unseen ones then."""
_SHOWN = 5
_NULL = "\0"  # no text of an engine can be this
_NUMBERS = ("boolean", "integer", "double")
_SIDES = ("old", "new")
# NULL, zero, and what the quantiles of both sides, and zero, lie between.
_MOST_BINS = 3 + 2 * (FINE - 1) + 1
_TRACKED = 3 * MOST_VALUES  # an estimate of how many there are may be too low


@dataclass(frozen=True)
class Spread:
    """Distances of one feature, old against new; None where they do not apply.

    `wasserstein` is in the feature's unit. `unseen` is the share of rows whose new text is not
    among the old ones, `unseen_values` some of these.
    """

    psi: float | None = None
    ks: float | None = None
    wasserstein: float | None = None
    unseen: float | None = None
    unseen_values: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What is new, in words; empty when nothing is."""
        if not self.unseen:
            return ""
        some = ", ".join(self.unseen_values)
        return f"{self.unseen:.1%} of rows hold a value not seen before ({some})"


def cuts_sql(features: Mapping[str, ColumnType], rows: str, dialect: Dialect = DUCKDB) -> str:
    """One row of `rows`: the columns `q0`, `e0`, ...: quantiles of each number, and its edges.

    Where lists are asked apart, all of them are one column `cuts`, so that who reads some of
    it and who reads all of it read the same row, worked out once.
    """
    numbers = _numbers(features)
    if not numbers:
        return "SELECT 1 AS e"
    fixed = dialect.listed(cuts_of(()) if dialect.tally == "histogram" else (0.0,))
    none = dialect.listed(())
    asked = ", ".join(
        f"coalesce({quantiles(f'{side}{i}', FINE, dialect)}, {none}) AS q{side}{i}"
        for i in numbers
        for side in "on"
    )
    kept = ", ".join(
        f"qo{i} AS q{i}, {dialect.union.format(a=f'qo{i}', b=f'qn{i}', c=fixed)} AS e{i}"
        for i in numbers
    )
    cuts = f"SELECT {kept} FROM (SELECT {asked} FROM {rows}) AS a"
    if not dialect.apart:
        return cuts
    listed = dialect.doubles.format(items=", ".join(f"e{i}, q{i}" for i in numbers))
    return f"SELECT {listed} AS cuts FROM ({cuts}) AS b"


def lists_apart(features: Mapping[str, ColumnType]) -> dict[str, str]:
    """What `spread_fields` leaves out where lists are asked apart: columns of `cuts_sql`."""
    return {
        f"f{i}_{name}": f"c.cuts[{2 * place + more}]"
        for place, i in enumerate(_numbers(features))
        for more, name in enumerate(("edges", "frozen"))
    }


def _numbers(features: Mapping[str, ColumnType]) -> list[int]:
    return [i for i, type in enumerate(features.values()) if type in _NUMBERS]


def placed_sql(features: Mapping[str, ColumnType], dialect: Dialect = DUCKDB) -> str:
    """More columns of a row beside its `cuts_sql`: the bins `wo0`, `wn0` of its two values."""
    if dialect.tally == "histogram":
        return ""
    return "".join(
        # There is no not-a-number among them, so nobody asks how many edges there are.
        f", {placed(f'{side}{i}', edges, '0', dialect)} AS w{side}{i}"
        for place, i in enumerate(_numbers(features))
        for edges in [f"c.cuts[{2 * place}]" if dialect.apart else f"e{i}"]
        for side in "on"
    )


def spread_fields(
    i: int, type: ColumnType, matched: str, rows: Rows, dialect: Dialect = DUCKDB
) -> dict[str, str]:
    """What is asked of feature `i` for `read_spread`."""
    if type in _NUMBERS:
        if dialect.tally == "histogram":
            each = {s: f"histogram({s[0]}{i}, e{i}) FILTER (WHERE {matched})" for s in _SIDES}
        else:
            each = {s: _placed(f"w{s[0]}{i}", matched, rows, dialect) for s in _SIDES}
        sides = {f"bins_{side}": made for side, made in each.items()}
        if dialect.apart:
            return sides
        cuts = {"edges": f"e{i}", "frozen": f"q{i}"}
        once = "(SELECT {} FROM c)" if dialect.tally == "counts" else "any_value({})"
        return {name: once.format(cut) for name, cut in cuts.items()} | sides
    if type == "string":
        old, new = (dialect.distinct.format(x=f"r{side}{i}") for side in "on")
        few = f"{old} + {new} <= {2 * MOST_VALUES}"
        counted = {s: values(f"r{s[0]}{i}", _TRACKED, rows, dialect, matched) for s in _SIDES}
        return {f"texts_{s}": f"CASE WHEN {few} THEN {made} END" for s, made in counted.items()}
    return {}


def _placed(place: str, matched: str, rows: Rows, dialect: Dialect) -> str:
    if dialect.tally == "top":  # one condition for all of them is compiled once
        return places(place, _MOST_BINS, dialect, matched)
    return values(place, _MOST_BINS, rows, dialect, matched)


def read_spread(seen: Mapping[str, Any], rows: int) -> Spread:
    """The distances of what `spread_fields` counted on `rows` rows."""
    if not rows:  # of nothing some engines count nothing, and some do not count
        return Spread()
    if "edges" in seen:
        return _of_numbers(seen)
    if seen.get("texts_old") is not None or seen.get("texts_new") is not None:
        return _of_texts(seen, rows)
    return Spread()


def _of_numbers(seen: Mapping[str, Any]) -> Spread:
    edges = sorted({cut for cut in seen["edges"] if cut not in cuts_of(())} | {0.0})
    old, new = (_counts(seen, side, edges) for side in _SIDES)
    if not sum(old) or not sum(new):
        return Spread()
    frozen = freeze({"x": (seen["frozen"] or ())[_TOGETHER - 1 :: _TOGETHER]})["x"]
    broad = [coarser(counts, edges, frozen) for counts in (old, new)]
    ends = (seen["low"], seen["high"])
    known = sum(old[1:]) and sum(new[1:]) and None not in ends
    return Spread(
        psi(*broad),
        ks(old, new, edges) if known else None,
        wasserstein(old, new, edges, ends) if known else None,
    )


def _counts(seen: Mapping[str, Any], side: str, edges: list[float]) -> tuple[int, ...]:
    found, nulls = seen[f"bins_{side}"], int(seen[f"null_{side}"])
    if found and isinstance(found[0], tuple):
        return bin_counts({"nulls": nulls, "high": None, "bins": found}, edges)
    rows = {int(place): n for place, n in read_values(found).items()}
    # What is no number of finite size has no bin, and is not missing either.
    return (nulls, *(rows.get(place, 0) for place in range(1, len(edges) + 3)))


def _of_texts(seen: Mapping[str, Any], rows: int) -> Spread:
    old, new = (read_values(seen[f"texts_{s}"]) for s in _SIDES)
    fresh = sorted(name for name in new if name not in old)
    return Spread(
        psi=psi_of_values({**old, _NULL: seen["null_old"]}, {**new, _NULL: seen["null_new"]}),
        unseen=sum(new[name] for name in fresh) / rows,
        unseen_values=tuple(fresh[:_SHOWN]),
    )
