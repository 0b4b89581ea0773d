"""From counts to evidence: which tests a guardrail stands on, and how they are combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np

from interlock.rollout import eprocess
from interlock.rollout.bound import Bound
from interlock.rollout.eprocess import Array, Moments
from interlock.rollout.metrics import Guardrail
from interlock.rollout.strata import Strata


@dataclass(frozen=True)
class Paths:
    """Evidence of one guardrail after each of its strata (logs), or why there is none.

    `fail` rises with harm; `safe` is the peak so far of the weakest side's evidence that
    the candidate is inside its margin.
    """

    guardrail: Guardrail
    strata: Strata
    fail: Array
    safe: Array
    trouble: str = ""


def evidence(guardrail: Guardrail, found: Strata, alpha: float, beta: float) -> Paths:
    """Both paths of one guardrail; `found` may hold many rollouts (arrays of shape (..., keys))."""
    if not found.keys:
        return Paths(guardrail, found, np.zeros(0), np.zeros(0))
    if guardrail.form == "split":
        return _split(guardrail, found)
    fails = [_harm(guardrail, found, guardrail.fail_bound(up), alpha) for up in guardrail.sides]
    return Paths(guardrail, found, eprocess.average(fails), _safe(guardrail, found, beta))


def _harm(guardrail: Guardrail, found: Strata, bound: Bound, alpha: float) -> Array:
    steady = _test(guardrail, found, bound, alpha)
    if guardrail.form != "rate" or not guardrail.bursty:
        return steady
    # The bucket test needs ten bad buckets whatever happens in them, more after a long
    # quiet time. A tenth of alpha is kept for what nobody would wait ten buckets for.
    candidate, stable = found.arms["candidate"], found.arms["stable"]
    sudden = eprocess.rate(candidate, stable, bound, eprocess.bursts(stable, guardrail.burst))
    return eprocess.average([steady, sudden], [0.9, 0.1])


def _safe(guardrail: Guardrail, found: Strata, beta: float) -> Array:
    """Inside the margin on every side: each side must ever have been shown.

    Bucket by bucket too, whatever the events are: what is alike in one bucket of one arm would
    be taken for many units that agree.
    """
    careful = replace(guardrail, bursty=True)
    sides = [
        eprocess.average([_test(careful, found, b, beta) for b in guardrail.pass_bounds(up)])
        for up in guardrail.sides
    ]
    return _least(sides)


def _least(sides: Sequence[Array]) -> Array:
    ever = [np.maximum.accumulate(side, axis=-1) for side in sides]
    return np.asarray(np.minimum.reduce(ever))


def looks_safe(guardrail: Guardrail, found: Strata, stage: str) -> bool:
    """Inside the margin by the bare numbers of `stage` alone: no proof, but the least to ask.

    Proof from earlier stages stays valid; it must not carry a stage that looks bad.
    """
    here = [key[1] == stage for key in found.keys]
    arms = {name: m.at(here) for name, m in found.arms.items()}
    if guardrail.form == "split":
        return _split_as_planned(guardrail, arms, stage)
    return all(
        any(eprocess.inside(arms, bound) for bound in guardrail.pass_bounds(up))
        for up in guardrail.sides
    )


def _test(guardrail: Guardrail, found: Strata, bound: Bound, error: float) -> Array:
    rho = eprocess.best_rho(guardrail.scale * guardrail.bucket_units, error)
    if guardrail.form == "paired":
        return eprocess.paired(found.arms["paired"], bound, rho)
    arms = found.arms["candidate"], found.arms["stable"]
    if guardrail.form == "mean":
        return eprocess.mean(*arms, bound, rho)
    exact = eprocess.rate(*arms, bound)
    return np.minimum(exact, eprocess.mean(*arms, bound, rho)) if guardrail.bursty else exact


def _split(guardrail: Guardrail, found: Strata) -> Paths:
    planned = np.array([guardrail.shares.get(stage, 0.0) for _, stage in found.keys])
    told = (planned > 0) & (planned < 1)  # elsewhere there is no split to check
    share = np.where(told, planned, 0.5)
    n1, n0 = (np.where(told, found.arms[arm].n, 0.0) for arm in ("candidate", "stable"))
    sides = eprocess.split_pass(n1, n0, share, guardrail.margin)
    return Paths(guardrail, found, _split_broken(guardrail, found, n1, n0, share), _least(sides))


def _split_broken(
    guardrail: Guardrail, found: Strata, candidate: Array, stable: Array, share: Array
) -> Array:
    """Evidence begun anew in each stage beside that of the whole: a mean of e-processes.

    A long stage in which all was well would else have to be outweighed first.
    """
    stages = [stage for _, stage in found.keys]
    paths = []
    for stage in guardrail.shares:
        begun = np.arange(len(stages)) >= (stages.index(stage) if stage in stages else len(stages))
        n1, n0 = (np.where(begun, n, 0.0) for n in (candidate, stable))
        paths.append(eprocess.split_fail(n1, n0, share))
    return eprocess.average(paths)


def _split_as_planned(guardrail: Guardrail, arms: Mapping[str, Moments], stage: str) -> bool:
    """Whether the bare counts of a stage that divides are off by less than the margin."""
    share = guardrail.shares.get(stage, 0.0)
    if not 0 < share < 1:
        return True
    n1, n0 = (float(arms[name].n.sum()) for name in ("candidate", "stable"))
    if not n1 or not n0:
        return False
    off = log(n1 / n0) - log(share / (1 - share))
    return abs(off) < guardrail.margin
