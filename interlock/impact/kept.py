"""What was understood of queries, as plain values that a file can keep.

A query's facts follow from its text, its dialect and what is known of the tables it names;
those make the key. So an edited parent whose columns stay leaves its readers alone, and a
changed schema finds nothing. Values that are not shaped as expected are as good as none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.define.digest import digest
from interlock.impact.nodes import Built
from interlock.impact.query import OutputColumn, Part, Promise, QueryFacts, Source, SqlError

Columns = tuple[tuple[str, str], ...]
Named = tuple[tuple[str, int], ...]
_MISSHAPEN = (TypeError, ValueError, KeyError, IndexError, AttributeError)


@dataclass
class Kept:
    """Facts of queries by key: `plain` is what a file holds, the rest was asked for in this run.

    `more` says that something was learnt that `plain` did not hold before. `nodes` were put
    together in this run, mostly for what runs now, and most of what is wanted is the same.
    """

    plain: dict[str, Any] = field(default_factory=dict)
    more: bool = False
    nodes: dict[str, Built] = field(default_factory=dict)
    _facts: dict[str, QueryFacts] = field(default_factory=dict)
    _names: dict[str, Named | SqlError] = field(default_factory=dict)

    def facts(self, key: str) -> QueryFacts | None:
        if key not in self._facts and key in self.plain:
            try:
                self._facts[key] = _facts(self.plain[key])
            except _MISSHAPEN:
                del self.plain[key]
        return self._facts.get(key)

    def keep_facts(self, key: str, facts: QueryFacts) -> None:
        self._facts[key], self.plain[key], self.more = facts, _plain(facts), True

    def names(self, key: str) -> Named | SqlError | None:
        """The tables that a text names, or why it cannot be read."""
        if key not in self._names and key in self.plain:
            try:
                self._names[key] = _names(self.plain[key])
            except _MISSHAPEN:
                del self.plain[key]
        return self._names.get(key)

    def keep_names(self, key: str, names: Named | SqlError) -> None:
        error = isinstance(names, SqlError)
        plain = [names.line, names.message, names.fix] if isinstance(names, SqlError) else names
        self._names[key], self.plain[key], self.more = names, [error, plain], True

    def worth_keeping(self) -> dict[str, Any]:
        """What this run used, and at most as much again that it did not: another branch's."""
        used = {**self._names, **self._facts}
        others = [key for key in self.plain if key not in used][-len(used) :]
        return {key: self.plain[key] for key in (*others, *used) if key in self.plain}


def text_key(sql: str, dialect: str) -> str:
    return digest(["names", dialect, sql])


def query_key(
    sql: str, dialect: str, tables: Iterable[tuple[str, Columns]], promised: Mapping[str, Promise]
) -> str:
    """The key of a query over `tables`: their columns, in order, and what is promised of them."""
    sure = [[name, p.keys, p.required, p.exact] for name, p in sorted(promised.items())]
    return digest(["facts", dialect, sql, list(tables), sure])


def _names(plain: Any) -> Named | SqlError:
    error, held = plain
    return _error(held) if error else tuple((_text(name), int(line)) for name, line in held)


def _plain(facts: QueryFacts) -> list[Any]:
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


def _error(plain: Any) -> SqlError:
    line, message, fix = plain
    return SqlError(int(line), _text(message), _text(fix))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
