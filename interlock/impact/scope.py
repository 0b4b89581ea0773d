"""What the names inside one query block stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from interlock.define.digest import digest
from interlock.define.schema import did_you_mean
from interlock.impact.query import EdgeKind, Part, Source, SqlError
from interlock.impact.tree import Node, NotUnderstood

Reads = frozenset[Source]
_NO_READS: Reads = frozenset()
MANY = 50  # errors of one query that still get a "did you mean"


class Term(NamedTuple):
    """The meaning of one expression: a digest, what it reads, its type if known.

    `flags` are the traits of the functions inside that act on the block's row set; those
    that start with `?` are doubts, which never go away. `sure`: it is never NULL.
    """

    digest: str
    reads: Reads = frozenset()
    type: str | None = None
    flags: frozenset[str] = frozenset()
    exact: str | None = None
    sure: bool = False

    @property
    def outside(self) -> Term:
        """The term as other blocks see it: only its doubts act on them."""
        return self._replace(flags=doubts([self])) if self.flags else self


@dataclass(frozen=True, slots=True)
class Rows:
    """A row set: where rows come from, and the predicates that all must satisfy.

    Predicates are a set, so a filter may stand inside or outside of a subquery. `order` is
    no part of it, but a LIMIT or a list() that stands on it without an order of its own is.
    """

    base: str
    predicates: frozenset[str] = frozenset()
    reads: Reads = frozenset()
    doubts: frozenset[str] = frozenset()
    order: str = ""

    @property
    def digest(self) -> str:
        if not self.predicates:
            return self.base
        return digest(["rows", self.base, sorted(self.predicates)])

    def where(self, terms: Iterable[Term], kind: EdgeKind = "filter") -> Rows:
        terms = tuple(terms)
        return replace(
            self,
            predicates=self.predicates | {t.digest for t in terms},
            reads=self.reads | used(terms, kind),
            doubts=self.doubts | doubts(terms),
        )

    def step(
        self, what: str, *parts: object, terms: Iterable[Term] = (), kind: EdgeKind = "value"
    ) -> Rows:
        """New rows made of these by something that is not a filter."""
        terms = tuple(terms)
        base = digest([what, self.digest, *parts])
        return Rows(base, frozenset(), self.reads | used(terms, kind), self.doubts | doubts(terms))


@dataclass(frozen=True, eq=False)
class Block:
    """The result of a query block or a table. `open`: it may have columns nobody knows.

    `unique` are sets of digests of columns that no two rows share; `source` is the table
    that it is, if it is one.
    """

    columns: tuple[tuple[str, Term], ...]
    rows: Rows
    open: bool = False
    unique: frozenset[frozenset[str]] = frozenset()
    source: str = ""

    @cached_property
    def known(self) -> Mapping[str, Term]:
        return dict(reversed(self.columns))

    def column(self, name: str) -> Term | None:
        found = self.known.get(name)
        if found is None and self.open:
            reads = frozenset({Source(self.source, name)}) if self.source else self.rows.reads
            return Term(digest(["open", self.rows.base, name]), reads, flags=self.rows.doubts)
        return found


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of FROM. `tag` tells its columns from the same ones of another entry.

    `via` is read, and `flags` doubted, wherever a column of it is read: a row that is only
    looked up decides about its own columns and nothing else. `nullable`: a join may give no row.
    """

    alias: str
    table: str
    block: Block
    tag: str | None = None
    hidden: frozenset[str] = frozenset()
    nullable: bool = False
    via: Reads = frozenset()
    flags: frozenset[str] = frozenset()

    def term(self, name: str) -> Term | None:
        found = self.block.column(name)
        if found is None or self.tag is None:
            return found
        return found._replace(
            digest=digest(["from", self.tag, found.digest]),
            reads=found.reads | self.via,
            flags=found.flags | self.flags,
            sure=found.sure and not self.nullable,
        )

    def named(self, qualifier: str) -> bool:
        return qualifier in (self.alias, self.table)


@dataclass
class Scope:
    """Names known in one block; `query` works out a nested one.

    `depth` counts blocks from the outermost, so that a correlated name says whose it is.
    `loose`: the dialect may take a name for an alias where it could be a column; `picky`:
    this is such a place.
    """

    query: Callable[[Node, Scope], Block]
    errors: list[SqlError]
    parent: Scope | None = None
    ctes: Mapping[str, Block] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    aliases: dict[str, Node] = field(default_factory=dict)
    windows: dict[str, Node] = field(default_factory=dict)
    merged: dict[str, Term] = field(default_factory=dict)
    rows: Rows = field(default_factory=lambda: Rows(digest(["one row"])))
    order: str = ""
    busy: set[str] = field(default_factory=set)
    depth: int = 0
    asked: list[str] = field(default_factory=list)  # own names that inner blocks read
    loose: bool = False
    picky: bool = False
    parts: list[Part] = field(default_factory=list)
    text: str = ""
    memo: dict[int, Term] = field(default_factory=dict)
    inner: dict[int, Term] = field(default_factory=dict)

    def below(self) -> Scope:
        """A fresh scope for a block that stands inside this one."""
        return Scope(
            self.query, self.errors, self, self.ctes, depth=self.depth + 1,
            loose=self.loose, parts=self.parts, text=self.text,
        )  # fmt: skip

    def set_rows(self, rows: Rows) -> None:
        """Windows look at the rows that are left: what was worked out before is forgotten."""
        if rows is not self.rows:
            self.rows = rows
            self.memo.clear()

    def note(self, what: str, terms: Iterable[Term], at: int) -> None:
        self.parts += [Part(what, t.digest, at) for t in terms]

    def column(self, node: Node) -> Term | Node:
        """The term of a column; or the expression of the alias that it names."""
        name, qualifier = node.text(), _qualifier(node)
        found = self.find(name, qualifier, node.line)
        if found is not None:
            if self.picky and not qualifier and self._two_meanings(name):
                raise NotUnderstood(f"{name} is a column and an alias here")
            return found
        if not qualifier and name in self.aliases and name not in self.busy:
            return self.aliases[name]
        outer = self._outer(name, qualifier)
        if outer is None and qualifier:
            outer = self._field(node, qualifier)
        return outer if outer is not None else self._unknown(name, qualifier, node.line)

    def _two_meanings(self, name: str) -> bool:
        alias = self.aliases.get(name)
        return alias is not None and not (alias.kind == "column" and alias.text() == name)

    def find(self, name: str, qualifier: str, line: int = 0) -> Term | None:
        if not qualifier and name in self.merged:
            return self.merged[name]
        have = [i for i in self.items if not qualifier or i.named(qualifier)]
        closed = [i for i in have if name in i.block.known]
        found = closed or [i for i in have if i.block.open]
        if len(closed) > 1:
            where = ", ".join(item.alias for item in closed)
            self.say(line, f"{name} is ambiguous: {where}", "name the table")
        return found[0].term(name) if found else None

    def _outer(self, name: str, qualifier: str) -> Term | None:
        scope = self.parent
        while scope is not None:
            found = scope.find(name, qualifier)
            if found is not None:
                scope.asked.append(name)
                # Tagged: t.x of the outer query is not t.x of the inner one.
                made = digest(["outer", scope.depth, found.digest])
                return found._replace(digest=made, flags=found.flags | {"outer"})
            scope = scope.parent
        return None

    def _field(self, node: Node, qualifier: str) -> Term | None:
        """`s.f`, where `s` is a column: a field of it."""
        path = qualifier.split(".")
        holder = self.find(path[0], "")
        rest = path[1:]
        if holder is None and len(path) > 1:
            holder, rest = self.find(path[1], path[0]), path[2:]
        if holder is None or any(item.named(qualifier) for item in self.items):
            return None
        made = digest(["field", holder.digest, *rest, node.text()])
        return holder._replace(digest=made, type=None, exact=None, sure=False)

    def _unknown(self, name: str, qualifier: str, line: int) -> Term:
        if qualifier and not any(item.named(qualifier) for item in self.items):
            aliases = ", ".join(sorted(item.alias for item in self.items))
            self.say(line, f"no table {qualifier} here", f"there is: {aliases}")
        elif len(self.errors) < MANY:
            message = f"no column {name}" + (f" in {qualifier}" if qualifier else "")
            self.say(line, message, did_you_mean(name, self.names(qualifier)))
        return Term(digest(["no column", qualifier, name]))

    def say(self, line: int, message: str, fix: str = "") -> None:
        if len(self.errors) < MANY:
            self.errors.append(SqlError(line, message, fix))

    def names(self, qualifier: str = "") -> list[str]:
        """Columns that could have been meant."""
        items = [item for item in self.items if not qualifier or item.named(qualifier)]
        return [name for item in items for name, _ in item.block.columns]

    def star(self, qualifier: str) -> Iterator[tuple[str, Term]]:
        """The columns of `*` or `alias.*`."""
        for item in self.items:
            if qualifier and not item.named(qualifier):
                continue
            if item.block.open:
                raise NotUnderstood(f"* over {item.alias}, whose columns are not known")
            for name, _ in item.block.columns:
                term = item.term(name)
                if not qualifier and name in self.merged:
                    term = self.merged[name]
                if term is not None and (qualifier or name not in item.hidden):
                    yield name, term


def used(terms: Iterable[Term], kind: EdgeKind) -> Reads:
    """Everything `terms` read, as reads of `kind` (a value keeps the kind it had inside)."""
    reads = _NO_READS.union(*[term.reads for term in terms])
    return reads if kind == "value" else frozenset([Source(r[0], r[1], kind) for r in reads])


def doubts(terms: Iterable[Term]) -> frozenset[str]:
    """Why equal digests of `terms` need not give equal values."""
    return frozenset([flag for t in terms for flag in t.flags if flag.startswith("?")])


def _qualifier(node: Node) -> str:
    if "db" not in node.args:
        return node.text("table")
    return ".".join(filter(None, (node.text("catalog"), node.text("db"), node.text("table"))))
