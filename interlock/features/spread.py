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
from interlock.features.distance import ks, psi, psi_of_values, wasserstein
from interlock.features.histogram import bin_counts, coarser, cuts_of, freeze, quantiles

FINE = 100
_TOGETHER = 5
MOST_VALUES = 1000
"""Texts with more values than this are no categories; nothing is said of unseen ones then."""
_SHOWN = 5
_NULL = "\0"  # no text of an engine can be this
_NUMBERS = ("boolean", "integer", "double")


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


def cuts_sql(features: Mapping[str, ColumnType]) -> str:
    """The columns `q0`, `e0`, ...: the quantiles and the engine's bins of each number."""
    fixed = ", ".join(f"'{cut!r}'" for cut in cuts_of(()))
    parts = [
        f"{quantiles(f'o{i}', FINE)} AS q{i}, list_sort(list_distinct(list_concat("
        f"q{i}, {quantiles(f'n{i}', FINE)}, [{fixed}]::DOUBLE[]))) AS e{i}"
        for i, type in enumerate(features.values())
        if type in _NUMBERS
    ]
    return ", ".join(parts) or "1 AS e"


def spread_fields(i: int, type: ColumnType, matched: str) -> dict[str, str]:
    """What the struct of feature `i` holds for `read_spread`."""
    if type in _NUMBERS:
        sides = {f"bins_{s}": f"histogram({s[0]}{i}, e{i}) FILTER (WHERE {matched})"
                 for s in ("old", "new")}  # fmt: skip
        return {"edges": f"any_value(e{i})", "frozen": f"any_value(q{i})", **sides}
    if type == "string":
        few = f"approx_count_distinct(ro{i}) + approx_count_distinct(rn{i}) <= {2 * MOST_VALUES}"
        return {
            f"texts_{s}": f"CASE WHEN {few} THEN histogram(r{s[0]}{i}) FILTER (WHERE {matched}) END"
            for s in ("old", "new")
        }
    return {}


def read_spread(seen: Mapping[str, Any], rows: int) -> Spread:
    """The distances of what `spread_fields` counted on `rows` rows."""
    if "edges" in seen and rows:
        return _of_numbers(seen)
    if seen.get("texts_old") is not None or seen.get("texts_new") is not None:
        return _of_texts(seen, rows)
    return Spread()


def _of_numbers(seen: Mapping[str, Any]) -> Spread:
    edges = sorted({cut for cut in seen["edges"] if cut not in cuts_of(())} | {0.0})
    old, new = (
        bin_counts({"nulls": seen[f"null_{s}"], "high": None, "bins": seen[f"bins_{s}"]}, edges)
        for s in ("old", "new")
    )
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


def _of_texts(seen: Mapping[str, Any], rows: int) -> Spread:
    old, new = (dict(seen[f"texts_{s}"] or ()) for s in ("old", "new"))
    fresh = sorted(name for name in new if name not in old)
    return Spread(
        psi=psi_of_values({**old, _NULL: seen["null_old"]}, {**new, _NULL: seen["null_new"]}),
        unseen=sum(new[name] for name in fresh) / rows if rows else 0.0,
        unseen_values=tuple(fresh[:_SHOWN]),
    )
