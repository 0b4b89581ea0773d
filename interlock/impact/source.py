"""Where rows start: a declared table, or a function that makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from interlock.define.digest import digest
from interlock.impact.query import Promise, Source
from interlock.impact.scope import Block, Rows, Scope, Term, doubts, used
from interlock.impact.terms import term
from interlock.impact.tree import Node

Schema = Mapping[str, Mapping[str, str]]
_NAMES = frozenset({"tablealias", "identifier"})


@dataclass(frozen=True)
class Known:
    """What is known before a query is read: columns, promises, and how loose the dialect is."""

    schema: Schema
    promises: Mapping[str, Promise] = field(default_factory=dict)
    loose: bool = False


def declared(name: str, known: Known) -> Block:
    promise = known.promises.get(name, Promise())
    exact = dict(promise.exact)
    sure = {*promise.required, *(column for key in promise.keys for column in key)}
    columns = tuple(
        (
            column,
            Term(
                digest(["column", name, column]), frozenset({Source(name, column)}),
                None if kind in ("", "other") else kind,
                exact=exact.get(column), sure=column in sure,
            ),
        )
        for column, kind in known.schema.get(name, {}).items()
    )  # fmt: skip
    unique = frozenset(
        frozenset(_column_digest(name, column) for column in key) for key in promise.keys
    )
    # An unknown table is already an error; its columns must not become more of them.
    return Block(columns, Rows(digest(["table", name])), name not in known.schema, unique, name)


@lru_cache(maxsize=65536)  # a table is read by many queries
def _column_digest(table: str, column: str) -> str:
    return digest(["column", table, column])


def generated(node: Node, scope: Scope) -> Block:
    """Rows made by a function or VALUES."""
    if scope.items and any(n.kind == "column" for n in node.walk()):
        scope.asked.append("")
    terms, made = [], []
    for key, value in node.args.items():
        if key in ("alias", "joins", "with_"):
            continue
        parts = value if isinstance(value, tuple) else (value,)
        for part in parts:
            if isinstance(part, Node) and part.kind not in _NAMES:
                terms.append(term(part, scope))
                made.append([key, part.kind, terms[-1].digest])
            elif not isinstance(part, Node):
                made.append([key, "text", str(part)])
    alias = node.one("alias")
    names = [n.text() for n in alias.many("columns")] if alias else []
    if names and node.one("offset"):
        names.append(node.text("offset"))
    rows = Rows(digest([node.kind, made]), frozenset(), used(terms, "join"), doubts(terms))
    reads, flags = used(terms, "value"), doubts(terms)
    columns = tuple(
        (n, Term(digest([rows.base, at]), reads, None, flags)) for at, n in enumerate(names)
    )
    return Block(columns, rows, open=not names)
