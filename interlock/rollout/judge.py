"""The judge: a pure function of counts. Harm, safe, or not known yet - silence is never safe.

It may be asked after every bucket and as often as anyone likes; what it promises
(`alpha` of harmless rollouts taken back, `beta` of harmful ones let through, per
guardrail) holds over the whole rollout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from math import exp, log
from typing import Any, Literal

import numpy as np

from interlock.errors import Unusable
from interlock.ports import Bucket
from interlock.rollout import eprocess
from interlock.rollout.eprocess import Array
from interlock.rollout.evidence import Paths, evidence, looks_safe
from interlock.rollout.metrics import Gate, Guardrail, registered_digest
from interlock.rollout.strata import Key, Strata, strata

Verdict = Literal["harm", "safe", "needs_data", "error"]

_HOUR, _MISSED = 3600, 10
_LARGEST = 700.0  # exp of more is not a float; evidence beyond is shown as this


@dataclass(frozen=True)
class Ruling:
    """What is known of one guardrail. Units are one per randomisation unit and bucket.

    `interval` is where candidate minus stable lies (valid at any look); `required` says
    whether the stage waits for it.
    """

    name: str
    verdict: Verdict
    e_fail: float
    e_pass: float
    n_stable: float
    n_candidate: float
    mean_stable: float | None
    mean_candidate: float | None
    interval: tuple[float, float] | None
    required: bool
    sentence: str


@dataclass(frozen=True)
class Judgement:
    """The verdict over all guardrails, and each of them with its evidence.

    `measured` counts candidate units seen in the stage by the required guardrails (the
    fewest of any): zero never promotes. `split_broken` asks for a hold, not a rollback:
    a comparison that cannot be trusted accuses nobody. `registered` is the digest of the
    guardrails judged by.
    """

    verdict: Verdict
    per_guardrail: tuple[Ruling, ...]
    combined_e: float
    measured: float
    split_broken: bool
    sentence: str
    registered: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(
    guardrails: Sequence[Guardrail],
    buckets: Sequence[Bucket],
    alpha: float,
    beta: float,
    gate: Gate | None = None,
    stage: str | None = None,
) -> Judgement:
    """Judge the whole rollout so far, for leaving `stage` (of kind `gate`; None: any).

    Pass label metrics through `strata.matured` first. The same counts give the same
    judgement, in whatever order and however many parts they come.
    """
    if not guardrails:
        raise Unusable("nothing to judge by", help="a rollout needs at least one guardrail")
    every = [_paths(one.at(stage), buckets, alpha, beta) for one in guardrails]
    paths = [_heard(path, every, gate, stage) for path in every]
    combined = _combined(paths)
    harm = combined >= log(1 / alpha)
    rulings = tuple(_ruling(path, (alpha, beta), gate, stage, harm) for path in paths)
    required = [r for r in rulings if r.required]
    split = any(_split_broken(path, alpha) for path in paths)
    verdict = _verdict(rulings, required, harm)
    asked = (path for path in paths if path.guardrail.asked(gate, stage))
    measured = min((_measured(path, stage) for path in asked), default=0)
    said, by = _sentence(verdict, rulings), registered_digest(guardrails, alpha, beta)
    return Judgement(verdict, rulings, _shown(combined), measured, split, said, by)


def _verdict(rulings: Sequence[Ruling], required: Sequence[Ruling], harm: bool) -> Verdict:
    if harm:
        return "harm"
    if any(r.verdict == "error" for r in rulings):
        return "error"
    # An empty list of requirements proves nothing, so it cannot be safe.
    if required and all(r.verdict == "safe" for r in required):
        return "safe"
    return "needs_data"


def _measured(path: Paths, stage: str | None) -> float:
    arms = path.strata.arms
    return min((path.strata.units(arm, stage) for arm in arms), default=0.0)


def _paths(guardrail: Guardrail, buckets: Sequence[Bucket], alpha: float, beta: float) -> Paths:
    try:
        found = strata(guardrail, buckets)
        return evidence(guardrail, found, alpha, beta)
    except Unusable as error:
        nothing = Strata((), {})
        return Paths(guardrail, nothing, np.zeros(0), np.zeros(0), error.message)


def _heard(path: Paths, every: Sequence[Paths], gate: Gate | None, stage: str | None) -> Paths:
    """`path`, in trouble when it is not counted any more while others of its kind are.

    What was shown before it fell silent says nothing of the rest of the stage.
    """
    it = path.guardrail
    if stage is None or it.form == "split" or it.slice or not it.asked(gate, stage):
        return path
    for other in every:
        like = other.guardrail.form != "split" and other.guardrail.labels == it.labels
        if like and not other.guardrail.slice and (last := _silent_since(path, other, stage)):
            at = f"{datetime.fromtimestamp(last, UTC):%Y-%m-%d %H:%M} UTC"
            why = f"{it.metric} was last counted at {at}, {other.guardrail.metric} after that"
            return replace(path, trouble=path.trouble or f"{why}: see what stopped")
    return path


def _silent_since(path: Paths, other: Paths, stage: str) -> int:
    """When `path` was last heard, if `other` was for the last quarter of `stage` and more, in which
    ten units or more of `path` should have come; else 0."""
    own, there = _by_time(path, stage), _by_time(other, stage)
    if not own or not there:
        return 0
    last = max(own)
    # Its next bucket may not be over yet.
    quiet = last + 2 * (path.guardrail.bucket_s or _HOUR)
    after, all_ = sum(n for at, n in there.items() if at >= quiet), sum(there.values())
    missed = after * sum(own.values()) / (all_ - after) if all_ > after else 0.0
    return last if after >= all_ / 4 and missed >= _MISSED else 0


def _by_time(path: Paths, stage: str) -> dict[int, float]:
    """Units of the arm with fewer, where there are any."""
    arms = [arm.n for arm in path.strata.arms.values()]
    if not arms:
        return {}
    units = zip(path.strata.keys, np.minimum.reduce(arms), strict=True)
    return {at: float(n) for (at, where), n in units if where == stage and n}


def _split_broken(path: Paths, alpha: float) -> bool:
    # The value now, not the peak: once requests arrive as planned again, the hold ends.
    is_split = path.guardrail.form == "split" and bool(path.strata.keys)
    return is_split and float(path.fail[-1]) >= log(1 / alpha)


def _combined(paths: Sequence[Paths]) -> float:
    """The peak of the weighted mean of all fail evidence on one common time line."""
    judged = [p for p in paths if p.guardrail.form != "split" and p.guardrail.weight > 0]
    if not judged:
        return 0.0
    line = sorted({key for path in judged for key in path.strata.keys})
    rows = [_on(line, path) for path in judged]
    if not line:
        return 0.0
    # A guardrail without data stays at its start, e = 1: it keeps its share of alpha.
    return float(eprocess.average(rows, [p.guardrail.weight for p in judged]).max(initial=0.0))


def _on(line: Sequence[Key], path: Paths) -> Array:
    index = {key: i for i, key in enumerate(path.strata.keys)}
    at = np.maximum.accumulate(np.array([index.get(key, -1) for key in line], dtype=int), axis=0)
    return np.asarray(np.concatenate([[0.0], path.fail])[at + 1])


def _ruling(
    path: Paths,
    errors: tuple[float, float],
    gate: Gate | None,
    stage: str | None,
    harm: bool,
) -> Ruling:
    fail, safe = float(path.fail.max(initial=0.0)), float(path.safe.max(initial=0.0))
    required = path.guardrail.asked(gate, stage)
    # What this stage does not wait for stays as it was shown in the stages that did.
    verdict = _one_verdict(path, (fail, safe), errors, stage if required else None, harm)
    shown = _means(path)
    n1, n0 = _units(path)
    return Ruling(
        path.guardrail.name, verdict, _shown(fail), _shown(safe), n0, n1, *shown,
        _interval(path, errors[0]), required, _say(path, verdict, (fail, safe), errors),
    )  # fmt: skip


def _one_verdict(
    path: Paths,
    logs: tuple[float, float],
    errors: tuple[float, float],
    stage: str | None,
    harm: bool,
) -> Verdict:
    if path.trouble or _split_broken(path, errors[0]):
        return "error"
    if harm and path.guardrail.form != "split" and logs[0] >= log(1 / errors[0]):
        return "harm"
    enough = _measured(path, stage) >= max(1, path.guardrail.min_units)
    if enough and stage is not None:
        enough = looks_safe(path.guardrail, path.strata, stage)
    return "safe" if enough and logs[1] >= log(1 / errors[1]) else "needs_data"


def _units(path: Paths) -> tuple[float, float]:
    arms = path.strata.arms
    if not arms:
        return 0.0, 0.0
    names = ("paired", "paired") if "paired" in arms else ("candidate", "stable")
    return path.strata.units(names[0]), path.strata.units(names[1])


def _means(path: Paths) -> tuple[float | None, float | None]:
    """(stable, candidate), both weighted by where they meet, so that a ramp cannot fool the eye."""
    arms = path.strata.arms
    if path.guardrail.form == "split" or not path.strata.keys:
        return None, None
    if "paired" in arms:
        n = arms["paired"].n.sum()
        return None, float(arms["paired"].total.sum() / n) if n else None
    n1, n0 = arms["candidate"].n, arms["stable"].n
    h = np.where(n1 + n0 > 0, n1 * n0 / np.maximum(n1 + n0, 1e-300), 0.0)
    if not h.sum():
        return None, None
    stable, candidate = ((h * arms[a].mean).sum() / h.sum() for a in ("stable", "candidate"))
    return float(stable), float(candidate)


def _interval(path: Paths, alpha: float) -> tuple[float, float] | None:
    it = path.guardrail
    if it.form == "split" or not path.strata.keys:
        return None
    names = ("paired",) if it.form == "paired" else ("candidate", "stable")
    rho = eprocess.best_rho(it.scale * it.bucket_units, alpha)
    return eprocess.interval([path.strata.arms[name] for name in names], rho, alpha)


def _shown(value: float) -> float:
    return exp(min(value, _LARGEST))


def _spoken(value: float) -> str:
    return f"{exp(value):,.1f}" if value < log(1000) else "over 1,000"


def _say(
    path: Paths, verdict: Verdict, logs: tuple[float, float], errors: tuple[float, float]
) -> str:
    name, (n1, n0) = path.guardrail.name, _units(path)
    pairs = path.guardrail.form == "paired"
    seen = f"{n1:,.0f} pairs" if pairs else f"{n1:,.0f} candidate and {n0:,.0f} stable units"
    fail, safe = (
        f"{_spoken(x)}, {1 / error:,.0f} suffices; {seen}"
        for x, error in zip(logs, errors, strict=True)
    )
    match verdict:
        case "error":
            return f"{name}: {path.trouble or f'units are not split as planned ({seen})'}"
        case "harm":
            return f"{name} is worse{_how(path)} (evidence {fail})"
        case "safe":
            return f"{name} is within its margin{_how(path)} (evidence {safe})"
        case "needs_data":
            return f"{name} needs data{_how(path)} (evidence of safety {safe})"


def _how(path: Paths) -> str:
    stable, candidate = _means(path)
    if candidate is None:
        return ""
    return (
        f": {candidate:+.4g} per unit"
        if stable is None
        else f": {candidate:.4g} after {stable:.4g}"
    )


def _sentence(verdict: Verdict, rulings: Sequence[Ruling]) -> str:
    if verdict == "harm":
        loud = [r for r in rulings if r.verdict == "harm"] or list(rulings)
        return max(loud, key=lambda r: r.e_fail).sentence
    if verdict == "safe":
        return "every guardrail of this stage was shown to be safe"
    waiting = [r for r in rulings if r.verdict == "error"] or [
        r for r in rulings if r.required and r.verdict != "safe"
    ]
    return "; ".join(r.sentence for r in waiting) or "no guardrail is required at this stage"
