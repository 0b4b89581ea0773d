"""Old and new values on the same rows: what a metric cannot see.

A unit change may even improve a model's metric, so a release compares the VALUES: how
many changed, how many went missing, and whether one is an exact function of the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from interlock.define.definitions import ColumnType
from interlock.features.codes import code_fields, codes_apart, codes_sql
from interlock.features.dialect import DUCKDB, Dialect
from interlock.features.spread import (
    Spread,
    cuts_sql,
    lists_apart,
    placed_sql,
    read_spread,
    spread_fields,
)
from interlock.features.tally import Rows
from interlock.features.text import differs
from interlock.features.units import Line, name_change

Verdict = Literal["equal", "scaled", "affine", "changed", "unknown"]
# A ratio seen on fewer rows than this may be chance.
MIN_ROWS = 10
_SAME_RATIO = 1e-6
_EXACT = 1e-6
_NEARLY = 1e-3
_OLD, _NEW, _BY = "__old", "__new", "__by"
# Sizes whose products, and the products of these, every engine can hold.
_SMALL, _LARGE = 1e-70, 1e70


@dataclass(frozen=True)
class ValueComparison:
    """One feature, old against new, on the rows both have.

    `changed_share`, `null_old`, `null_new`, `zero_old`, `zero_new` are shares of these
    `rows`; `missing_old` and `missing_new` count rows that only the other side has.
    `spread` says how far the two distributions are apart.
    `ratio` is new / old where it is one constant; `new = slope * old + intercept` explains
    the share `explained` of the new values' variance. `verdict` `unknown`: nothing to compare.
    """

    feature: str
    rows: int
    changed_share: float
    null_old: float
    null_new: float
    ratio: float | None
    slope: float | None
    intercept: float | None
    explained: float | None
    name: str | None
    verdict: Verdict
    sentence: str
    missing_old: int = 0
    missing_new: int = 0
    mean_old: float | None = None
    mean_new: float | None = None
    std_old: float | None = None
    std_new: float | None = None
    zero_old: float = 0.0
    zero_new: float = 0.0
    spread: Spread = field(default_factory=Spread)


def compare_sql(
    old: str,
    new: str,
    on: Sequence[str],
    features: Mapping[str, ColumnType],
    by: str | None = None,
    dialect: Dialect = DUCKDB,
) -> str:
    """ONE row for all `features` (name -> type), read by `judge_values`.

    `old` and `new` are tables or parenthesised queries with the same columns; `on` makes
    a row unique in each: an entity and its time, or the spine's key. With `by`, one of
    `on`, a row per value of it under `__by`.
    """
    q = dialect.quoted
    columns = ", ".join([*map(q, on), *map(q, features)])
    # Spine keys may be NULL, and NULL is then the same row on both sides.
    same = " AND ".join(dialect.same.format(one=f"o.{q(k)}", other=f"n.{q(k)}") for k in on)
    pairs = f"SELECT {_pair_columns(features, dialect)}, o.{_OLD}, n.{_NEW}"
    pairs += f", coalesce(o.{q(by)}, n.{q(by)}) AS {_BY}" if by else ""
    joined = (
        f"FROM (SELECT {columns}, true AS {_OLD} FROM {old} AS t) AS o "
        f"FULL JOIN (SELECT {columns}, true AS {_NEW} FROM {new} AS t) AS n ON {same}"
    )
    rows = Rows("g", "g", _BY if by else "")
    asked = [f"{_BY}"] if by else []
    asked += [
        f"{dialect.among('count', '1', when)} AS __{name}"
        for name, when in (
            ("rows", _BOTH),
            ("missing_old", f"{_OLD} IS NULL"),
            ("missing_new", f"{_NEW} IS NULL"),
        )
    ]
    for i, type in enumerate(features.values()):
        fields = {**_fields(i, type, dialect), **spread_fields(i, type, _BOTH, rows, dialect)}
        asked += [f"{value} AS f{i}_{key}" for key, value in fields.items()]
    placed = placed_sql(features, dialect)
    # Lists beside every row would be written down with it, where that is done.
    carried = "p.*, c.*" if dialect.tally == "histogram" else "p.*"
    return (
        # Both sides are laid on the bins of the old one, which are taken from the same rows.
        f"WITH p {dialect.once} ({pairs} {joined}), "
        f"c {dialect.once} ({cuts_sql(features, 'p', dialect)}), "
        f"g {dialect.once if placed else 'AS'} (SELECT {carried}{placed} FROM p CROSS JOIN c)"
        + _ending(f"SELECT {', '.join(asked)} FROM g", features, _BY if by else "", dialect)
    )


def _ending(asked: str, features: Mapping[str, ColumnType], by: str, dialect: Dialect) -> str:
    """What follows the parts of the query: all is `asked` at once, or put together here."""
    asked += f" GROUP BY {by}" if by else ""
    apart = lists_apart(features) if dialect.apart else {}
    codes = codes_apart(features) if dialect.apart else {}
    if not apart and not codes:
        return f" {asked}"
    joins = " CROSS JOIN c" if apart else ""
    if codes:
        joins += f" LEFT JOIN d ON {f'd.__group <=> a.{by}' if by else 'true'}"
        asked += f"), d AS ({codes_sql(features, 'p', by, dialect)}"
    told = "".join(f", {value} AS {name}" for name, value in {**apart, **codes}.items())
    return f", a AS ({asked}) SELECT a.*{told} FROM a{joins}"


def judge_values(
    row: Mapping[str, Any],
    features: Mapping[str, ColumnType],
    units: Mapping[str, str | None] | None = None,
) -> list[ValueComparison]:
    """The answer of `compare_sql`, feature by feature. `units` are the old contract's."""
    counts = tuple(int(row[f"__{name}"]) for name in ("rows", "missing_old", "missing_new"))
    return [
        _judge(name, counts, _seen(row, f"f{i}_"), (units or {}).get(name))
        for i, name in enumerate(features)
    ]


def _seen(row: Mapping[str, Any], start: str) -> dict[str, Any]:
    return {name.removeprefix(start): v for name, v in row.items() if name.startswith(start)}


def _pair_columns(features: Mapping[str, ColumnType], dialect: Dialect) -> str:
    return ", ".join(
        f"{value} AS r{side}{i}, {_number(value, type, dialect)} AS {side}{i}"
        for i, (name, type) in enumerate(features.items())
        for side in ("o", "n")
        for value in [f"{side}.{dialect.quoted(name)}"]
    )


def _number(value: str, type: ColumnType, dialect: Dialect) -> str:
    number = dialect.number(value, type)
    if type in ("string", "other"):
        return number
    # What has no size to reckon with takes no part in fits, only in the count of changes.
    sized = f"abs({number}) BETWEEN {_SMALL!r} AND {_LARGE!r}"
    return f"CASE WHEN {number} = 0 OR {sized} THEN {number} END"


_BOTH = f"{_OLD} AND {_NEW}"


def _fields(i: int, type: ColumnType, dialect: Dialect) -> dict[str, str]:
    """What is asked of feature `i`; `o0` and `n0` are its values as numbers, `ro0` as they are."""
    o, n, matched = f"o{i}", f"n{i}", _BOTH
    both, nonzero = f"{o} IS NOT NULL AND {n} IS NOT NULL", f"{o} <> 0 AND {n} <> 0"

    def rows(when: str) -> str:
        return dialect.among("count", "1", when)

    return {
        "changed": rows(f"{matched} AND {differs(f'ro{i}', f'rn{i}', type, dialect)}"),
        "null_old": rows(f"{matched} AND ro{i} IS NULL"),
        "null_new": rows(f"{matched} AND rn{i} IS NULL"),
        "zero_old": rows(f"{matched} AND {o} = 0"),
        "zero_new": rows(f"{matched} AND {n} = 0"),
        "zero_flips": rows(f"{both} AND ({o} = 0) <> ({n} = 0)"),
        "nonzero": rows(nonzero),
        # Not in a FILTER: an engine may divide before it looks there.
        "ratio_min": f"min(CASE WHEN {nonzero} THEN {n} / {o} END)",
        "ratio_max": f"max(CASE WHEN {nonzero} THEN {n} / {o} END)",
        "fitted": rows(both),
        "levels": f"{dialect.distinct.format(x=f'CASE WHEN {both} THEN {o} END')}",
        "moving": rows(f"{both} AND {o} <> 0"),
        "slope": f"regr_slope({n}, {o})",
        "intercept": f"regr_intercept({n}, {o})",
        "explained": f"regr_r2({n}, {o})",
        "mean_old": dialect.among("avg", o, matched),
        "mean_new": dialect.among("avg", n, matched),
        "std_old": dialect.among("stddev_pop", o, matched),
        "std_new": dialect.among("stddev_pop", n, matched),
        "low": f"least(min({o}), min({n}))",
        "high": f"greatest(max({o}), max({n}))",
        **_clock(o, n),
        **code_fields(i, type, dialect),
    }


def _clock(o: str, n: str) -> dict[str, str]:
    """Are both whole hours of a day, and by how many was it turned?"""
    hours = " AND ".join(f"{x} BETWEEN 0 AND 23 AND {x} = floor({x})" for x in (o, n))
    turn = f"CASE WHEN {n} < {o} THEN {n} - {o} + 24 ELSE {n} - {o} END"
    return {
        "clock": f"coalesce(bool_and({hours}), false)",
        "turn_min": f"min({turn})",
        "turn_max": f"max({turn})",
    }


def _judge(
    feature: str, counts: tuple[int, ...], seen: Mapping[str, Any], unit: str | None
) -> ValueComparison:
    rows, missing_old, missing_new = counts
    ratio = _ratio(seen)
    slope, intercept, explained = _fit(seen)
    verdict: Verdict = "changed"
    name: str | None = None
    width = _finite(seen["std_new"]) or 0.0
    if not rows:
        verdict = "unknown"
    elif not seen["changed"] and not missing_old and not missing_new:
        verdict = "equal"
    elif seen["changed"] and ratio is not None:
        # Of one value every factor is as good as any other.
        sure = seen["levels"] - (seen["zero_old"] > 0) > 1
        verdict, name = "scaled", name_change(Line(ratio), unit) if sure else None
    elif seen["changed"] and slope is not None and intercept is not None and explained:
        line = _line(seen, slope, intercept, explained)
        name = name_change(line, unit) if explained > 1 - _NEARLY else None
        moved = abs(slope - 1) > _NEARLY or abs(intercept) > _NEARLY * width
        verdict = "affine" if name or (explained > 1 - _EXACT and moved) else "changed"
    if verdict == "changed" and not name:
        name = _turned(seen) or _renumbered(seen)
    share = 1 / rows if rows else 0.0
    nulls = (seen["null_old"] * share, seen["null_new"] * share)
    changed = seen["changed"] * share
    spread = read_spread(seen, rows)
    said = _sentence(feature, (verdict, name, ratio, slope, intercept), changed, nulls, counts)
    if spread.unseen:
        said += f", {spread.sentence}"
    return ValueComparison(
        feature, rows, changed, *nulls, ratio, slope, intercept, explained, name, verdict, said,
        missing_old, missing_new, _finite(seen["mean_old"]), _finite(seen["mean_new"]),
        _finite(seen["std_old"]), _finite(seen["std_new"]),
        seen["zero_old"] * share, seen["zero_new"] * share, spread,
    )  # fmt: skip


def _ratio(seen: Mapping[str, Any]) -> float | None:
    """new / old, when it is the same on every non-zero row and zero stays zero."""
    low, high = _finite(seen["ratio_min"]), _finite(seen["ratio_max"])
    if low is None or high is None or seen["nonzero"] < MIN_ROWS or seen["zero_flips"]:
        return None
    middle = (low + high) / 2
    constant = high - low <= _SAME_RATIO * abs(middle)
    return middle if constant and abs(middle - 1) > _SAME_RATIO else None


def _fit(seen: Mapping[str, Any]) -> tuple[float | None, float | None, float | None]:
    # Through two points goes a line, always; a constant has no slope at all.
    if seen["moving"] < MIN_ROWS or seen["levels"] < 3:
        return None, None, None
    if not _finite(seen["std_old"]) or not _finite(seen["std_new"]):
        return None, None, None
    return _finite(seen["slope"]), _finite(seen["intercept"]), _finite(seen["explained"])


def _line(seen: Mapping[str, Any], slope: float, intercept: float, explained: float) -> Line:
    mean, spread = _finite(seen["mean_old"]) or 0.0, _finite(seen["std_new"]) or 0.0
    error = spread * math.sqrt(max(0.0, 1 - explained) / seen["fitted"])
    return Line(slope, intercept, mean, spread, error)


def _turned(seen: Mapping[str, Any]) -> str | None:
    """Hours of the day, told in another zone; summer time makes two shifts of one."""
    low, high = _finite(seen["turn_min"]), _finite(seen["turn_max"])
    if low is None or high is None or seen["fitted"] < MIN_ROWS or not seen["clock"]:
        return None
    if high - low > 1 or low == 0 or high == 0:
        return None
    shifts = f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"
    return f"hour of day in another time zone (+{shifts} h)"


def _renumbered(seen: Mapping[str, Any]) -> str | None:
    """Every old value has exactly one new value, and the other way round."""
    pairs = seen["pairs"]
    one_to_one = pairs > 1 and pairs == seen["values_old"] == seen["values_new"]
    return "values relabelled one to one" if one_to_one and seen["changed"] else None


def _sentence(
    feature: str,
    found: tuple[Verdict, str | None, float | None, float | None, float | None],
    changed: float,
    nulls: tuple[float, float],
    counts: tuple[int, ...],
) -> str:
    verdict, name, ratio, slope, intercept = found
    rows, missing_old, missing_new = counts
    if verdict == "unknown":
        return f"{feature}: no row is on both sides, nothing was compared"
    if verdict == "equal":
        return f"{feature}: equal on all {rows} rows"
    parts = [f"{changed:.1%} of {rows} rows changed"]
    if verdict == "scaled":
        parts.append(f"new = {ratio:.7g} x old")
    if verdict == "affine":
        parts.append(f"new = {slope:.6g} x old {'-' if (intercept or 0) < 0 else '+'} "
                     f"{abs(intercept or 0):.6g}")  # fmt: skip
    parts += [f"it looks like {name}"] if name else []
    if nulls[0] != nulls[1]:
        parts.append(f"missing values went from {nulls[0]:.1%} to {nulls[1]:.1%}")
    parts += [f"{missing_new} rows are gone"] if missing_new else []
    parts += [f"{missing_old} rows are new"] if missing_old else []
    return f"{feature}: {', '.join(parts)}"


def _finite(value: Any) -> float | None:
    """A number, or None for NULL, NaN and infinity."""
    return float(value) if value is not None and abs(value) < float("inf") else None
