"""Fingerprints, from the warehouse up: tables, views, models, services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from interlock.define.base import Declared
from interlock.define.definitions import FeatureView, Model, Service, Table
from interlock.define.digest import digest
from interlock.define.incremental import looks_back
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.impact.edges import kpi_reads, label_outputs, spine_columns, view_keys
from interlock.impact.nodes import RULES, ColumnFacts, NodeFacts
from interlock.impact.query import QueryFacts, Source
from interlock.impact.understood import SCORED, Understood, models_of


@dataclass
class Builder:
    """Puts nodes together; those below are asked of `nodes`. Tables in `ring` stand alone.

    `schedules`: of tables that are refreshed by the clock, a digest of when.
    """

    project: Project
    understood: Understood
    nodes: Mapping[str, NodeFacts]
    ring: frozenset[str]
    schedules: Mapping[str, str]

    def build(self, name: str) -> NodeFacts:
        """The node with the address `name`, which is declared."""
        kind, _, plain = name.partition(":")
        if kind == "table":
            return self._table(self.project.tables[plain])
        if kind == "view":
            return self._view(self.project.views[plain])
        if kind == "model":
            return self._model(self.project.models[plain])
        return self._service(self.project.services[plain])

    def put(self, thing: Declared, ref: Ref, **parts: Any) -> NodeFacts:
        """A node; its fingerprint covers all of its parts."""
        upstream = parts.pop("upstream")
        meaning, settings = parts["meaning"], parts["settings"]
        print_ = digest([RULES, ref.kind, dict(meaning), dict(settings), upstream])
        return NodeFacts(ref, thing.owner, print_, thing=thing, **parts)

    # ---- what a query stands on

    def rows_under(self, facts: QueryFacts) -> str:
        """The row set of a query, with everything below it."""
        tables = {name: self.table_rows(name) for name in facts.tables}
        return digest([facts.rows, tables, self.under(facts.row_reads)])

    def under(self, reads: Iterable[Source]) -> list[str]:
        return sorted({self.column_deep(read) for read in reads})

    def table_rows(self, name: str) -> str:
        node = self.nodes.get(f"table:{name}")
        return node.rows if node else f"none: {name}"

    def column_deep(self, read: Source) -> str:
        node = self.nodes.get(f"table:{read.table}")
        column = node.columns.get(read.column) if node else None
        return column.deep if column else f"none: {read.table}.{read.column}"

    # ---- tables

    def _table(self, table: Table) -> NodeFacts:
        facts = self.understood.facts(str(table.ref))
        if facts is None or str(table.ref) in self.ring:
            return self._external(table, facts)
        return self._built(table, facts)

    def _external(self, table: Table, facts: QueryFacts | None) -> NodeFacts:
        source = table.source.model_dump(mode="json") if table.source else table.sql
        source = {"stored_as": table.stored_as} if table.stored_as else source
        rows = digest(["external", table.name, source])
        columns = {
            name: _column(name, column.type, column.unit, digest([table.name, name]), [])
            for name, column in table.columns.items()
        }
        return self._table_node(table, facts, columns, rows, {"source": digest(source)})

    def _built(self, table: Table, facts: QueryFacts) -> NodeFacts:
        outputs, rows = facts.by_name, self.rows_under(facts)
        columns = {}
        for name, column in table.columns.items():
            output = outputs.get(name)
            own = output.digest if output else facts.rows
            below = self.under(output.reads if output else ())
            columns[name] = _column(name, column.type, column.unit, own, below)
        return self._table_node(table, facts, columns, rows, {"source": "built"})

    def _table_node(
        self,
        table: Table,
        facts: QueryFacts | None,
        columns: Mapping[str, ColumnFacts],
        rows: str,
        meaning: Mapping[str, str],
    ) -> NodeFacts:
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
        when = self.schedules.get(str(table.ref))
        return replace(node, settings=more | ({"refresh": when} if when else {}))

    # ---- feature views

    def _view(self, view: FeatureView) -> NodeFacts:
        facts = self.understood.of(str(view.ref))
        outputs = facts.by_name
        meaning = {
            "entity": digest(view.entity),
            "event_time": digest(view.event_time),
            "ttl": digest(view.ttl.total_seconds() if view.ttl is not None else None),
            **_ordering(view),
        }
        keys = [outputs[name] for name in view_keys(view) if name in outputs]
        for key in keys:
            meaning[f"column {key.name}"] = key.digest
        rows = digest([meaning, self.rows_under(facts), [self.under(key.reads) for key in keys]])
        columns = {}
        for name, value in view.features.items():
            output = outputs.get(name)
            own = output.digest if output else facts.rows
            own = digest([own, "last known"]) if value.last_known else own
            below = [rows, *self.under(output.reads if output else ())]
            fallback = value.fallback.model_dump(mode="json") if value.fallback else None
            columns[name] = _column(name, value.type, value.unit, own, below, digest(fallback))
        node = self.put(
            view, view.ref,
            meaning=meaning, settings={}, columns=columns, rows=rows, query=facts,
            unknown=facts.unknown,
            upstream=[rows, {name: column.serving for name, column in columns.items()}],
        )  # fmt: skip
        # Said after the fingerprint is made: a version on its way out is still that version.
        gone = view.deprecation.model_dump(mode="json") if view.deprecation else None
        more = {"deprecation": digest(gone), "incremental": digest(looks_back(view.incremental))}
        return replace(node, settings=more)

    # ---- models

    def _model(self, model: Model) -> NodeFacts:
        label = self.understood.of(model)
        spine = spine_columns(self.project, model)
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
            "evaluation": digest(_evaluation(model)),
            "triggers": digest([t.model_dump(mode="json") for t in model.triggers]),
            "fallback_score": digest(model.fallback_score),
        }
        return self.put(
            model, model.ref,
            meaning=meaning, settings=settings, query=label, unknown=label.unknown,
            trained=digest([RULES, meaning, below]),
            fitted=digest([RULES, meaning, {k: v for k, v in below.items() if k != "inputs"}]),
            upstream=below,
        )  # fmt: skip

    def _feature_deep(self, ref: Ref) -> str:
        view = self.nodes.get(f"view:{ref.name}@{ref.version}")
        column = view.columns.get(ref.part or "") if view else None
        return column.deep if column else "none"

    def _spine_deep(self, model: Model, names: Iterable[str]) -> list[str]:
        return [self.column_deep(Source(model.spine, name)) for name in names]

    def _label_own(self, model: Model, label: QueryFacts) -> list[str]:
        return [column.digest for column in label_outputs(model, label)]

    def _label_deep(self, model: Model, label: QueryFacts) -> list[Any]:
        return [[c.digest, self.under(c.reads)] for c in label_outputs(model, label)]

    # ---- services

    def _service(self, service: Service) -> NodeFacts:
        kpi = self.understood.of(service)
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
        if service.decision:  # it came later: who declares none keeps what it was known by
            settings["decision"] = digest(service.decision.model_dump(mode="json"))
        reads = sorted(kpi_reads(self.project, self.understood, service))
        below = [
            {m.model: self.nodes[str(m.ref)].fingerprint for m in models_of(self.project, service)},
            self.under(reads),
        ]
        return self.put(
            service, service.ref,
            meaning=meaning, settings=settings, query=kpi, unknown=kpi.unknown, upstream=below,
        )  # fmt: skip

    def _kpi_inputs(self, service: Service, kpi: QueryFacts) -> dict[str, dict[str, str]]:
        """What the label's SQL gives the KPI, by model: it may change where the label does not."""
        names = {r.column for r in kpi.every_read if r.table == SCORED}
        labels = self.understood
        return {
            m.model: {n: c.digest for n, c in labels.of(m).by_name.items() if n in names}
            for m in models_of(self.project, service)
        }


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


def _evaluation(model: Model) -> dict[str, object]:
    # Who declares no critical slice says what was said before there was a word for it.
    said = model.evaluation
    return said.model_dump(mode="json", exclude=set() if said.critical else {"critical"})
