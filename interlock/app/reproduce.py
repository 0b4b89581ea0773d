"""`interlock replay PREDICTION`: is the score what the model says, and would it be asked so again?

First the logged inputs go through the stored artifact: the same bits must come out. Then the
features are looked up again as of that instant: where they differ, a row has moved since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from interlock.app.predictions import Prediction, find, reachable, spec_of
from interlock.app.recall import Met, Recalled, recall
from interlock.app.releases import load_release
from interlock.app.workspace import Workspace
from interlock.define.keys import instant_text
from interlock.features.masking import REDACTED
from interlock.ports import Json
from interlock.serve.spec import FeatureInput, ModelSpec


@dataclass(frozen=True)
class Moved:
    """One input that comes out otherwise today, and the row that gives it now.

    Values are None where missing. `event_time`, `known` and `entity` are of that row; a row
    that was not there then was written, or corrected, afterwards.
    """

    input: str
    view: str
    entity: str | None
    logged: float | str | None
    now: float | str | None
    event_time: str | None
    known: str | None

    def to_json(self) -> Json:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Reproduced:
    """What came out. `again` is the score of the logged inputs; `same` compares every bit.

    `compared` inputs were looked up again, `moved` are those that differ; `why` says why none
    could be.
    """

    prediction: Prediction
    again: float | None
    same: bool
    compared: int
    moved: tuple[Moved, ...]
    why: str = ""

    @property
    def exit_code(self) -> int:
        return 3 if not self.same else 2 if self.moved or self.why else 0

    def to_json(self) -> Json:
        names = ("again", "same", "compared", "why")
        return {
            "prediction": self.prediction.to_json(),
            **{name: getattr(self, name) for name in names},
            "moved": [one.to_json() for one in self.moved],
        }


def reproduce(workspace: Workspace, id: str) -> Reproduced:
    """Score the logged inputs again, and look them up again; changes nothing."""
    prediction = find(workspace, id)
    spec, model = spec_of(workspace, prediction)
    again = model.fallback_score
    if prediction.inputs:
        loaded = load_release(spec, workspace.artifacts)
        row = [float("nan") if v is None else v for v in prediction.inputs]
        again = float(loaded.scorer(model.model).score(np.array([row]))[0])
    same = again == prediction.score or _declared(prediction, model)
    why = reachable(workspace)
    recalled = None if why else recall(workspace, prediction)
    if recalled is None or recalled.inputs is None or not prediction.inputs:
        why = why or (recalled.why if recalled else "") or "the model had no inputs"
        return Reproduced(prediction, again, same, 0, (), why)
    return Reproduced(
        prediction, again, same, len(recalled.inputs), moved(workspace, prediction, model, recalled)
    )


def _declared(prediction: Prediction, model: ModelSpec) -> bool:
    """The model's own answer was not shown: the declared score was, or none."""
    return prediction.error is not None and prediction.score == model.fallback_score


def moved(
    workspace: Workspace, prediction: Prediction, model: ModelSpec, recalled: Recalled
) -> tuple[Moved, ...]:
    """Inputs that the tables of today give otherwise, with the row behind each."""
    assert recalled.inputs is not None
    hidden = recalled.version.builder(workspace).masks.inputs(
        recalled.version.project.models[model.model]
    )
    found = []
    for one, logged in zip(model.inputs, prediction.inputs, strict=True):
        if isinstance(one, FeatureInput) and recalled.inputs[one.name] != logged:
            pair: Sequence[float | str | None] = (logged, recalled.inputs[one.name])
            shown = [REDACTED if one.name in hidden and v is not None else v for v in pair]
            found.append(_moved(one, recalled.met[one.lookup], shown))
    return tuple(found)


def _moved(one: FeatureInput, met: Met, shown: Sequence[float | str | None]) -> Moved:
    stamp = _text(met.row.event_time) if met.row else None
    return Moved(one.name, met.lookup.view, met.key, shown[0], shown[1], stamp, _text(met.known))


def _text(seconds: float | None) -> str | None:
    from datetime import UTC, datetime

    return None if seconds is None else instant_text(datetime.fromtimestamp(seconds, UTC))
