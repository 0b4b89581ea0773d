"""Two versions of a query: what changed, with the reason and the SQL it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from interlock.define.catalog import Catalog, Known
from interlock.impact.asked import understand
from interlock.impact.column_types import contract_type
from interlock.impact.query import (
    Part,
    Promise,
    QueryFacts,
    RowVerdict,
    SqlError,
    Verdict,
    compare_queries,
)
from interlock.impact.sql import exact_name, spellings, text_at

DIALECTS = ("duckdb", "postgres", "spark", "snowflake", "bigquery")
_SHOWN = 100  # characters of SQL in a reason
_PARTS = 4  # clauses in a reason


@dataclass(frozen=True)
class Comparison:
    """`reason` says why the row set is not the same; empty when it is."""

    row_set: RowVerdict
    columns: Mapping[str, Verdict]
    reason: str = ""

    @property
    def same(self) -> bool:
        return self.row_set == "same" and all(v.verdict == "same" for v in self.columns.values())

    def to_json(self) -> dict[str, Any]:
        columns = {n: {"verdict": v.verdict, "reason": v.reason} for n, v in self.columns.items()}
        return {"row_set": self.row_set, "reason": self.reason, "columns": columns}


@dataclass(frozen=True)
class Tables:
    """A catalog in the words of one dialect."""

    columns: Mapping[str, Mapping[str, str]]
    promises: Mapping[str, Promise]
    clashes: tuple[str, ...] = ()


def tables_of(catalog: Catalog, dialect: str) -> Tables:
    """`catalog` by the names that queries of `dialect` use."""
    columns: dict[str, dict[str, str]] = {}
    promises: dict[str, Promise] = {}
    clashes = []
    for name, known in catalog.tables.items():
        free = [spelled for spelled in spellings(name, dialect) if spelled not in columns]
        if not free:
            clashes.append(f"two tables are {spellings(name, dialect)[0]}")
        held, promise, more = _table(known, dialect)
        clashes += [f"two columns of {name} are {column}" for column in more]
        columns |= dict.fromkeys(free, held)
        promises |= dict.fromkeys(free, promise)
    return Tables(columns, promises, tuple(dict.fromkeys(clashes)))


def _table(known: Known, dialect: str) -> tuple[dict[str, str], Promise, list[str]]:
    exact = {name: exact_name(kind, dialect) for name, kind in known.columns.items()}
    columns: dict[str, str] = {}
    names: dict[str, str] = {}
    clashes = []
    for name, kind in known.columns.items():
        # As without quotes; only where another column has that name must it be meant with them.
        free = [spelled for spelled in spellings(name, dialect) if spelled not in columns]
        if free:
            names[name] = free[0]
            columns[free[0]] = contract_type(exact[name]) or kind.lower()
        else:
            clashes.append(spellings(name, dialect)[0])
    promise = Promise(
        tuple(tuple(names[c] for c in key if c in names) for key in known.keys),
        tuple(sorted(names[c] for c in known.required if c in names)),
        tuple((names[n], kind) for n, kind in exact.items() if kind and n in names),
    )
    return columns, promise, clashes


def errors_in(sql: str, dialect: str) -> tuple[SqlError, ...]:
    """Why `sql` cannot be read at all; names that are not known are no such error."""
    facts = understand(sql, {}, dialect)
    return facts.errors if any(e.message.startswith("SQL:") for e in facts.errors) else ()


def compare(old: str, new: str, tables: Tables, dialect: str = "duckdb") -> Comparison:
    """The difference in meaning between two queries that can be read."""
    before = understand(old, tables.columns, dialect, tables.promises)
    after = understand(new, tables.columns, dialect, tables.promises)
    said = compare_queries(before, after)
    was, now = partial(_shown, old, dialect), partial(_shown, new, dialect)
    columns = {
        name: _explained(name, verdict, before, after, (was, now))
        for name, verdict in said.columns.items()
    }
    reason = said.reason
    if said.row_set == "changed":
        reason = _rows_reason(before, after, (was, now))
    return Comparison(said.row_set, columns, reason)


Show = partial[str]


def _shown(sql: str, dialect: str, at: int) -> str:
    if at <= 0:
        return ""
    text = text_at(sql, at, dialect)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _explained(
    name: str, verdict: Verdict, before: QueryFacts, after: QueryFacts, show: tuple[Show, Show]
) -> Verdict:
    if verdict.verdict == "same":
        return verdict
    old, new = before.by_name.get(name), after.by_name.get(name)
    was = show[0](old.at) if old else ""
    now = show[1](new.at) if new else ""
    if verdict.verdict in ("changed", "retyped") and was and now:
        below = f"{now}: what it stands on changed" if was == now else f"{was} became {now}"
        plain = verdict.verdict == "changed"
        return Verdict(verdict.verdict, below if plain else f"{verdict.reason}: {below}")
    text = now or was
    return Verdict(verdict.verdict, f"{verdict.reason}: {text}" if text else verdict.reason)


def _rows_reason(before: QueryFacts, after: QueryFacts, show: tuple[Show, Show]) -> str:
    gone = _only_in(before.parts, after.parts, show[0])
    new = _only_in(after.parts, before.parts, show[1])
    said = [f"no longer {text}" for text in gone] + [f"now {text}" for text in new]
    if before.tables != after.tables:
        left = sorted(before.tables - after.tables)
        said += [f"no longer reads {', '.join(left)}"] if left else []
        read = sorted(after.tables - before.tables)
        said += [f"now reads {', '.join(read)}"] if read else []
    return "; ".join(said) or "its rows come another way: a function makes or groups them"


def _only_in(parts: tuple[Part, ...], others: tuple[Part, ...], show: Show) -> list[str]:
    have = {(p.what, p.digest) for p in others}
    found: dict[tuple[str, int], Part] = {
        (p.what, p.at): p for p in parts if (p.what, p.digest) not in have
    }
    said = [_clause(p, show) for p in list(found.values())[:_PARTS]]
    more = len(found) - _PARTS
    return said + ([f"{more} more"] if more > 0 else [])


def _clause(part: Part, show: Show) -> str:
    text = show(part.at)
    return text if text.upper().startswith(part.what) else f"{part.what} {text}".strip()
