"""What is understood of queries and nodes, as plain data that a memory can keep.

A query's facts follow from its text, its dialect and what is known of the tables it names;
those make the key. So an edited parent whose columns stay leaves its readers alone, and a
changed schema finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from interlock.define.base import Declared
from interlock.define.digest import digest, digest_texts
from interlock.define.memory import Memory
from interlock.define.refs import Ref
from interlock.impact.nodes import ColumnFacts, NodeFacts
from interlock.impact.query import OutputColumn, Part, Promise, QueryFacts, Source, SqlError

Columns = tuple[tuple[str, str], ...]
Named = tuple[tuple[str, int], ...]


def text_key(sql: str, dialect: str) -> str:
    return digest_texts("names", dialect, sql)


def query_key(
    sql: str, dialect: str, tables: Iterable[tuple[str, Columns]], promised: Mapping[str, Promise]
) -> str:
    """The key of a query over `tables`: their columns, in order, and what is promised of them."""
    sure = [[name, p.keys, p.required, p.exact] for name, p in sorted(promised.items())]
    return digest(["facts", dialect, sql, list(tables), sure])


# --- queries -------------------------------------------------------------------------


def known_names(memory: Memory, key: str) -> Named | SqlError | None:
    """The tables that a text names, or why it cannot be read."""
    return memory.get(key, _names)


def keep_names(memory: Memory, key: str, names: Named | SqlError) -> None:
    error = isinstance(names, SqlError)
    plain = [names.line, names.message, names.fix] if isinstance(names, SqlError) else names
    memory.put(key, names, lambda: [error, plain])


def _names(plain: Any) -> Named | SqlError:
    error, held = plain
    return _error(held) if error else tuple((_text(name), int(line)) for name, line in held)


def known_facts(memory: Memory, key: str) -> QueryFacts | None:
    return memory.get(key, _facts)


def keep_facts(memory: Memory, key: str, facts: QueryFacts) -> None:
    memory.put(key, facts, lambda: _plain_facts(facts))


def _plain_facts(facts: QueryFacts) -> list[Any]:
    """Sources stand once, and are named by their place: most columns read the same few."""
    sources: dict[Source, int] = {}

    def places(reads: Iterable[Source]) -> list[int]:
        return [sources.setdefault(read, len(sources)) for read in sorted(reads)]

    columns = [
        [c.name, c.type, c.digest, places(c.reads), c.exact, c.doubt, c.at] for c in facts.columns
    ]
    errors = [[e.line, e.message, e.fix] for e in facts.errors]
    parts = [[p.what, p.digest, p.at] for p in facts.parts]
    rows = places(facts.row_reads)
    return [
        [list(source) for source in sources], columns, facts.rows, rows, sorted(facts.tables),
        errors, facts.unknown, facts.doubt, parts,
    ]  # fmt: skip


def _facts(plain: Any) -> QueryFacts:
    listed, columns, rows, row_reads, tables, errors, unknown, doubt, parts = plain
    sources = [Source(*source) for source in listed]
    return QueryFacts(
        tuple(
            OutputColumn(n, t, d, frozenset([sources[i] for i in reads]), exact, said, at)
            for n, t, d, reads, exact, said, at in columns
        ),
        _text(rows),
        frozenset([sources[i] for i in row_reads]),
        frozenset(tables),
        tuple(_error(error) for error in errors),
        None if unknown is None else _text(unknown),
        _text(doubt),
        tuple(Part(*part) for part in parts),
    )


# --- nodes ---------------------------------------------------------------------------


def known_print(memory: Memory, key: str) -> str | None:
    """The fingerprint of a node whose SQL was without mistakes; the node itself comes when asked.

    What the node is made of stays of use with it.
    """
    found = memory.get(_print_key(key), _print)
    if found is None:
        return None
    memory.use(_node_key(key))
    if found[1]:
        memory.use(found[1])
    return found[0]


def known_node(memory: Memory, key: str, ref: Ref, thing: Declared) -> NodeFacts | None:
    return memory.get(_node_key(key), lambda plain: _node(plain, memory, key, ref, thing))


def keep_node(memory: Memory, key: str, node: NodeFacts, query: str) -> None:
    """`query` is the key of the facts of its query, "" where it has none."""
    known = (node.fingerprint, query)
    memory.put(_print_key(key), known, lambda: list(known))
    memory.put(_node_key(key), node, lambda: _plain_node(node))


def _print_key(key: str) -> str:
    return f"print {key}"


def _node_key(key: str) -> str:
    return f"node {key}"


def _print(plain: Any) -> tuple[str, str]:
    fingerprint, query = plain
    if len(_text(fingerprint)) != 64:
        raise ValueError("no fingerprint")
    return fingerprint, _text(query)


def _plain_node(node: NodeFacts) -> list[Any]:
    columns = [
        [c.name, c.type, c.unit, c.digest, c.deep, c.serving if c.fallback else "", c.fallback]
        for c in node.columns.values()
    ]
    return [
        node.fingerprint, dict(node.meaning), dict(node.settings), columns, node.rows,
        node.trained, node.fitted, node.unknown,
    ]  # fmt: skip


def _node(plain: Any, memory: Memory, key: str, ref: Ref, thing: Declared) -> NodeFacts:
    fingerprint, meaning, settings, columns, rows, trained, fitted, unknown = plain
    known = memory.get(_print_key(key), _print)
    query = known_facts(memory, known[1]) if known and known[1] else None
    if known is None or known[0] != fingerprint or (known[1] and query is None):
        raise ValueError("not all of the node is there")
    return NodeFacts(
        ref, thing.owner, fingerprint, {**meaning}, {**settings},
        {
            name: ColumnFacts(name, type, unit, own, deep, serving or deep, fallback)
            for name, type, unit, own, deep, serving, fallback in columns
        },
        _text(rows), query, _text(trained), _text(fitted),
        None if unknown is None else _text(unknown), thing,
    )  # fmt: skip


def _error(plain: Any) -> SqlError:
    line, message, fix = plain
    return SqlError(int(line), _text(message), _text(fix))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
