"""What a rollout will cost in samples and days, said before it starts.

Rules of thumb, fitted to simulations (median run, truth without any difference): a
plan to argue about, never a promise. Evidence of earlier stages is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, log

from interlock.define.durations import format_duration
from interlock.define.environment import Stage
from interlock.rollout.defaults import KpiPlan
from interlock.rollout.metrics import GATES, Gate, Guardrail
from interlock.rollout.state import State, state_of

# Effective units (n1*n0/(n1+n0), or pairs) to resolve one standard deviation.
_PER_EFFECT = 8.0
_PER_LOG_RATIO = 8.25
_PER_ABSOLUTE = 5.4
_PER_SPLIT = 8.0


@dataclass(frozen=True)
class Need:
    """Units of both arms, and days, that one guardrail needs to be shown safe in one stage.

    `days` is infinite when the stage can never show it.
    """

    stage: str
    guardrail: str
    units: float
    days: float
    sentence: str


def needs(
    guardrails: Sequence[Guardrail],
    stages: Sequence[Stage],
    units_per_day: float | Mapping[str, float],
) -> tuple[Need, ...]:
    """For every stage and each guardrail it waits for; `units_per_day` may differ by metric."""
    return tuple(
        _need(one, stage, _daily(units_per_day, one.metric))
        for stage in stages
        for one in guardrails
        if _gate(stage) in one.gate
    )


def days_to_show(kpi: KpiPlan, units_per_day: float) -> float:
    """Days until a paired KPI is shown to be within its margin, median run."""
    margin = kpi.margin * abs(kpi.baseline)
    return _PER_EFFECT * kpi.difference_variance / margin**2 / units_per_day if margin else inf


def days_of(stage: Stage, needed: Sequence[Need]) -> float:
    """The slowest guardrail of `stage`, or its minimum duration."""
    least = stage.hold.total_seconds() / 86400
    return max([least, *(need.days for need in needed if need.stage == stage.name)])


def _gate(stage: Stage) -> Gate:
    return GATES[(State.SHADOW, State.STEP, State.SOAKING).index(state_of(stage))]


def _daily(units: float | Mapping[str, float], metric: str) -> float:
    return units.get(metric, 0.0) if isinstance(units, Mapping) else units


def _need(one: Guardrail, stage: Stage, daily: float) -> Need:
    units = max(_units(one, stage.weight), float(one.min_units))
    days = units / daily if daily > 0 else inf
    days += one.maturity_s / 86400 if one.labels else 0.0
    return Need(stage.name, one.name, units, days, _sentence(one, stage, units, days))


def _units(one: Guardrail, weight: float) -> float:
    # Mirrored requests are scored by both releases: every one of them is in both arms.
    balance = weight * (1 - weight) if 0 < weight < 1 else 0.5
    if one.form == "paired":
        margin = max(one.margin * abs(one.baseline or 0.0), one.margin_absolute)
        return _PER_EFFECT * one.scale / margin**2
    if one.form == "split":
        return _PER_SPLIT / (balance * one.margin**2) if 0 < weight < 1 else inf
    return min(_relative(one), _absolute(one, weight or 0.5)) / balance


def _relative(one: Guardrail) -> float:
    """Effective units by which the relative margin is excluded."""
    if not one.margin:
        return inf
    if one.form == "rate":
        share = one.baseline if one.baseline is not None else one.scale
        return _PER_LOG_RATIO / (log(1 + one.margin) ** 2 * max(share, 1e-9))
    level = abs(one.baseline or 0.0)
    return _PER_EFFECT * one.scale / (one.margin * level) ** 2 if level else inf


def _absolute(one: Guardrail, weight: float) -> float:
    if not one.margin_absolute:
        return inf
    by_noise = _PER_EFFECT * one.scale / one.margin_absolute**2
    return max(by_noise, _PER_ABSOLUTE / one.margin_absolute * (1 - weight))


def _sentence(one: Guardrail, stage: Stage, units: float, days: float) -> str:
    if units == inf:
        return f"{one.name} cannot be shown in {stage.name}: give it an absolute margin or baseline"
    if days == inf:
        return f"{one.name} cannot be shown in {stage.name}: no units are expected"
    slow = stage.deadline is not None and days * 86400 > stage.deadline.total_seconds()
    late = (
        f", past its deadline of {format_duration(stage.deadline)}"
        if slow and stage.deadline
        else ""
    )
    return f"{one.name} in {stage.name} needs about {ceil(units):,} units, {days:.1f} days{late}"
