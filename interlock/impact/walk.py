"""One walk over a query, from its sources up: each block's columns and its ONE row set."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from interlock.define.digest import digest
from interlock.impact.block import (
    aggregates,
    both_of,
    branches,
    multiplied,
    only,
    projections,
    renamed,
    table_name,
    written,
)
from interlock.impact.joins import Sources
from interlock.impact.query import OutputColumn, Part, QueryFacts, Source, SqlError
from interlock.impact.scope import Block, Item, Rows, Scope, Term, doubts, used
from interlock.impact.source import Known, declared, generated
from interlock.impact.terms import conjuncts, of_output, ordering, positional, term
from interlock.impact.tree import Node, NotUnderstood

_SELECT = frozenset(
    [
        "with_", "expressions", "from_", "joins", "where", "group", "having", "qualify",
        "windows", "distinct", "limit", "offset", "order", "laterals", "hint",
    ]
)  # fmt: skip
_SETS = frozenset(["with_", "this", "expression", "distinct", "limit", "offset", "order"])
_SUBQUERY = frozenset(["with_", "this", "alias", "limit", "offset", "order", "joins"])
_TABLE = frozenset(["this", "db", "catalog", "alias", "joins"])


def walk(tree: Node, known: Known, tables: frozenset[str], text: str) -> QueryFacts:
    """The facts of a query; raises `NotUnderstood` for what is beyond this room.

    `text` stands for the whole of it: what gives other values each time is equal only there.
    """
    errors: list[SqlError] = []
    parts: list[Part] = []
    walker = _Walker(known, errors)
    scope = Scope(walker.query, errors, loose=known.loose, parts=parts, text=text)
    block = walker.query(tree, scope)
    columns = _outputs(tree, block)
    found = tuple(sorted(set(errors), key=lambda e: (e.line, e.message)))
    rows = block.rows
    doubt = _doubt(rows.doubts)
    return QueryFacts(
        columns, rows.digest, rows.reads, tables, found, doubt=doubt, parts=tuple(parts)
    )


def _outputs(tree: Node, block: Block) -> tuple[OutputColumn, ...]:
    """The columns; the second of a name is told from the first, so that none goes unseen."""
    if block.open:
        raise NotUnderstood("columns that are not known")
    seen: Counter[str] = Counter()
    at = _places(tree)
    columns = []
    for name, t in block.columns:
        again = f"{name}_{seen[name]}" if seen[name] else name
        seen[name] += 1
        place, doubt = at.get(name, 0), _doubt(t.flags)
        columns.append(OutputColumn(again, t.type, t.digest, t.reads, t.exact, doubt, place))
    return tuple(columns)


def _places(tree: Node) -> dict[str, int]:
    while tree.kind != "select" and tree.one("this"):
        tree = tree.need()
    return {n.text("alias") or n.text(): n.at for n in tree.many("expressions")}


def _doubt(flags: frozenset[str]) -> str:
    return "; ".join(sorted(flag[1:] for flag in flags if flag.startswith("?")))


@dataclass
class _Walker:
    known: Known
    errors: list[SqlError]
    tables: dict[str, Block] = field(default_factory=dict)

    def query(self, node: Node, parent: Scope) -> Block:
        """Any query; `parent` is where it stands, for correlated names and CTEs."""
        outer = self._with(node, parent)
        if node.kind == "select":
            return self._select(node, outer)
        if node.kind in ("union", "except", "intersect"):
            return self._combined(node, outer)
        if node.kind == "subquery":
            only(node, _SUBQUERY)
            inner = self.query(node.need(), outer)
            return self._cut(node, inner, self._over(inner, outer))
        if node.kind == "values":
            return generated(node, outer)
        raise NotUnderstood(f"{node.kind.upper()} as a query is not understood")

    def _with(self, node: Node, parent: Scope) -> Scope:
        with_ = node.one("with_")
        if with_ is None:
            return parent
        scope = replace(parent, ctes=dict(parent.ctes), memo={}, inner={})
        for cte in with_.many("expressions"):
            name = cte.need("alias").text()
            if with_.text("recursive") and _reads(cte.need(), name):
                block = self._recursive(cte, name, scope)
            else:
                block = renamed(self.query(cte.need(), scope), cte.one("alias"))
            scope.ctes = {**scope.ctes, name: block}
        return scope

    def _recursive(self, cte: Node, name: str, scope: Scope) -> Block:
        """A query that reads itself is compared as it is written; what it reads is all it names."""
        body = cte.need()
        if body.kind != "union" or not isinstance(body.one("this"), Node):
            raise NotUnderstood("this kind of WITH RECURSIVE is not understood")
        start = renamed(self.query(body.need(), scope), cte.one("alias"))
        ctes = {**scope.ctes, name: Block(start.columns, Rows(digest(["itself"])))}
        again = self.query(body.need("expression"), replace(scope, ctes=ctes, memo={}, inner={}))
        every = [t for block in (start, again) for _, t in block.columns]
        reads = start.rows.reads | again.rows.reads | used(every, "value")
        below = [start.rows.digest, again.rows.digest, [t.digest for t in every]]
        made = digest(["recursive", written(body), below])
        flags = frozenset({f"?the recursive {name} is compared as it is written"})
        flags |= start.rows.doubts | again.rows.doubts | doubts(every)
        columns = tuple(
            (n, Term(digest([made, at]), reads, t.type, flags))
            for at, (n, t) in enumerate(start.columns)
        )
        scope.note("WITH RECURSIVE", [Term(made)], cte.at)
        return Block(columns, Rows(made, frozenset(), reads, flags))

    def _select(self, node: Node, outer: Scope) -> Block:
        only(node, _SELECT)
        scope = outer.below()
        scope.windows = {n.text(): n for n in node.many("windows")}
        scope.aliases = {
            n.text("alias"): n.need() for n in node.many("expressions") if n.kind == "alias"
        }
        source = Sources(scope, self._item).read(node)
        if source is not None:
            scope.set_rows(source.rows)
        scope.set_rows(scope.rows.where(conjuncts(_inside(node, "where"), scope, "WHERE")))
        grouped = self._grouped(node, scope)
        scope.picky = scope.loose
        scope.set_rows(scope.rows.where(conjuncts(_inside(node, "having"), scope, "HAVING")))
        kept = conjuncts(_inside(node, "qualify"), scope, "QUALIFY")
        scope.picky = False
        columns = tuple(projections(node, scope))
        # QUALIFY comes after the windows: what they see is what was there before it.
        rows = multiplied(scope.rows.where(kept), [t for _, t in columns])
        if grouped == "sets":
            columns = tuple((n, t._replace(sure=False)) for n, t in columns)
        block = Block(columns, rows, unique=self._unique(node, scope, source, columns, grouped))
        block = self._distinct(node, block, scope)
        block = replace(block, rows=self._ordered(node, block, scope))
        block = self._cut(node, block, scope)
        return replace(block, columns=tuple((n, t.outside) for n, t in block.columns))

    def _unique(
        self,
        node: Node,
        scope: Scope,
        source: Block | None,
        columns: tuple[tuple[str, Term], ...],
        grouped: str | frozenset[str],
    ) -> frozenset[frozenset[str]]:
        if any(t.flags & {"generator", "opaque"} for _, t in columns) or grouped == "sets":
            return frozenset()
        if isinstance(grouped, frozenset):
            return frozenset({grouped})
        return source.unique if source is not None else frozenset()

    def _item(self, node: Node, scope: Scope, first: bool) -> Item:
        alias = node.text("alias")
        if node.kind == "table":
            return self._table_item(node, scope, alias)
        inner = node.need() if node.kind == "lateral" else node
        if inner.kind == "subquery":
            # No name of this block can be seen from its first source, so it adds no depth.
            where = replace(scope, depth=scope.depth - 1, memo={}, inner={}) if first else scope
            block = renamed(self.query(inner, where), node.one("alias"))
            return Item(alias, "", block)
        if node.kind in ("unnest", "lateral", "values"):
            return Item(alias, "", renamed(generated(node, scope), node.one("alias")))
        raise NotUnderstood(f"{node.kind.upper()} in FROM is not understood")

    def _table_item(self, node: Node, scope: Scope, alias: str) -> Item:
        only(node, _TABLE)
        inner = node.one("this")
        if inner is not None and inner.kind != "identifier":
            return Item(alias, alias, renamed(generated(node, scope), node.one("alias")))
        name = table_name(node)
        if "." in name and any(i.named(name.partition(".")[0]) for i in scope.items):
            raise NotUnderstood(f"rows from the column {name} are not understood")
        block = renamed(self._table(name, scope), node.one("alias"))
        return Item(alias or node.text(), "" if alias else name, block)

    def _table(self, name: str, scope: Scope) -> Block:
        if name in scope.ctes:
            return scope.ctes[name]
        if name not in self.tables:
            self.tables[name] = declared(name, self.known)
        return self.tables[name]

    def _grouped(self, node: Node, scope: Scope) -> str | frozenset[str]:
        """Groups the rows; "" if they are not, "sets" for grouping sets, else the keys."""
        group = node.one("group")
        outputs = [t for _, t in projections(node, scope)]
        if group is None:
            later = [n for key in ("having", "qualify", "order") if (n := node.one(key))]
            if not any("aggregate" in t.flags for t in outputs) and not aggregates(later):
                return ""
            scope.set_rows(scope.rows.step("group", []))
            return frozenset()
        only(group, frozenset({"expressions", "all", "rollup", "cube", "grouping_sets"}))
        return self._keys(group, outputs, scope)

    def _keys(self, group: Node, outputs: list[Term], scope: Scope) -> str | frozenset[str]:
        scope.picky = scope.loose
        named = [*group.many("expressions")]
        keys = [positional(n, scope, outputs) for n in named]
        sets = [(k, n) for k in ("rollup", "cube", "grouping_sets") for n in group.many(k)]
        inner = [term(n, scope) for _, n in sets]
        scope.picky = False
        if group.text("all"):
            keys += [t for t in outputs if "aggregate" not in t.flags]
        many = bool(sets) or any(n.kind in ("rollup", "cube", "groupingsets") for n in named)
        digests = [t.digest for t in keys] if many else sorted({t.digest for t in keys})
        more = [[kind, t.digest] for (kind, _), t in zip(sets, inner, strict=True)]
        scope.note("GROUP BY", [*keys, *inner], group.at)
        rows = scope.rows.step("group", digests, *more, terms=[*keys, *inner], kind="group")
        scope.set_rows(rows)
        return "sets" if many else frozenset(digests)

    def _distinct(self, node: Node, block: Block, scope: Scope) -> Block:
        distinct = node.one("distinct")
        if distinct is None:
            return block
        terms = [t for _, t in block.columns]
        on = distinct.one("on")
        if on is None:
            found = frozenset(t.digest for t in terms)
            if any(key <= found for key in block.unique):
                return block  # there are no two equal rows
            scope.note("DISTINCT", terms, node.at)
            rows = block.rows.step("distinct", sorted(found), terms=terms, kind="group")
            return replace(block, rows=rows, unique=frozenset({found}))
        keys = [of_output(n, scope, block.columns) for n in (on.many("expressions") or (on,))]
        order, by = ordering(node.one("order"), scope, block.columns)
        scope.note("DISTINCT ON", [*keys, *by], distinct.at)
        parts = [_sorted(keys), order, "" if order else scope.order]
        rows = block.rows.step("distinct on", *parts, terms=keys, kind="group")
        rows = replace(rows, reads=rows.reads | used(by, "filter"), doubts=rows.doubts | doubts(by))
        return replace(block, rows=rows)

    def _ordered(self, node: Node, block: Block, scope: Scope) -> Rows:
        """The rows with the order they come in, for whoever looks at it."""
        if node.one("order") is None:
            return replace(block.rows, order=scope.order)
        order, _ = ordering(node.one("order"), scope, block.columns)
        return replace(block.rows, order=digest([order, scope.order]))

    def _cut(self, node: Node, block: Block, scope: Scope) -> Block:
        """LIMIT and OFFSET; without them the order of rows means nothing."""
        limit, offset = node.one("limit"), node.one("offset")
        if limit is None and offset is None:
            return block
        cuts = [term(n, scope) for n in (limit, offset) if n]
        parts: list[object] = [term(n, scope).digest if n else "" for n in (limit, offset)]
        order, by = ordering(node.one("order"), scope, block.columns)
        for what, cut in (("LIMIT", limit), ("OFFSET", offset)):
            if cut is not None:
                scope.note(what, [term(cut, scope)], cut.at)
        by_order = node.one("order")
        if by_order is not None:
            scope.note("ORDER BY", by, by_order.at)
        written = block.rows.order
        rows = block.rows.step("limit", *parts, order, "" if order else written, terms=cuts)
        rows = replace(
            rows, reads=rows.reads | used(by, "filter"), doubts=rows.doubts | doubts(by),
            order=written,
        )  # fmt: skip
        return replace(block, rows=rows)

    def _combined(self, node: Node, outer: Scope) -> Block:
        only(node, _SETS)
        how = [node.kind, node.text("distinct")]
        found = [self.query(n, outer) for n in branches(node)]
        counts = sorted({len(b.columns) for b in found})
        if any(b.open for b in found):
            raise NotUnderstood(f"{node.kind.upper()} of columns that are not known")
        if len(counts) > 1:
            said = " and ".join(map(str, counts))
            outer.say(node.line, f"{node.kind.upper()} of {said} columns")
        names = [name for name, _ in found[0].columns][: counts[0]]
        if node.kind == "union":
            # Which branch is written first means nothing; equal ones stay as they stand.
            found.sort(key=lambda b: (b.rows.digest, *([] if how[1] == "" else _all(b))))
        rows = [[t for _, t in b.columns] for b in found]
        columns = tuple(
            (name, both_of(how, [terms[at] for terms in rows])) for at, name in enumerate(names)
        )
        reads: frozenset[Source] = frozenset().union(*(b.rows.reads for b in found))
        parts: list[object] = [how, [b.rows.digest for b in found]]
        flags = frozenset().union(*(b.rows.doubts for b in found))
        if how != ["union", ""]:
            # Which rows are equal depends on every column.
            parts.append([t.digest for _, t in columns])
            reads |= used([t for _, t in columns], "group")
            flags |= doubts([t for _, t in columns])
        outer.note(" ".join(how).upper().strip(), [Term(digest(parts))], node.at)
        order = digest(["written", [b.rows.order for b in found]])
        block = Block(columns, Rows(digest(parts), frozenset(), reads, flags, order))
        return self._cut(node, block, self._over(block, outer))

    def _over(self, block: Block, outer: Scope) -> Scope:
        """The scope of an ORDER BY that stands after a whole query."""
        scope = outer.below()
        scope.items = [Item("", "", block)]
        return scope


def _reads(body: Node, name: str) -> bool:
    return any(n.kind == "table" and n.text() == name and not n.text("db") for n in body.walk())


def _inside(node: Node, key: str) -> Node | None:
    found = node.one(key)
    return found.need() if found else None


def _all(block: Block) -> list[str]:
    return [t.digest for _, t in block.columns]


def _sorted(terms: list[Term]) -> list[str]:
    return sorted({t.digest for t in terms})
