"""Every query of a project, understood when it is asked for: tables, views, labels and KPIs."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from typing import Any

from interlock.define.definitions import Model, Service, Table
from interlock.define.held import Things, things
from interlock.define.memory import Memory
from interlock.define.project import Project
from interlock.impact.asked import place_of, tables_in, understand, unread
from interlock.impact.outside import table_query
from interlock.impact.query import QueryFacts
from interlock.impact.source import Schema

SCORED = "scored"


class Schemas(Mapping[str, Mapping[str, str]]):
    """Table -> column -> contract type."""

    def __init__(self, tables: Things[Table]) -> None:
        self._tables = tables

    def __getitem__(self, name: str) -> Mapping[str, str]:
        return self._tables.held(name).columns

    def __contains__(self, name: object) -> bool:
        return name in self._tables

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)


class Understood:
    """Facts of queries by the address of the definition they stand in."""

    def __init__(self, project: Project, memory: Memory) -> None:
        self._project, self._memory = project, memory
        self._tables = things(project.tables)
        self._schema: Schema = Schemas(self._tables)
        self._facts: dict[str, QueryFacts | None] = {}

    def facts(self, name: str) -> QueryFacts | None:
        """What the query of `name` means; None for a table whose rows come from elsewhere."""
        if name not in self._facts:
            self._facts[name] = self._understood(name)
        return self._facts[name]

    def of(self, thing: Model | Service | str) -> QueryFacts:
        """The facts of what always has a query."""
        found = self.facts(thing if isinstance(thing, str) else str(thing.ref))
        assert found is not None
        return found

    def place(self, name: str) -> str:
        """The key under which the facts of `name` are kept; "" where it has none."""
        sql = self._sql(name)
        return place_of(sql, self._seen(name), kept=self._memory) if sql else ""

    def reads(self, name: str) -> tuple[str, ...]:
        """The tables that the query of `name` names, in order of their names."""
        if name.startswith("table:") and self._tables.held(name[6:]).says("outside"):
            facts = self.facts(name)
            return tuple(sorted(facts.tables)) if facts else ()
        sql = self._sql(name)
        if sql and unread(sql, self._memory):
            self.facts(name)  # all of it at once: the tree is large and does not stay at hand
        return tables_in(sql, self._memory) if sql else ()

    def _understood(self, name: str) -> QueryFacts | None:
        kind, _, plain = name.partition(":")
        if kind == "table":
            return table_query(self._project.tables[plain], self._schema, self._memory)
        return understand(self._sql(name) or "", self._seen(name), kept=self._memory)

    def _sql(self, name: str) -> str | None:
        kind, _, plain = name.partition(":")
        if kind == "service":
            return self._project.services[plain].kpi.sql
        if kind == "model":
            return self._project.models[plain].label.sql
        named: Things[Any] = self._tables if kind == "table" else things(self._project.views)
        said: str | None = named.held(plain).says("sql")
        return said

    def _seen(self, name: str) -> Schema:
        """The tables that the query of `name` may read."""
        kind, _, plain = name.partition(":")
        if kind != "service":
            return self._schema
        columns = {SCORED: scored(self._project, self._project.services[plain], self)}
        return ChainMap(columns, self._schema)  # type: ignore[arg-type]  # only read


def scored(project: Project, service: Service, understood: Understood) -> dict[str, str]:
    """Columns of the relation `scored`: the spine's, `p`, and the label's."""
    columns: dict[str, str] = {}
    for model in models_of(project, service):
        spine = project.tables.get(model.spine)
        for name, column in spine.columns.items() if spine else ():
            columns[name] = column.type
        for output in understood.of(model).columns:
            columns.setdefault(output.name, output.type or "")
    return {**columns, "p": "double"}


def models_of(project: Project, service: Service) -> list[Model]:
    """The models of `service` that exist."""
    return [project.models[name] for name in service.models if name in project.models]
