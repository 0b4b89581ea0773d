"""The stages behind one answer, and those of the request itself: light, a page shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from interlock.app.predictions import Prediction, find, spec_of
from interlock.app.workspace import Workspace
from interlock.define.keys import instant_text
from interlock.ports import Json

Stage = Literal["extraction", "materialisation", "lookup", "inference", "service"]
STAGES: tuple[Stage, ...] = ("extraction", "materialisation", "lookup", "inference", "service")


@dataclass(frozen=True)
class Span:
    """One stage of one thing. `started` and `ended` are instants of the environment, None where
    unknown; `age` are seconds from the event to the question. `quality` says how good it was.
    """

    stage: Stage
    name: str
    started: datetime | None = None
    ended: datetime | None = None
    quality: str = ""
    age: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def took(self) -> float | None:
        """Seconds."""
        if self.started is None or self.ended is None:
            return None
        return (self.ended - self.started).total_seconds()

    def to_json(self) -> Json:
        times = {
            "started": text_of(self.started),
            "ended": text_of(self.ended),
            "took_s": self.took,
        }
        said = {"stage": self.stage, "name": self.name, **times}
        return {**said, "quality": self.quality, "age_s": self.age, "details": dict(self.details)}


@dataclass(frozen=True)
class Journey:
    """A prediction and every stage behind it, sources first. `why`: what could not be looked up."""

    prediction: Prediction
    spans: tuple[Span, ...]
    why: str = ""

    def of(self, stage: Stage) -> tuple[Span, ...]:
        return tuple(span for span in self.spans if span.stage == stage)

    def to_json(self) -> Json:
        spans = [span.to_json() for span in self.spans]
        return {"prediction": self.prediction.to_json(), "spans": spans, "unknown": self.why}


ELSEWHERE = "rows are looked up where the warehouse is: interlock trace"


def asked(workspace: Workspace, id: str) -> Journey:
    """What the log and the record alone say of an answer to a request; no engine is opened."""
    prediction = find(workspace, id, batch=False)
    return Journey(prediction, tuple(answered(workspace, prediction)), ELSEWHERE)


def moments(prediction: Prediction) -> tuple[datetime, datetime | None, datetime | None]:
    """When its features began to be looked up, when they were there, when the model was done.

    What came before the turn was waiting for it. None where nobody timed it.
    """
    at, took, latency = prediction.at, prediction.took, prediction.latency
    if took is None or latency is None:
        return at, None, None
    store, rest = (timedelta(microseconds=part) for part in took)
    begun = at + max(timedelta(microseconds=latency) - store - rest, timedelta(0))
    return begun, begun + store, begun + store + rest


def answered(workspace: Workspace, prediction: Prediction) -> Iterator[Span]:
    """The model, and who asked."""
    begun, found, scored = moments(prediction)
    _, model = spec_of(workspace, prediction)
    yield Span(
        "inference", f"model:{prediction.model}", found or begun, scored,
        prediction.reason, prediction.oldest,
        {"version": model.version, "artifact": model.artifact[:12], "score": prediction.score,
         "fallbacks": list(prediction.fallbacks), "stale": prediction.stale,
         "error": prediction.error},
    )  # fmt: skip
    door = "a table of scores" if prediction.door == "batch" else "a caller without a name"
    whole = prediction.latency
    yield Span(
        "service", f"service:{prediction.service}" if prediction.service else door, prediction.at,
        None if whole is None else prediction.at + timedelta(microseconds=whole),
        "error" if prediction.score is None else "answered", None,
        {name: getattr(prediction, name) for name in
         ("release", "arm", "epoch", "change", "stage", "trace", "parent")},
    )  # fmt: skip


def instant_of(seconds: float | None) -> datetime | None:
    """Seconds since 1970 as an instant; None for what is not known or has no end."""
    if seconds is None or abs(seconds) == float("inf"):
        return None
    return datetime.fromtimestamp(seconds, UTC)


def text_of(at: datetime | None) -> str | None:
    """An instant as text."""
    return None if at is None else instant_text(at)
