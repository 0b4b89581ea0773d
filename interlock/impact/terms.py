"""The meaning of one expression, as a digest that formatting, names and order cannot move.

A column stands for the digest of what it selects, so subqueries and CTEs that only
rename disappear. AND, OR, IN and the symmetric operators forget the order of their
operands; parentheses and aliases are nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from interlock.define.digest import digest
from interlock.impact.column_types import infer
from interlock.impact.query import EdgeKind
from interlock.impact.scope import Reads, Scope, Term, used
from interlock.impact.tree import Node, NotUnderstood, Value

_NAMELESS = frozenset({"paren", "alias"})
_QUERIES = frozenset({"select", "union", "except", "intersect", "subquery", "values"})
_SYMMETRIC = frozenset({"eq", "neq", "add", "mul", "nullsafeeq", "nullsafeneq"})
_MIRRORED = {"gt": "lt", "gte": "lte"}
_BEYOND = frozenset(
    {"lambda", "columns", "star", "pivot", "placeholder", "parameter", "kwarg", "comprehension"}
)
_WRAPPERS = frozenset({"filter", "ignorenulls", "respectnulls", "withingroup"})
_NO_MEANING = frozenset({"quoted", "nested", "over"})
_ROW_TRAITS = frozenset({"aggregate", "generator", "opaque"})


def term(node: Node, scope: Scope) -> Term:
    """The term of `node`, with the names of `scope`."""
    if node.kind in _NAMELESS:
        return term(node.need(), scope)
    if node.kind == "column":
        return _column(node, scope)
    if node.kind in ("and", "or"):
        return _either(node.kind, [term(n, scope) for n in operands(node, node.kind)])
    if node.kind == "window":
        return _window(node, scope)
    if node.kind in _QUERIES:
        return _query(node, scope)
    if node.kind == "count" and node.text() == "" and _counts_rows(node):
        return Term(digest(["count rows"]), frozenset(), "integer", frozenset({"aggregate"}))
    if node.kind in _BEYOND:
        raise NotUnderstood(f"{node.kind.upper()} is not understood")
    return _plain(node, scope)


def operands(node: Node, kind: str) -> list[Node]:
    """The operands of a chain of AND (or OR), without parentheses."""
    while node.kind in _NAMELESS:
        node = node.need()
    if node.kind != kind:
        return [node]
    return [*operands(node.need(), kind), *operands(node.need("expression"), kind)]


def conjuncts(node: Node | None, scope: Scope) -> list[Term]:
    """The terms that must all be true; `TRUE` says nothing and is left out."""
    if node is None:
        return []
    nodes = operands(node, "and")
    return [term(n, scope) for n in nodes if not (n.kind == "boolean" and n.text() == "true")]


Outputs = Sequence[tuple[str, Term]]


def ordering(node: Node | None, scope: Scope, outputs: Outputs) -> tuple[list[str], list[Term]]:
    """ORDER BY as digests, and the terms it stands on."""
    found, terms = [], []
    for ordered in node.many("expressions") if node else ():
        inner = ordered.need() if ordered.kind == "ordered" else ordered
        every = inner.kind == "column" and inner.text() == "all" and "all" not in scope.names()
        using = [t for _, t in outputs] if every else [of_output(inner, scope, outputs)]
        terms += using
        what = [t.digest for t in using]
        found.append(digest([what, ordered.text("desc"), ordered.text("nulls_first")]))
    return found, terms


def of_output(node: Node, scope: Scope, outputs: Outputs) -> Term:
    """In ORDER BY and DISTINCT ON a bare name is an output first, and a column only then."""
    if node.kind == "column" and not node.text("table"):
        named = next((t for name, t in outputs if name == node.text()), None)
        if named is not None:
            return named
    return positional(node, scope, [t for _, t in outputs])


def positional(node: Node, scope: Scope, outputs: list[Term]) -> Term:
    """`node`, where a bare number stands for an output column."""
    if node.kind == "literal" and "string" not in node.traits and node.text().isdigit():
        at = int(node.text()) - 1
        if 0 <= at < len(outputs):
            return outputs[at]
    return term(node, scope)


def _column(node: Node, scope: Scope) -> Term:
    inner = node.one("this")
    if inner is not None and inner.kind == "star":
        raise NotUnderstood("* inside an expression is not understood")
    found = scope.column(node)
    if isinstance(found, Term):
        return found
    # An alias of the same SELECT; kept busy so that `x + 1 AS x` cannot chase its tail.
    name = node.text()
    scope.busy.add(name)
    try:
        return term(found, scope)
    finally:
        scope.busy.discard(name)


def _either(kind: str, terms: list[Term]) -> Term:
    return Term(
        digest([kind, sorted({t.digest for t in terms})]),
        used(terms, "value"),
        "boolean",
        _flags(terms),
    )


def _counts_rows(node: Node) -> bool:
    inner = node.one("this")
    return inner is None or inner.kind == "star"


def _window(node: Node, scope: Scope) -> Term:
    named = scope.windows.get(node.text("alias")) if node.text("alias") else None
    if node.text("alias") and named is None:
        raise NotUnderstood(f"no window {node.text('alias')}")
    function = term(node.need(), scope)
    split = [term(n, scope) for n in node.many("partition_by") or _of(named, "partition_by")]
    order = node.one("order") or (named.one("order") if named else None)
    spec = node.one("spec") or (named.one("spec") if named else None)
    ordered = [term(n, scope) for n in order.many("expressions")] if order else []
    parts = [
        function.digest,
        sorted({t.digest for t in split}),
        [t.digest for t in ordered],
        term(spec, scope).digest if spec else "",
        scope.rows.digest,  # a window looks at the rows that are left when it is computed
    ]
    reads = used([function], "value") | used([*split, *ordered], "window")
    inside = _arguments(node.need(), scope)
    flags = _flags([*inside, *split, *ordered])
    return Term(digest(["window", *parts]), reads, function.type, flags)


def _of(named: Node | None, key: str) -> tuple[Node, ...]:
    return named.many(key) if named else ()


def _arguments(node: Node, scope: Scope) -> list[Term]:
    while node.kind in _WRAPPERS:
        node = node.need()
    return [term(n, scope) for n in node.children if n.kind not in ("identifier", "star")]


def _query(node: Node, scope: Scope) -> Term:
    block = scope.query(node, scope)
    terms = [t for _, t in block.columns]
    reads = used(terms, "value") | block.rows.reads
    kind = terms[0].type if len(terms) == 1 else None
    return Term(digest(["query", block.rows.digest, [t.digest for t in terms]]), reads, kind)


def _plain(node: Node, scope: Scope) -> Term:
    inside: list[tuple[str, Term]] = []
    parts: dict[str, object] = {}
    reads: Reads = frozenset()
    for key, value in node.args.items():
        if key in _NO_MEANING:
            continue
        terms = list(_terms(value, scope))
        inside += [(key, t) for t in terms]
        reads |= used(terms, _kind_of(node))
        parts[key] = _part(key, value, terms, node)
    kind = _MIRRORED.get(node.kind, node.kind)
    if kind != node.kind:
        parts["this"], parts["expression"] = parts["expression"], parts["this"]
    elif kind in _SYMMETRIC:
        parts = {"both": sorted(str(part) for part in parts.values())}
    flags = _flags(t for _, t in inside) | (node.traits & _ROW_TRAITS)
    return Term(digest([kind, parts]), reads, infer(node, inside), flags)


def _part(key: str, value: Value, terms: list[Term], node: Node) -> object:
    if isinstance(value, Node):
        return terms[0].digest
    if isinstance(value, str):
        unit = key == "this" and node.kind == "var" and value.endswith("s") and len(value) > 3
        return value[:-1] if unit else value  # INTERVAL 2 HOURS is INTERVAL 2 HOUR
    found = [t.digest for t in terms] or [str(item) for item in value]
    return sorted(found) if node.kind == "in" else found


def _kind_of(node: Node) -> EdgeKind:
    return "filter" if node.kind == "where" else "value"


def _terms(value: Value, scope: Scope) -> Iterable[Term]:
    if isinstance(value, Node):
        yield term(value, scope)
    elif isinstance(value, tuple):
        for item in value:
            yield from _terms(item, scope)


def _flags(terms: Iterable[Term]) -> frozenset[str]:
    return frozenset(flag for t in terms for flag in t.flags)
