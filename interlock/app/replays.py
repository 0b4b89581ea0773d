"""Could it have been known? As-of replay of one view, and what its missing values tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from interlock.app import checks
from interlock.app.build import Builder, Say, quiet
from interlock.app.planning import wanted
from interlock.app.training import bound_label_sql
from interlock.app.workspace import Workspace
from interlock.change.evidence import Evidence, Verdict
from interlock.define.definitions import FeatureView, Model
from interlock.define.schema import did_you_mean
from interlock.errors import NotFound, Unusable
from interlock.features.compile import point_in_time_sql
from interlock.features.missingness import Missing, missingness_sql, read_missingness
from interlock.impact.lineage import lineage

_LABEL = "label_"
SAMPLE = 20_000
"""Rows that are looked at, the same ones each time: more only make a large difference surer."""


@dataclass(frozen=True)
class Replayed:
    """Both proofs of one view."""

    replay: Evidence
    missingness: Evidence


def replay_view(
    workspace: Workspace, name: str, cutoffs: int, step: checks.Step, say: Say = quiet
) -> Replayed:
    """Replay the view `name` (`view:NAME@V`) as the files declare it. Nothing is kept."""
    builder = wanted(workspace).builder(workspace, say)
    plain = name.removeprefix("view:")
    view = builder.project.views.get(plain)
    if view is None:
        known = set(builder.project.views)
        raise NotFound(f"no view is called {plain}", help=did_you_mean(plain, known))
    model = asking(builder, view)
    seen = checks.replay(builder, view, model, cutoffs, step)
    return Replayed(seen, missingness(builder, view, model))


def asking(builder: Builder, view: FeatureView) -> Model:
    """A model that reads `view`, or else one whose spine has its entity: it says when to ask."""
    models = builder.project.models.values()
    readers = [model for model in models if view.ref in model.view_refs]
    for model in (*readers, *models):
        spine = builder.project.tables[model.spine]
        if set(view.entity) <= set(spine.columns):
            return model
    raise Unusable(
        f"no model's spine has {', '.join(view.entity)}, so nobody asks {view.ref} anything",
        help="declare a model that predicts for this entity",
    )


def missingness(builder: Builder, view: FeatureView, model: Model) -> Evidence:
    """Do rows without a value have other labels, in the view or in the columns it stands on?

    One query for the view as the model would see it; one for each table that has a row per
    key of the model, over the rows that were there when the model asked.
    """
    samples = [
        (missingness_sql(rows, _LABEL, list(names), builder.dialect), names)
        for rows, names in _samples(builder, view, model)
    ]
    query = builder.workspace.warehouse.query
    answers = [(query(sql).to_pylist()[0], names) for sql, names in samples]
    found, looked = read_missingness(answers), sum(len(names) for _, names in answers)
    rows = max(int(row["__rows"]) for row, _ in answers)
    told = sorted((m for m in found if m.says == "tells"), key=lambda m: -max(m.low, -m.high))
    verdict: Verdict = "fail" if told else "pass" if rows else "inconclusive"
    return Evidence(
        check=f"missingness:{view.view}@{view.version}",
        subjects={str(view.ref): builder.facts.fingerprint(view.ref)},
        verdict=verdict,
        sentence=_sentence(view, found, told, looked) if rows else _nothing(view),
        made_at=builder.workspace.now(),
        metric="label_rate_difference",
        n=rows,
        value=max((abs(m.rate_missing - m.rate_known) for m in told), default=None),
        details={"columns": [asdict(one) for one in found]},
    )


def _nothing(view: FeatureView) -> str:
    return f"{view.ref}: no labelled row, nothing was looked at"


def _sentence(view: FeatureView, found: list[Missing], told: list[Missing], looked: int) -> str:
    if told:
        return "a missing value tells the label: " + "; ".join(m.sentence for m in told)
    few = [f"{m.column} ({m.missing})" for m in found if m.says == "few"]
    said = f"{view.ref}: of {looked} columns none tells the label by being missing"
    return said + (f"; missing too rarely to judge: {', '.join(few)}" if few else "")


def _samples(
    builder: Builder, view: FeatureView, model: Model
) -> list[tuple[str, Mapping[str, str]]]:
    """Relations with labels, each with its columns and what these are called."""
    q, instant = builder.dialect.quoted, builder.dialect.instant
    key, spine = q(model.key), _few(builder, model)
    label, now = model.label, builder.workspace.now()
    labels = (
        f"(SELECT {key}, {q(label.column)} AS {_LABEL} "
        f"FROM ({bound_label_sql(builder, model)}) AS y WHERE {q(label.available_at)} <= "
        f"{instant(now)} AND {q(label.column)} IS NOT NULL)"
    )
    how = builder.join(spine)
    joined = point_in_time_sql(spine, model.key, model.time, [builder.view(view)], how=how)
    features = {name: str(view.feature_ref(name)) for name in view.features}
    found: list[tuple[str, Mapping[str, str]]] = [
        (
            f"(SELECT f.*, l.{_LABEL} FROM ({joined}) AS f JOIN {labels} AS l USING ({key}))",
            features,
        )
    ]
    for name, columns in _read(builder, view, model).items():
        table = builder.project.tables[name]
        known = f" AND t.{q(table.available_at)} <= s.{q(model.time)}" if (
            table.available_at) else ""  # fmt: skip
        found.append(
            (
                f"(SELECT t.*, l.{_LABEL} FROM {spine} AS s JOIN {labels} AS l USING ({key}) "
                f"JOIN {builder.table(name)} AS t ON t.{key} = s.{key}{known})",
                {column: f"column:{name}.{column}" for column in columns},
            )
        )
    return found


def _few(builder: Builder, model: Model) -> str:
    """Some rows of recent history, scattered, and the same ones on every engine."""
    dialect = builder.dialect
    key = dialect.quoted(model.key)
    scattered = f"md5({dialect.cast(key, 'string')})"
    return (
        f"(SELECT * FROM {checks.recent_spine(builder, model)} AS r "
        f"ORDER BY {scattered}, {key} LIMIT {SAMPLE})"
    )


def _read(builder: Builder, view: FeatureView, model: Model) -> dict[str, list[str]]:
    """Tables with one row per key of the model, and their columns that the view stands on."""
    found: dict[str, list[str]] = {}
    for node in lineage(builder.facts, str(view.ref), "upstream").nodes:
        kind, _, rest = node.partition(":")
        name, _, column = rest.rpartition(".")
        table = builder.project.tables.get(name) if kind == "column" else None
        if table and table.key == (model.key,) and column in table.columns and column != model.key:
            found.setdefault(name, []).append(column)
    return {name: sorted(columns) for name, columns in sorted(found.items())}
