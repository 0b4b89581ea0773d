"""The one module that knows the SQL parser.

Parse text, turn the tree into plain data, and write text back; nodes are never built
from keyword arguments and classes never extended, so that either build of the parser
does. What the tree means is worked out in `walk`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from interlock.define.digest import digest
from interlock.define.schema import did_you_mean
from interlock.impact.query import OutputColumn, QueryFacts, SqlError
from interlock.impact.tree import Node, NotUnderstood, Value
from interlock.impact.walk import Schema, walk

DIALECT = "duckdb"
_SPACE = re.compile(r"\s+")
_KEEP_CASE = frozenset({"literal", "rawstring", "national"})
_GENERATORS = (exp.UDTF, exp.Explode, exp.Posexplode, exp.GenerateSeries)


def tables_read(sql: str) -> frozenset[str]:
    """Names (`schema.table`, lower case) of the tables a query reads; its own CTEs left out."""
    tree = sqlglot.parse_one(sql, dialect=DIALECT)
    return frozenset(_name(table) for table in tree.find_all(exp.Table) if table.db)


def substitute(sql: str, replacements: Mapping[str, str]) -> str:
    """`sql` with every table of `replacements` read from its replacement instead.

    A replacement is a table name or a parenthesised query. Aliases are kept: a table
    without one is aliased to its own last name, so that its columns still resolve.
    """
    tree = sqlglot.parse_one(sql, dialect=DIALECT)
    for table in list(tree.find_all(exp.Table)):
        replacement = replacements.get(_name(table))
        if replacement is None:
            continue
        alias = table.alias or table.name
        joins = table.args.get("joins")
        item = sqlglot.parse_one(
            f"SELECT * FROM {replacement} AS {_quoted(alias)}", dialect=DIALECT
        ).args["from_"].this  # fmt: skip
        if joins:
            item.set("joins", joins)
        table.replace(item)
    return tree.sql(dialect=DIALECT)


def understand(sql: str, schema: Schema) -> QueryFacts:
    """What `sql` produces, given the columns and types of every table it may read.

    Never raises for bad SQL: what is wrong is in `errors`, what is beyond this room in
    `unknown`. Answers are cached by the text and the columns of the tables it names.
    """
    tree = _parse(sql)
    if isinstance(tree, SqlError):
        return _failed(sql, (tree,), frozenset())
    named = _tables_named(tree)
    key = tuple((n, tuple(schema[n].items())) for n in sorted(named) if n in schema)
    facts = _understand(sql, key)
    missing = tuple(_no_table(n, line, schema) for n, line in named.items() if n not in schema)
    if not missing:
        return facts
    return replace(facts, errors=tuple(sorted({*facts.errors, *missing}, key=lambda e: e.line)))


@lru_cache(maxsize=8192)
def _understand(sql: str, key: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]) -> QueryFacts:
    tree = _parse(sql)
    assert isinstance(tree, Node)  # the caller has looked
    tables = frozenset(_tables_named(tree))
    try:
        return walk(tree, {name: dict(columns) for name, columns in key}, tables)
    except NotUnderstood as reason:
        return _failed(sql, (), tables, str(reason), tuple(_output_names(tree)))
    except RecursionError:
        return _failed(sql, (), tables, "nested too deeply")


def _failed(
    sql: str,
    errors: tuple[SqlError, ...],
    tables: frozenset[str],
    unknown: str | None = None,
    names: tuple[str, ...] = (),
) -> QueryFacts:
    text = digest(["text", _SPACE.sub(" ", sql).strip()])
    reason = unknown or errors[0].message
    columns = tuple(OutputColumn(n, None, digest([text, n]), frozenset()) for n in names)
    return QueryFacts(columns, text, frozenset(), tables, errors, reason)


def _output_names(tree: Node) -> list[str]:
    names = [n.text("alias") or n.text() for n in tree.many("expressions")]
    return [name for name in names if name]


def _tables_named(tree: Node) -> dict[str, int]:
    """Tables read, with the line of the first mention; a query's own CTEs left out."""
    own = {node.text("alias") for node in tree.walk() if node.kind == "cte"}
    own |= {node.need("alias").text() for node in tree.walk() if node.kind == "cte"}
    named: dict[str, int] = {}
    for node in tree.walk():
        if node.kind == "table" and node.text() and (node.text("db") or node.text() not in own):
            name = f"{node.text('db')}.{node.text()}" if node.text("db") else node.text()
            named.setdefault(name, node.line)
    return named


def _no_table(name: str, line: int, schema: Schema) -> SqlError:
    return SqlError(line, f"no table {name}", did_you_mean(name, schema))


@lru_cache(maxsize=8192)
def _parse(sql: str) -> Node | SqlError:
    """The tree of the one SELECT in `sql`, or why there is none."""
    try:
        trees = [tree for tree in sqlglot.parse(sql, dialect=DIALECT) if tree is not None]
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        near = str(first.get("highlight") or "").strip()
        said = str(first.get("description") or "cannot be parsed").strip().rstrip(".")
        message = f"SQL: {said}" + (f" near {near!r}" if near else "")
        return SqlError(int(first.get("line") or 1), message, "write one plain SELECT")
    except SqlglotError as error:  # the tokenizer: an open quote, for example
        return SqlError(1, f"SQL: {_SPACE.sub(' ', str(error))}", "write one plain SELECT")
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        found = f"{len(trees)} statements" if len(trees) != 1 else trees[0].key.upper()
        return SqlError(1, f"SQL: expected one SELECT, found {found}", "write one plain SELECT")
    return _plain(trees[0], False)


def _plain(node: exp.Expr, keep: bool) -> Node:
    kind = node.key
    keep = keep or kind in _KEEP_CASE
    args = {
        key: plain for key, value in node.args.items() if (plain := _value(value, keep)) is not None
    }
    line = node.meta.get("line") or next(
        (v.line for v in args.values() if isinstance(v, Node) and v.line), 0
    )
    return Node(kind, args, _traits(node), int(line))


def _value(value: object, keep: bool) -> Value | None:
    if value is None or value is False or value == []:
        return None
    if isinstance(value, exp.Expr):
        return _plain(value, keep)
    if isinstance(value, list | tuple):
        return tuple(plain for item in value if (plain := _value(item, keep)) is not None)
    text = str(getattr(value, "value", value))
    return text if keep else text.lower()


def _traits(node: exp.Expr) -> frozenset[str]:
    found = set()
    if isinstance(node, exp.AggFunc):
        found.add("aggregate")
    if isinstance(node, _GENERATORS):
        found.add("generator")
    if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc | exp.CombinedAggFunc):
        found.add("opaque")
    if isinstance(node, exp.Literal) and node.is_string:
        found.add("string")
    return frozenset(found)


def _name(table: exp.Table) -> str:
    return f"{table.db}.{table.name}".lower() if table.db else table.name.lower()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
