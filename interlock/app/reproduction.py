"""`interlock reproduce MODEL@VERSION`: the same rows from the sources, and the same model of them.

The rows are joined again from tables and views, beside what is kept of the first time, with the
labels known at the same instant. Only when they are the same is the model trained again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.app.build import Builder, Say, midnight, quiet
from interlock.app.releases import load_model
from interlock.app.training import (
    TrainedModel,
    fitted,
    inputs_and_labels,
    made_with,
    sources_of,
    with_labels,
)
from interlock.app.versions import Version, stored
from interlock.app.workspace import Workspace
from interlock.define.definitions import Model
from interlock.define.digest import digest_bytes
from interlock.define.refs import Ref
from interlock.define.schema import did_you_mean
from interlock.errors import NotFound
from interlock.models.dataset import Floats, Manifest, checksum
from interlock.models.labelled import Interval
from interlock.ports import Json

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Reproduction:
    """What came out the second time.

    `rows` then and now, `same_rows` by checksum of inputs and labels in order. `sources` tells
    those with other rows than then, `libraries` those with other versions. `artifact` is the
    digest of the model that was made now, None where the rows had moved; `difference` is the
    largest of any score over all rows.
    """

    model: str
    version: str
    release: str
    rows: tuple[int, int]
    same_rows: bool
    sources: tuple[str, ...]
    libraries: tuple[str, ...]
    artifact: str | None = None
    difference: float | None = None
    tolerance: float = 0.0

    @property
    def same(self) -> bool:
        return self.difference is not None and self.difference <= self.tolerance

    @property
    def exit_code(self) -> int:
        """0: reproduced; 2: its rows are no longer there; 3: the same rows give another model."""
        return 0 if self.same else 3 if self.same_rows else 2

    def to_json(self) -> Json:
        return {**self.__dict__, "same": self.same}


def reproduce_model(
    workspace: Workspace, asked: str, tolerance: float = 0.0, say: Say = quiet
) -> Reproduction:
    """Make `asked` (`late`, or `late@` and the beginning of a version) again; nothing is kept.

    `tolerance` is the largest difference of a score that still counts as the same; with 0 the
    artifact must come out byte for byte.
    """
    version, trained = _found(workspace, asked)
    builder, model = version.builder(workspace, say), version.project.models[trained.model]
    manifest = Manifest.from_json(trained.manifest)
    table = _rows_again(builder, model, manifest)
    x, y = inputs_and_labels(table, trained)
    same_rows = checksum(x, y) == manifest.checksum
    said = (
        trained.model, trained.artifact[:12], version.release or "",
        (manifest.rows, len(y)), same_rows, tuple(_moved(builder, model, manifest)),
        tuple(_others(manifest, trained)),
    )  # fmt: skip
    if not same_rows:
        return Reproduction(*said, tolerance=tolerance)
    say(f"training model:{model.model}")
    again = fitted(builder, model, table)
    made = digest_bytes(again.model)
    same = made == trained.artifact
    say(f"scoring {len(y)} rows with both models")
    apart = 0.0 if same else _difference(workspace, trained, again.format, again.model, x)
    return Reproduction(*said, made, apart, tolerance)


def _found(workspace: Workspace, asked: str) -> tuple[Version, TrainedModel]:
    """A release with that model, the model that runs before any other; and the model."""
    name, _, wanted = asked.removeprefix("model:").partition("@")
    running = [*workspace.route().releases]
    kept = [entry.ref.name for entry in reversed(workspace.record.list("release"))]
    known: dict[str, None] = {}
    for release in dict.fromkeys(running + kept):
        entry = workspace.record.get(Ref("release", release))
        for model, body in (entry.body["models"] if entry else {}).items():
            known[f"{model}@{body['artifact'][:12]}"] = None
            if model == name and body["artifact"].startswith(wanted):
                version = stored(workspace, release)
                return version, version.models[model]
    raise NotFound(f"no release has a model {asked}", help=did_you_mean(asked, known))


@contextmanager
def _beside(builder: Builder, sql: str) -> Iterator[str]:
    """`sql` as a table of its own: what is kept of the first time proves nothing."""
    name, warehouse = f"il.again_{secrets.token_hex(6)}", builder.workspace.warehouse
    try:
        warehouse.build(name, sql)
        yield name
    finally:
        warehouse.execute(f"DROP TABLE IF EXISTS {name}")


def _rows_again(builder: Builder, model: Model, manifest: Manifest) -> pa.Table:
    start, end = date.fromisoformat(manifest.start), date.fromisoformat(manifest.end)
    known = datetime.fromisoformat(manifest.labels_known_by)
    with _beside(builder, builder.rows_sql(model, start, end)) as rows:
        return with_labels(builder, model, rows, Interval(midnight(start), midnight(end), known))


def _moved(builder: Builder, model: Model, manifest: Manifest) -> Iterator[str]:
    now = {source.ref: source for source in sources_of(builder, model)}
    for then in manifest.sources:
        if then.ref in now and now[then.ref].snapshot != then.snapshot:
            yield f"{then.ref} had {then.snapshot}, and has {now[then.ref].snapshot}"


def _others(manifest: Manifest, trained: TrainedModel) -> Iterator[str]:
    now = made_with(trained)
    for name, then in manifest.made_with.items():
        if now.get(name) != then:
            yield f"{name} was {then}, and is {now.get(name, 'not here')}"


def _difference(
    workspace: Workspace, trained: TrainedModel, format: str, made: bytes, x: Floats
) -> float:
    one: Any = load_model(trained.format, workspace.artifacts.get(trained.artifact))
    other: Any = load_model(format, made)
    return float(np.max(np.abs(one.score(x) - other.score(x)), initial=0.0))
