"""What a query means, asked once: what was understood before is not worked out again.

The parser is loaded when there is something to parse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from interlock.define.digest import digest
from interlock.define.memory import Memory
from interlock.define.schema import did_you_mean
from interlock.impact.kept import (
    Columns,
    Named,
    keep_facts,
    keep_names,
    known_facts,
    known_names,
    query_key,
    text_key,
)
from interlock.impact.query import OutputColumn, Promise, QueryFacts, SqlError
from interlock.impact.source import Schema

DIALECT = "duckdb"


def understand(
    sql: str,
    schema: Schema,
    dialect: str = DIALECT,
    promises: Mapping[str, Promise] | None = None,
    kept: Memory | None = None,
) -> QueryFacts:
    """What `sql` produces, given the columns and types of every table it may read.

    Never raises for bad SQL: what is wrong is in `errors`, what is beyond this room in
    `unknown`. What `kept` knows is not worked out again.
    """
    kept = Memory() if kept is None else kept
    named = _named(sql, dialect, kept)
    if isinstance(named, SqlError):
        return failed(digest(["text", sql]), (named,), frozenset())
    facts = _facts(sql, dialect, *_known(named, schema, promises), kept)
    missing = tuple(_no_table(n, line, schema) for n, line in named if n not in schema)
    if not missing:
        return facts
    return replace(facts, errors=tuple(sorted({*facts.errors, *missing}, key=lambda e: e.line)))


def place_of(sql: str, schema: Schema, dialect: str = DIALECT, *, kept: Memory) -> str:
    """The key under which `understand` keeps what it says of the same; "" for what is no SQL."""
    named = _named(sql, dialect, kept)
    if isinstance(named, SqlError):
        return ""
    return query_key(sql, dialect, *_known(named, schema, None))


def unread(sql: str, kept: Memory) -> bool:
    """Nobody has parsed `sql` yet, in this run or an earlier one."""
    return known_names(kept, _text_key(sql, DIALECT, kept)) is None


def tables_in(sql: str, kept: Memory) -> tuple[str, ...]:
    """The tables that `sql` names, declared or not; none when it cannot be read."""
    named = _named(sql, DIALECT, kept)
    return () if isinstance(named, SqlError) else tuple(sorted(name for name, _ in named))


def _facts(
    sql: str,
    dialect: str,
    columns: tuple[tuple[str, Columns], ...],
    promised: Mapping[str, Promise],
    kept: Memory,
) -> QueryFacts:
    place = query_key(sql, dialect, columns, promised)
    facts = known_facts(kept, place)
    if facts is None:
        from interlock.impact.sql import understand_now

        facts = understand_now(sql, dialect, columns, tuple(promised.items()))
        keep_facts(kept, place, facts)
    return facts


def _known(
    named: Named, schema: Schema, promises: Mapping[str, Promise] | None
) -> tuple[tuple[tuple[str, Columns], ...], dict[str, Promise]]:
    """What is known of the tables that a query names, in one order."""
    known = sorted(n for n, _ in named if n in schema)
    columns = tuple((n, tuple(schema[n].items())) for n in known)
    return columns, {n: promises[n] for n in known if promises and n in promises}


def _named(sql: str, dialect: str, kept: Memory) -> Named | SqlError:
    return kept.once(("names", dialect, sql), lambda: _named_now(sql, dialect, kept))


def _text_key(sql: str, dialect: str, kept: Memory) -> str:
    return kept.once(("text", dialect, sql), lambda: text_key(sql, dialect))


def _named_now(sql: str, dialect: str, kept: Memory) -> Named | SqlError:
    place = _text_key(sql, dialect, kept)
    found = known_names(kept, place)
    if found is None:
        from interlock.impact.sql import tables_named

        found = tables_named(sql, dialect)
        keep_names(kept, place, found)
    return found


def failed(
    text: str,
    errors: tuple[SqlError, ...],
    tables: frozenset[str],
    unknown: str | None = None,
    names: tuple[str, ...] = (),
) -> QueryFacts:
    """`text` is a digest of all of the query: only the same query is the same."""
    reason = unknown or errors[0].message
    columns = tuple(OutputColumn(n, None, digest([text, n]), frozenset()) for n in names)
    return QueryFacts(columns, text, frozenset(), tables, errors, reason)


def _no_table(name: str, line: int, schema: Schema) -> SqlError:
    return SqlError(line, f"no table {name}", did_you_mean(name, schema))
