"""The guardrails a rollout gets unless its change says otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log
from typing import Literal

from interlock.rollout.metrics import GATES, Gate, Guardrail
from interlock.rollout.state import balance_of, split_of

# Shares of alpha: safety 0.5, model quality 0.35, business 0.15.
SAFETY, QUALITY, BUSINESS = 0.5, 0.35, 0.15
# Beside the 1.0 of what looks at everybody: a fifth of alpha, however many slices share it.
CRITICAL = 0.25
SPLIT_WITHIN = (0.05, 0.25)  # log odds, where there is much traffic and where there is little
PER_SPLIT = 8.0  # effective units times the margin squared that show a split, median run
DAY_S = 86400  # a KPI is counted by whole days
SLOWER = log(1.25)  # answers a quarter slower, as a difference of logarithms


@dataclass(frozen=True)
class KpiPlan:
    """A service's KPI before the rollout.

    `baseline` is its mean per decision unit, `difference_variance` the variance of the
    difference between two releases per unit (days taken whole: units of one day go
    together), `units_per_bucket` how many units one time bucket holds. `required` False:
    the rollout is too short to show the margin, so it is watched for harm only. `variance` is
    that of the KPI itself per unit, where one unit sees one release: then the arms that people
    saw are compared too.
    """

    service: str
    baseline: float
    difference_variance: float
    margin: float
    better: Literal["lower", "higher"]
    units_per_bucket: float
    required: bool = True
    mean_weight: float = 1.0
    variance: float | None = None


@dataclass(frozen=True)
class DecisionPlan:
    """How often a service acts on a score: from `over` on, now for `share` of the units.

    `differ` is the share of units on which the two releases would decide otherwise.
    """

    service: str
    over: float
    share: float
    differ: float
    margin: float


@dataclass(frozen=True)
class SlicePlan:
    """A slice that may not be harmed, before the rollout.

    `share` of the units are of it; `log_loss` is the incumbent's there, `difference_variance`
    that of the two releases per unit, `margin` how much worse the loss may be, relatively.
    `apart` are stages that let none of it in.
    """

    slice: str
    share: float
    log_loss: float
    difference_variance: float
    margin: float
    apart: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planned:
    """What is known before the rollout, from evaluation and recent traffic.

    `units_per_bucket` counts all units; `shares` is the share of all candidates together
    per ramp stage, each of which has one of `arms` places in it, `ladder` how many times its
    margin a guardrail must be shown within there.
    `holds` is how many buckets each of these stages lasts at least.
    `score_threshold` is the incumbent's p90, `slow_us` the promised latency in microseconds.
    `mean_weight` of a KPI that is a share divides its differences.
    """

    units_per_bucket: float
    shares: Mapping[str, float] = field(default_factory=dict)
    error_rate: float = 0.001
    fallback_share: float = 0.02
    log_loss: float = 0.5
    log_loss_variance: float = 0.35
    log_loss_difference_variance: float = 0.03
    latency_variance: float = 0.3
    maturity_s: float = 86400.0
    score_threshold: float | None = None
    slow_us: float | None = None
    kpis: Sequence[KpiPlan] = ()
    decisions: Sequence[DecisionPlan] = ()
    slices: Sequence[SlicePlan] = ()
    ladder: Mapping[str, float] = field(default_factory=dict)
    holds: Mapping[str, float] = field(default_factory=dict)
    kinds: tuple[Gate, ...] = GATES
    arms: int = 1

    @property
    def two_arm_units(self) -> float:
        """Effective units per bucket at the smallest share of the ramp."""
        share = 0.25 if self.two_arm_share is None else self.two_arm_share
        return max(self.units_per_bucket * share, 0.25)

    @property
    def two_arm_share(self) -> float | None:
        """Effective units per unit, where the ramp is smallest; None where nothing divides."""
        smallest = min((s for s in self.shares.values() if 0 < s < 1), default=None)
        return None if smallest is None else balance_of(smallest, self.arms)


def default_guardrails(planned: Planned) -> tuple[Guardrail, ...]:
    """Errors, latency twice, fallbacks, label coverage, scores, log-loss twice, split, KPIs,
    and how often services act; for each critical slice errors, fallbacks and paired log-loss."""
    split = [_split(planned)] if planned.shares else []
    judged = (*_safety(planned), *_quality(planned), *_business(planned), *_critical(planned))
    return (*(_walked(one, planned) for one in judged), *split)


def _walked(one: Guardrail, planned: Planned) -> Guardrail:
    """`one` in the stages there are: what no earlier stage asks is asked before the commit.

    Except latency, for which mirrored scores are no answer, and what is only watched.
    """
    asked = not one.gate or set(one.gate) & set(planned.kinds)
    mute = one.metric in ("slow", "log_latency")
    gate: tuple[Gate, ...] = one.gate if asked or mute else ("soak",)
    return replace(one, ladder=dict(planned.ladder), gate=gate)


def _safety(planned: Planned) -> tuple[Guardrail, ...]:
    both: tuple[Gate, ...] = ("shadow", "ramp")
    units = planned.two_arm_units

    def rate(name: str, base: float, absolute: float, weight: float) -> Guardrail:
        return Guardrail(
            name, name, "rate", scale=max(base, 1e-4), margin=0.5, margin_absolute=absolute,
            weight=weight * SAFETY, gate=both, bucket_units=units, min_units=30,
        )  # fmt: skip

    return (
        rate("errors", planned.error_rate, 0.01, 0.4),
        replace(rate("slow", 0.05, 0.03, 0.15), threshold=planned.slow_us),
        # Watched, not waited for: load moves latency from hour to hour in both arms, and the
        # mean test pays for that as if it were noise of one.
        Guardrail(
            "latency", "log_latency", "mean", scale=planned.latency_variance,
            margin_absolute=SLOWER, weight=0.05 * SAFETY, gate=(), bucket_units=units,
        ),
        rate("fallbacks", planned.fallback_share, 0.03, 0.2),
        # What does not come back cannot be judged: label loss is harm by itself.
        Guardrail(
            "label_missing", "label_missing", "rate", scale=0.01, margin_absolute=0.05,
            weight=0.2 * SAFETY, gate=("ramp",), labels=True, maturity_s=planned.maturity_s,
            bucket_units=units,
        ),
    )  # fmt: skip


def _quality(planned: Planned) -> tuple[Guardrail, ...]:
    return (
        # Different is not worse: a useful retrain moves this share by up to 2.5 times.
        Guardrail(
            "score_shift", "score_shift", "rate", scale=0.09, direction="two_sided",
            margin=3.0, tolerance=1.5, weight=0.5 * QUALITY, gate=("shadow", "ramp"),
            bucket_units=planned.two_arm_units, bursty=False, threshold=planned.score_threshold,
        ),
        Guardrail(
            "log_loss", "log_loss", "mean", scale=planned.log_loss_variance, margin=0.10,
            weight=0.2 * QUALITY, gate=("ramp",), bucket_units=planned.two_arm_units,
            baseline=planned.log_loss, labels=True, maturity_s=planned.maturity_s,
        ),
        Guardrail(
            "log_loss_paired", "log_loss_paired", "paired",
            scale=planned.log_loss_difference_variance, margin=0.02, tolerance=0.01,
            weight=0.3 * QUALITY, gate=("shadow", "soak"), bucket_units=planned.units_per_bucket,
            baseline=planned.log_loss, labels=True, maturity_s=planned.maturity_s,
        ),
    )  # fmt: skip


def _critical(planned: Planned) -> Iterator[Guardrail]:
    """What a mean over everybody hides: a slice of a tenth that is harmed moves it by a tenth."""
    by = {one.name: one for one in (*_safety(planned), *_quality(planned))}
    weight = CRITICAL / 3 / max(len(planned.slices), 1)
    for it in planned.slices:
        # What is little for everybody cannot be shown of so few: the loss has its own margin.
        loss = replace(
            by["log_loss_paired"], scale=it.difference_variance, baseline=it.log_loss,
            margin=it.margin, tolerance=it.margin / 2,
        )  # fmt: skip
        for one in (by["errors"], by["fallbacks"], loss):
            units = max(one.bucket_units * it.share, 0.25)
            yield replace(
                one, name=f"{one.name} at {it.slice}", slice=it.slice, apart=it.apart,
                weight=weight, bucket_units=units,
            )  # fmt: skip


def _split(planned: Planned) -> Guardrail:
    # Promises hold for rollouts whose split was SHOWN, not merely never caught broken.
    margins = {name: _split_margin(planned, name) for name in planned.shares}
    least = min(margins.values())
    return Guardrail(
        "split", "units", "split", margin=least, weight=0.0, gate=("ramp",),
        shares={name: split_of(share, planned.arms) for name, share in planned.shares.items()},
        ladder={name: margin / least for name, margin in margins.items() if margin > least},
    )  # fmt: skip


def _split_margin(planned: Planned, stage: str) -> float:
    """In log odds, what half of a stage's least time can show: who is lost may be the worst off.

    A margin of 0.05 finds that every twentieth request of the candidate is lost, one of 0.25
    every fifth.
    """
    units = planned.units_per_bucket * planned.holds.get(stage, 0.0)
    effective = units * balance_of(planned.shares[stage], planned.arms)
    strict, loose = SPLIT_WITHIN
    return min(max((2 * PER_SPLIT / effective) ** 0.5, strict), loose) if effective else loose


def _business(planned: Planned) -> tuple[Guardrail, ...]:
    shares = len(planned.kpis) + len(planned.decisions)
    decisions = tuple(
        Guardrail(
            f"decisions:{one.service}", f"decisions:{one.service}", "paired",
            scale=max(one.differ, 1e-3), direction="two_sided", margin=one.margin,
            tolerance=one.margin / 2, gate=("shadow", "soak"), weight=BUSINESS / shares,
            bucket_units=planned.units_per_bucket, baseline=one.share, threshold=one.over,
        )
        for one in planned.decisions
    )  # fmt: skip
    paired = (
        Guardrail(
            f"kpi:{kpi.service}", f"kpi:{kpi.service}", "paired",
            scale=_planned_for(kpi, kpi.difference_variance, kpi.units_per_bucket),
            direction="higher_is_worse" if kpi.better == "lower" else "lower_is_worse",
            margin=kpi.margin, tolerance=kpi.margin / 2, gate=("soak",) if kpi.required else (),
            weight=BUSINESS / shares / (1 if kpi.variance is None else 2), labels=True,
            bucket_units=kpi.units_per_bucket, baseline=kpi.baseline, per=kpi.mean_weight,
            maturity_s=planned.maturity_s, bucket_s=DAY_S,
        )
        for kpi in planned.kpis
    )  # fmt: skip
    return (*decisions, *(each for one in paired for each in (one, *_seen(one, planned))))


def _seen(paired: Guardrail, planned: Planned) -> Iterator[Guardrail]:
    """The same number between the arms that people saw, with half of its weight.

    Two arms need far more units than pairs: it is watched for harm, and nothing waits for it.
    """
    plan = next(kpi for kpi in planned.kpis if paired.name == f"kpi:{kpi.service}")
    if plan.variance is None or planned.two_arm_share is None:
        return
    units = max(plan.units_per_bucket * planned.two_arm_share, 0.25)
    yield replace(
        paired, name=f"kpi_seen:{plan.service}", form="mean",
        scale=_planned_for(plan, plan.variance, units), gate=(), bucket_units=units,
    )  # fmt: skip


def _planned_for(kpi: KpiPlan, variance: float, units: float) -> float:
    """The variance that the evidence is made for, in buckets of `units`.

    What history says, and a tenth of the square that a whole bucket of the margin is: in a test
    made for less, a bucket of no difference at all would look like noise of its own size.
    """
    return max(variance, least_variance(units, kpi.margin * kpi.baseline), 1e-9)


def least_variance(units: float, margin: float) -> float:
    """Per unit, a tenth of the square that a bucket of `units` off by `margin` each is."""
    return 0.1 * units * margin**2
