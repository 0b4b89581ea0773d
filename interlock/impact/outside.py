"""Tables that another tool fills: their columns completed, and what is unknown kept unsafe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from interlock.define.definitions import Column, ColumnType, Table
from interlock.define.digest import digest
from interlock.define.held import things
from interlock.define.memory import Memory
from interlock.define.project import Project
from interlock.impact.asked import understand
from interlock.impact.query import QueryFacts, Source
from interlock.impact.source import Schema

_TYPES: Mapping[str, ColumnType] = {
    "boolean": "boolean", "integer": "integer", "double": "double", "string": "string",
    "date": "date", "timestamp": "timestamp",
}  # fmt: skip


def table_query(table: Table, schema: Schema, kept: Memory | None = None) -> QueryFacts | None:
    """What is known of the query of a table; None for one whose rows come from elsewhere.

    Errors in the SQL of another tool are not ours to report: it may be a dialect that is not
    read here. The table is unknown then, and stands on all columns of all that it reads.
    """
    if table.outside is None:
        return understand(table.sql, schema, kept=kept) if table.sql else None
    unknown = table.outside.unread
    if table.sql:
        facts = understand(table.sql, schema, table.outside.dialect, kept=kept)
        if not facts.errors and not facts.unknown:
            return facts
        unknown = facts.errors[0].message if facts.errors else str(facts.unknown)
    if not unknown:
        return None
    below = [name for name in table.outside.reads if name in schema]
    rows = digest(["outside", table.sql, table.outside.text, below])
    sources = frozenset(Source(name, column, "filter") for name in below for column in schema[name])
    return QueryFacts((), rows, sources, frozenset(below), unknown=unknown)


def completed(project: Project, kept: Memory | None = None) -> Project:
    """The project with the columns that nobody wrote down, as their SQL gives them."""
    tables = things(project.tables)
    outside = [name for name in tables if tables.held(name).says("outside")]
    if not outside:
        return project
    made: dict[str, Table] = {}
    schema = {name: tables.held(name).columns for name in tables}
    for name in _sources_first(project, outside):
        made[name] = _completed(tables[name], schema, kept)
        schema[name] = schema_of(made[name])
    return project.model_copy(update={"tables": tables.but(made)})


def schema_of(table: Table) -> dict[str, str]:
    """Column -> contract type."""
    return {name: column.type for name, column in table.columns.items()}


def _sources_first(project: Project, outside: Iterable[str]) -> list[str]:
    """Outside tables, each after those it reads; a ring is cut where it is entered."""
    ordered: dict[str, None] = {}
    for start in outside:
        waiting: list[tuple[str, bool]] = [(start, False)]
        entered: set[str] = set()
        while waiting:
            name, done = waiting.pop()
            table = project.tables.get(name)
            if table is None or table.outside is None or name in ordered:
                continue
            if done:
                ordered[name] = None
            elif name not in entered:
                entered.add(name)
                waiting += [(name, True), *((one, False) for one in table.outside.reads)]
    return list(ordered)


def _completed(table: Table, schema: Schema, kept: Memory | None) -> Table:
    """With all columns of its query, in types where they are certain; stale words left out."""
    facts = table_query(table, schema, kept)
    if facts is None or facts.unknown:
        return table
    columns = {}
    for output in facts.columns:
        said = table.columns.get(output.name, Column(type="other"))
        known = _TYPES.get(output.type or "") if said.physical is None else None
        columns[output.name] = said.model_copy(update={"type": known}) if known else said
    return table.model_copy(update={"columns": columns})
