"""Challenger against incumbent on the same later rows: overall, by slice, with intervals.

The verdict stands on log-loss. AUC alone passes a model trained on wrong labels, ECE
alone passes one trained on shuffled labels (both were tried); they are reported beside it.

pass          the interval of the relative worsening lies below the margin, and no slice fails
fail          the interval lies above zero and reaches the margin: proven worse, and perhaps
              by more than is accepted; or a slice is proven worse (Holm) and its estimate
              exceeds the slice margin
inconclusive  anything else, too few rows included; it blocks like a failure
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from interlock.define.definitions import Evaluation
from interlock.errors import Unusable
from interlock.models.metrics import (
    Estimate,
    Floats,
    auc,
    auc_difference,
    benjamini_hochberg,
    brier,
    calibration_line,
    clusters_of,
    ece,
    ece_difference,
    finite,
    holm,
    log_loss,
    mean,
    ratio,
)

Verdict = Literal["pass", "fail", "inconclusive"]
Standing = Literal["worse", "warn", "no worse", "unclear", "not judged"]

FLAG = 0.05
"""Family-wise error at which slices are flagged worse."""
WARN = 0.10
"""False discovery rate at which slices are warned about."""
_NAMED = 5
"""Slices that a sentence names."""
MOVED = 0.05
"""A score that moved by more than this counts as moved."""


@dataclass(frozen=True)
class Scores:
    """One model's half of the comparison; `intercept` and `slope` are the calibration line."""

    log_loss: float
    auc: float
    ece: float
    brier: float
    intercept: float
    slope: float
    mean: float


@dataclass(frozen=True)
class Shift:
    """How the scores moved. `p10`, `p90` are frozen on the incumbent.

    `below` and `above` are the shares of the challenger's scores outside them: 0.1 each
    when nothing moved. Different is not worse: a reason to look, never a verdict.
    """

    moved: float
    p10: float
    p90: float
    below: float
    above: float


@dataclass(frozen=True)
class SliceResult:
    """One value of one slice. `relative` is the worsening of log-loss (0.02 = 2 % worse)."""

    slice: str
    value: str
    n: int
    positives: int
    difference: Estimate | None
    relative: Estimate | None
    standing: Standing

    @property
    def name(self) -> str:
        return f"{self.slice}={self.value}"


@dataclass(frozen=True)
class Comparison:
    """The whole answer; `sentences` say it to people, worst news first."""

    verdict: Verdict
    n: int
    positives: int
    days: int
    old: Scores | None
    new: Scores | None
    difference: Estimate
    relative: Estimate
    auc: Estimate
    ece: Estimate
    shift: Shift | None
    slices: tuple[SliceResult, ...]
    sentences: tuple[str, ...]

    @property
    def better(self) -> bool:
        """The challenger is proven better, not merely within the margin."""
        return self.verdict == "pass" and self.difference.high < 0

    @property
    def advice(self) -> str:
        """For a retrained model, which has no other reason to replace the incumbent."""
        if self.better:
            return "take the challenger"
        if self.verdict == "pass":
            return "keep the incumbent: the challenger is no worse, and not proven better"
        return "keep the incumbent"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, not-a-number as None."""
        body = _plain(self)
        assert isinstance(body, dict)
        return {**body, "better": self.better, "advice": self.advice}


def compare(
    y: Floats,
    old: Floats,
    new: Floats,
    slices: Mapping[str, NDArray[Any]],
    day: NDArray[Any],
    evaluation: Evaluation,
) -> Comparison:
    """Old and new scores of the same rows with known outcomes `y` (0 or 1), clustered by `day`."""
    _check(y, old, new, {**slices, "day": day})
    loss_old, loss_new = log_loss(y, old), log_loss(y, new)
    cluster = clusters_of(day, len(y))
    found = _slices(y, (loss_old, loss_new), slices, cluster, evaluation)
    relative = ratio(loss_new - loss_old, loss_old, cluster)
    positives = int(y.sum())
    enough = len(y) >= evaluation.min_rows and positives >= evaluation.min_positives
    verdict = _verdict(relative, found, evaluation, enough)
    result = Comparison(
        verdict,
        len(y),
        positives,
        relative.clusters,
        _scores(y, old, loss_old) if len(y) else None,
        _scores(y, new, loss_new) if len(y) else None,
        mean(loss_new - loss_old, cluster),
        relative,
        auc_difference(y, old, new, cluster),
        ece_difference(y, old, new, cluster),
        _shift(old, new) if len(y) else None,
        found,
        (),
    )
    return Comparison(**{**result.__dict__, "sentences": _sentences(result, evaluation, enough)})


def _check(y: Floats, old: Floats, new: Floats, beside: Mapping[str, NDArray[Any]]) -> None:
    sizes = {"outcome": len(y), "old": len(old), "new": len(new)}
    sizes |= {name: len(values) for name, values in beside.items()}
    if len(set(sizes.values())) > 1:
        raise Unusable(f"columns of different length cannot be compared: {sizes}")
    for name, scores in (("old", old), ("new", new)):
        if not np.isfinite(scores).all():
            raise Unusable(
                f"{int((~np.isfinite(scores)).sum())} {name} scores are not numbers",
                help="a row without a score is a failure to report, not one to leave out",
            )
    if not np.isin(y, (0, 1)).all():
        raise Unusable("outcomes must be 0 or 1", help="leave out rows whose label is not known")


def _scores(y: Floats, p: Floats, losses: Floats) -> Scores:
    intercept, slope = calibration_line(y, p)
    return Scores(
        float(losses.mean()), auc(y, p), ece(y, p), brier(y, p), intercept, slope, float(p.mean())
    )


def _shift(old: Floats, new: Floats) -> Shift:
    p10, p90 = (float(edge) for edge in np.quantile(old, (0.1, 0.9)))
    return Shift(
        float(np.mean(np.abs(new - old) > MOVED)),
        p10,
        p90,
        float(np.mean(new < p10)),
        float(np.mean(new > p90)),
    )


def _slices(
    y: Floats,
    losses: tuple[Floats, Floats],
    slices: Mapping[str, NDArray[Any]],
    cluster: NDArray[np.intp],
    evaluation: Evaluation,
) -> tuple[SliceResult, ...]:
    found = []
    for name, values in slices.items():
        texts = np.array(["NULL" if value is None else str(value) for value in values], dtype=str)
        for value in np.unique(texts):
            rows = np.flatnonzero(texts == value)
            pair = losses[0][rows], losses[1][rows]
            where = np.unique(cluster[rows], return_inverse=True)[1].reshape(-1)
            found.append(_slice((name, str(value)), y[rows], pair, where, evaluation))
    return _flagged(found, evaluation)


def _slice(
    name: tuple[str, str],
    y: Floats,
    losses: tuple[Floats, Floats],
    cluster: NDArray[np.intp],
    evaluation: Evaluation,
) -> SliceResult:
    n, positives = len(y), int(y.sum())
    if n < evaluation.min_rows or positives < evaluation.min_positives:
        return SliceResult(*name, n, positives, None, None, "not judged")
    worsening = losses[1] - losses[0]
    relative = ratio(worsening, losses[0], cluster)
    standing: Standing = "no worse" if relative.high < evaluation.slice_margin else "unclear"
    return SliceResult(*name, n, positives, mean(worsening, cluster), relative, standing)


def _flagged(found: Sequence[SliceResult], evaluation: Evaluation) -> tuple[SliceResult, ...]:
    """Standings after correcting for having looked at every judged slice."""
    judged = [i for i, result in enumerate(found) if result.difference is not None]
    p = np.array([_worse_p(found[i]) for i in judged])
    proven, suspected = holm(p, FLAG), benjamini_hochberg(p, WARN)
    flags = {i: (bool(proven[at]), bool(suspected[at])) for at, i in enumerate(judged)}
    return tuple(
        SliceResult(**{**result.__dict__, "standing": _standing(result, flags.get(i), evaluation)})
        for i, result in enumerate(found)
    )


def _worse_p(result: SliceResult) -> float:
    return result.difference.p_positive if result.difference else 1.0


def _standing(
    result: SliceResult, flags: tuple[bool, bool] | None, evaluation: Evaluation
) -> Standing:
    if flags is None or result.relative is None:
        return result.standing
    proven, suspected = flags
    if proven and result.relative.value > evaluation.slice_margin:
        return "worse"
    return "warn" if proven or suspected else result.standing


def _verdict(
    relative: Estimate, found: Sequence[SliceResult], evaluation: Evaluation, enough: bool
) -> Verdict:
    if not enough:
        return "inconclusive"
    if any(result.standing == "worse" for result in found):
        return "fail"
    if relative.high < evaluation.margin:
        return "pass"
    return "fail" if relative.low > 0 else "inconclusive"


def _sentences(result: Comparison, evaluation: Evaluation, enough: bool) -> tuple[str, ...]:
    if not enough or result.old is None or result.new is None:
        return (
            f"{result.n} rows with {result.positives} positives are too few to compare models "
            f"(at least {evaluation.min_rows} and {evaluation.min_positives})",
        )
    said = [_overall(result, result.old, result.new, evaluation)]
    said.extend(_worse(_standing_at(result.slices, "worse")))
    said.extend(_warning(_standing_at(result.slices, "warn")))
    said.append(
        f"AUC {result.old.auc:.4f} -> {result.new.auc:.4f}, ECE {result.old.ece:.3f} -> "
        f"{result.new.ece:.3f}, calibration slope {result.old.slope:.2f} -> {result.new.slope:.2f}"
    )
    if result.shift is not None:
        said.append(
            f"{result.shift.moved:.0%} of scores moved by more than {MOVED:g}; "
            f"mean score {result.old.mean:.3f} -> {result.new.mean:.3f}"
        )
    quiet = sum(one.standing == "not judged" for one in result.slices)
    if quiet:
        said.append(f"not judged for lack of rows: {quiet} of {len(result.slices)} slices")
    return tuple(said)


def _standing_at(slices: Sequence[SliceResult], standing: Standing) -> list[SliceResult]:
    """The judged slices with `standing`, the most worsened first."""
    found = [one for one in slices if one.standing == standing and one.relative is not None]
    return sorted(found, key=lambda one: -one.relative.value if one.relative else 0.0)


def _worse(slices: Sequence[SliceResult]) -> list[str]:
    said = [
        f"{one.name} is worse: log-loss {_share(one.relative)} on {one.n} rows"
        for one in slices[:_NAMED]
        if one.relative
    ]
    more = len(slices) - _NAMED
    return [*said, f"{more} more slices are worse"] if more > 0 else said


def _warning(slices: Sequence[SliceResult]) -> list[str]:
    """One sentence for all: a model a little worse everywhere would bury the rest otherwise."""
    named = [f"{one.name} {one.relative.value:+.1%}" for one in slices if one.relative]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return [f"may be worse: {', '.join(named[:_NAMED])}{more}"] if named else []


def _overall(result: Comparison, old: Scores, new: Scores, evaluation: Evaluation) -> str:
    relative, accepted = result.relative, f"the accepted {evaluation.margin:.1%}"
    if relative.high < 0:
        word = "better"
    elif relative.high < evaluation.margin:
        word = f"worse, but within {accepted}" if relative.low > 0 else f"no worse than {accepted}"
    elif relative.low > 0:
        word = f"worse, and not shown to be within {accepted}"
    else:
        word = f"not shown to be within {accepted}"
    return (
        f"log-loss {old.log_loss:.4f} -> {new.log_loss:.4f}, {_share(relative)} over "
        f"{result.days} days: {word}"
    )


def _share(relative: Estimate) -> str:
    return f"{relative.value:+.1%} [{relative.low:+.1%}, {relative.high:+.1%}]"


def _plain(value: Any) -> Any:
    """Nested dataclasses and tuples as JSON values."""
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value
