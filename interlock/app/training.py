"""Train one version of a model on exactly what was knowable, and score rows with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.app.build import Builder, midnight
from interlock.app.scratch import scratch
from interlock.define.definitions import FeatureView, Model, Table
from interlock.errors import Refused, about
from interlock.features.compile import column_names
from interlock.features.contract import declared_type
from interlock.features.histogram import bin_counts, counts_sql, edges_sql, freeze
from interlock.features.snapshot import rows_text, snapshot_sql
from interlock.features.timeline import known_column
from interlock.impact.sql import substitute, tables_read
from interlock.models.dataset import (
    Floats,
    Manifest,
    Source,
    checksum,
    matrix,
    profile,
)
from interlock.models.labelled import Interval, duplicate_labels_sql, model_sql
from interlock.ports import Json, Scorer, Trained

if TYPE_CHECKING:
    import pyarrow as pa

_LIBRARIES = {
    "lightgbm-text": ("lightgbm",),
    "xgboost-json": ("xgboost", "xgboost-cpu"),  # one library, two distributions
    "onnx": ("onnx",),
}


@dataclass(frozen=True)
class TrainedModel:
    """An artifact by its digest, and what must be known to serve and to reproduce it."""

    model: str
    artifact: str
    format: str
    inputs: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    importance: Mapping[str, float]
    manifest: Json

    def to_json(self) -> Json:
        categories = {name: list(values) for name, values in self.categories.items()}
        return {**self.__dict__, "inputs": list(self.inputs), "categories": categories}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> TrainedModel:
        categories = {name: tuple(values) for name, values in body["categories"].items()}
        return cls(**{**body, "inputs": tuple(body["inputs"]), "categories": categories})


@dataclass(frozen=True)
class Labelled:
    """Rows with known outcomes: all columns, and the outcome as float64 0 or 1."""

    columns: Mapping[str, Any]
    y: Floats

    def matrix(self, trained: TrainedModel) -> Floats:
        return matrix(self.columns, trained.inputs, trained.categories)


def input_columns(model: Model) -> tuple[str, ...]:
    """The columns of the point-in-time rows that a model reads, in matrix order."""
    return (*column_names(model.features).values(), *model.request)


def bound_label_sql(builder: Builder, model: Model) -> str:
    """The label's SQL on the physical tables of this version."""
    bound = builder.bindings(tables_read(model.label.sql))
    return substitute(model.label.sql, bound, builder.dialect.name)


def refuse_several_labels(builder: Builder, model: Model) -> None:
    """A key with two outcomes would make two rows of one."""
    label = model.label.model_copy(update={"sql": bound_label_sql(builder, model)})
    sql = duplicate_labels_sql(label, model.key, builder.dialect)
    twice = builder.workspace.warehouse.query(sql).to_pylist()[0]["duplicates"]
    if twice:
        raise Refused(
            f"{twice} keys of {model.ref} have more than one label",
            help=f"make {model.key} unique in the label's SQL",
        )


def labelled(builder: Builder, model: Model, start: date, end: date, known: datetime) -> pa.Table:
    """Rows of [start, end) whose label was known at the instant `known`, in time order."""
    interval = Interval(midnight(start), midnight(end), known)
    return with_labels(builder, model, builder.rows(model, start, end), interval)


def with_labels(builder: Builder, model: Model, rows: str, interval: Interval) -> pa.Table:
    """The point-in-time `rows` of `interval`, each with the label that was known, in time order."""
    bound = model.label.model_copy(update={"sql": bound_label_sql(builder, model)})
    refuse_several_labels(builder, model)
    sql = model_sql(rows, bound, model.key, model.time, interval, builder.dialect)
    return builder.workspace.warehouse.query(sql)


def evaluation_rows(builder: Builder, model: Model) -> Labelled:
    """Rows of the evaluation window as columns of numpy arrays or lists."""
    window, now = model.evaluation, builder.workspace.now()
    table = labelled(builder, model, window.start, window.end, now)
    columns = {
        name: column_values(table.column(name)) for name in table.column_names if name != "label"
    }
    return Labelled(columns, np.asarray(table.column("label"), dtype=np.float64))


def column_values(column: Any) -> Any:
    """Numbers as float64 with NaN for NULL; anything else as a list of Python values."""
    import pyarrow.types as types

    if types.is_integer(column.type) or types.is_floating(column.type):
        return column.cast("float64").to_numpy()
    if types.is_string(column.type) or types.is_dictionary(column.type):
        return np.asarray(column.to_pylist(), dtype=object)
    return column.to_pylist()


def train(builder: Builder, model: Model) -> TrainedModel:
    """Train `model` as declared; the artifact is stored, the manifest says what it saw."""
    with about(model.ref):
        builder.say(f"training model:{model.model}")
        # One instant for rows and manifest: a label that comes meanwhile is in neither.
        known = builder.workspace.now()
        table = labelled(builder, model, model.training.start, model.training.end, known)
        if not table.num_rows:
            raise Refused(
                f"{model.ref} has no labelled row in its training window",
                help=f"known now ({builder.workspace.now():%Y-%m-%d %H:%M} UTC); move the window",
            )
        found = fitted(builder, model, table)
        artifact = builder.workspace.artifacts.put(found.model)
        trained = TrainedModel(
            model.model, artifact, found.format, found.inputs, found.categories,
            found.importance, {},
        )  # fmt: skip
        manifest = _manifest(builder, model, table, trained, known)
        return TrainedModel(**{**trained.__dict__, "manifest": manifest.to_json()})


def fitted(builder: Builder, model: Model, table: pa.Table) -> Trained:
    """What the train file of `model` makes of these labelled rows; nothing is kept."""
    from interlock.adapters.trainer import SubprocessTrainer

    options = {
        **model.training.parameters,
        "seed": model.training.seed,
        "categories": list(model.categories),
    }
    builder.workspace.state.mkdir(exist_ok=True)
    with scratch(builder.workspace.state, "training") as work:
        rows = table.select([*input_columns(model), "label"])
        how = model.training
        return SubprocessTrainer().train(how.code, how.entry, rows, options, work)


def _manifest(
    builder: Builder, model: Model, table: pa.Table, trained: TrainedModel, known: datetime
) -> Manifest:
    x, y = inputs_and_labels(table, trained)
    return Manifest(
        model.model, sources_of(builder, model), str(model.training.start), str(model.training.end),
        known.isoformat(), _maturity(builder, model, len(y)), len(y),
        int(y.sum()), trained.inputs, trained.categories, checksum(x, y),
        _profile(builder, model, x, trained.inputs),
        histograms(builder, model, _shown_numbers(builder, model, trained)), made_with(trained),
    )  # fmt: skip


def inputs_and_labels(table: pa.Table, trained: TrainedModel) -> tuple[Floats, Floats]:
    """The matrix [rows, inputs] as `trained` codes it, and the label of each row."""
    columns = {name: column_values(table.column(name)) for name in trained.inputs}
    x = matrix(columns, trained.inputs, trained.categories)
    return x, np.asarray(table.column("label"), dtype=np.float64)


def made_with(trained: TrainedModel) -> dict[str, str]:
    """The versions of what may make other bytes of the same rows."""
    found = {"python": python_version(), "numpy": version("numpy")}
    for name in _LIBRARIES[trained.format]:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def sources_of(builder: Builder, model: Model) -> tuple[Source, ...]:
    """Which rows of which version the training set of `model` is made of, as they are now."""
    tables = sorted({model.spine, *tables_read(model.label.sql)})
    found = [_source(builder, builder.project.tables[name]) for name in tables]
    return (*found, *(_source(builder, view) for view, _ in builder.views(model)))


def _source(builder: Builder, read: Table | FeatureView) -> Source:
    if isinstance(read, Table):
        built, stamp = builder.table(read.name), read.available_at or read.event_time
    else:
        built, stamp = builder.view(read)[1], known_column(read)
    asked = snapshot_sql(built, stamp, builder.dialect)
    said = builder.workspace.warehouse.query(asked).to_pylist()[0]
    snapshot = f"{builder.dialect.name} {rows_text(said)}"
    newest = said["newest"] and said["newest"].replace(" ", "T") + "Z"
    return Source(str(read.ref), builder.facts.fingerprint(read.ref), snapshot, newest)


def _shown_numbers(builder: Builder, model: Model, trained: TrainedModel) -> list[str]:
    """Inputs whose edges may be kept: edges are values."""
    hidden = builder.masks.inputs(model)
    return [n for n in trained.inputs if n not in trained.categories and n not in hidden]


def histograms(
    builder: Builder, model: Model, inputs: Sequence[str]
) -> dict[str, dict[str, list[float]]]:
    """The edges of these inputs in the training window, and the rows in each bin."""
    if not inputs:
        return {}
    query, dialect = builder.workspace.warehouse.query, builder.dialect
    rows = numbers_of(
        builder, builder.rows(model, model.training.start, model.training.end), inputs
    )
    edges = freeze(query(edges_sql(rows, inputs, dialect=dialect)).to_pylist()[0])
    found = query(counts_sql(rows, edges, dialect)).to_pylist()[0]
    return {
        name: {"edges": list(cuts), "counts": list(bin_counts(found[name], cuts))}
        for name, cuts in edges.items()
    }


def numbers_of(builder: Builder, rows: str, inputs: Sequence[str]) -> str:
    """These columns of `rows` as doubles, days and truth values too."""
    dialect, types = (
        builder.dialect,
        builder.workspace.warehouse.columns(f"SELECT * FROM {rows} AS t"),
    )
    columns = ", ".join(
        f"{dialect.number(dialect.quoted(n), declared_type(types[n]))} AS {dialect.quoted(n)}"
        for n in inputs
    )
    return f"(SELECT {columns} FROM {rows} AS t)"


def _profile(
    builder: Builder, model: Model, x: Floats, inputs: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """Of masked inputs the counts only: the manifest is kept, and read by anybody."""
    hidden, made = builder.masks.inputs(model), profile(x, inputs)
    counts = ("nulls", "zeros")
    return {
        name: {k: v if name not in hidden or k in counts else None for k, v in seen.items()}
        for name, seen in made.items()
    }


def _maturity(builder: Builder, model: Model, labelled_rows: int) -> float:
    """The share of the window's rows whose label was known."""
    stamp, instant = builder.dialect.quoted(model.time), builder.dialect.instant
    start, end = (instant(midnight(day)) for day in (model.training.start, model.training.end))
    every = builder.workspace.warehouse.query(
        f"SELECT count(*) AS n FROM {builder.table(model.spine)} AS t "
        f"WHERE {stamp} >= {start} AND {stamp} < {end}"
    ).to_pylist()[0]["n"]
    return labelled_rows / every if every else 0.0


def scorer(builder: Builder, trained: TrainedModel) -> Scorer:
    """The stored artifact, loaded; raises `Corrupt` rather than score with other bytes."""
    from interlock.app.releases import load_model

    return load_model(trained.format, builder.workspace.artifacts.get(trained.artifact))
