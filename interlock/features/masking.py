"""Masked values, and queries rewritten so that they show nothing else.

A mask is put where rows are read, below everything a query does with them, so no join,
union, text or comparison above can bring a clear value back. The SQL here is DuckDB's.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from interlock.define.schema import did_you_mean
from interlock.errors import NotFound, Unusable
from interlock.features.covers import Cover
from interlock.features.text import SQL_TYPES, quoted
from interlock.impact.sql import parsed, substitute, tables_named

REDACTED = "[redacted]"
_BLOCK = 64  # bytes of one block of SHA-256
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Relation:
    """A table or view as it is stored: where, its columns, and those of them that are masked."""

    stored: str
    columns: tuple[str, ...]
    covers: Mapping[str, Cover] = field(default_factory=dict)


def masked(value: Any, cover: Cover, key: bytes | None) -> Any:
    """`value` as somebody without clearance sees it: what `mask_sql` makes of it.

    Only where the type of a column has no room for a word, SQL says NULL.
    """
    how = cover.mask.mask
    if value is None or how == "null":
        return None
    if how == "bucket":
        return _bucket(value, cover)
    if how == "redact" or key is None:
        return REDACTED
    made = hmac.new(key, str(value).encode(), hashlib.sha256).hexdigest()
    if cover.type in ("integer", "double"):
        number = int(made[:12], 16)
        return number if cover.type == "integer" else float(number)
    return f"h:{made[:16]}" if cover.type == "string" else REDACTED


def _bucket(value: Any, cover: Cover) -> Any:
    mask = cover.mask
    try:
        if cover.type in ("date", "timestamp"):
            return _day(value, mask.width or 1.0) if mask.width else REDACTED
        number = float(value)
    except (TypeError, ValueError):
        return REDACTED
    if mask.width:
        made = math.floor(number / mask.width) * mask.width
    else:
        below = [edge for edge in mask.edges if edge <= number]
        if not below:
            return None
        made = below[-1]
    return int(made) if cover.type == "integer" else made


def _day(value: Any, width: float) -> str:
    at = value if isinstance(value, date) else datetime.fromisoformat(str(value))
    days = (datetime(at.year, at.month, at.day) - datetime(1970, 1, 1)) / _DAY
    low = datetime(1970, 1, 1) + _DAY * (math.floor(days / width) * width)
    return low.date().isoformat()


def mask_sql(column: str, cover: Cover, key: bytes | None) -> str:
    """The expression that stands for `column`; casts that fail give NULL, never an error text."""
    x, type, how = quoted(column), SQL_TYPES[cover.type], cover.mask.mask
    if how == "bucket":
        return _bucket_sql(x, cover)
    if how == "hash" and key is not None and cover.type in ("string", "integer", "double"):
        made = _hmac_sql(f"CAST({x} AS VARCHAR)", key)
        if cover.type == "string":
            return f"'h:' || substr({made}, 1, 16)"
        return f"CAST(CAST('0x' || substr({made}, 1, 12) AS BIGINT) AS {type})"
    if how != "null" and cover.type == "string":
        return f"CASE WHEN {x} IS NOT NULL THEN '{REDACTED}' END"
    return f"CAST(NULL AS {type})"


def _hmac_sql(text: str, key: bytes) -> str:
    key = key if len(key) <= _BLOCK else hashlib.sha256(key).digest()
    padded = key.ljust(_BLOCK, b"\0")
    inner, outer = (bytes(b ^ pad for b in padded).hex() for pad in (0x36, 0x5C))
    inside = f"sha256(unhex('{inner}') || encode({text}))"
    return f"sha256(unhex('{outer}') || unhex({inside}))"


def _bucket_sql(x: str, cover: Cover) -> str:
    type, mask = SQL_TYPES[cover.type], cover.mask
    if cover.type in ("date", "timestamp"):
        if not mask.width:
            return f"CAST(NULL AS {type})"
        days = f"date_diff('day', DATE '1970-01-01', TRY_CAST({x} AS DATE))"
        low = f"CAST(floor({days} / {mask.width!r}) * {mask.width!r} AS INTEGER)"
        return f"CAST(DATE '1970-01-01' + {low} AS {type})"
    number = f"TRY_CAST({x} AS DOUBLE)"
    if mask.width:
        return f"TRY_CAST(floor({number} / {mask.width!r}) * {mask.width!r} AS {type})"
    whens = " ".join(f"WHEN {number} >= {e!r} THEN {e!r}" for e in reversed(mask.edges))
    return f"TRY_CAST(CASE {whens} END AS {type})"


def reads_functions(sql: str) -> bool:
    """Does it take rows from a function, which may read anything? True also when not understood."""
    tree = parsed(sql)
    tables = [node for node in tree.walk() if node.kind == "table"] if tree else []
    inner = [getattr(node.one("this"), "kind", "") for node in tables]
    return tree is None or any(kind != "identifier" for kind in inner)


def masked_sql(sql: str, relations: Mapping[str, Relation], key: bytes | None) -> str:
    """`sql` over the stored relations, each masked where it is read.

    Raises `Unusable` for what is no plain SELECT or reads from a function, and `NotFound`
    for a table that nobody declared: of what is not known, nothing is shown.
    """
    named = tables_named(sql)
    tree = parsed(sql)
    if tree is None or not isinstance(named, tuple):
        said = "" if isinstance(named, tuple) else named.message
        raise Unusable(f"this cannot be masked: {said}", help="write one plain SELECT")
    if reads_functions(sql):
        raise Unusable("rows of a function cannot be masked", help="read declared tables")
    for name, _ in named:
        if name not in relations:
            raise NotFound(f"no table {name}", help=did_you_mean(name, relations))
    made = substitute(sql, {name: masked_relation(relations[name], key) for name, _ in named})
    again = tables_named(made)
    stored = {relations[name].stored.lower() for name, _ in named}
    if not isinstance(again, tuple) or {n.replace('"', "") for n, _ in again} - stored:
        raise Unusable("this cannot be masked: not every table was found", help="simplify it")
    return made


def masked_relation(relation: Relation, key: bytes | None) -> str:
    """Its rows as a parenthesised query, masked columns by their masks."""
    columns = [
        f"{mask_sql(name, relation.covers[name], key)} AS {quoted(name)}"
        if name in relation.covers
        else quoted(name)
        for name in relation.columns
    ]
    return f"(SELECT {', '.join(columns)} FROM {relation.stored})"
