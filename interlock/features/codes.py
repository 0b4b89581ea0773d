"""Codes and names on both sides: does each old value have one new value, and the other way round?

Counted in the one query of a comparison, together with everything else or in a part beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.define.definitions import ColumnType
from interlock.features.dialect import Dialect

_CODES = ("integer", "string", "boolean")
_COUNTS = ("values_old", "values_new", "pairs")


def code_fields(i: int, type: ColumnType, dialect: Dialect) -> dict[str, str]:
    """Aggregates of feature `i`, whose values are `ro0` and `rn0`; none where they stand apart."""
    if type not in _CODES:
        return dict.fromkeys(_COUNTS, "0")
    if dialect.apart:
        return {}
    known = f"FILTER (WHERE ro{i} IS NOT NULL AND rn{i} IS NOT NULL)"
    pair = dialect.row.format(items=f"ro{i}, rn{i}")
    counted = (f"ro{i}", f"rn{i}", pair)
    return {
        name: f"count(DISTINCT {one}) {known}" for name, one in zip(_COUNTS, counted, strict=True)
    }


def codes_sql(features: Mapping[str, ColumnType], rows: str, by: str, dialect: Dialect) -> str:
    """One row of `rows`, or one per value of the column `by`, as `__group`: the map `counts`.

    Every row is told once per feature, so that all of them are counted in one pass.
    """
    text = dialect.types["string"]
    told = ", ".join(f"{i}, CAST(ro{i} AS {text}), CAST(rn{i} AS {text})" for i in _coded(features))
    group, kept = ("__group, ", f"{rows}.{by} AS __group, ") if by else ("", "")
    pairs = (
        f"SELECT DISTINCT {kept}t.i, t.a, t.b FROM {rows} "
        f"LATERAL VIEW stack({len(_coded(features))}, {told}) t AS i, a, b "
        "WHERE t.a IS NOT NULL AND t.b IS NOT NULL"
    )
    counted = (
        f"SELECT {group}i, struct(count(DISTINCT a) AS values_old, "
        f"count(DISTINCT b) AS values_new, count(*) AS pairs) AS n "
        f"FROM ({pairs}) AS u GROUP BY {group}i"
    )
    return (
        f"SELECT {group}map_from_entries(collect_list(struct(i, n))) AS counts "
        f"FROM ({counted}) AS v{' GROUP BY __group' if by else ''}"
    )


def codes_apart(features: Mapping[str, ColumnType]) -> dict[str, str]:
    """What `code_fields` leaves out, from the row `d` of `codes_sql`; no pair, no entry."""
    return {
        f"f{i}_{name}": f"coalesce(try_element_at(d.counts, {i}).{name}, 0)"
        for i in _coded(features)
        for name in _COUNTS
    }


def _coded(features: Mapping[str, ColumnType]) -> list[int]:
    return [i for i, type in enumerate(features.values()) if type in _CODES]
