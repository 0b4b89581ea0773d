"""Pieces of a query block: what it selects, how it is written, which queries it joins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from interlock.define.digest import digest
from interlock.impact.scope import Block, Rows, Scope, Term, doubts, used
from interlock.impact.terms import term
from interlock.impact.tree import Node, NotUnderstood

_CHAIN = frozenset({"this", "expression", "distinct"})


def table_name(node: Node) -> str:
    """The full name of a table, as written."""
    return ".".join(filter(None, (node.text("catalog"), node.text("db"), node.text())))


def written(node: Node) -> str:
    """A digest of how something is written; formatting and comments do not count."""
    made: dict[int, str] = {}
    for n in list(node.walk())[::-1]:
        args = {key: _written(value, made) for key, value in n.args.items()}
        made[id(n)] = digest([n.kind, args])
    return made[id(node)]


def _written(value: object, made: Mapping[int, str]) -> object:
    if isinstance(value, Node):
        return made[id(value)]
    return [_written(v, made) for v in value] if isinstance(value, tuple) else ["text", value]


def only(node: Node, known: frozenset[str]) -> None:
    strange = sorted(set(node.args) - known)
    if strange:
        raise NotUnderstood(f"{strange[0].strip('_').upper()} is not understood")


def aggregates(nodes: list[Node]) -> bool:
    """Whether a clause after the groups makes them: an aggregate that is no window's."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if "aggregate" in node.traits:
            return True
        if node.kind == "window":
            waiting += node.need().children
        elif node.kind not in ("select", "union", "subquery"):
            waiting += node.children
    return False


def branches(node: Node) -> list[Node]:
    """The operands of a chain of the same UNION, however long; of another operator, both."""
    found, waiting = [], [node]
    while waiting:
        one = waiting.pop()
        inner = one.one("this") if one.kind == "subquery" and set(one.args) == {"this"} else None
        for chained in filter(None, (one, inner)):
            if chained is node or _chained(chained, node):
                waiting += [chained.need("expression"), chained.need()]
                break
        else:
            found.append(one)
    return found


def _chained(one: Node, first: Node) -> bool:
    if first.kind != "union" or one.kind != "union" or not set(one.args) <= _CHAIN:
        return False
    return one.text("distinct") == first.text("distinct")


def projections(node: Node, scope: Scope) -> Iterator[tuple[str, Term]]:
    """Output columns, `*` expanded."""
    for at, part in enumerate(node.many("expressions")):
        inner = part.one("this") if part.kind == "column" else None
        star = part if part.kind == "star" else inner if inner and inner.kind == "star" else None
        if star is not None:
            yield from _star(star, part.text("table") if part.kind == "column" else "", scope)
        elif part.kind == "aliases":
            raise NotUnderstood("one expression with several names is not understood")
        else:
            name = part.text("alias") or (part.text() if part.kind == "column" else f"_col{at}")
            yield name, term(part, scope)


def _star(star: Node, qualifier: str, scope: Scope) -> Iterator[tuple[str, Term]]:
    only(star, frozenset({"except_", "replace", "rename"}))
    left_out = {n.text() for n in star.many("except_")}
    replaced = {n.text("alias"): n.need() for n in star.many("replace")}
    renamed = {n.text(): n.text("alias") for n in star.many("rename")}
    for name, found in scope.star(qualifier):
        if name not in left_out:
            changed = term(replaced[name], scope) if name in replaced else found
            yield renamed.get(name, name), changed


def multiplied(rows: Rows, terms: list[Term]) -> Rows:
    """A generating function makes several rows of one; one nobody knows might."""
    for flag in ("generator", "opaque"):
        makers = [t for t in terms if flag in t.flags]
        if makers:
            rows = rows.step(flag, sorted({t.digest for t in makers}), terms=makers)
    return rows


def both_of(how: list[str], terms: list[Term]) -> Term:
    kinds = {t.type for t in terms}
    exacts = {t.exact for t in terms}
    made = digest([*how, [t.digest for t in terms]])
    kind = kinds.pop() if len(kinds) == 1 else None
    exact = exacts.pop() if len(exacts) == 1 else None
    return Term(made, used(terms, "value"), kind, doubts(terms), exact)


def renamed(block: Block, alias: Node | None) -> Block:
    names = [n.text() for n in alias.many("columns")] if alias else []
    if not names:
        return block
    if block.open:
        raise NotUnderstood("names for columns that are not known")
    columns = tuple(
        (names[at] if at < len(names) else name, t) for at, (name, t) in enumerate(block.columns)
    )
    return replace(block, columns=columns)
