"""What the page of one prediction shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from interlock.app.journeys import Journey, Span
from interlock.web.views import Fact


@dataclass(frozen=True)
class StageRow:
    """One stage behind an answer; `took` in words, as nobody may have measured it."""

    stage: str
    name: str
    quality: str
    took: str
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class PredictionPage:
    """One answer. `change` is the rollout it was part of; `unknown` what is not shown, and why."""

    id: str
    model: str
    score: float | None
    reason: str
    at: datetime
    release: str
    change: str | None = None
    facts: tuple[Fact, ...] = ()
    stages: tuple[StageRow, ...] = ()
    unknown: str = ""


def prediction_page(journey: Journey) -> PredictionPage:
    """A journey as its page."""
    one = journey.prediction
    facts = {
        "Subject": one.subject, "Arm": one.arm, "Epoch": one.epoch, "Stage": one.stage,
        "Asked by": one.service, "Trace": one.trace, "Stand-ins": ", ".join(one.fallbacks),
        "Error": one.error,
    }  # fmt: skip
    return PredictionPage(
        one.id, one.model, one.score, one.reason, one.at, one.release, one.change,
        tuple(Fact(name, str(value)) for name, value in facts.items() if value not in (None, "")),
        tuple(map(_row, journey.spans)), journey.why,
    )  # fmt: skip


def _row(span: Span) -> StageRow:
    took = "not measured" if span.took is None else f"{span.took * 1000:.3g} ms"
    return StageRow(span.stage, span.name, span.quality, took, tuple(_facts(span)))


def _facts(span: Span) -> Iterator[Fact]:
    for name in ("version", "artifact", "release"):
        if value := span.details.get(name):
            yield Fact(name, str(value))
