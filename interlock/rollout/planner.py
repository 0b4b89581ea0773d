"""What a rollout will cost in samples and days, said before it starts.

Rules of thumb, fitted to simulations (median run, truth without any difference): a plan to
argue about, never a promise. Evidence adds up from stage to stage, as the judge adds it up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from math import ceil, inf, log, sqrt
from types import MappingProxyType

from interlock.define.durations import format_duration
from interlock.define.environment import Stage
from interlock.rollout.defaults import PER_SPLIT, KpiPlan, least_variance
from interlock.rollout.metrics import GATES, Gate, Guardrail
from interlock.rollout.state import State, balance_of, split_of, state_of

# Effective units (n1*n0/(n1+n0), or pairs) to resolve one standard deviation.
_PER_EFFECT = 8.0
_PER_LOG_RATIO = 8.25
_PER_ABSOLUTE = 5.4

# However calm, what is judged bucket by bucket (means, pairs, events in bursts) grows by at most
# half a nat per bucket: it takes eight of them beside what the noise takes.
FEWEST = 8.0
_BOTH_SIDES = 1.25  # a two-sided margin is shown when the slower side is

# Mirrored scores stand for no latency: what is compared only where both arms are shown.
_NOT_WHILE_MIRRORED: Mapping[str, tuple[Gate, ...]] = {
    "log_latency": ("shadow", "soak"), "slow": ("soak",),
}  # fmt: skip
_DAY, _HOUR = 86400.0, 3600.0
EVERYBODY: Mapping[str, float] = MappingProxyType({})
Cost = Callable[[Guardrail, Stage], tuple[float, float]]
"""Units and days that a guardrail takes in a stage."""


@dataclass(frozen=True)
class _Known:
    """Effective units seen in earlier stages, and the sum of their squares by bucket."""

    units: float = 0.0
    squares: float = 0.0

    def more(self, units: float, per_bucket: float) -> _Known:
        return _Known(self.units + units, self.squares + units * per_bucket)


@dataclass(frozen=True)
class Need:
    """What one guardrail still needs, when a stage begins, to be shown safe in it.

    `units` are those of both arms in this stage, `days` how long they take; infinite when the
    stage can never show it. `objection` is why the stage cannot be left in time, and what to
    change; empty when it can.
    """

    stage: str
    guardrail: str
    units: float
    days: float
    sentence: str
    objection: str = ""


def needs(
    guardrails: Sequence[Guardrail],
    stages: Sequence[Stage],
    units_per_day: float | Mapping[str, float],
    inside: Mapping[str, float] = EVERYBODY,
    arms: int = 1,
) -> tuple[Need, ...]:
    """For every stage and each guardrail it waits for; `units_per_day` may differ by metric.

    `inside` is the share of units that take part in a stage, or are of a slice, where that is
    not all of them. `arms` are the places that share a stage's weight.
    """
    every = {g.name: _daily(units_per_day, g.metric) * inside.get(g.slice, 1.0) for g in guardrails}
    known = dict.fromkeys((g.name for g in guardrails), _Known())
    found: list[Need] = []
    for stage in stages:
        daily = {name: units * inside.get(stage.name, 1.0) for name, units in every.items()}
        here = [
            _need(one, stage, daily[one.name], known[one.name], arms)
            for one in guardrails
            if one.asked(_gate(stage), stage.name)
        ]
        found += here
        lasts = _lasts(stage, here)
        for one in guardrails:
            if stage.name not in one.apart:
                balance, each = _balance(one, stage, arms), daily[one.name]
                met = lasts * each * balance
                known[one.name] = known[one.name].more(met, _per_bucket(one, each, balance))
    return tuple(found)


def to_go(one: Guardrail, stage: Stage, seen: tuple[float, float], arms: int = 1) -> float:
    """Units still to come in `stage`, when `seen` are those of each arm so far."""
    n1, n0 = seen
    met = n1 if one.form == "paired" else n1 * n0 / (n1 + n0) if n1 + n0 else 0.0
    balance = _balance(one, stage, arms)
    noise = _noise(one.at(stage.name), _split(stage, arms))
    left = max(noise + _by_buckets(one) * FEWEST * one.bucket_units - met, 1.0)
    return left / balance if balance else inf


def days_to_show(kpi: KpiPlan, units_per_day: float) -> float:
    """Days until a paired KPI is shown to be within its margin, median run; a bucket is a day."""
    margin = kpi.margin * abs(kpi.baseline)
    if not margin:
        return inf
    variance = max(kpi.difference_variance, least_variance(units_per_day, margin))
    return FEWEST + _PER_EFFECT * variance / margin**2 / units_per_day


def days_of(stage: Stage, needed: Sequence[Need]) -> float:
    """The slowest guardrail of `stage`, or its minimum duration."""
    least = stage.hold.total_seconds() / _DAY
    return max([least, *(need.days for need in needed if need.stage == stage.name)])


def _lasts(stage: Stage, here: Sequence[Need]) -> float:
    """As `days_of`, but what never comes is not waited for when later stages are planned."""
    return days_of(stage, [need for need in here if need.days < inf])


def _gate(stage: Stage) -> Gate:
    return GATES[(State.SHADOW, State.STEP, State.SOAKING).index(state_of(stage))]


def _daily(units: float | Mapping[str, float], metric: str) -> float:
    return units.get(metric, 0.0) if isinstance(units, Mapping) else units


def _split(stage: Stage, arms: int) -> float:
    return split_of(stage.weight or 0.5, arms)


def _balance(one: Guardrail, stage: Stage, arms: int) -> float:
    """Effective units per unit of traffic: mirrored requests are in both arms, every one.

    Except those that another candidate answered, which are in neither.
    """
    divides = 0 < stage.weight < 1
    if one.form == "paired":
        return 1 - stage.weight + stage.weight / arms if divides and arms > 1 else 1.0
    if divides:
        return balance_of(stage.weight, arms)
    mute = one.form == "split" or _gate(stage) in _NOT_WHILE_MIRRORED.get(one.metric, ())
    return 0.0 if mute else 0.5


def _need(one: Guardrail, stage: Stage, daily: float, known: _Known, arms: int) -> Need:
    def cost(one: Guardrail, there: Stage) -> tuple[float, float]:
        return _cost(one, there, daily, known, arms)

    units, days = cost(one, stage)
    sentence = _sentence(one, stage, units, days)
    against = _objection(one, stage, cost)
    return Need(stage.name, one.name, units, days, sentence, against)


def _cost(
    one: Guardrail, stage: Stage, daily: float, known: _Known, arms: int
) -> tuple[float, float]:
    """Units of all arms and days, after what is `known` from before."""
    balance = _balance(one, stage, arms)
    noise = _noise(one.at(stage.name), _split(stage, arms))
    left = _left(noise, known, _by_buckets(one) * _per_bucket(one, daily, balance))
    units = max(left / balance if balance else inf, float(one.min_units))
    days = units / daily if daily > 0 else inf
    return units, days + (one.maturity_s / _DAY if one.labels else 0.0)


def _by_buckets(one: Guardrail) -> bool:
    return one.form != "split"


def _per_bucket(one: Guardrail, daily: float, balance: float) -> float:
    """Effective units in one bucket, of an hour where nothing else was agreed."""
    return daily * balance * (one.bucket_s or _HOUR) / _DAY


def _left(noise: float, known: _Known, per_bucket: float) -> float:
    """Effective units still to come when each bucket brings as many as `per_bucket`.

    Evidence is the squared sum of what was seen over its spread, noise and the buckets
    themselves: enough when H^2 = FEWEST * Q + noise * H, with H units and Q their squares.
    """
    if noise == inf or not per_bucket:
        return max(noise - known.units, 0.0)
    b = 2 * known.units - FEWEST * per_bucket - noise
    c = known.units**2 - FEWEST * known.squares - noise * known.units
    return max((sqrt(max(b**2 - 4 * c, 0.0)) - b) / 2, 0.0)


def _noise(one: Guardrail, weight: float) -> float:
    """Effective units by which the margin is excluded, were there no buckets."""
    if one.form == "split":
        return PER_SPLIT / one.margin**2
    if one.form == "paired":
        margin = max(one.margin * abs(one.baseline or 0.0), one.margin_absolute)
        found = _PER_EFFECT * one.scale / margin**2
    else:
        found = min(_relative(one), _absolute(one, weight))
    return found * (_BOTH_SIDES if len(one.sides) > 1 else 1.0)


def _relative(one: Guardrail) -> float:
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
    if one.form == "mean":
        return by_noise
    return max(by_noise, _PER_ABSOLUTE / one.margin_absolute * (1 - weight))


def _sentence(one: Guardrail, stage: Stage, units: float, days: float) -> str:
    if units == inf:
        return f"{one.name} cannot be shown in {stage.name}: give it an absolute margin or baseline"
    if days == inf:
        return f"{one.name} cannot be shown in {stage.name}: no units are expected"
    late = (
        f", past its deadline of {format_duration(stage.deadline)}"
        if stage.deadline is not None and days * _DAY > stage.deadline.total_seconds()
        else ""
    )
    return f"{one.name} in {stage.name} needs about {ceil(units):,} units, {days:.1f} days{late}"


def _objection(one: Guardrail, stage: Stage, cost: Cost) -> str:
    units, days = cost(one, stage)
    if inf in (units, days):
        return _sentence(one, stage, units, days)
    if stage.deadline is None or days * _DAY <= stage.deadline.total_seconds():
        return ""
    ways = ", or ".join(_ways(one, stage, cost))
    return f"{_sentence(one, stage, units, days)}: {ways}"


def _ways(one: Guardrail, stage: Stage, cost: Cost) -> Iterator[str]:
    """What would do, each alone: a longer stage, a wider margin, a larger share."""
    _, days = cost(one, stage)
    yield f"give the stage a deadline of {ceil(days)}d"
    assert stage.deadline is not None
    most = stage.deadline.total_seconds() / _DAY

    def in_time(guardrail: Guardrail, there: Stage) -> bool:
        return cost(guardrail, there)[1] <= most

    rung = one.ladder.get(stage.name, 1.0)
    wider = (
        factor
        for factor in (1.5, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0)
        if factor > rung and one.form != "split"
        and in_time(replace(one, ladder={stage.name: factor}), stage)
    )  # fmt: skip
    if factor := next(wider, 0.0):
        yield f"`margins: {factor:g}` (its margin times {factor:g})"
    larger = (
        share
        for share in (0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5)
        if 0 < stage.weight < share and in_time(one, stage.model_copy(update={"weight": share}))
    )
    if share := next(larger, 0.0):
        yield f"`weight: {share:g}` (a share of {share:.0%})"


def lasts(stages: Sequence[Stage], needed: Sequence[Need]) -> timedelta:
    """How long the whole rollout takes, as planned; what never comes is not waited for."""
    days = sum(_lasts(s, [n for n in needed if n.stage == s.name]) for s in stages)
    return timedelta(days=days)
