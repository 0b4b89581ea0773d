"""The checks that make evidence about models and the services that act on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from interlock.app.build import Builder
from interlock.app.training import (
    Labelled,
    TrainedModel,
    bound_label_sql,
    evaluation_rows,
    scorer,
)
from interlock.change.evidence import Evidence
from interlock.define.definitions import Model, Service
from interlock.define.refs import Ref
from interlock.features.masking import REDACTED
from interlock.impact.sql import substitute
from interlock.models.compare import Comparison, compare
from interlock.models.dataset import Floats
from interlock.models.kpi import KpiComparison, KpiRows, compare_kpi
from interlock.models.nulls import Rows, rehearse

REHEARSED = 5_000


@dataclass(frozen=True)
class Side:
    """One release's half of a comparison: its version of the data, and its model.

    Without a trained model the scores are one constant: there is no incumbent yet.
    """

    builder: Builder
    model: Model
    trained: TrainedModel | None
    constant: float = 0.5

    def scores(self, rows: Labelled) -> Floats:
        if self.trained is None:
            return np.full(len(rows.y), self.constant)
        return np.asarray(scorer(self.builder, self.trained).score(rows.matrix(self.trained)))


@dataclass(frozen=True)
class Scored:
    """The same rows under both releases; `key` is the spine's."""

    rows: Labelled
    old: Floats
    new: Floats
    key: list[int]


def score_both(old: Side, new: Side) -> Scored:
    """Each side scores its own rows of the new evaluation window; rows of both are kept."""
    window = new.model.evaluation
    theirs = old.model.model_copy(update={"evaluation": window})
    new_rows = evaluation_rows(new.builder, new.model)
    new_key = [int(k) for k in new_rows.columns[new.model.key]]
    new_scores = new.scores(new_rows)
    span = (window.start, window.end)
    same = old.builder.rows(theirs, *span) == new.builder.rows(new.model, *span)
    old_rows = new_rows if same or old.trained is None else evaluation_rows(old.builder, theirs)
    old_scores = old.scores(old_rows)
    if old_rows is new_rows:
        return Scored(new_rows, old_scores, new_scores, new_key)
    return _aligned(old, (old_rows, old_scores), (new_rows, new_scores, new_key))


def _aligned(
    old: Side, before: tuple[Labelled, Floats], after: tuple[Labelled, Floats, list[int]]
) -> Scored:
    rows, scores, keys = after
    there = {int(k): i for i, k in enumerate(before[0].columns[old.model.key])}
    kept = [i for i, key in enumerate(keys) if key in there]
    place = [there[keys[i]] for i in kept]
    columns = {
        name: values[kept] if isinstance(values, np.ndarray) else [values[i] for i in kept]
        for name, values in rows.columns.items()
    }
    shared = Labelled(columns, rows.y[kept])
    return Scored(shared, before[1][place], scores[kept], [keys[i] for i in kept])


def comparison(new: Side, scored: Scored) -> tuple[Evidence, Comparison]:
    """Challenger against incumbent, overall and by slice."""
    model, now = new.model, new.builder.workspace.now()
    columns = scored.rows.columns
    slices = {s: _slice(new, s, columns[s]) for s in model.evaluation.slices}
    day = np.asarray([str(t)[:10] for t in columns[model.time]])
    found = compare(scored.rows.y, scored.old, scored.new, slices, day, model.evaluation)
    relative = found.relative
    return (
        Evidence(
            check=f"model_comparison:{model.model}",
            subjects=new_subjects(new),
            verdict=found.verdict,
            sentence="; ".join(found.sentences),
            made_at=now,
            metric="log_loss_relative",
            n=found.n,
            value=relative.value,
            interval=(relative.low, relative.high),
            baseline=model.evaluation.margin,
            details=found.to_json(),
        ),
        found,
    )


def _slice(side: Side, name: str, values: Any) -> Any:
    """What rows are sliced by; masked values make masked slices, in names and in numbers."""
    masks, spine = side.builder.masks, Ref("table", side.model.spine)
    if name in masks.inputs(side.model) and not masks.hides(spine, name):
        return np.full(len(values), REDACTED, dtype=object)
    shown = values
    if masks.hides(spine, name):
        shown = [masks.shown(spine, name, value) for value in values]
    return np.asarray(shown, dtype=object)


def new_subjects(side: Side) -> dict[str, str]:
    """What the evidence stands on: the model's meaning."""
    return {str(side.model.ref): side.builder.facts.fingerprint(side.model.ref)}


def null_rehearsal(new: Side, scored: Scored) -> Evidence:
    """What happens when a whole view is missing at request time."""
    assert new.trained is not None
    from interlock.features.compile import column_names

    model, builder = new.model, new.builder
    names = column_names(model.features)
    views: dict[str, dict[str, float | None]] = {}
    for text, column in names.items():
        view_text, _, feature = text.rpartition(":")
        declared = builder.project.views[view_text].features[feature].fallback
        views.setdefault(view_text, {})[column] = declared.value if declared else None
    nulls = {n: int(row["nulls"] or 0) for n, row in new.trained.manifest["profile"].items()}
    load = scorer(builder, new.trained)
    # Every n-th row is enough to see what a missing view does, and each view costs a pass.
    every = slice(None, None, max(1, len(scored.rows.y) // REHEARSED))
    matrix = scored.rows.matrix(new.trained)[every]
    rows = Rows(matrix, scored.rows.y[every], new.trained.inputs)
    found = rehearse(load.score, rows, nulls, views)
    worst = max(found.rehearsals, key=lambda r: r.worsening, default=None)
    said = "; ".join(found.sentences) or (f"worst case: {worst.sentence}" if worst else "no view")
    return Evidence(
        check=f"null_rehearsal:{model.model}",
        subjects=new_subjects(new),
        verdict=found.verdict,
        sentence=said,
        made_at=builder.workspace.now(),
        metric="log_loss_relative",
        n=len(rows.y),
        value=worst.worsening if worst else None,
        details=found.to_json(),
    )


@dataclass(frozen=True)
class KpiOnHistory:
    """A service's KPI before and after, and what the judge must know to watch it later.

    `difference_variance` is per unit, with the units of one day taken together, and never less
    than history can rule out; `variance` that of the number itself from unit to unit of one day.
    """

    comparison: KpiComparison
    baseline: float
    difference_variance: float
    mean_weight: float
    units_per_day: float
    variance: float


def kpi(new: Side, service: Service, scored: Scored) -> tuple[Evidence, KpiOnHistory]:
    """The service's own number on history, under the old and the new scores."""
    old_rows = kpi_rows(new, service, scored, scored.old)
    new_rows = kpi_rows(new, service, scored, scored.new)
    found = compare_kpi(old_rows, new_rows, service.kpi)
    history = on_history(found, old_rows, new_rows)
    body: dict[str, Any] = found.to_json()
    evidence = Evidence(
        check=f"kpi:{service.service}",
        subjects={
            **new_subjects(new),
            str(service.ref): new.builder.facts.fingerprint(service.ref),
        },
        verdict=found.verdict,
        sentence=found.sentence,
        made_at=new.builder.workspace.now(),
        metric=service.kpi.name,
        n=found.units,
        value=found.change.value,
        interval=(found.change.low, found.change.high),
        baseline=service.kpi.margin,
        details=body,
    )
    return evidence, history


def kpi_rows(side: Side, service: Service, scored: Scored, scores: Floats) -> KpiRows:
    """What the service's KPI says of `scores` for the rows of `scored`."""
    import pyarrow as pa

    model, builder = side.model, side.builder
    warehouse = builder.workspace.warehouse
    warehouse.load("il.scores", pa.table({model.key: scored.key, "p": scores}))
    q, label = builder.dialect.quoted, bound_label_sql(builder, model)
    outcome = "".join(f", l.{q(name)}" for name in warehouse.columns(label) if name != model.key)
    key = q(model.key)
    sql = (
        f"WITH scored AS (SELECT s.*, x.p{outcome} FROM il.scores AS x "
        f"JOIN {builder.table(model.spine)} AS s ON s.{key} = x.{key} "
        f"JOIN ({label}) AS l ON l.{key} = s.{key}) "
        f"SELECT * FROM ({substitute(service.kpi.sql, {}, builder.dialect.name)}) AS k "
        "ORDER BY unit, day"
    )
    table = warehouse.query(sql)
    weight = "weight" in table.column_names
    return KpiRows(
        np.asarray(table.column("unit").to_pylist(), dtype=object),
        np.asarray([str(d) for d in table.column("day").to_pylist()]),
        table.column("value").cast("float64").to_numpy(),
        table.column("weight").cast("float64").to_numpy() if weight else None,
    )


def on_history(found: KpiComparison, old: KpiRows, new: KpiRows) -> KpiOnHistory:
    """What the rows of both releases, unit by unit, say of the rollout to come."""
    mean_weight = float(old.weights.mean()) or 1.0
    days, where = np.unique(old.day.astype(str), return_inverse=True)
    paired = len(old.value) == len(new.value)
    difference = (new.value - old.value if paired else old.value) / mean_weight
    by_day = np.bincount(where, weights=difference, minlength=len(days))
    units_per_day = len(old.value) / max(len(days), 1)
    level = old.value / mean_weight
    # Few days may be alike by luck, and units that never differed may differ yet.
    spread = float(np.var(difference)) + _unseen(level) if len(level) else 0.0
    if len(days) > 1:
        spread = max(spread, float(np.var(by_day, ddof=1)) / units_per_day)
    days_level = np.bincount(where, weights=level) / np.maximum(np.bincount(where), 1)
    own = float(np.var(level - days_level[where])) if len(level) else 0.0
    return KpiOnHistory(found, found.old, max(spread, 1e-9), mean_weight, units_per_day, own)


def _unseen(level: Floats) -> float:
    """Variance per unit of differences too rare to be in history: at most 3 in n units (95 %),
    each as large as the KPI itself."""
    return 3 / len(level) * float(np.mean(level**2))
