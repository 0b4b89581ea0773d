"""Fingerprints and edges, from the warehouse up: tables, views, models, services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from typing import Any

from interlock.define.base import Declared
from interlock.define.definitions import FeatureView, Model, Service, Table
from interlock.define.digest import digest
from interlock.define.incremental import looks_back
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.impact.kept import Kept
from interlock.impact.nodes import RULES, Built, ColumnFacts, Edge, NodeFacts, Via
from interlock.impact.query import OutputColumn, QueryFacts, Source
from interlock.impact.understood import SCORED, Understood, cycles, models_of


def meaning_of(
    project: Project, understood: Understood, kept: Kept
) -> tuple[dict[str, NodeFacts], frozenset[Edge]]:
    """Every node by text of Ref, and every edge."""
    builder = _Builder(project, understood, kept)
    for name in project.tables:
        builder.table(name)
    for view in project.views.values():
        builder.view(view)
    for model in project.models.values():
        builder.model(model)
    for service in project.services.values():
        builder.service(service)
    every = frozenset(chain.from_iterable(builder.edges.values()))
    return dict(sorted(builder.nodes.items())), every


@dataclass
class _Builder:
    project: Project
    understood: Understood
    kept: Kept
    nodes: dict[str, NodeFacts] = field(default_factory=dict)
    edges: dict[str, tuple[Edge, ...]] = field(default_factory=dict)
    own: list[Edge] = field(default_factory=list)  # of the node that is being put together
    deep_rows: dict[str, str] = field(default_factory=dict)
    ring: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.ring = frozenset(name for ring in cycles(self.understood) for name in ring)

    def edge(self, reader: object, source: object, kind: Via) -> None:
        self.own.append(Edge(str(reader), str(source), kind))

    def put(self, thing: Declared, ref: Ref, **parts: Any) -> NodeFacts:
        """A node; its fingerprint covers all of its parts."""
        upstream = parts.pop("upstream")
        meaning, settings = parts["meaning"], parts["settings"]
        print_ = digest([RULES, ref.kind, dict(meaning), dict(settings), upstream])
        node = NodeFacts(ref, thing.owner, print_, thing=thing, **parts)
        self.nodes[str(ref)], self.edges[str(ref)] = node, tuple(self.own)
        self.own = []
        return node

    # ---- what was worked out before, for another version of the project

    def again(self, thing: Table | FeatureView, facts: QueryFacts | None) -> bool:
        """Take over the node of an equal thing that stands on the very same nodes."""
        name, below = str(thing.ref), self._below(facts)
        made = self.kept.nodes.get(name)
        if made is None or made.query is not facts or made.thing != thing:
            return False
        if len(made.below) != len(below) or any(
            now is not then for now, then in zip(below, made.below, strict=True)
        ):
            return False
        self.nodes[name], self.edges[name] = made.node, made.edges
        return True

    def remember(self, thing: Table | FeatureView, facts: QueryFacts | None) -> None:
        name, below = str(thing.ref), self._below(facts)
        self.kept.nodes[name] = Built(thing, facts, below, self.nodes[name], self.edges[name])

    def _below(self, facts: QueryFacts | None) -> tuple[NodeFacts | None, ...]:
        names = sorted(facts.tables) if facts else []
        for name in names:
            self.table(name)
        return tuple(self.nodes.get(f"table:{name}") for name in names)

    # ---- what a query stands on

    def rows_under(self, facts: QueryFacts) -> str:
        """The row set of a query, with everything below it."""
        tables = {name: self.table_rows(name) for name in facts.tables}
        return digest([facts.rows, tables, self.under(facts.row_reads)])

    def under(self, reads: Iterable[Source]) -> list[str]:
        return sorted({self.column_deep(read) for read in reads})

    def table_rows(self, name: str) -> str:
        self.table(name)
        return self.deep_rows.get(name, f"none: {name}")

    def column_deep(self, read: Source) -> str:
        self.table(read.table)
        node = self.nodes.get(f"table:{read.table}")
        column = node.columns.get(read.column) if node else None
        return column.deep if column else f"none: {read.table}.{read.column}"

    def read_rows(self, reader: object, facts: QueryFacts) -> None:
        """Edges from a row set to all that decides it."""
        for name in facts.tables:
            self.edge(reader, f"table:{name}", "rows")
        for read in facts.row_reads:
            self.edge(reader, f"column:{read.table}.{read.column}", read.kind)

    def read_column(self, reader: object, column: OutputColumn | None) -> None:
        for read in column.reads if column else ():
            self.edge(reader, f"column:{read.table}.{read.column}", read.kind)

    # ---- tables

    def table(self, name: str) -> None:
        """Facts of a table, its sources first. Tables in a ring stand for themselves."""
        table = None if name in self.deep_rows else self.project.tables.get(name)
        if table is None:
            return
        facts = self.understood.tables.get(name)
        if name in self.ring:
            self._external(table, facts)
        elif self.again(table, facts):
            self.deep_rows[name] = self.nodes[str(table.ref)].rows
        else:
            self._external(table, facts) if facts is None else self._built(table, facts)
            self.remember(table, facts)

    def _external(self, table: Table, facts: QueryFacts | None) -> None:
        source = table.source.model_dump(mode="json") if table.source else table.sql
        source = {"stored_as": table.stored_as} if table.stored_as else source
        rows = digest(["external", table.name, source])
        self.deep_rows[table.name] = rows
        columns = {
            name: _column(name, column.type, column.unit, digest([table.name, name]), [])
            for name, column in table.columns.items()
        }
        self._table_node(table, facts, columns, rows, {"source": digest(source)})

    def _built(self, table: Table, facts: QueryFacts) -> None:
        outputs = facts.by_name
        self.deep_rows[table.name] = rows = self.rows_under(facts)
        self.read_rows(table.ref, facts)
        columns = {}
        for name, column in table.columns.items():
            output = outputs.get(name)
            own = output.digest if output else facts.rows
            below = self.under(output.reads if output else ())
            columns[name] = _column(name, column.type, column.unit, own, below)
            self.read_column(f"column:{table.name}.{name}", output)
        self._table_node(table, facts, columns, rows, {"source": "built"})

    def _table_node(
        self,
        table: Table,
        facts: QueryFacts | None,
        columns: Mapping[str, ColumnFacts],
        rows: str,
        meaning: Mapping[str, str],
    ) -> None:
        for name in columns:
            self.edge(f"column:{table.name}.{name}", table.ref, "rows")
        exactly = [
            [n, c.physical, c.unique] for n, c in table.columns.items() if c.physical or c.unique
        ]
        settings = {
            "key": digest(table.key),
            "event_time": digest(table.event_time),
            "available_at": digest(table.available_at),
            "exactly": digest(exactly),
            "checks": digest([check.model_dump(mode="json") for check in table.checks]),
            **{
                f"promise of {n}": _promise(c.nullable, c.classification)
                for n, c in table.columns.items()
            },
        }
        node = self.put(
            table, table.ref,
            meaning=meaning, settings=settings, columns=columns, rows=rows, query=facts,
            unknown=facts.unknown if facts else None,
            upstream=[rows, {name: column.deep for name, column in columns.items()}],
        )  # fmt: skip
        more = {**settings, "incremental": digest(looks_back(table.incremental))}  # moves no value
        self.nodes[str(table.ref)] = replace(node, settings=more)

    # ---- feature views

    def view(self, view: FeatureView) -> None:
        facts = self.understood.views[f"{view.view}@{view.version}"]
        if not self.again(view, facts):
            self._view(view, facts)
            self.remember(view, facts)

    def _view(self, view: FeatureView, facts: QueryFacts) -> None:
        outputs = facts.by_name
        self.read_rows(view.ref, facts)
        meaning = {
            "entity": digest(view.entity),
            "event_time": digest(view.event_time),
            "ttl": digest(view.ttl.total_seconds() if view.ttl is not None else None),
            **_ordering(view),
        }
        times = (n for n in (view.event_time, view.available_at, view.tie_break) if n)
        keys = [outputs[n] for n in (*view.entity, *times) if n in outputs]
        for key in keys:
            meaning[f"column {key.name}"] = key.digest
            self._join_edges(view.ref, key)
        rows = digest([meaning, self.rows_under(facts), [self.under(key.reads) for key in keys]])
        columns = {}
        for name, value in view.features.items():
            output, ref = outputs.get(name), view.feature_ref(name)
            own = output.digest if output else facts.rows
            own = digest([own, "last known"]) if value.last_known else own
            below = [rows, *self.under(output.reads if output else ())]
            fallback = value.fallback.model_dump(mode="json") if value.fallback else None
            columns[name] = _column(name, value.type, value.unit, own, below, digest(fallback))
            self.read_column(ref, output)
            self.edge(ref, view.ref, "rows")
        node = self.put(
            view, view.ref,
            meaning=meaning, settings={}, columns=columns, rows=rows, query=facts,
            unknown=facts.unknown,
            upstream=[rows, {name: column.serving for name, column in columns.items()}],
        )  # fmt: skip
        # Said after the fingerprint is made: a version on its way out is still that version.
        gone = view.deprecation.model_dump(mode="json") if view.deprecation else None
        more = {"deprecation": digest(gone), "incremental": digest(looks_back(view.incremental))}
        self.nodes[str(view.ref)] = replace(node, settings=more)

    def _join_edges(self, view: Ref, key: OutputColumn) -> None:
        """A feature is found by its entity and its time: their columns decide which row."""
        for read in key.reads:
            kind: Via = "join" if read.kind == "value" else read.kind
            self.edge(view, f"column:{read.table}.{read.column}", kind)

    # ---- models

    def model(self, model: Model) -> None:
        label = self.understood.labels[model.model]
        spine = [model.key, model.time, *self._entities(model)]
        inputs = {str(ref): self._feature_deep(ref) for ref in model.feature_refs}
        below = {
            "inputs": inputs,
            "request": self._spine_deep(model, model.request),
            "spine": [self.table_rows(model.spine), self._spine_deep(model, spine)],
            "label": [self.rows_under(label), *self._label_deep(model, label)],
        }
        training = model.training.model_dump(mode="json")
        meaning = {
            "inputs": digest(model.features),
            "request": digest(model.request),
            "categories": digest(model.categories),
            "label": digest([label.rows, model.label.column, self._label_own(model, label)]),
            "spine": digest([model.spine, model.key, model.time]),
            **{f"training {name}": digest(value) for name, value in training.items()},
        }
        settings = {
            "evaluation": digest(model.evaluation.model_dump(mode="json")),
            "triggers": digest([t.model_dump(mode="json") for t in model.triggers]),
            "fallback_score": digest(model.fallback_score),
        }
        self._model_edges(model, label, spine)
        self.put(
            model, model.ref,
            meaning=meaning, settings=settings, query=label, unknown=label.unknown,
            trained=digest([RULES, meaning, below]),
            fitted=digest([RULES, meaning, {k: v for k, v in below.items() if k != "inputs"}]),
            upstream=below,
        )  # fmt: skip

    def _entities(self, model: Model) -> list[str]:
        views = (self.project.views.get(f"{ref.name}@{ref.version}") for ref in model.view_refs)
        return sorted({name for view in views if view for name in view.entity})

    def _feature_deep(self, ref: Ref) -> str:
        view = self.nodes.get(f"view:{ref.name}@{ref.version}")
        column = view.columns.get(ref.part or "") if view else None
        return column.deep if column else "none"

    def _spine_deep(self, model: Model, names: Iterable[str]) -> list[str]:
        return [self.column_deep(Source(model.spine, name)) for name in names]

    def _label_outputs(self, model: Model, label: QueryFacts) -> list[OutputColumn]:
        names = (model.key, model.label.available_at, model.label.column)
        return [label.by_name[name] for name in names if name in label.by_name]

    def _label_own(self, model: Model, label: QueryFacts) -> list[str]:
        return [column.digest for column in self._label_outputs(model, label)]

    def _label_deep(self, model: Model, label: QueryFacts) -> list[Any]:
        return [[c.digest, self.under(c.reads)] for c in self._label_outputs(model, label)]

    def _model_edges(self, model: Model, label: QueryFacts, spine: Iterable[str]) -> None:
        for ref in model.feature_refs:
            self.edge(model.ref, ref, "value")
        for name in model.request:
            self.edge(model.ref, f"column:{model.spine}.{name}", "value")
        for name in spine:
            self.edge(model.ref, f"column:{model.spine}.{name}", "join")
        self.edge(model.ref, f"table:{model.spine}", "rows")
        self.read_rows(model.ref, label)
        for column in self._label_outputs(model, label):
            self.read_column(model.ref, column)

    # ---- services

    def service(self, service: Service) -> None:
        kpi = self.understood.kpis[service.service]
        meaning = {
            "models": digest(service.models),
            "kpi": digest([service.kpi.name, service.kpi.better, kpi.rows, _outputs(kpi)]),
            "kpi inputs": digest(self._kpi_inputs(service, kpi)),
            "decision_unit": digest(service.decision_unit),
        }
        settings = {
            "contract": digest(service.contract),
            "kpi margin": digest(service.kpi.margin),
            "slo": digest(service.slo.model_dump(mode="json")),
            "tier": digest(service.tier),
        }
        for name in service.models:
            self.edge(service.ref, f"model:{name}", "value")
        reads = sorted(self._kpi_reads(service, kpi))
        for read in reads:
            self.edge(service.ref, f"column:{read.table}.{read.column}", read.kind)
        below = [
            {m.model: self.nodes[str(m.ref)].fingerprint for m in models_of(self.project, service)},
            self.under(reads),
        ]
        self.put(
            service, service.ref,
            meaning=meaning, settings=settings, query=kpi, unknown=kpi.unknown, upstream=below,
        )  # fmt: skip

    def _kpi_inputs(self, service: Service, kpi: QueryFacts) -> dict[str, dict[str, str]]:
        """What the label's SQL gives the KPI, by model: it may change where the label does not."""
        names = {r.column for r in kpi.every_read if r.table == SCORED}
        labels = self.understood.labels
        return {
            m.model: {n: c.digest for n, c in labels[m.model].by_name.items() if n in names}
            for m in models_of(self.project, service)
        }

    def _kpi_reads(self, service: Service, kpi: QueryFacts) -> set[Source]:
        """What the KPI reads of `scored`, traced to the spine and through the label's SQL."""
        wanted = kpi.every_read
        found = {read for read in wanted if read.table != SCORED}
        for model in models_of(self.project, service):
            spine = self.project.tables.get(model.spine)
            outputs = self.understood.labels[model.model].by_name
            for read in wanted - found:
                if spine and read.column in spine.columns:
                    found.add(Source(model.spine, read.column, read.kind))
                elif read.column in outputs:
                    found |= outputs[read.column].reads
        return found


def _column(
    name: str,
    type: str | None,
    unit: str | None,
    own: str,
    below: list[str],
    fallback: str = "",
) -> ColumnFacts:
    deep = digest([own, type, unit, below])
    serving = digest([deep, fallback]) if fallback else deep
    return ColumnFacts(name, type, unit, own, deep, serving, fallback)


def _ordering(view: FeatureView) -> dict[str, str]:
    """What decides which row is the newest; said only where declared, as it came later."""
    declared = {
        "available_at": view.available_at,
        "availability": view.availability if view.available_at else None,
        "tie_break": view.tie_break,
    }
    return {name: digest(value) for name, value in declared.items() if value}


@lru_cache(maxsize=64)
def _promise(nullable: bool, classification: str) -> str:
    """What a contract says of a column beside its type and unit."""
    return digest([nullable, classification])


def _outputs(facts: QueryFacts) -> dict[str, str]:
    return {column.name: column.digest for column in facts.columns}
