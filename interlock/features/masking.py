"""Masked values, and queries rewritten so that they show nothing else.

A mask is put where rows are read, below everything a query does with them, so no join,
union, text or comparison above can bring a clear value back. Written for DuckDB and Postgres.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from interlock.define.definitions import ColumnType
from interlock.define.schema import did_you_mean
from interlock.errors import NotFound, Unusable
from interlock.features.covers import Cover
from interlock.features.dialect import DUCKDB, POSTGRES, Dialect
from interlock.impact.block import table_name
from interlock.impact.sql import parsed, substitute, tables_named
from interlock.impact.tree import Node

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


def mask_sql(column: str, cover: Cover, key: bytes | None, dialect: Dialect = DUCKDB) -> str:
    """The expression that stands for `column`; casts that fail give NULL, never an error text."""
    x, type, how = dialect.quoted(column), dialect.types[cover.type], cover.mask.mask
    if how == "bucket":
        return _bucket_sql(x, cover, dialect)
    if how == "hash" and key is not None and cover.type in ("string", "integer", "double"):
        made = _hmac_sql(_said_sql(x, cover, dialect), key, dialect)
        if cover.type == "string":
            return f"'h:' || substr({made}, 1, 16)"
        digits = f"substr({made}, 1, 12)"
        whole = f"CAST('0x' || {digits} AS BIGINT)"
        if dialect is POSTGRES:
            whole = f"CAST(CAST('x' || {digits} AS BIT(48)) AS BIGINT)"
        return f"CAST({whole} AS {type})"
    if how != "null" and cover.type == "string":
        return f"CASE WHEN {x} IS NOT NULL THEN '{REDACTED}' END"
    return f"CAST(NULL AS {type})"


def _said_sql(x: str, cover: Cover, dialect: Dialect) -> str:
    """A value as the text that is hashed: the same on every engine, or hashes would not join."""
    said = f"CAST({x} AS {dialect.types['string']})"
    if cover.type != "double" or dialect is not POSTGRES:
        return said
    # There a whole double has no `.0`, and what is no number has a longer name.
    whole = f"CAST(CAST({x} AS BIGINT) AS TEXT) || '.0'"
    return (
        f"CASE WHEN abs({x}) < 1e15 AND {x} = trunc({x}) THEN {whole} "
        f"ELSE replace(lower({said}), 'infinity', 'inf') END"
    )


def _hmac_sql(text: str, key: bytes, dialect: Dialect) -> str:
    key = key if len(key) <= _BLOCK else hashlib.sha256(key).digest()
    padded = key.ljust(_BLOCK, b"\0")
    inner, outer = (bytes(b ^ pad for b in padded).hex() for pad in (0x36, 0x5C))
    if dialect is POSTGRES:
        inside = f"sha256(decode('{inner}', 'hex') || convert_to({text}, 'UTF8'))"
        return f"encode(sha256(decode('{outer}', 'hex') || {inside}), 'hex')"
    inside = f"sha256(unhex('{inner}') || encode({text}))"
    return f"sha256(unhex('{outer}') || unhex({inside}))"


def _bucket_sql(x: str, cover: Cover, dialect: Dialect) -> str:
    type, mask = dialect.types[cover.type], cover.mask
    if cover.type in ("date", "timestamp"):
        if not mask.width:
            return f"CAST(NULL AS {type})"
        low = f"CAST(floor({_days_sql(x, dialect)} / {mask.width!r}) * {mask.width!r} AS INTEGER)"
        return f"CAST(DATE '1970-01-01' + {low} AS {type})"
    number = _tried(x, "double", dialect)
    if mask.width:
        return _tried(f"floor({number} / {mask.width!r}) * {mask.width!r}", cover.type, dialect)
    whens = " ".join(f"WHEN {number} >= {e!r} THEN {e!r}" for e in reversed(mask.edges))
    return _tried(f"CASE {whens} END", cover.type, dialect)


def _days_sql(x: str, dialect: Dialect) -> str:
    """Days since 1970; NULL for what is no day."""
    day = _tried(x, "date", dialect)
    if dialect is POSTGRES:
        return f"(CASE WHEN isfinite({day}) THEN {day} - DATE '1970-01-01' END)"
    return f"date_diff('day', DATE '1970-01-01', {day})"


def _tried(x: str, type: ColumnType, dialect: Dialect) -> str:
    """`x` as a `type`, NULL where it is none: an error would quote it."""
    to = dialect.types[type]
    if dialect is not POSTGRES:
        return f"TRY_CAST({x} AS {to})"
    said = f"CAST({x} AS TEXT)"
    if type == "integer":  # of a bucket, which is a double
        return f"CASE WHEN abs({x}) < 9e18 THEN CAST({x} AS {to}) END"
    asked = to.lower().replace("'", "")
    return f"CASE WHEN pg_input_is_valid({said}, '{asked}') THEN CAST({said} AS {to}) END"


def reads_functions(sql: str) -> bool:
    """Does it take rows from a function, which may read anything? True also when not understood."""
    tree = parsed(sql)
    tables = [node for node in tree.walk() if node.kind == "table"] if tree else []
    inner = [getattr(node.one("this"), "kind", "") for node in tables]
    return tree is None or any(kind != "identifier" for kind in inner)


def masked_sql(
    sql: str, relations: Mapping[str, Relation], key: bytes | None, dialect: Dialect = DUCKDB
) -> str:
    """`sql` over the stored relations, each masked where it is read, as the engine writes it.

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
    names = [*dict.fromkeys(name for name, _ in named)]
    for name in (*names, *sorted(_bare(tree))):
        if name not in relations:
            raise NotFound(f"no table {name}", help=did_you_mean(name, relations))
    if dialect is DUCKDB:
        made = substitute(sql, {name: masked_relation(relations[name], key) for name in names})
        above, stored = "", {relations[name].stored.lower() for name in names}
    else:
        _refuse_unknown_functions(tree, dialect)
        # Masks are written for the engine, and stand above what is translated for it.
        bound = {name: f"{_MASKED}{at}" for at, name in enumerate(names)}
        made, stored = substitute(sql, bound, dialect.name), set(bound.values())
        parts = (
            f"{bound[name]} AS {masked_relation(relations[name], key, dialect)}" for name in names
        )
        above = f"WITH {', '.join(parts)} " if names else ""
    again = tables_named(made, dialect.name)
    if not isinstance(again, tuple) or {n.replace('"', "") for n, _ in again} - stored:
        raise Unusable("this cannot be masked: not every table was found", help="simplify it")
    return f"{above}SELECT * FROM ({made}) AS shown_" if above else made


_MASKED = "il_masked_"


def _bare(tree: Node) -> set[str]:
    """Tables without a schema that are no CTE where they stand: an engine finds its own there."""
    found, waiting = set[str](), [(tree, frozenset[str]())]
    while waiting:
        node, visible = waiting.pop()
        inside = node.one("with_")
        for cte in inside.many("expressions") if inside else ():
            name = cte.need("alias").text()
            itself = {name} if inside and inside.text("recursive") else set()
            waiting.append((cte, visible | itself))
            visible = visible | {name}
        inner = node.one("this")
        if node.kind == "table" and inner is not None and inner.kind == "identifier":
            name = table_name(node)
            found |= {name} if "." not in name and name not in visible else set()
        waiting += [(child, visible) for child in node.children if child is not inside]
    return found


def _refuse_unknown_functions(tree: Node, dialect: Dialect) -> None:
    """Elsewhere a scalar function may run a query of its own: only known ones are let through."""
    names = {node.text() for node in tree.walk() if "opaque" in node.traits}
    if names:
        raise Unusable(
            f"{', '.join(sorted(names))} may read anything on {dialect.name}",
            help="use functions that both engines know",
        )


def masked_relation(relation: Relation, key: bytes | None, dialect: Dialect = DUCKDB) -> str:
    """Its rows as a parenthesised query, masked columns by their masks."""
    columns = [
        f"{mask_sql(name, relation.covers[name], key, dialect)} AS {dialect.quoted(name)}"
        if name in relation.covers
        else dialect.quoted(name)
        for name in relation.columns
    ]
    return f"(SELECT {', '.join(columns)} FROM {relation.stored})"
