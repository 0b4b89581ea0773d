"""The type an expression has, where it is certain; otherwise None, which claims nothing."""

from __future__ import annotations

from collections.abc import Sequence

from interlock.impact.scope import Term
from interlock.impact.tree import Node

_CASTS = {
    "boolean": "boolean", "double": "double", "float": "double", "decimal": "double",
    "bigint": "integer", "int": "integer", "smallint": "integer", "tinyint": "integer",
    "ubigint": "integer", "uint": "integer", "int128": "integer", "text": "string",
    "varchar": "string", "char": "string", "date": "date", "timestamp": "timestamp",
    "timestampntz": "timestamp", "datetime": "timestamp", "timestamptz": "timestamp",
}  # fmt: skip
_BOOLEAN = frozenset(
    [
        "eq",
        "neq",
        "gt",
        "gte",
        "lt",
        "lte",
        "in",
        "between",
        "is",
        "not",
        "isnull",
        "notnull",
        "exists",
        "like",
        "ilike",
        "boolean",
        "startswith",
        "endswith",
        "nullsafeeq",
        "nullsafeneq",
        "regexplike",
        "any",
        "contains",
    ]
)
_INTEGER = frozenset(
    [
        "count",
        "rownumber",
        "rank",
        "denserank",
        "ntile",
        "datediff",
        "extract",
        "approxdistinct",
        "length",
        "countif",
        "dayofweek",
        "dayofweekiso",
        "dayofmonth",
        "dayofyear",
        "month",
        "year",
        "quarter",
        "intdiv",
        "sign",
    ]
)
_DOUBLE = frozenset(
    [
        "avg",
        "stddev",
        "stddevpop",
        "stddevsamp",
        "variance",
        "variancepop",
        "median",
        "quantile",
        "percentilecont",
        "sqrt",
        "exp",
        "ln",
        "log",
        "corr",
        "percentrank",
        "cumedist",
        "pow",
        "div",
    ]
)
_STRING = frozenset(
    [
        "concat",
        "lower",
        "upper",
        "trim",
        "substring",
        "dpipe",
        "timetostr",
        "replace",
        "left",
        "right",
    ]
)
_SAME_AS_THIS = frozenset(
    [
        "min",
        "max",
        "anyvalue",
        "first",
        "last",
        "firstvalue",
        "lastvalue",
        "lag",
        "lead",
        "nthvalue",
        "mode",
        "argmax",
        "argmin",
        "abs",
        "neg",
        "filter",
        "ignorenulls",
        "respectnulls",
        "distinct",
        "order",
        "sum",
        "withingroup",
        "nullif",
        "mod",
    ]
)


def infer(node: Node, inside: Sequence[tuple[str, Term]]) -> str | None:
    """The contract type of `node`, given the terms of its parts."""
    kind = node.kind
    if kind in ("cast", "trycast"):
        return _CASTS.get(node.need("to").text())
    if kind == "literal":
        return _literal(node)
    for names, answer in (
        (_BOOLEAN, "boolean"), (_INTEGER, "integer"), (_DOUBLE, "double"), (_STRING, "string"),
    ):  # fmt: skip
        if kind in names:
            return answer
    if kind in _SAME_AS_THIS:
        return next((t.type for key, t in inside if key in ("this", "expressions")), None)
    if kind in ("add", "sub", "mul"):
        return _arithmetic(kind, [t.type for _, t in inside])
    if kind in ("coalesce", "case", "if", "greatest", "least"):
        return _common(kind, inside)
    return None


def _literal(node: Node) -> str:
    if "string" in node.traits:
        return "string"
    return "integer" if node.text().isdigit() else "double"


def _arithmetic(kind: str, types: list[str | None]) -> str | None:
    if "timestamp" in types and None in types and kind != "mul":
        return "timestamp"  # an interval has no contract type
    if len(types) != 2 or None in types or "timestamp" in types or "date" in types:
        return None
    return "double" if "double" in types else "integer"


def _common(kind: str, inside: Sequence[tuple[str, Term]]) -> str | None:
    keys = {"case": ("ifs", "default"), "if": ("true",)}.get(kind, ("this", "expressions"))
    types = {t.type for key, t in inside if key in keys}
    if types == {"integer", "double"}:
        return "double"
    return types.pop() if len(types) == 1 else None


def contract_type(exact: str | None) -> str | None:
    """The contract type of an engine's own; None where there is none, or blanks are padded."""
    base = (exact or "").partition("(")[0]
    return None if base == "char" else _CASTS.get(base)
