"""What the warehouse says today of one prediction: the rows it would have found at its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from interlock.app.build import Builder
from interlock.app.consistency import typed
from interlock.app.feed import stored_numbers
from interlock.app.predictions import Prediction, plain, spec_of
from interlock.app.versions import Version, stored
from interlock.app.workspace import Workspace
from interlock.define.keys import entity_key
from interlock.features.compile import physical
from interlock.features.masking import REDACTED
from interlock.ports import Json, OnlineRow
from interlock.serve.answer import Resolved, resolve
from interlock.serve.assemble import Assembler
from interlock.serve.spec import FeatureInput, Lookup, ModelSpec, RequestInput


@dataclass(frozen=True)
class Met:
    """One lookup made again. `key` is the entity as everybody may see it.

    `row` is None where nothing was known; `known` (seconds since 1970) is from when on it was
    the answer. `said` are the values that count and their status.
    """

    lookup: Lookup
    table: str
    key: str | None
    row: OnlineRow | None
    known: float | None
    said: Resolved

    @property
    def status(self) -> str:
        """The worst of its values."""
        order = ("missing", "stale", "null", "fresh")
        return next((one for one in order if one in self.said.statuses), "fresh")


@dataclass(frozen=True)
class Recalled:
    """All lookups of a prediction, and the inputs they lead to: name -> value, None is missing.

    `why` says why nothing could be looked up, where that is so.
    """

    version: Version
    met: tuple[Met, ...] = ()
    inputs: Mapping[str, float | None] | None = None
    why: str = ""


def recall(workspace: Workspace, prediction: Prediction) -> Recalled:
    """Look up again, as of the instant of the prediction, in tables as they are now."""
    version = stored(workspace, prediction.release)
    _, model = spec_of(workspace, prediction)
    builder = version.builder(workspace)
    names = {name for lookup in model.lookups for name in lookup.entity}
    sent, why = _sent(builder, prediction, model.columns, names)
    if sent is None:
        return Recalled(version, why=why)
    at = prediction.at
    request = {i.name: [sent.get(i.name)] for i in model.inputs if isinstance(i, RequestInput)}
    if prediction.sent is None and (others := _others(model, prediction, request)):
        spine = builder.project.models[prediction.model].spine
        why = f"the row of {spine} for this key has another {', '.join(others)} than was sent"
        return Recalled(version, why=f"{why}, and that was not kept")
    met = tuple(_met(builder, lookup, sent, at) for lookup in model.lookups)
    assembler = Assembler(model)
    rows = [[one.row] for one in met]
    matrix = assembler.of_rows(request, rows, [at.timestamp()]).matrix
    values = plain(matrix[0].tolist())
    inputs = {
        one.name: value
        for one, value in zip(model.inputs, values, strict=True)
        if isinstance(one, FeatureInput)
    }
    return Recalled(version, met, inputs)


def _others(
    model: ModelSpec, prediction: Prediction, request: Mapping[str, list[Any]]
) -> Sequence[str]:
    """Inputs that came with the request, and have other values in the log than in `request`."""
    nothing: list[list[OnlineRow | None]] = [[None] for _ in model.lookups]
    made = Assembler(model).of_rows(request, nothing, [prediction.at.timestamp()]).matrix
    pairs = zip(model.inputs, plain(made[0].tolist()), prediction.inputs, strict=False)
    return [
        one.name for one, mine, logged in pairs if isinstance(one, RequestInput) and mine != logged
    ]


def _sent(
    builder: Builder, prediction: Prediction, types: Mapping[str, str], names: set[str]
) -> tuple[Json | None, str]:
    """The columns the features were looked up by: as they came, or as the spine has them."""
    if prediction.sent is not None:
        return {n: typed(v, types[n]) for n, v in prediction.sent.items()}, ""
    model, dialect = builder.project.models[prediction.model], builder.dialect
    key, moment = dialect.quoted(model.key), dialect.quoted(model.time)
    relation = builder.table(model.spine)
    literal = dialect.literal(prediction.key)
    asked = f"SELECT * FROM {relation} AS t WHERE {key} = {literal} ORDER BY {moment}"
    rows = builder.workspace.warehouse.query(asked).to_pylist()
    same = [row for row in rows if _utc(row[model.time]) == prediction.at] or rows
    if len({tuple(str(row[name]) for name in sorted(names)) for row in same}) == 1:
        return same[0], ""
    many = "several rows" if same else "no row"
    return None, f"{many} of {model.spine} for this key, and what was sent was not kept"


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _met(builder: Builder, lookup: Lookup, sent: Mapping[str, Any], at: datetime) -> Met:
    """The last row that was the answer at `at`, with the TTL and stand-ins of serving."""
    warehouse, dialect = builder.workspace.warehouse, builder.dialect
    table = physical(lookup.view, lookup.fingerprint)
    key = entity_key([sent.get(name) for name in lookup.entity])
    row: OnlineRow | None = None
    known: float | None = None
    if key is not None:
        types = warehouse.columns(f"SELECT * FROM {table} AS t")
        same = [f"{dialect.quoted(n)} = {dialect.literal(sent[n])}" for n in lookup.entity]
        stamp = dialect.quoted(lookup.known)
        where = " AND ".join([*same, f"{stamp} <= {dialect.instant(at)}"])
        numbers = ", ".join(stored_numbers(lookup, types, dialect))
        found = warehouse.query(
            f"SELECT {numbers} FROM {table} AS t WHERE {where} ORDER BY {stamp} DESC LIMIT 1"
        ).to_pylist()
        if found:
            known, event_time, available_at, *values = found[0].values()
            row = OnlineRow(event_time, tuple(values), available_at, known or 0.0)
    said = resolve(lookup, row, at.timestamp())
    ref = builder.project.views[lookup.view].ref
    hidden = any(builder.masks.hides(ref, name) for name in lookup.entity)
    return Met(lookup, table, REDACTED if hidden and key else key, row, known, said)
