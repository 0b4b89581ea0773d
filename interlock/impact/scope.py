"""What the names inside one query block stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from interlock.define.digest import digest
from interlock.define.schema import did_you_mean
from interlock.impact.query import EdgeKind, Source, SqlError
from interlock.impact.tree import Node, NotUnderstood

Reads = frozenset[Source]


@dataclass(frozen=True, slots=True)
class Term:
    """The meaning of one expression: a digest, what it reads, its type if known.

    `flags` are the traits of the functions inside that act on the block's row set.
    """

    digest: str
    reads: Reads = frozenset()
    type: str | None = None
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rows:
    """A row set: where rows come from, and the predicates that all must satisfy.

    Predicates are a set, so a filter may stand inside or outside of a subquery.
    """

    base: str
    predicates: frozenset[str] = frozenset()
    reads: Reads = frozenset()

    @property
    def digest(self) -> str:
        if not self.predicates:
            return self.base
        return digest(["rows", self.base, sorted(self.predicates)])

    def where(self, terms: Iterable[Term], kind: EdgeKind = "filter") -> Rows:
        terms = tuple(terms)
        found = self.predicates | {t.digest for t in terms}
        return Rows(self.base, found, self.reads | used(terms, kind))

    def step(self, what: str, *parts: object, reads: Reads = frozenset()) -> Rows:
        """New rows made of these by something that is not a filter."""
        return Rows(digest([what, self.digest, *parts]), frozenset(), self.reads | reads)


@dataclass(frozen=True, slots=True)
class Block:
    """The result of a query block or a table. `open`: it may have columns nobody knows."""

    columns: tuple[tuple[str, Term], ...]
    rows: Rows
    open: bool = False

    def column(self, name: str) -> Term | None:
        found = next((term for have, term in self.columns if have == name), None)
        if found is None and self.open:
            return Term(digest(["open", self.rows.base, name]))
        return found


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of FROM. `tag` tells its columns from the same ones of another entry."""

    alias: str
    table: str
    block: Block
    tag: int | None
    hidden: frozenset[str] = frozenset()

    def term(self, name: str) -> Term | None:
        found = self.block.column(name)
        if found is None or self.tag is None:
            return found
        return replace(found, digest=digest(["from", self.tag, found.digest]), flags=frozenset())

    def named(self, qualifier: str) -> bool:
        return qualifier in (self.alias, self.table)


@dataclass
class Scope:
    """Names known in one block; `query` works out a nested one."""

    query: Callable[[Node, Scope], Block]
    errors: list[SqlError]
    parent: Scope | None = None
    ctes: Mapping[str, Block] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    aliases: dict[str, Node] = field(default_factory=dict)
    windows: dict[str, Node] = field(default_factory=dict)
    merged: set[str] = field(default_factory=set)
    rows: Rows = field(default_factory=lambda: Rows(digest(["one row"])))
    busy: set[str] = field(default_factory=set)

    def column(self, node: Node) -> Term | Node:
        """The term of a column; or the expression of the alias that it names."""
        name, qualifier = node.text(), _qualifier(node)
        found = self.find(name, qualifier, node.line)
        if found is not None:
            return found
        if not qualifier and name in self.aliases and name not in self.busy:
            return self.aliases[name]
        outer = self._outer(name, qualifier)
        return outer if outer is not None else self._unknown(name, qualifier, node.line)

    def find(self, name: str, qualifier: str, line: int = 0) -> Term | None:
        have = [i for i in self.items if not qualifier or i.named(qualifier)]
        closed = [i for i in have if not i.block.open and i.block.column(name)]
        found = closed or [i for i in have if i.block.open]
        if len(closed) > 1 and name not in self.merged:
            where = ", ".join(item.alias for item in closed)
            self.errors.append(SqlError(line, f"{name} is ambiguous: {where}", "name the table"))
        return found[0].term(name) if found else None

    def _outer(self, name: str, qualifier: str) -> Term | None:
        depth, scope = 1, self.parent
        while scope is not None:
            found = scope.find(name, qualifier)
            if found is not None:
                # Tagged: t.x of the outer query is not t.x of the inner one.
                return replace(found, digest=digest(["outer", depth, found.digest]))
            depth, scope = depth + 1, scope.parent
        return None

    def _unknown(self, name: str, qualifier: str, line: int) -> Term:
        if qualifier and not any(item.named(qualifier) for item in self.items):
            aliases = ", ".join(sorted(item.alias for item in self.items))
            self.errors.append(SqlError(line, f"no table {qualifier} here", f"there is: {aliases}"))
        else:
            message = f"no column {name}" + (f" in {qualifier}" if qualifier else "")
            self.errors.append(SqlError(line, message, did_you_mean(name, self.names(qualifier))))
        return Term(digest(["no column", qualifier, name]))

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
                if term is not None and (qualifier or name not in item.hidden):
                    yield name, term


def used(terms: Iterable[Term], kind: EdgeKind) -> Reads:
    """Everything `terms` read, as reads of `kind` (a value keeps the kind it had inside)."""
    reads = frozenset(read for term in terms for read in term.reads)
    return reads if kind == "value" else frozenset(replace(read, kind=kind) for read in reads)


def _qualifier(node: Node) -> str:
    table, db = node.text("table"), node.text("db")
    return f"{db}.{table}" if db else table
