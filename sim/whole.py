"""All guardrails at once, as a rollout has them by default: what people get."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from interlock.rollout import eprocess
from interlock.rollout.defaults import (
    DecisionPlan,
    KpiPlan,
    Planned,
    SlicePlan,
    default_guardrails,
)
from interlock.rollout.evidence import evidence
from interlock.rollout.metrics import Guardrail
from interlock.rollout.strata import Strata
from sim import traffic
from sim.cells import Ask, Promise
from sim.traffic import MEAN, VARIANCE, Rng, Shape, flat

UNITS, BUCKETS = 200, 200
SLICE = 0.1
LINE = np.log(20)


@dataclass(frozen=True)
class Whole:
    """One line of the table: the verdict over every guardrail, some of them `worse` by a factor."""

    group: str
    name: str
    share: float
    ask: Ask
    worse: Mapping[str, float]
    promise: Promise = "at most"
    bound: float = 0.05
    clustered: float = 0.0
    slices: int = 0

    def yes(self, rng: Rng, runs: int) -> int:
        """In how many of `runs` rollouts all of them together were ever answered yes."""
        guardrails = set_of(self.share, self.slices)
        everybody = flat(UNITS, self.share, BUCKETS, self.clustered)
        few = replace(everybody, units=int(UNITS * SLICE))
        paths = [
            evidence(one, drawn(rng, runs, shape, one, self.worse.get(one.name, 1.0)), 0.05, 0.05)
            for one in guardrails
            for shape in [few if one.slice else everybody]
        ]
        judged = [p for p in paths if p.guardrail.weight > 0]
        weights = [p.guardrail.weight for p in judged]
        harm = eprocess.average([p.fail for p in judged], weights).max(axis=-1) >= LINE
        if self.ask == "fail":
            return int(harm.sum())
        safe = np.all([p.safe.max(axis=-1) >= LINE for p in paths], axis=0)
        return int((safe & ~harm).sum())


def set_of(share: float, slices: int = 0, arms: int = 1) -> tuple[Guardrail, ...]:
    """The default guardrails, all asked at one gate of `BUCKETS` buckets at `share`.

    `slices` critical ones, of a tenth of the units each, stand beside them; `share` is that of
    as many `arms` together.
    """
    few = [SlicePlan(f"s={n}", SLICE, MEAN["losses"], 0.03, 0.1) for n in range(slices)]
    planned = Planned(
        UNITS, {"step": share}, error_rate=0.005, log_loss=MEAN["losses"],
        log_loss_variance=VARIANCE["losses"], log_loss_difference_variance=0.03, arms=arms,
        kpis=(KpiPlan("desk", 1.0, 0.5, 0.05, "lower", UNITS),),
        decisions=(DecisionPlan("desk", 0.5, 0.2, 0.05, 0.1),), slices=few,
    )  # fmt: skip
    return tuple(replace(one, gate=("ramp",)) for one in default_guardrails(planned))


_RATES = {"errors": 0.005, "slow": 0.05, "fallbacks": 0.02, "label_missing": 0.01,
          "score_shift": 0.1}  # fmt: skip


def drawn(rng: Rng, runs: int, shape: Shape, one: Guardrail, factor: float) -> Strata:
    """Counts of one guardrail; the candidate is `factor` times as bad (or shifted by as much)."""
    if one.metric in _RATES:
        stable = np.full(BUCKETS, _RATES[one.metric])
        return traffic.rates(rng, runs, shape, stable, np.minimum(stable * factor, 1.0))
    if one.name == "split":
        return traffic.split(rng, runs, shape, 0.0)
    if one.name == "latency":
        return traffic.logarithms(rng, runs, shape, factor - 1)
    if one.name == "log_loss":
        return traffic.means(rng, runs, shape, "losses", factor)
    if one.name == "decisions:desk":
        return traffic.decisions(rng, runs, shape, 0.05, (factor - 1) * (one.baseline or 0.0))
    shift = (factor - 1) * abs(one.baseline or 0.0)
    return traffic.differences(rng, runs, shape, shift)


def whole_cells() -> Iterator[Whole]:
    """Nothing is worse; each required promise is broken at its margin; what it costs."""
    for label, share in {"50:50": 0.5, "10:90": 0.1, "1:99": 0.01}.items():
        for noise, correlation in (("independent", 0.0), ("clustered", 0.02)):
            yield Whole("whole set", f"{label} {noise}, nothing is worse", share, "fail", {},
                        clustered=correlation)  # fmt: skip
    at_margin = {"errors": 3.0, "latency": 1 + float(np.log(1.25)), "log_loss": 1.1,
                 "decisions:desk": 1.1, "kpi:desk": 1.05}  # fmt: skip
    for name, factor in at_margin.items():
        yield Whole("whole set", f"50:50, {name} at its margin", 0.5, "safe", {name: factor})
    yield Whole("whole set", "50:50, errors times 5", 0.5, "fail", {"errors": 5.0},
                "at least", 0.99)  # fmt: skip
    for label, share in {"50:50": 0.5, "10:90": 0.1}.items():
        yield Whole("whole set", f"{label}, nothing is worse", share, "safe", {}, "outside")
    yield from _slice_cells()


def _slice_cells() -> Iterator[Whole]:
    """One slice of a tenth is harmed, and everybody by a tenth of that; or nobody is."""
    for label, share in {"50:50": 0.5, "10:90": 0.1, "1:99": 0.01}.items():
        for noise, correlation in (("independent", 0.0), ("clustered", 0.02)):
            yield Whole("slices", f"{label} {noise}, nothing is worse", share, "fail", {},
                        clustered=correlation, slices=3)  # fmt: skip
    harms = {
        "five times its errors": {"errors": 1.4, "errors at s=1": 5.0},
        "a loss that is 10 % larger": {"log_loss_paired": 1.01, "log_loss_paired at s=1": 1.1},
    }
    for label, worse in harms.items():
        name = f"50:50, one slice has {label}"
        yield Whole("slices", name, 0.5, "fail", worse, "at least", 0.9, slices=3)
        mean = {only: by for only, by in worse.items() if " at " not in only}
        yield Whole("slices", f"{name}, and nobody asks for it", 0.5, "fail", mean, "outside")
    for metric, factor in {"errors": 3.0, "log_loss_paired": 1.1}.items():
        said = f"50:50, one slice at its margin of {metric}"
        yield Whole("slices", said, 0.5, "safe", {f"{metric} at s=1": factor}, slices=3)
    yield Whole("slices", "50:50, nothing is worse", 0.5, "safe", {}, "outside", slices=3)
