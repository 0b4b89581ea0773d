"""The one module that knows the SQL parser.

Parse text, turn the tree into plain data, and write text back; nodes are never built
from keyword arguments and classes never extended, so that either build of the parser
does. What the tree means is worked out in `walk`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, ParseError, SqlglotError, UnsupportedError

from interlock.define.digest import digest
from interlock.errors import Unusable
from interlock.impact.asked import DIALECT, failed
from interlock.impact.block import table_name, written
from interlock.impact.functions import SCALARS, VOLATILE
from interlock.impact.kept import Columns, Named
from interlock.impact.query import Promise, QueryFacts, SqlError
from interlock.impact.source import Known
from interlock.impact.terms import exact_type
from interlock.impact.tree import Node, NotUnderstood, Value
from interlock.impact.walk import walk

_SPACE = re.compile(r"\s+")
_TYPE = re.compile(r"[A-Za-z_][\w ,()<>\[\]:]{0,500}")
_LOOSE = frozenset({"spark", "snowflake", "bigquery"})
_ANY_CASE = frozenset({"duckdb", "spark", "bigquery"})
_NOTHING: frozenset[str] = frozenset()
# Only here is upper case lower case; a literal or the path into a JSON text keeps its own.
_KEYWORDS = frozenset(
    [
        "anonymous", "anonymousaggfunc", "combinedaggfunc", "parameterizedagg", "var", "join",
        "datatype", "ordered", "windowspec", "window", "union", "except", "intersect", "fetch",
        "with", "lateral", "kwarg", "boolean",
    ]
)  # fmt: skip
_TRAITED = (exp.Func, exp.Literal, exp.UDTF)
_GENERATORS = (
    exp.UDTF, exp.Explode, exp.Posexplode, exp.GenerateSeries, exp.Inline, exp.Stack,
    exp.SplitToTable, exp.StrtokSplitToTable, exp.ExplodingGenerateSeries,
)  # fmt: skip
_VOLATILE = (
    exp.Rand, exp.Randn, exp.Randstr, exp.Uuid, exp.NextValueFor,
    exp.Seq1, exp.Seq2, exp.Seq4, exp.Seq8,
)  # fmt: skip


@lru_cache(maxsize=512)  # proving one change asks for the same few texts hundreds of times
def tables_read(sql: str) -> frozenset[str]:
    """Names (`schema.table`, lower case) of the tables a query reads; its own CTEs left out."""
    tree = sqlglot.parse_one(sql, dialect=DIALECT)
    return frozenset(_name(table) for table in tree.find_all(exp.Table) if table.db)


def substitute(sql: str, replacements: Mapping[str, str], write: str = DIALECT) -> str:
    """`sql` with every table of `replacements` read from its replacement instead.

    A replacement is a table name or a parenthesised query. Aliases are kept: a table
    without one is aliased to its own last name, so that its columns still resolve.
    Definitions are written in one dialect; `write` is the one the engine speaks.
    """
    tree = sqlglot.parse_one(sql, dialect=DIALECT)
    for table in list(tree.find_all(exp.Table)):
        replacement = replacements.get(_name(table))
        if replacement is None:
            continue
        alias = table.alias or table.name
        # It is written with quotes, and there a name without quotes is upper case.
        alias = alias.upper() if write == "snowflake" else alias
        joins = table.args.get("joins")
        item = sqlglot.parse_one(
            f"SELECT * FROM {replacement} AS {_quoted(alias)}", dialect=DIALECT
        ).args["from_"].this  # fmt: skip
        if joins:
            item.set("joins", joins)
        table.replace(item)
    return _written(tree, write)


def expression(sql: str, write: str = DIALECT) -> str:
    """One expression of a definition, such as a check, as the engine writes it."""
    tree = sqlglot.parse_one(f"SELECT {sql}", dialect=DIALECT)
    return sql if write == DIALECT else _written(tree.expressions[0], write)


def _written(tree: exp.Expr, write: str) -> str:
    if write == DIALECT:
        return tree.sql(dialect=write)
    if write == "postgres":
        tree = tree.transform(_dates)
    try:
        # What the other dialect cannot say would be left out, with a word in a log.
        return tree.sql(dialect=write, unsupported_level=ErrorLevel.RAISE)
    except UnsupportedError as error:
        raise Unusable(
            f"this SQL cannot be written for {write}: {_SPACE.sub(' ', str(error))[:200]}",
            help="say it in a way that both engines know",
        ) from error


def _dates(node: exp.Expr) -> exp.Expr:
    """The library knows no name for this function there, and makes one up; it takes integers."""
    if not isinstance(node, exp.DateFromParts):
        return node
    made = sqlglot.parse_one("make_date(CAST(a AS INT), CAST(b AS INT), CAST(c AS INT))")
    for cast, part in zip(made.expressions, ("year", "month", "day"), strict=True):
        cast.set("this", node.args[part])
    return made


@lru_cache(maxsize=16384)
def tables_named(sql: str, dialect: str = DIALECT) -> Named | SqlError:
    """Tables read, with the line of the first mention; a query's own CTEs left out."""
    parsed = _parse(sql, dialect)
    if isinstance(parsed, SqlError):
        return parsed
    own = {node.need("alias").text() for node in parsed.of("cte")}
    named: dict[str, int] = {}
    for node in parsed.of("table"):
        inner = node.one("this")
        if inner is not None and inner.kind == "identifier":
            name = table_name(node)
            if name not in own:
                named.setdefault(name, node.line)
    return tuple(named.items())


def parsed(sql: str, dialect: str = DIALECT) -> Node | None:
    """The tree of the one SELECT in `sql`; None when there is none."""
    found = _parse(sql, dialect)
    return found.tree if isinstance(found, _Parsed) else None


def text_at(sql: str, at: int, dialect: str = DIALECT) -> str:
    """The SQL of the node that carries `at`, on one line."""
    tree = sqlglot.parse_one(sql, dialect=dialect)
    for number, node in enumerate(_outside_in(tree)):
        if number == at:
            return _SPACE.sub(" ", node.sql(dialect=dialect, comments=False))
    return ""


@lru_cache(maxsize=1024)
def exact_name(kind: str, dialect: str = DIALECT) -> str | None:
    """The one spelling of a column type (`INTEGER` and `int4` are one); None if it is none."""
    if not kind or not _TYPE.fullmatch(kind):
        return None
    try:
        made = sqlglot.parse_one(f"CAST(NULL AS {kind})", dialect=dialect)
    except (SqlglotError, RecursionError):
        return None
    return exact_type(_plain(made, dialect).one("to")) if isinstance(made, exp.Cast) else None


def spellings(name: str, dialect: str = DIALECT) -> tuple[str, ...]:
    """How a name that is written in a file can be meant: without quotes, and with them."""
    parts = name.split(".")
    plain = ".".join(_named_as(part, False, dialect) for part in parts)
    quoted = ".".join(_named_as(part, True, dialect) for part in parts)
    return tuple(dict.fromkeys((plain, quoted)))


@lru_cache(maxsize=16384)
def understand_now(
    sql: str,
    dialect: str,
    columns: tuple[tuple[str, Columns], ...],
    promised: tuple[tuple[str, Promise], ...],
) -> QueryFacts:
    """What `sql` produces over `columns`, by table; `asked.understand` asks this only once."""
    named = tables_named(sql, dialect)
    if isinstance(named, SqlError):
        return failed(digest(["text", sql]), (named,), frozenset())
    parsed = _parse(sql, dialect)
    assert isinstance(parsed, _Parsed)  # its tables could be named
    tree = parsed.tree
    tables = frozenset(name for name, _ in named)
    known = Known({n: dict(held) for n, held in columns}, dict(promised), dialect in _LOOSE)
    volatile = any("volatile" in node.traits for node in parsed.every)
    try:
        return walk(tree, known, tables, written(tree) if volatile else "")
    except NotUnderstood as reason:
        return failed(digest(["tree", written(tree)]), (), tables, str(reason), _output_names(tree))
    except RecursionError:
        return failed(written(tree), (), tables, "nested too deeply")


def _output_names(tree: Node) -> tuple[str, ...]:
    names = [n.text("alias") or n.text() for n in tree.many("expressions")]
    return tuple(dict.fromkeys(name for name in names if name))


@dataclass(frozen=True)
class _Parsed:
    """A tree, and its nodes in the order they are met from its root."""

    tree: Node
    every: tuple[Node, ...]

    def of(self, kind: str) -> list[Node]:
        return [node for node in self.every if node.kind == kind]


@lru_cache(maxsize=32)
def _parse(sql: str, dialect: str) -> _Parsed | SqlError:
    """The tree of the one SELECT in `sql`, or why there is none."""
    try:
        trees = [tree for tree in sqlglot.parse(sql, dialect=dialect) if tree is not None]
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        near = str(first.get("highlight") or "").strip()[:80]
        said = str(first.get("description") or "cannot be parsed").strip().rstrip(".")[:200]
        message = f"SQL: {said}" + (f" near {near!r}" if near else "")
        return SqlError(int(first.get("line") or 1), message, "write one plain SELECT")
    except SqlglotError as error:  # the tokenizer: an open quote, for example
        said = _SPACE.sub(" ", str(error))[:200]
        return SqlError(1, f"SQL: {said}", "write one plain SELECT")
    except RecursionError:
        return SqlError(1, "SQL: nested too deeply", "take parts of it out into CTEs")
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        found = f"{len(trees)} statements" if len(trees) != 1 else trees[0].key.upper()
        return SqlError(1, f"SQL: expected one SELECT, found {found}", "write one plain SELECT")
    tree = _plain(trees[0], dialect)
    parsed = _Parsed(tree, tuple(tree.walk()))
    if any(not node.many("expressions") for node in parsed.of("select")):
        return SqlError(1, "SQL: a SELECT of nothing", "write one plain SELECT")
    return parsed


def _outside_in(root: exp.Expr) -> list[exp.Expr]:
    """Every node, parents first, without recursion: a query may be one long chain."""
    found, waiting = [], [root]
    while waiting:
        node = waiting.pop()
        found.append(node)
        for value in node.args.values():
            if isinstance(value, exp.Expr):
                waiting.append(value)
            elif isinstance(value, list | tuple):
                waiting += [n for n in _flat(value) if isinstance(n, exp.Expr)]
    return found


def _flat(value: object) -> Iterator[object]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _plain(root: exp.Expr, dialect: str) -> Node:
    every = _outside_in(root)
    made: dict[int, Node] = {}
    for at in range(len(every) - 1, -1, -1):
        made[id(every[at])] = _node(every[at], at, made, dialect)
    return made[id(root)]


def _node(node: exp.Expr, at: int, made: Mapping[int, Node], dialect: str) -> Node:
    kind, args = node.key, node.args
    if kind == "identifier":
        name = _named_as(str(args.get("this")), bool(args.get("quoted")), dialect)
        return Node(kind, {"this": name}, _NOTHING, int(node.meta.get("line") or 0), at)
    lower = kind in _KEYWORDS
    plain: dict[str, Value] = {}
    for key, value in args.items():
        if value is not None and value is not False:
            if isinstance(value, exp.Expr):
                plain[key] = made[id(value)]
            elif (found := _value(value, lower, made)) is not None:
                plain[key] = found
    line = node.meta.get("line") or next(
        (v.line for v in plain.values() if isinstance(v, Node) and v.line), 0
    )
    traits = _traits(node, dialect) if isinstance(node, _TRAITED) else _NOTHING
    return Node(kind, plain, traits, int(line), at)


def _value(value: object, lower: bool, made: Mapping[int, Node]) -> Value | None:
    if value is None or value is False or value == []:
        return None
    if isinstance(value, exp.Expr):
        return made[id(value)]
    if isinstance(value, list | tuple):
        return tuple(p for item in value if (p := _value(item, lower, made)) is not None)
    if isinstance(value, str):
        return value.lower() if lower else value
    return str(getattr(value, "value", value)).lower()


def _named_as(name: str, quoted: bool, dialect: str) -> str:
    """Names that the dialect takes for one are one text."""
    if not quoted or dialect in _ANY_CASE:
        return name.lower()
    if dialect == "snowflake":
        return name.lower() if name == name.upper() else f'"{name}"'
    return name


def _traits(node: exp.Expr, dialect: str) -> frozenset[str]:
    found = set()
    if isinstance(node, exp.AggFunc):
        found.add("aggregate")
    if isinstance(node, _GENERATORS):
        found.add("generator")
    if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc | exp.CombinedAggFunc):
        name = str(node.this).lower()
        if dialect != DIALECT or name not in SCALARS:
            found.add("opaque")
        if name in VOLATILE:
            found.add("volatile")
    if isinstance(node, _VOLATILE):
        found.add("volatile")
    if isinstance(node, exp.Literal) and node.is_string:
        found.add("string")
    return frozenset(found)


def _name(table: exp.Table) -> str:
    return f"{table.db}.{table.name}".lower() if table.db else table.name.lower()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
