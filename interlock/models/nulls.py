"""Rehearse what happens when a feature's row is missing at request time.

A column that was never NULL in training teaches LightGBM to read a missing value as 0:
late weather then looks like thick fog, and the mean score of the flights model doubled.
No metric on complete rows shows it, so the loss is rehearsed before release.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from interlock.errors import Unusable
from interlock.models.compare import MOVED, Verdict
from interlock.models.metrics import Floats, log_loss

Score = Callable[[Floats], Floats]

TOLERANCE = 0.10
"""Relative worsening of log-loss accepted while one whole view is missing. Losing a good
feature costs something even when it is handled well; misreading it costs far more."""


@dataclass(frozen=True)
class Rehearsal:
    """One view's features missing on every row, replaced by the declared fallbacks.

    `unprepared` are inputs that can be NULL at serving, and never were in training;
    `unknown` are inputs whose training nulls were not counted.
    """

    view: str
    mean_before: float
    mean_after: float
    loss_before: float
    loss_after: float
    moved: float
    unprepared: tuple[str, ...]
    unknown: tuple[str, ...]
    verdict: Verdict

    @property
    def worsening(self) -> float:
        return self.loss_after / self.loss_before - 1 if self.loss_before else 0.0

    @property
    def sentence(self) -> str:
        effect = (
            f"without {self.view} the mean score goes {self.mean_before:.3f} -> "
            f"{self.mean_after:.3f} and log-loss {self.worsening:+.1%}"
        )
        if self.unprepared:
            names = ", ".join(self.unprepared)
            return f"{names} can be NULL at serving and never was in training; {effect}"
        if self.unknown:
            return f"training nulls of {', '.join(self.unknown)} were not counted; {effect}"
        return effect


@dataclass(frozen=True)
class NullReport:
    """Every view's rehearsal; the worst verdict is the verdict."""

    verdict: Verdict
    rehearsals: tuple[Rehearsal, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        return tuple(r.sentence for r in self.rehearsals if r.verdict != "pass")

    def to_json(self) -> dict[str, Any]:
        rows = [
            {**r.__dict__, "unprepared": list(r.unprepared), "unknown": list(r.unknown)}
            for r in self.rehearsals
        ]
        return {"verdict": self.verdict, "rehearsals": rows}


@dataclass(frozen=True)
class Rows:
    """Evaluation rows: matrix in the order of `inputs`, and known outcomes."""

    matrix: Floats
    y: Floats
    inputs: Sequence[str]


def rehearse(
    score: Score,
    rows: Rows,
    training_nulls: Mapping[str, int],
    views: Mapping[str, Mapping[str, float | None]],
    tolerance: float = TOLERANCE,
) -> NullReport:
    """Score `rows` with each view missing; `views` gives view -> input -> fallback value or None.

    A stale row that may be served for a while is no fallback value: it runs out.
    """
    if not len(rows.y):
        return NullReport("inconclusive", ())
    places = {name: at for at, name in enumerate(rows.inputs)}
    lost = [name for fallbacks in views.values() for name in fallbacks if name not in places]
    if lost:
        raise Unusable(f"the model has no inputs {', '.join(lost)}")
    before = score(rows.matrix)
    done = []
    for view, fallbacks in views.items():
        missing = rows.matrix.copy()
        for name, value in fallbacks.items():
            missing[:, places[name]] = np.nan if value is None else value
        scores = (before, score(missing))
        done.append(_judged(view, scores, rows.y, _exposed(fallbacks, training_nulls), tolerance))
    return NullReport(_worst([r.verdict for r in done]), tuple(done))


def _exposed(
    fallbacks: Mapping[str, float | None], training_nulls: Mapping[str, int]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    bare = [name for name, value in fallbacks.items() if value is None]
    unprepared = tuple(name for name in bare if training_nulls.get(name) == 0)
    return unprepared, tuple(name for name in bare if name not in training_nulls)


def _judged(
    view: str,
    scores: tuple[Floats, Floats],
    y: Floats,
    exposed: tuple[tuple[str, ...], tuple[str, ...]],
    tolerance: float,
) -> Rehearsal:
    before, after = scores
    unprepared, unknown = exposed
    losses = float(log_loss(y, before).mean()), float(log_loss(y, after).mean())
    verdict: Verdict = "inconclusive" if unknown else "pass"
    # Negated, so that a score that is not a number fails instead of comparing as harmless.
    if unprepared or not losses[1] <= losses[0] * (1 + tolerance):
        verdict = "fail"
    return Rehearsal(
        view,
        float(before.mean()),
        float(after.mean()),
        *losses,
        float(np.mean(np.abs(after - before) > MOVED)),
        unprepared,
        unknown,
        verdict,
    )


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    order: tuple[Verdict, ...] = ("fail", "inconclusive", "pass")
    return next((verdict for verdict in order if verdict in verdicts), "pass")
