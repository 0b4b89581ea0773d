"""One walk over a query, from its sources up: each block's columns and its ONE row set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from interlock.define.digest import digest
from interlock.impact.query import OutputColumn, QueryFacts, Source, SqlError
from interlock.impact.scope import Block, Item, Rows, Scope, Term, used
from interlock.impact.terms import conjuncts, of_output, ordering, positional, term
from interlock.impact.tree import Node, NotUnderstood

Schema = Mapping[str, Mapping[str, str]]
_SELECT = frozenset(
    [
        "with_",
        "expressions",
        "from_",
        "joins",
        "where",
        "group",
        "having",
        "qualify",
        "windows",
        "distinct",
        "limit",
        "offset",
        "order",
        "laterals",
    ]
)
_SETS = frozenset(["with_", "this", "expression", "distinct", "limit", "offset", "order"])
_SUBQUERY = frozenset(["with_", "this", "alias", "limit", "offset", "order", "joins"])
_TABLE = frozenset(["this", "db", "catalog", "alias", "joins"])


def walk(tree: Node, schema: Schema, tables: frozenset[str]) -> QueryFacts:
    """The facts of a query; raises `NotUnderstood` for what is beyond this room."""
    errors: list[SqlError] = []
    walker = _Walker(schema, errors)
    block = walker.query(tree, Scope(walker.query, errors))
    columns = tuple(OutputColumn(n, t.type, t.digest, t.reads) for n, t in block.columns)
    found = tuple(sorted(set(errors), key=lambda e: (e.line, e.message)))
    rows = block.rows
    return QueryFacts(columns, rows.digest, rows.reads, tables, found)


@dataclass
class _Walker:
    schema: Schema
    errors: list[SqlError]

    def query(self, node: Node, parent: Scope) -> Block:
        """Any query; `parent` is where it stands, for correlated names and CTEs."""
        outer = self._with(node, parent)
        if node.kind == "select":
            return self._select(node, outer)
        if node.kind in ("union", "except", "intersect"):
            return self._combined(node, outer)
        if node.kind == "subquery":
            _only(node, _SUBQUERY)
            inner = self.query(node.need(), outer)
            return self._cut(node, inner, self._over(inner, outer))
        if node.kind == "values":
            return self._generated(node, [node], outer)
        raise NotUnderstood(f"{node.kind.upper()} as a query is not understood")

    def _with(self, node: Node, parent: Scope) -> Scope:
        with_ = node.one("with_")
        if with_ is None:
            return parent
        if with_.text("recursive"):
            raise NotUnderstood("WITH RECURSIVE is not understood")
        scope = replace(parent, ctes=dict(parent.ctes))
        for cte in with_.many("expressions"):
            block = _renamed(self.query(cte.need(), scope), cte.one("alias"))
            scope.ctes = {**scope.ctes, cte.need("alias").text(): block}
        return scope

    def _select(self, node: Node, outer: Scope) -> Block:
        _only(node, _SELECT)
        scope = Scope(self.query, self.errors, outer, outer.ctes)
        scope.windows = {n.text(): n for n in node.many("windows")}
        scope.aliases = {
            n.text("alias"): n.need() for n in node.many("expressions") if n.kind == "alias"
        }
        self._from(node, scope)
        scope.rows = scope.rows.where(conjuncts(_inside(node, "where"), scope))
        self._grouped(node, scope)
        scope.rows = scope.rows.where(conjuncts(_inside(node, "having"), scope))
        scope.rows = scope.rows.where(conjuncts(_inside(node, "qualify"), scope))
        columns = tuple(_projections(node, scope))
        rows = _multiplied(scope.rows, [t for _, t in columns])
        columns = tuple((n, replace(t, flags=frozenset())) for n, t in columns)
        block = self._distinct(node, Block(columns, rows), scope)
        return self._cut(node, block, scope)

    def _from(self, node: Node, scope: Scope) -> None:
        start = node.one("from_")
        if start is None:
            return
        first = start.need()
        entries = [*_flat(first), *node.many("joins"), *node.many("laterals")]
        alone = len(entries) == 1
        shape: list[object] = []
        reads: frozenset[Source] = frozenset()
        for at, entry in enumerate(entries):
            join = entry if entry.kind == "join" else None
            item = self._item(entry.need() if join else entry, scope, None if alone else at)
            reads |= item.block.rows.reads
            how, terms = _joined(join, item, scope)
            reads |= used(terms, "join")
            shape.append([how, item.block.rows.digest, sorted({t.digest for t in terms})])
        only = scope.items[0].block.rows
        scope.rows = only if alone else Rows(digest(["join", shape]), frozenset(), reads)

    def _item(self, node: Node, scope: Scope, tag: int | None) -> Item:
        alias = node.text("alias")
        if node.kind == "table":
            _only(node, _TABLE)
            inner = node.one("this")
            if inner is not None and inner.kind != "identifier":
                block = self._generated(node, [inner], scope)
                return Item(alias, alias, _renamed(block, node.one("alias")), tag)
            name = f"{node.text('db')}.{node.text()}" if node.text("db") else node.text()
            block = _renamed(self._table(name, scope), node.one("alias"))
            return Item(alias or node.text(), "" if alias else name, block, tag)
        inner = node.need() if node.kind == "lateral" else node
        if inner.kind == "subquery":
            block = _renamed(self.query(inner, scope), node.one("alias"))
            return Item(alias, "", block, tag)
        if node.kind in ("unnest", "lateral", "values"):
            block = self._generated(node, [node], scope)
            return Item(alias, "", _renamed(block, node.one("alias")), tag)
        raise NotUnderstood(f"{node.kind.upper()} in FROM is not understood")

    def _table(self, name: str, scope: Scope) -> Block:
        if name in scope.ctes:
            return scope.ctes[name]
        columns = tuple(
            (
                column,
                Term(digest(["column", name, column]), frozenset({Source(name, column)}), kind),
            )
            for column, kind in self.schema.get(name, {}).items()
        )
        # An unknown table is already an error; its columns must not become more of them.
        return Block(columns, Rows(digest(["table", name])), name not in self.schema)

    def _generated(self, node: Node, makers: list[Node], scope: Scope) -> Block:
        """Rows made by a function or VALUES."""
        terms = [
            term(part, scope) for maker in makers for part in maker.children if not _names(part)
        ]
        made = digest(
            [[m.kind for m in makers], [m.text() for m in makers], [t.digest for t in terms]]
        )
        alias = node.one("alias")
        names = [n.text() for n in alias.many("columns")] if alias else []
        reads = used(terms, "value")
        columns = tuple((n, Term(digest([made, at]), reads)) for at, n in enumerate(names))
        return Block(columns, Rows(made, frozenset(), used(terms, "join")), open=not names)

    def _grouped(self, node: Node, scope: Scope) -> None:
        group = node.one("group")
        outputs = [t for _, t in _projections(node, scope, quiet=True)]
        having = conjuncts(_inside(node, "having"), scope)
        if group is None:
            if any("aggregate" in t.flags for t in [*outputs, *having]):
                scope.rows = scope.rows.step("group", [])
            return
        keys = [positional(n, scope, outputs) for n in group.many("expressions")]
        if group.text("all"):
            keys += [t for t in outputs if "aggregate" not in t.flags]
        more = [
            [kind, [t.digest for t in _set_keys(group, kind, scope)]]
            for kind in ("rollup", "cube", "grouping_sets")
            if kind in group.args
        ]
        inner = [
            t for kind in ("rollup", "cube", "grouping_sets") for t in _set_keys(group, kind, scope)
        ]
        reads = used([*keys, *inner], "group")
        scope.rows = scope.rows.step("group", sorted({t.digest for t in keys}), *more, reads=reads)

    def _distinct(self, node: Node, block: Block, scope: Scope) -> Block:
        distinct = node.one("distinct")
        if distinct is None:
            return block
        terms = [t for _, t in block.columns]
        on = distinct.one("on")
        if on is None:
            rows = block.rows.step("distinct", _sorted(terms), reads=used(terms, "group"))
            return replace(block, rows=rows)
        keys = [of_output(n, scope, block.columns) for n in (on.many("expressions") or (on,))]
        order, by = ordering(node.one("order"), scope, block.columns)
        reads = used(keys, "group") | used(by, "filter")
        rows = block.rows.step("distinct on", _sorted(keys), order, reads=reads)
        return replace(block, rows=rows)

    def _cut(self, node: Node, block: Block, scope: Scope) -> Block:
        """LIMIT and OFFSET; without them the order of rows means nothing."""
        limit, offset = node.one("limit"), node.one("offset")
        if limit is None and offset is None:
            return block
        parts = [term(n, scope).digest if n else "" for n in (limit, offset)]
        order, by = ordering(node.one("order"), scope, block.columns)
        rows = block.rows.step("limit", *parts, order, reads=used(by, "filter"))
        return replace(block, rows=rows)

    def _combined(self, node: Node, outer: Scope) -> Block:
        _only(node, _SETS)
        left = self.query(node.need(), outer)
        right = self.query(node.need("expression"), outer)
        if len(left.columns) != len(right.columns):
            counts = f"{len(left.columns)} and {len(right.columns)}"
            self.errors.append(SqlError(node.line, f"{node.kind.upper()} of {counts} columns"))
        pairs = list(zip(left.columns, right.columns, strict=False))
        how = [node.kind, node.text("distinct")]
        columns = tuple((name, _both(how, a, b)) for (name, a), (_, b) in pairs)
        reads = left.rows.reads | right.rows.reads
        parts: list[object] = [how, left.rows.digest, right.rows.digest]
        if how != ["union", ""]:
            # Which rows are equal depends on every column.
            terms = [t for _, t in columns]
            parts.append([[a.digest, b.digest] for (_, a), (_, b) in pairs])
            reads |= used(terms, "group")
        block = Block(columns, Rows(digest(parts), frozenset(), reads))
        return self._cut(node, block, self._over(block, outer))

    def _over(self, block: Block, outer: Scope) -> Scope:
        """The scope of an ORDER BY that stands after a whole query."""
        scope = Scope(self.query, self.errors, outer, outer.ctes)
        scope.items = [Item("", "", block, None)]
        return scope


def _only(node: Node, known: frozenset[str]) -> None:
    strange = sorted(set(node.args) - known)
    if strange:
        raise NotUnderstood(f"{strange[0].strip('_').upper()} is not understood")


def _inside(node: Node, key: str) -> Node | None:
    found = node.one(key)
    return found.need() if found else None


def _names(node: Node) -> bool:
    return node.kind in ("tablealias", "identifier")


def _sorted(terms: list[Term]) -> list[str]:
    return sorted({t.digest for t in terms})


def _flat(node: Node) -> Iterator[Node]:
    """A FROM entry and the joins written inside its parentheses."""
    yield node
    yield from node.many("joins")


def _set_keys(group: Node, kind: str, scope: Scope) -> list[Term]:
    return [
        term(n, scope)
        for sets in group.many(kind)
        for n in (sets.many("expressions") or (sets,))
    ]  # fmt: skip


def _joined(join: Node | None, item: Item, scope: Scope) -> tuple[list[str], list[Term]]:
    """Adds `item` to the scope; how it is joined, and the terms of the condition."""
    before = list(scope.items)
    scope.items.append(item)
    if join is None:
        return [], []
    _only(join, frozenset(["this", "on", "using", "side", "kind", "method", "global"]))
    words = {join.text("side"), join.text("kind"), join.text("method")}
    how = sorted(words - {"", "inner", "outer", "cross"})
    shared = [n.text() for n in join.many("using")]
    if "natural" in words:
        have = {name for i in before for name, _ in i.block.columns}
        shared = [name for name, _ in item.block.columns if name in have]
    if shared and words & {"right", "full"}:
        raise NotUnderstood("USING with a RIGHT or FULL join is not understood")
    terms = conjuncts(join.one("on"), scope)
    terms += [_using(name, before, item, scope, join.line) for name in shared]
    scope.merged |= set(shared)
    scope.items[-1] = replace(item, hidden=frozenset(shared))
    return how, terms


def _using(name: str, before: list[Item], item: Item, scope: Scope, line: int) -> Term:
    left = next((t for i in before if (t := i.term(name))), None)
    right = item.term(name)
    if left is None or right is None:
        scope.errors.append(SqlError(line, f"no column {name} on both sides of USING"))
        return Term(digest(["no column", name]))
    both = sorted([left.digest, right.digest])
    # The same as `ON a.x = b.x`, and so the same digest.
    return Term(digest(["eq", {"both": both}]), left.reads | right.reads, "boolean")


def _projections(node: Node, scope: Scope, quiet: bool = False) -> Iterator[tuple[str, Term]]:
    """Output columns, `*` expanded. `quiet`: errors are told on another pass."""
    told = len(scope.errors)
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
    if quiet:
        del scope.errors[told:]


def _star(star: Node, qualifier: str, scope: Scope) -> Iterator[tuple[str, Term]]:
    _only(star, frozenset({"except_", "replace", "rename"}))
    left_out = {n.text() for n in star.many("except_")}
    replaced = {n.text("alias"): n.need() for n in star.many("replace")}
    renamed = {n.text(): n.text("alias") for n in star.many("rename")}
    for name, found in scope.star(qualifier):
        if name not in left_out:
            changed = term(replaced[name], scope) if name in replaced else found
            yield renamed.get(name, name), changed


def _multiplied(rows: Rows, terms: list[Term]) -> Rows:
    """A generating function makes several rows of one; one nobody knows might."""
    for flag in ("generator", "opaque"):
        makers = [t for t in terms if flag in t.flags]
        if makers:
            rows = rows.step(flag, _sorted(makers), reads=used(makers, "value"))
    return rows


def _both(how: list[str], left: Term, right: Term) -> Term:
    kind = left.type if left.type == right.type else None
    return Term(digest([*how, left.digest, right.digest]), left.reads | right.reads, kind)


def _renamed(block: Block, alias: Node | None) -> Block:
    names = [n.text() for n in alias.many("columns")] if alias else []
    if not names:
        return block
    if block.open:
        raise NotUnderstood("names for columns that are not known")
    columns = tuple(
        (names[at] if at < len(names) else name, t) for at, (name, t) in enumerate(block.columns)
    )
    return replace(block, columns=columns)
