"""The table of what is promised, and of what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from interlock.rollout.eprocess import Moments, overdispersion
from interlock.rollout.evidence import evidence
from interlock.rollout.lasting import Width, fitted
from interlock.rollout.metrics import Guardrail
from interlock.rollout.strata import Strata
from sim import traffic
from sim.traffic import MEAN, VARIANCE, Rng, Shape, flat, ramp

Ask = Literal["fail", "safe"]
Promise = Literal["at most", "at least", "outside"]
Draw = Callable[[Rng, int], Strata]


@dataclass(frozen=True)
class Cell:
    """One line of the table: how often `ask` is answered yes when the truth is `draw`.

    `weight` is the guardrail's share of alpha when its power is asked for.
    """

    group: str
    name: str
    guardrail: Guardrail
    draw: Draw
    ask: Ask
    promise: Promise = "at most"
    bound: float = 0.05
    weight: float = 1.0

    def yes(self, rng: Rng, runs: int) -> int:
        """In how many of `runs` rollouts the question was ever answered yes."""
        paths = evidence(self.guardrail, self.draw(rng, runs), 0.05, 0.05)
        path = paths.fail if self.ask == "fail" else paths.safe
        return int((path.max(axis=-1) >= np.log(20 / self.weight)).sum())


SHARES = {"50:50": 0.5, "10:90": 0.1, "1:99": 0.01}
BASE, BUCKETS = 0.005, 200


def errors(shape: Shape) -> Guardrail:
    units = float(np.mean([n1 * n0 / (n1 + n0) for n1, n0 in zip(*shape.counts(), strict=True)]))
    return Guardrail(
        "errors", "errors", "rate", scale=BASE * (1 - BASE), margin=0.5, bucket_units=units
    )


def values(shape: Shape, kind: str) -> Guardrail:
    return replace(errors(shape), name=kind, form="mean", scale=VARIANCE[kind], margin=0.1)


PAIRED = Guardrail(
    "paired", "paired", "paired", scale=0.03, margin=0.02, baseline=0.5, bucket_units=100
)
SCORES = Guardrail(
    "scores", "scores", "rate", scale=0.09, direction="two_sided", margin=3.0, tolerance=1.5,
    bursty=False,
)  # fmt: skip


def constant(value: float) -> np.ndarray:
    return np.full(BUCKETS, value)


def rate(shape: Shape, stable: np.ndarray, ratio: float = 1.0, plus: float = 0.0) -> Draw:
    return lambda rng, runs: traffic.rates(rng, runs, shape, stable, stable * ratio + plus)


def all_cells() -> Iterator[Cell]:
    yield from _by_split_and_shape()
    yield from _scores()
    yield from _paired_and_split()
    yield from _coverage()
    yield from _kpis()
    yield from _decisions()
    yield from _margins()
    yield from _lasting()
    yield from _ramp_and_incident()
    yield from _cadence()
    yield from _power()
    yield from _outside()


def _by_split_and_shape() -> Iterator[Cell]:
    for noise, correlation in (("independent", 0.0), ("clustered", 0.02)):
        for label, share in SHARES.items():
            many = flat(500, share, BUCKETS, correlation)
            few = flat(100, share, BUCKETS, correlation)
            yield from _pair(
                f"{label} {noise} errors", errors(many),
                rate(many, constant(BASE)), rate(many, constant(BASE), 1.5),
            )  # fmt: skip
            slow = replace(errors(many), scale=0.05)
            yield from _pair(
                f"{label} {noise} slow answers", slow,
                rate(many, constant(0.05)), rate(many, constant(0.05), 1.5),
            )  # fmt: skip
            for kind in MEAN:
                yield from _pair(
                    f"{label} {noise} {kind}", values(few, kind),
                    _mean(few, kind, 1.0), _mean(few, kind, 1.1),
                )  # fmt: skip


def _scores() -> Iterator[Cell]:
    tight = replace(SCORES, tolerance=0.0)  # the default tolerance hides false alarms
    for label, share in SHARES.items():
        shape = flat(500, share, BUCKETS)
        yield Cell("A/A", f"{label} scores", tight, rate(shape, _hours()), "fail")
        yield Cell("at margin", f"{label} scores", SCORES, rate(shape, _hours(), 0.25), "safe")
        alike = replace(shape, correlation=0.02)
        name = f"{label} clustered scores, as by default"
        yield from _pair(name, SCORES, rate(alike, _hours()), rate(alike, _hours(), 0.25))


def _hours() -> np.ndarray:
    """A share that swings with the hour as weather does."""
    return 0.1 + 0.08 * np.sin(np.arange(BUCKETS) / 6)


def _pair(name: str, guardrail: Guardrail, same: Draw, margin: Draw) -> Iterator[Cell]:
    yield Cell("A/A", name, guardrail, same, "fail")
    yield Cell("at margin", name, guardrail, margin, "safe")


def _mean(shape: Shape, kind: str, factor: float) -> Draw:
    return lambda rng, runs: traffic.means(rng, runs, shape, kind, factor)


def _paired_and_split() -> Iterator[Cell]:
    for noise, correlation in (("independent", 0.0), ("clustered", 0.02)):
        shape = flat(100, 0.5, BUCKETS, correlation)
        yield from _pair(f"paired {noise} losses", PAIRED, _shift(shape, 0), _shift(shape, 0.01))
    for label, share in SHARES.items():
        shares = {"step": share}
        guardrail = Guardrail("split", "units", "split", margin=0.25, shares=shares)
        shape = flat(500, share, BUCKETS)
        yield from _pair(f"{label} split", guardrail, _off(shape, 0.0), _off(shape, -0.25))


def _coverage() -> Iterator[Cell]:
    """Labels that are lost in one arm, and requests of it that never came to be counted."""
    for noise, correlation in (("independent", 0.0), ("clustered", 0.02)):
        for label, share in SHARES.items():
            shape = flat(500, share, BUCKETS, correlation)
            units = errors(shape).bucket_units
            it = Guardrail("label_missing", "label_missing", "rate", scale=0.01,
                           margin_absolute=0.05, bucket_units=units)  # fmt: skip
            yield from _pair(f"{label} {noise} labels lost", it, rate(shape, constant(0.01)),
                             rate(shape, constant(0.01), 1.0, 0.05))  # fmt: skip
    strict, loose = (
        Guardrail("split", "units", "split", margin=margin, shares={"step": 0.1})
        for margin in (0.05, 0.25)
    )
    lost = _off(flat(5000, 0.1, BUCKETS), float(np.log(0.94)))
    said = "6 % of the candidate's requests lost, split within"
    yield Cell("at margin", f"{said} 0.05", strict, lost, "safe")
    yield Cell("outside", f"{said} 0.25", loose, lost, "safe", "outside")


KPI_MEAN = 0.05 * float(np.exp(0.5))
KPI_VARIANCE = 0.05 * float(np.exp(2.0)) - KPI_MEAN**2


def _kpis() -> Iterator[Cell]:
    """Money of the units that saw each arm, by the day: one in twenty buys, for very different
    sums."""
    for label, share in SHARES.items():
        shape = flat(2000, share, 40)
        it = replace(errors(shape), name="kpi", form="mean", scale=KPI_VARIANCE, margin=0.25,
                     direction="lower_is_worse")  # fmt: skip
        yield from _pair(f"{label} money", it, _money(shape, 1.0), _money(shape, 0.75))


def _money(shape: Shape, factor: float) -> Draw:
    return lambda rng, runs: traffic.money(rng, runs, shape, factor)


def _shift(shape: Shape, shift: float) -> Draw:
    return lambda rng, runs: traffic.differences(rng, runs, shape, shift)


def _off(shape: Shape, shift: float) -> Draw:
    return lambda rng, runs: traffic.split(rng, runs, shape, shift)


ACTS = Guardrail(
    "decisions", "decisions", "paired", scale=0.05, direction="two_sided", margin=0.1, baseline=0.2,
    bucket_units=100,
)  # fmt: skip


def _decisions() -> Iterator[Cell]:
    """On a twentieth of the units the releases decide otherwise."""
    for noise, correlation in (("independent", 0.0), ("clustered", 0.02)):
        shape = flat(100, 0.5, BUCKETS, correlation)
        yield from _pair(f"paired {noise} decisions", ACTS, _acts(shape, 0), _acts(shape, 0.02))


def _acts(shape: Shape, shift: float) -> Draw:
    return lambda rng, runs: traffic.decisions(rng, runs, shape, 0.05, shift)


def _seen_before(width: int) -> float:
    """How much the arms jump in four weeks before, in buckets of `width` hours."""
    calm = traffic.wandering(np.random.default_rng(0), 1, flat(5000, 0.5, 672), 0.02)
    arms = traffic.widened(calm, width).arms
    return overdispersion({a: Moments(m.n[0], m.total[0], m.squares[0]) for a, m in arms.items()})


def _lasting() -> Iterator[Cell]:
    """Noise that lasts, judged with what was seen of it before; and rungs of the ladder."""
    shape = flat(5000, 0.5, BUCKETS)
    wide = Width(16, 0.0, _seen_before(16), 16)
    it = fitted(errors(shape), wide)
    yield Cell("A/A", "noise that lasts (AR .8), with buckets fitted to it", it,
               lambda rng, runs: traffic.widened(
                   traffic.wandering(rng, runs, shape, 0.02), wide.seconds), "fail")  # fmt: skip
    for label, share, rung in (("1:99", 0.01, 3.0), ("5:95", 0.05, 2.0), ("25:75", 0.25, 1.5)):
        small = flat(500, share, BUCKETS)
        early = replace(errors(small), margin=0.5 * rung)
        ratio = 1 + 0.5 * rung
        yield Cell("at margin", f"{label} errors, {rung:g} times the margin", early,
                   rate(small, constant(BASE), ratio), "safe")  # fmt: skip


def _margins() -> Iterator[Cell]:
    shape = flat(500, 0.1, BUCKETS)
    either = replace(errors(shape), margin_absolute=0.01)
    yield Cell("at margin", "no errors before, 1 % after", either,
               rate(shape, constant(0.0), 1.0, 0.01), "safe")  # fmt: skip
    yield Cell("at margin", "0.5 % before, 1.5 % after", either,
               rate(shape, constant(BASE), 1.0, 0.01), "safe")  # fmt: skip
    yield Cell("at margin", "10:90 errors in batches of 5", errors(shape),
               lambda rng, runs: traffic.batches(rng, runs, shape, (BASE, 1.5 * BASE), 5),
               "safe")  # fmt: skip
    yield Cell("A/A", "10:90 errors in batches of 5", errors(shape),
               lambda rng, runs: traffic.batches(rng, runs, shape, (BASE, BASE), 5),
               "fail")  # fmt: skip


def _ramp_and_incident() -> Iterator[Cell]:
    rising = ramp(500, BUCKETS)
    falling = np.linspace(0.01, 0.002, BUCKETS)
    yield from _pair("ramp 1-50 % while errors fall", errors(rising),
                     rate(rising, falling), rate(rising, falling, 1.5))  # fmt: skip
    yield from _pair("ramp 1-50 %, losses", values(replace(rising, units=100), "losses"),
                     _mean(replace(rising, units=100), "losses", 1.0),
                     _mean(replace(rising, units=100), "losses", 1.1))  # fmt: skip
    shape = flat(500, 0.1, BUCKETS)
    incident = constant(BASE)
    incident[80:110] = 0.03
    yield from _pair("incident in both arms", errors(shape),
                     rate(shape, incident), rate(shape, incident, 1.5))  # fmt: skip


def _cadence() -> Iterator[Cell]:
    shape = flat(500, 0.1, BUCKETS)
    for by in (1, 6, 60):
        guardrail = replace(errors(shape), bucket_units=errors(shape).bucket_units * by)
        yield Cell("A/A", f"a look every {by} buckets", guardrail, _less_often(shape, by), "fail")


def _less_often(shape: Shape, by: int) -> Draw:
    same = rate(shape, constant(BASE))
    return lambda rng, runs: traffic.widened(same(rng, runs), by)


def _power() -> Iterator[Cell]:
    shape = flat(200, 0.5, BUCKETS)
    yield Cell("found", "errors times 5", errors(shape), rate(shape, constant(BASE), 5.0),
               "fail", "at least", 0.99, 0.2)  # fmt: skip
    small = flat(50, 0.1, 60)  # 5 candidate requests a bucket, 300 in all
    yield Cell("found", "shuffled labels by scores, 300 requests", SCORES,
               lambda rng, runs: traffic.rates(
                   rng, runs, small, np.full(60, 0.1), np.full(60, 0.001)),
               "fail", "at least", 0.9, 0.175)  # fmt: skip
    pairs = flat(50, 0.5, 20)
    yield Cell("found", "shuffled labels by paired loss, 1,000 pairs", PAIRED,
               _shift(pairs, 0.088), "fail", "at least", 0.99, 0.105)  # fmt: skip
    late = np.concatenate([np.zeros(100), np.full(5, 0.2)])
    quiet = flat(200, 0.5, 105)
    yield Cell("found", "a fifth fails after 100 quiet buckets, 5 buckets", errors(quiet),
               lambda rng, runs: traffic.rates(rng, runs, quiet, np.zeros(105), late),
               "fail", "at least", 0.99, 0.2)  # fmt: skip
    none = flat(200, 0.5, BUCKETS)
    either = replace(errors(none), margin_absolute=0.01)
    yield Cell("found", "no errors in either arm is safe", either, rate(none, constant(0.0)),
               "safe", "at least", 0.99)  # fmt: skip


def _outside() -> Iterator[Cell]:
    same = flat(500, 0.5, BUCKETS)
    yield Cell("outside", "the same 100 users all day, some unluckier by nature", errors(same),
               lambda rng, runs: traffic.users(rng, runs, same, (100, 1.0), BASE), "fail",
               "outside")  # fmt: skip
    shape = flat(5000, 0.1, BUCKETS)
    yield Cell("outside", "arm-specific noise that lasts (AR .8), 5,000 units a bucket",
               errors(shape), lambda rng, runs: traffic.wandering(rng, runs, shape, 0.02),
               "fail", "outside")  # fmt: skip
    yield Cell("outside", "2 candidate replicas against 18, sd .3", errors(shape),
               lambda rng, runs: traffic.pods(rng, runs, shape, 0.02), "fail",
               "outside")  # fmt: skip
    exact = replace(errors(flat(500, 0.5, BUCKETS)), bursty=False)
    bursts = flat(500, 0.5, BUCKETS, 0.02)
    yield Cell("outside", "bursts judged without the bucket test (bursty=False)", exact,
               rate(bursts, constant(BASE)), "fail", "outside")  # fmt: skip
