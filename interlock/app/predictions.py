"""One prediction, found by its id: what was asked, what was answered, from which inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from interlock.app.workspace import Workspace
from interlock.define.keys import instant_text
from interlock.define.refs import Ref
from interlock.errors import NotFound, Unavailable
from interlock.ports import Json
from interlock.serve.spec import ModelSpec, ServingSpec

if TYPE_CHECKING:
    from interlock.app.shown import Place

Door = Literal["gateway", "batch"]


@dataclass(frozen=True)
class Prediction:
    """What is kept of one answer. `at` is the instant it was asked for, `served` when it was
    given, in seconds of the wall; `inputs` the row of the matrix, None is missing.

    `sent` are the columns that came with the request where they were kept, `took` the
    microseconds of the store and of the model's turn where somebody looked closely.
    """

    id: str
    door: Door
    model: str
    release: str
    at: datetime
    key: Any
    subject: str
    score: float | None
    reason: str
    inputs: tuple[float | None, ...]
    stale: bool
    oldest: float | None
    fallbacks: tuple[str, ...]
    error: str | None
    arm: str = ""
    epoch: int | None = None
    stage: str | None = None
    change: str | None = None
    service: str = ""
    trace: str = ""
    parent: str = ""
    served: float | None = None
    latency: int | None = None
    took: tuple[int, int] | None = None
    sent: Mapping[str, Any] | None = None

    def to_json(self) -> Json:
        """Without what was sent: it may hold what not everybody may see."""
        kept = {n: v for n, v in self.__dict__.items() if n not in ("sent", "inputs", "key")}
        return {**kept, "at": instant_text(self.at)}


def find(workspace: Workspace, id: str, batch: bool = True) -> Prediction:
    """The prediction `id` (with or without `prediction:`), by whichever door it left.

    Without `batch` only those by request: tables of scores are in the warehouse.
    """
    wanted = id.removeprefix("prediction:")
    for row in workspace.predictions.find(wanted):
        if "inputs" in row:  # other lines of the log may speak of the same id
            return replace(_logged(row), change=_brought_by(workspace, row))
    found = _in_batch(workspace, wanted) if batch else None
    if found is not None:
        return found
    raise NotFound(
        f"there is no prediction {wanted} in {workspace.environment}",
        help="ids stand in answers, in the prediction log, and in tables of batch scores",
    )


def _brought_by(workspace: Workspace, row: Json) -> str | None:
    """The change whose answer it was: in an experiment rows carry the name of the first of them."""
    from interlock.app.changes import all_changes  # most answers need none of it

    first: str | None = row["change"]
    if first is None or row["arm"] != "candidate":
        return first
    mine = (
        one.id
        for one in all_changes(workspace)
        if one.experiment == first and one.release == row["release"]
    )
    return next(mine, first)


def latest(workspace: Workspace, release: str, most: int) -> tuple[Prediction, ...]:
    """The last answers of which is known what was sent, and the last of `release`.

    At most so many of each. Reads the whole log.
    """
    rows = [row for row in workspace.predictions.read({})[0] if "inputs" in row]
    sent = [row for row in rows if row.get("asked")][-most:]
    mine = [row for row in rows if row["release"] == release and not row["error"]][-most:]
    return tuple(_logged(row) for row in {row["id"]: row for row in (*sent, *mine)}.values())


def spec_of(workspace: Workspace, prediction: Prediction) -> tuple[ServingSpec, ModelSpec]:
    """The release that answered, and its model, as gateways were told of them."""
    entry = workspace.record.get(Ref("serving", prediction.release))
    if entry is None:
        raise NotFound(f"release {prediction.release[:12]} has no serving spec in the record")
    spec = ServingSpec.from_json(entry.body)
    return spec, spec.models[prediction.model]


def _logged(row: Json) -> Prediction:
    took = row.get("took_us")
    return Prediction(
        id=row["id"], door="gateway", model=row["model"], release=row["release"],
        at=datetime.fromisoformat(row["at"]), key=row["key"], subject=row["subject"],
        score=row["score"], reason=row["reason"], inputs=tuple(row["inputs"]),
        stale=row["stale"], oldest=row["oldest_s"], fallbacks=tuple(row["fallbacks"]),
        error=row["error"], arm=row["arm"], epoch=row["epoch"], stage=row["stage"],
        change=row["change"], service=row["service"], trace=row.get("trace", ""),
        parent=row.get("parent", ""), served=row["served_at"], latency=row["latency_us"],
        took=(took[0], took[1]) if took else None, sent=row.get("asked"),
    )  # fmt: skip


def _in_batch(workspace: Workspace, id: str) -> Prediction | None:
    from interlock.app.shown import place_of, registered  # a page loads nothing of this

    every = ((place_of(entry), entry.body["model"]) for entry in registered(workspace))
    found = (_scored(workspace, place, model, id) for place, model in every)
    return next((one for one in found if one is not None), None)


def _scored(workspace: Workspace, place: Place, model: str, id: str) -> Prediction | None:
    from interlock.features.dialect import dialect_of

    warehouse = workspace.warehouse
    if not warehouse.has(place.scores):
        return None
    text = dialect_of(warehouse).text(id)
    rows = warehouse.query(f"SELECT * FROM {place.scores} AS t WHERE id = {text}").to_pylist()
    if not rows:
        return None
    row = rows[0]
    declared = _declared(workspace, row["release"], model)
    at = row[declared[1]]
    return Prediction(
        id=id, door="batch", model=model, release=row["release"],
        at=at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC), key=row[declared[0]],
        subject=row["subject"] or "", score=row["score"], reason=row["reason"],
        inputs=plain(row["inputs"]), stale=row["stale"], oldest=row["oldest_s"],
        fallbacks=tuple(filter(None, row["fallbacks"].split(","))), error=row["error"],
    )  # fmt: skip


def _declared(workspace: Workspace, release: str, model: str) -> tuple[str, str]:
    """The columns of a model's key and time, as that release has them."""
    from interlock.app.versions import stored

    found = stored(workspace, release).project.models[model]
    return found.key, found.time


def plain(values: Sequence[float]) -> tuple[float | None, ...]:
    """NaN as None: neither a log nor a matrix can tell the two apart."""
    return tuple(None if value != value else value for value in values)


def reachable(workspace: Workspace) -> str:
    """Why the warehouse cannot be asked just now; empty when it can."""
    try:
        workspace.warehouse.query("SELECT 1 AS one")
    except Unavailable as error:
        return error.message
    return ""
