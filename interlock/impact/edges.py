"""Who reads what: the edges of one table, view, model or service.

They follow from the definition and its query alone, so they are made when somebody walks.
"""

from __future__ import annotations

from collections.abc import Iterator

from interlock.define.definitions import FeatureView, Model, Service, Table
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.impact.nodes import Edge, Via
from interlock.impact.query import OutputColumn, QueryFacts, Source
from interlock.impact.understood import SCORED, Understood, models_of


def edges_of(project: Project, understood: Understood, name: str) -> Iterator[Edge]:
    """What the thing with the address `name` and its columns read."""
    kind, _, plain = name.partition(":")
    if kind == "table":
        yield from _table(project.tables[plain], understood.facts(name))
    elif kind == "view":
        yield from _view(project.views[plain], understood.of(name))
    elif kind == "model":
        yield from _model(project, project.models[plain], understood.of(name))
    else:
        yield from _service(project, understood, project.services[plain])


def alone(table: Table) -> Iterator[Edge]:
    """The edges of a table of which it is not said what fills it."""
    for name in table.columns:
        yield _edge(f"column:{table.name}.{name}", table.ref, "rows")


def _edge(reader: object, source: object, kind: Via) -> Edge:
    return Edge(str(reader), str(source), kind)


def _rows(reader: Ref, facts: QueryFacts) -> Iterator[Edge]:
    """From a row set to all that decides it."""
    for name in facts.tables:
        yield _edge(reader, f"table:{name}", "rows")
    for read in facts.row_reads:
        yield _edge(reader, f"column:{read.table}.{read.column}", read.kind)


def _column(reader: object, column: OutputColumn | None) -> Iterator[Edge]:
    for read in column.reads if column else ():
        yield _edge(reader, f"column:{read.table}.{read.column}", read.kind)


def _table(table: Table, facts: QueryFacts | None) -> Iterator[Edge]:
    yield from alone(table)
    if facts is not None:
        yield from _rows(table.ref, facts)
        for name in table.columns:
            yield from _column(f"column:{table.name}.{name}", facts.by_name.get(name))


def _view(view: FeatureView, facts: QueryFacts) -> Iterator[Edge]:
    outputs = facts.by_name
    yield from _rows(view.ref, facts)
    for name in view_keys(view):
        # A feature is found by its entity and its time: their columns decide which row.
        for read in outputs[name].reads if name in outputs else ():
            kind: Via = "join" if read.kind == "value" else read.kind
            yield _edge(view.ref, f"column:{read.table}.{read.column}", kind)
    for name in view.features:
        ref = view.feature_ref(name)
        yield from _column(ref, outputs.get(name))
        yield _edge(ref, view.ref, "rows")


def view_keys(view: FeatureView) -> list[str]:
    """The columns by which a row of a view is found."""
    times = (view.event_time, view.available_at, view.tie_break)
    return [*view.entity, *(name for name in times if name)]


def _model(project: Project, model: Model, label: QueryFacts) -> Iterator[Edge]:
    for ref in model.feature_refs:
        yield _edge(model.ref, ref, "value")
    for name in model.request:
        yield _edge(model.ref, f"column:{model.spine}.{name}", "value")
    for name in spine_columns(project, model):
        yield _edge(model.ref, f"column:{model.spine}.{name}", "join")
    yield _edge(model.ref, f"table:{model.spine}", "rows")
    yield from _rows(model.ref, label)
    for column in label_outputs(model, label):
        yield from _column(model.ref, column)


def spine_columns(project: Project, model: Model) -> list[str]:
    """The columns of the spine that find the rows of its features."""
    views = (project.views.get(f"{ref.name}@{ref.version}") for ref in model.view_refs)
    return [
        model.key,
        model.time,
        *sorted({name for view in views if view for name in view.entity}),
    ]


def label_outputs(model: Model, label: QueryFacts) -> list[OutputColumn]:
    """The outputs of a label's SQL that make the training rows, as far as they are there."""
    names = (model.key, model.label.available_at, model.label.column)
    return [label.by_name[name] for name in names if name in label.by_name]


def _service(project: Project, understood: Understood, service: Service) -> Iterator[Edge]:
    for name in service.models:
        yield _edge(service.ref, f"model:{name}", "value")
    for read in kpi_reads(project, understood, service):
        yield _edge(service.ref, f"column:{read.table}.{read.column}", read.kind)


def kpi_reads(project: Project, understood: Understood, service: Service) -> set[Source]:
    """What the KPI reads of `scored`, traced to the spine and through the label's SQL."""
    wanted = understood.of(service).every_read
    found = {read for read in wanted if read.table != SCORED}
    for model in models_of(project, service):
        spine = project.tables.get(model.spine)
        outputs = understood.of(model).by_name
        for read in wanted - found:
            if spine and read.column in spine.columns:
                found.add(Source(model.spine, read.column, read.kind))
            elif read.column in outputs:
                found |= outputs[read.column].reads
    return found
