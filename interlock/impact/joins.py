"""FROM and its joins: one row set, whatever the order in which inner joins are written.

Inner joins are a product of members under predicates, so their order means nothing and ON
is WHERE. An outer join is one member made of two. A LEFT JOIN that finds at most one row,
because a key says so, decides about its own columns only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from interlock.define.digest import digest
from interlock.impact.query import Source
from interlock.impact.scope import Block, Item, Reads, Rows, Scope, Term, doubts, used
from interlock.impact.terms import conjuncts, operands, term
from interlock.impact.tree import Node, NotUnderstood

Entry: TypeAlias = "tuple[Node | None, Node | list[Entry]]"
Maker: TypeAlias = Callable[[Node, Scope, bool], Item]
_JOIN = frozenset({"this", "on", "using", "side", "kind", "method", "global", "hint"})
_WORDS = frozenset(
    ["inner", "outer", "cross", "left", "right", "full", "semi", "anti", "asof", "natural"]
)
_COMPARED = frozenset({"boolean", "integer", "string", "date"})


@dataclass(frozen=True)
class _Part:
    """What a part of FROM stands for; `alone` while it is one source and lookups on it."""

    members: tuple[str, ...]
    predicates: frozenset[str] = frozenset()
    reads: Reads = frozenset()
    doubts: frozenset[str] = frozenset()
    alone: Block | None = None

    @property
    def rows(self) -> Rows:
        if self.alone is not None:
            return self.alone.rows
        base = digest(["join", sorted(self.members)])
        return Rows(base, self.predicates, self.reads, self.doubts)


@dataclass
class Sources:
    """The FROM of one block, worked out in two passes: what is read, then how it is joined."""

    scope: Scope
    make: Maker
    leaves: dict[int, Item] = field(default_factory=dict)
    nodes: dict[int, Node] = field(default_factory=dict)
    lookups: set[int] = field(default_factory=set)
    found: set[int] = field(default_factory=set)
    written: list[object] = field(default_factory=list)

    def read(self, node: Node) -> Block | None:
        """The row set (as a block, for what is unique in it); its items are in the scope."""
        start = node.one("from_")
        if start is None:
            return None
        entries: list[Entry] = [(None, _leaf(start.need()))]
        entries += [(join, _leaf(join.need())) for join in node.many("joins")]
        entries += [(lateral, lateral) for lateral in node.many("laterals")]
        lateral = self._sources(entries)
        noted, told = len(self.scope.parts), len(self.scope.errors)
        found = self._joined(entries, lateral)
        if self.found:
            self.lookups = set(self.found)
            del self.scope.parts[noted:], self.scope.errors[told:]
            found = self._joined(entries, lateral)
        if found.alone is not None:
            self.scope.order = found.rows.order
            return found.alone
        self.scope.order = digest(self.written)
        return Block((), found.rows)

    def _sources(self, entries: list[Entry]) -> bool:
        """Every leaf, in the order they are written; whether any reads an earlier one."""
        self.scope.asked.clear()
        for at, node in enumerate(_leaves(entries)):
            item = self.make(node, self.scope, at == 0)
            self.leaves[id(node)] = item
            self.nodes[at] = node
            self.scope.items.append(replace(item, tag=f"#{at}"))
        return bool(self.scope.asked)

    def _joined(self, entries: list[Entry], lateral: bool) -> _Part:
        scope = self.scope
        scope.items, scope.merged, self.written = [], {}, []
        scope.memo.clear()
        scope.inner.clear()
        tags = self._tags(lateral)
        found = self._group(entries, tags)
        scope.memo.clear()
        scope.inner.clear()
        return found

    def _tags(self, lateral: bool) -> dict[int, str | None]:
        """A name for each leaf that does not depend on the order, where none reads another."""
        main = [node for node in self.nodes.values() if id(node) not in self.lookups]
        if len(main) == 1:
            return {id(node): None for node in main}
        seen: Counter[str] = Counter()
        tags: dict[int, str | None] = {}
        for at, node in enumerate(main):
            rows = self.leaves[id(node)].block.rows.digest
            tags[id(node)] = f"#{at}" if lateral else f"{rows}/{seen[rows]}"
            seen[rows] += 1
        return tags

    def _group(self, entries: list[Entry], tags: dict[int, str | None]) -> _Part:
        (_, first), *rest = entries
        start = len(self.scope.items)
        left = self._one(first, tags)
        comma = False
        for join, inside in rest:
            how = "inner" if join is inside or join is None else _how(join)
            comma = comma or (join is not None and join is not inside and _is_comma(join))
            if comma and how in ("right", "full"):
                # Dialects do not agree on whether the comma or the join comes first.
                raise NotUnderstood("a comma before a RIGHT or FULL JOIN is not understood")
            left = self._join(left, start, (join, inside), how, tags)
        return left

    def _one(self, node: Node | list[Entry], tags: dict[int, str | None]) -> _Part:
        if isinstance(node, list):
            return self._group(node, tags)
        item, tag = self.leaves[id(node)], tags[id(node)]
        self.scope.items.append(replace(item, tag=tag))
        rows = item.block.rows
        self.written.append([rows.digest, rows.order])
        made = digest(["member", tag, rows.digest])
        alone = item.block if tag is None else None
        return _Part((made,), frozenset(), rows.reads, rows.doubts, alone)

    def _join(
        self, left: _Part, start: int, entry: Entry, how: str, tags: dict[int, str | None]
    ) -> _Part:
        join, inside = entry
        if not isinstance(inside, list) and id(inside) in self.lookups:
            return self._looked_up(left, join, inside)
        middle = len(self.scope.items)
        right = self._one(inside, tags)
        if join is None or join is inside:
            return _inner(left, right, [])
        terms = self._condition(join, how, start, middle)
        self.written.append([how, [t.digest for t in terms]])
        self.scope.note(f"{how.upper()} JOIN", [Term(how)], join.at)
        if how == "inner":
            return _inner(left, right, terms)
        if how == "left" and not isinstance(inside, list) and self._finds_one(join, inside):
            self.found.add(id(inside))
        if how in ("right", "full") or isinstance(inside, list):
            # A row that such a join adds has looked nothing up.
            self.found.clear()
        self._missing(how, start, middle)
        return _outer(how, left, right, terms)

    def _condition(self, join: Node, how: str, start: int, middle: int) -> list[Term]:
        terms = conjuncts(join.one("on"), self.scope, "ON")
        before, after = self.scope.items[start:middle], self.scope.items[middle:]
        shared = [n.text() for n in join.many("using")]
        if "natural" in _words(join):
            have = {name for i in before for name in i.block.known}
            shared = [n for i in after for n, _ in i.block.columns if n in have]
        pairs = [self._shared(name, before, after, how, join) for name in shared]
        self.scope.items[middle:] = [replace(i, hidden=frozenset(shared)) for i in after]
        return terms + pairs

    def _shared(
        self, name: str, before: list[Item], after: list[Item], how: str, join: Node
    ) -> Term:
        scope = self.scope
        left = scope.merged.get(name) or next((t for i in before if (t := i.term(name))), None)
        right = next((t for i in after if (t := i.term(name))), None)
        if left is None or right is None:
            scope.say(join.line, f"no column {name} on both sides of USING")
            return Term(digest(["no column", name]))
        both = sorted([left.digest, right.digest])
        scope.merged[name] = left
        if how in ("right", "full"):
            kind = left.type if left.type == right.type else None
            flags = left.flags | right.flags
            made = digest(["using", how, left.digest, right.digest])
            scope.merged[name] = Term(made, left.reads | right.reads, kind, flags)
        # The same as `ON a.x = b.x`, and so the same digest.
        made = digest(["eq", {"both": both}])
        found = Term(made, left.reads | right.reads, "boolean", doubts([left, right]))
        scope.note("USING", [found], join.at)
        return found

    def _missing(self, how: str, start: int, middle: int) -> None:
        """Which side may have no row; and after SEMI and ANTI the right one cannot be read."""
        items = self.scope.items
        if how in ("semi", "anti"):
            del items[middle:]
        if how in ("left", "asof left", "full"):
            items[middle:] = [replace(i, nullable=True) for i in items[middle:]]
        if how in ("right", "full"):
            items[start:middle] = [replace(i, nullable=True) for i in items[start:middle]]
            for name in self.scope.merged:
                self.scope.merged[name] = self.scope.merged[name]._replace(sure=False)

    # ---- lookups

    def _finds_one(self, join: Node, leaf: Node) -> bool:
        """Whether the condition gives every column of a key a value from somewhere else."""
        own = self.leaves[id(leaf)]
        if not own.block.unique or self.scope.asked:
            return False
        pinned = {
            own.block.known[n.text()].digest for n in join.many("using") if self._plain(n, own)
        }
        for part in operands(join.need("on"), "and") if join.one("on") else ():
            if part.kind == "eq":
                pinned |= set(self._pins(part.need(), part.need("expression"), own))
                pinned |= set(self._pins(part.need("expression"), part.need(), own))
        return any(key <= pinned for key in own.block.unique)

    def _plain(self, name: Node, own: Item) -> bool:
        """A shared column whose values are compared as they are."""
        have = own.block.known.get(name.text())
        merged = self.scope.merged.get(name.text())
        return bool(have and merged and have.type == merged.type and have.type in _COMPARED)

    def _pins(self, column: Node, value: Node, own: Item) -> Iterator[str]:
        if column.kind != "column" or not self._is_of(column, own):
            return
        found = own.block.known[column.text()]
        parts = [n for n in value.walk() if n.kind == "column"]
        strange = any(
            n.kind in ("select", "union", "lambda") or n.traits - {"string"} for n in value.walk()
        )
        if strange or any(self._is_of(n, own) for n in parts):
            return
        # Of another type it would be cast first, and then a key need not be one any more.
        if found.type in _COMPARED and term(value, self.scope).type == found.type:
            yield found.digest

    def _is_of(self, column: Node, own: Item) -> bool:
        if own.block.open or column.text() not in own.block.known:
            return False
        if column.text("table"):
            return column.text("table") in (own.alias, own.table.rpartition(".")[2])
        return True

    def _looked_up(self, left: _Part, join: Node | None, leaf: Node) -> _Part:
        """A LEFT JOIN that neither adds nor removes a row."""
        assert join is not None
        scope, item = self.scope, self.leaves[id(leaf)]
        middle = len(scope.items)
        scope.items.append(replace(item, tag="self"))
        noted = len(scope.parts)
        terms = self._condition(join, "left", 0, middle)
        del scope.parts[noted:]
        rows = item.block.rows
        tag = digest(["lookup", rows.digest, sorted({t.digest for t in terms})])
        via: frozenset[Source] = used(terms, "join") | rows.reads
        found = replace(
            scope.items[middle], tag=tag, nullable=True, via=via, flags=doubts(terms) | rows.doubts
        )
        scope.items[middle] = found
        return left


def _inner(left: _Part, right: _Part, terms: list[Term]) -> _Part:
    return _Part(
        left.members + right.members,
        left.predicates | right.predicates | {t.digest for t in terms},
        left.reads | right.reads | used(terms, "join"),
        left.doubts | right.doubts | doubts(terms),
    )


def _outer(how: str, left: _Part, right: _Part, terms: list[Term]) -> _Part:
    sides = [left.rows.digest, right.rows.digest]
    if how == "right":
        how, sides = "left", sides[::-1]
    elif how == "full":
        sides.sort()
    both = _inner(left, right, terms)
    made = digest([how, *sides, sorted({t.digest for t in terms})])
    return replace(both, members=(made,), predicates=frozenset())


def _leaf(node: Node) -> Node | list[Entry]:
    """A source; or the joins inside parentheses, as a list."""
    inner = node.one("this")
    if node.kind == "subquery" and inner is not None and _holds_joins(inner):
        if node.one("alias"):
            raise NotUnderstood("an alias for a join is not understood")
        made = _leaf(inner)
        rest = made if isinstance(made, list) else [(None, made)]
    else:
        rest = [(None, node)]
    joins: list[Entry] = [(join, _leaf(join.need())) for join in node.many("joins")]
    return [*rest, *joins] if joins or len(rest) > 1 else rest[0][1]


def _holds_joins(node: Node) -> bool:
    return node.kind == "table" or (node.kind == "subquery" and bool(node.many("joins")))


def _leaves(entries: list[Entry]) -> Iterator[Node]:
    for _, inside in entries:
        if isinstance(inside, list):
            yield from _leaves(inside)
        else:
            yield inside


def _words(join: Node) -> set[str]:
    texts = (join.text("side"), join.text("kind"), join.text("method"))
    return {word for text in texts for word in text.split()}


def _is_comma(join: Node) -> bool:
    return set(join.args) == {"this"}


def _how(join: Node) -> str:
    strange = sorted(set(join.args) - _JOIN)
    words = _words(join)
    if strange or words - _WORDS:
        said = strange[0] if strange else min(words - _WORDS)
        raise NotUnderstood(f"{said.strip('_').upper()} of a join is not understood")
    asof = "asof " if "asof" in words else ""
    side = next((w for w in ("semi", "anti", "left", "right", "full") if w in words), "")
    if asof and side not in ("", "left"):
        raise NotUnderstood(f"ASOF {side.upper()} JOIN is not understood")
    return (asof + side).strip() or "inner"
