"""The meaning of one expression, as a digest that formatting, names and order cannot move.

A column stands for the digest of what it selects, so subqueries and CTEs that only
rename disappear. AND, OR, IN and the symmetric operators forget the order of their
operands; parentheses and aliases are nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from interlock.define.digest import digest
from interlock.impact.column_types import infer
from interlock.impact.query import EdgeKind
from interlock.impact.scope import Scope, Term, doubts, used
from interlock.impact.tree import Node, NotUnderstood, Value

_NAMELESS = frozenset({"paren", "alias"})
_QUERIES = frozenset({"select", "union", "except", "intersect", "subquery", "values"})
_SYMMETRIC = frozenset({"eq", "neq", "mul", "nullsafeeq", "nullsafeneq"})
# Lists are joined by + too, and then the order counts.
_ADDS = frozenset({"boolean", "integer", "double", "date", "timestamp"})
_MIRRORED = {"gt": "lt", "gte": "lte"}
_BEYOND = frozenset(
    {
        "columns",
        "star",
        "pivot",
        "placeholder",
        "parameter",
        "comprehension",
        "except",
        "matchrecognize",
    }
)
_WRAPPERS = frozenset({"filter", "ignorenulls", "respectnulls", "withingroup"})
_NO_MEANING = frozenset({"quoted", "nested", "over"})
_ROW_TRAITS = frozenset({"aggregate", "generator", "opaque"})
_WINDOW = frozenset({"this", "partition_by", "order", "spec", "alias", "over"})
# The others may look at the order in which rows come, unless they are given one.
_UNORDERED = frozenset(
    [
        "count", "sum", "min", "max", "avg", "countif", "logicaland", "logicalor", "median",
        "stddev", "stddevpop", "stddevsamp", "variance", "variancepop", "corr", "covarpop",
        "covarsamp", "approxdistinct", "quantile", "percentilecont", "percentiledisc",
        "approxquantile", "grouping", "bitwiseandagg", "bitwiseoragg", "bitwisexoragg", "skewness",
        "firstvalue", "lastvalue", "lag", "lead", "nthvalue",
    ]
)  # fmt: skip
_MASKS = frozenset(
    {"md5", "md5digest", "sha", "sha1digest", "sha2", "sha2digest", "farmfingerprint"}
)
_MASK_NAMES = frozenset({"hash", "sha1", "sha256", "mask", "xxhash64", "md5_number"})


def term(node: Node, scope: Scope) -> Term:
    """The term of `node`, with the names of `scope`."""
    while node.kind in _NAMELESS:
        node = node.need()
    # A nested query does not change when rows are grouped; without this it would be worked
    # out twice on every level.
    memo = scope.inner if node.kind in _QUERIES else scope.memo
    found = memo.get(id(node))
    if found is None:
        found = memo[id(node)] = _term(node, scope)
    return found


def _term(node: Node, scope: Scope) -> Term:
    if node.kind == "column":
        return _column(node, scope)
    if node.kind in ("and", "or"):
        return _either(node.kind, [term(n, scope) for n in operands(node, node.kind)])
    if node.kind == "between" and set(node.args) == {"this", "low", "high"}:
        return _either("and", [_plain(n, scope) for n in _bounds(node)])
    if node.kind == "window":
        return _window(node, scope)
    if node.kind in _QUERIES:
        return _query(node, scope)
    if node.kind == "count" and _counts_rows(node, scope):
        return Term(digest(["count rows"]), frozenset(), "integer", frozenset({"aggregate"}))
    if node.kind in _BEYOND:
        raise NotUnderstood(f"{node.kind.upper()} is not understood")
    return _plain(node, scope)


def _bounds(node: Node) -> list[Node]:
    """The two comparisons that BETWEEN is."""
    this = node.need()
    return [
        Node("gte", {"this": this, "expression": node.need("low")}, frozenset(), node.line),
        Node("lte", {"this": this, "expression": node.need("high")}, frozenset(), node.line),
    ]


def operands(node: Node, kind: str) -> list[Node]:
    """The operands of a chain of AND (or OR), without parentheses, however long it is."""
    found, waiting = [], [node]
    while waiting:
        node = waiting.pop()
        while node.kind in _NAMELESS:
            node = node.need()
        if node.kind == kind:
            waiting += [node.need("expression"), node.need()]
        else:
            found.append(node)
    return found


def conjuncts(node: Node | None, scope: Scope, what: str = "") -> list[Term]:
    """The terms that must all be true; `TRUE` says nothing and is left out.

    With a word for `what` it is, each is noted as a part of what decides about rows.
    """
    found: list[Term] = []
    for one in operands(node, "and") if node else ():
        if one.kind == "boolean" and one.text() == "true":
            continue
        split = one.kind == "between" and set(one.args) == {"this", "low", "high"}
        terms = [_plain(n, scope) for n in _bounds(one)] if split else [term(one, scope)]
        if what:
            scope.note(what, terms, one.at)
        found += terms
    return found


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


def _counts_rows(node: Node, scope: Scope) -> bool:
    """`count(*)`, or a count of what is never NULL."""
    if set(node.args) - {"this", "big_int"}:
        return False
    inner = node.one("this")
    return inner is None or inner.kind == "star" or _never_null(inner, scope)


def _never_null(node: Node, scope: Scope) -> bool:
    while node.kind in _NAMELESS:
        node = node.need()
    if node.kind == "literal":
        return True
    return node.kind == "column" and term(node, scope).sure


def _window(node: Node, scope: Scope) -> Term:
    if set(node.args) - _WINDOW:
        raise NotUnderstood("this kind of window is not understood")
    named = scope.windows.get(node.text("alias")) if node.text("alias") else None
    if node.text("alias") and (named is None or named.text("alias")):
        raise NotUnderstood(f"no window {node.text('alias')} that is understood")
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
        "" if ordered else scope.order,
    ]
    reads = used([function], "value") | used([*split, *ordered], "window")
    inside = _arguments(node.need(), scope)
    flags = _flags([*inside, *split, *ordered]) | scope.rows.doubts
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
    made = digest(["query", block.rows.digest, [t.digest for t in terms]])
    return Term(made, reads, kind, block.rows.doubts | doubts(terms))


def _plain(node: Node, scope: Scope) -> Term:
    inside: list[tuple[str, Term]] = []
    parts: dict[str, object] = {}
    for key, value in node.args.items():
        if key in _NO_MEANING:
            continue
        terms = list(_terms(value, scope))
        inside += [(key, t) for t in terms]
        parts[key] = _part(value, iter(terms), key == "this" and node.kind == "var")
        if node.kind == "in" and key == "expressions":
            parts[key] = sorted(t.digest for t in terms)
    every = [t for _, t in inside]
    exact = exact_type(node.one("to")) if node.kind == "cast" else None
    if exact and set(node.args) == {"this", "to"} and term(node.need(), scope).exact == exact:
        return term(node.need(), scope)  # a cast to the type that it has
    flags = _flags(every) | (node.traits & _ROW_TRAITS)
    if "aggregate" in node.traits:
        flags |= _aggregated(node, parts, every, scope)
    if "volatile" in node.traits:
        flags |= {f"?{node.kind}() gives another value each time"}
        parts["text"] = scope.text
    kind = _turned(node.kind, parts, [t.type for t in every])
    sure = node.kind == "literal"
    reads = used(every, _kind_of(node))
    return Term(digest([kind, parts]), reads, infer(node, inside), flags, exact, sure)


def _aggregated(
    node: Node, parts: dict[str, object], inside: list[Term], scope: Scope
) -> frozenset[str]:
    if any("outer" in t.flags for t in inside):
        raise NotUnderstood("an aggregate over a column of the outer query is not understood")
    if node.kind not in _UNORDERED and not any(n.kind == "order" for n in node.walk()):
        parts["rows as written"] = scope.order
    return frozenset()


def _turned(kind: str, parts: dict[str, object], types: list[str | None]) -> str:
    """One spelling for what can be written from either side."""
    if kind in _MIRRORED:
        parts["this"], parts["expression"] = parts["expression"], parts["this"]
        return _MIRRORED[kind]
    if kind in _SYMMETRIC or (kind == "add" and _ADDS & set(types)):
        both = sorted(str(parts.pop(key)) for key in ("this", "expression"))
        parts["both"] = both
    return kind


def exact_type(to: Node | None) -> str | None:
    """A type by the engine's own name, as `decimal(10,2)`."""
    if to is None or not isinstance(to.args.get("this"), str):
        return None
    if set(to.args) - {"this", "expressions", "nested"}:
        return None
    inside = []
    for part in to.many("expressions"):
        inner = exact_type(part) if part.kind == "datatype" else part.need().text()
        if not inner:
            return None
        inside.append(inner)
    return to.text() + (f"({','.join(inside)})" if inside else "")


def _part(value: Value, terms: Iterator[Term], unit: bool = False) -> object:
    if isinstance(value, Node):
        return next(terms).digest
    if isinstance(value, str):
        plural = unit and value.endswith("s") and len(value) > 3
        return value[:-1] if plural else value  # INTERVAL 2 HOURS is INTERVAL 2 HOUR
    return [_part(item, terms) for item in value]


def _kind_of(node: Node) -> EdgeKind:
    if node.kind == "where":
        return "filter"
    named = node.kind == "anonymous" and node.text() in _MASK_NAMES
    return "mask" if named or node.kind in _MASKS else "value"


def _terms(value: Value, scope: Scope) -> Iterable[Term]:
    if isinstance(value, Node):
        yield term(value, scope)
    elif isinstance(value, tuple):
        for item in value:
            yield from _terms(item, scope)


def _flags(terms: Iterable[Term]) -> frozenset[str]:
    return frozenset(flag for t in terms for flag in t.flags)
