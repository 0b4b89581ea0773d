"""Every query of a project, understood once: tables, views, labels and KPIs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from interlock.define.definitions import Model, Service
from interlock.define.project import Project
from interlock.impact.kept import Kept
from interlock.impact.outside import table_query
from interlock.impact.query import QueryFacts
from interlock.impact.source import Schema
from interlock.impact.sql import understand

SCORED = "scored"


@dataclass(frozen=True)
class Understood:
    """Facts of each query, by the name of the definition it stands in."""

    tables: Mapping[str, QueryFacts]
    views: Mapping[str, QueryFacts]
    labels: Mapping[str, QueryFacts]
    kpis: Mapping[str, QueryFacts]


def understand_all(project: Project, kept: Kept | None = None) -> Understood:
    """One pass; each query sees the declared columns of every table."""
    schema = {
        name: {column: declared.type for column, declared in table.columns.items()}
        for name, table in project.tables.items()
    }

    def facts(sql: str, schema: Schema = schema) -> QueryFacts:
        return understand(sql, schema, kept=kept)

    labels = {n: facts(m.label.sql) for n, m in project.models.items()}
    return Understood(
        tables={
            n: made for n, t in project.tables.items() if (made := table_query(t, schema, kept))
        },
        views={name: facts(view.sql) for name, view in project.views.items()},
        labels=labels,
        kpis={
            name: facts(service.kpi.sql, {**schema, SCORED: scored(project, service, labels)})
            for name, service in project.services.items()
        },
    )


def scored(project: Project, service: Service, labels: Mapping[str, QueryFacts]) -> dict[str, str]:
    """Columns of the relation `scored`: the spine's, `p`, and the label's."""
    columns: dict[str, str] = {}
    for model in models_of(project, service):
        spine = project.tables.get(model.spine)
        for name, column in spine.columns.items() if spine else ():
            columns[name] = column.type
        for output in labels[model.model].columns:
            columns.setdefault(output.name, output.type or "")
    return {**columns, "p": "double"}


def models_of(project: Project, service: Service) -> list[Model]:
    """The models of `service` that exist."""
    return [project.models[name] for name in service.models if name in project.models]


def cycles(understood: Understood) -> list[tuple[str, ...]]:
    """Tables that read each other, each ring once, from its first name round to itself."""
    found: dict[frozenset[str], tuple[str, ...]] = {}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            ring = path[path.index(name) :]
            start = ring.index(min(ring))
            turned = ring[start:] + ring[:start]
            found.setdefault(frozenset(ring), (*turned, turned[0]))
            return
        if name in done or name not in understood.tables:
            return
        for source in sorted(understood.tables[name].tables):
            visit(source, (*path, name))
        done.add(name)

    for name in sorted(understood.tables):
        visit(name, ())
    return sorted(found.values())
