"""What a rollout promises not to worsen, written down before it starts.

A guardrail has two nulls. FAIL: "not worse than `tolerance`" - evidence against it
rolls back. PASS: "worse by the margin or more" - evidence against it lets the stage
go on. Between the two lies a zone where either end is legitimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Any, Literal

from interlock.define.digest import digest
from interlock.errors import Invalid
from interlock.rollout.bound import Bound

Form = Literal["rate", "mean", "paired", "split"]
Direction = Literal["higher_is_worse", "lower_is_worse", "two_sided"]
Gate = Literal["shadow", "ramp", "soak"]
GATES: tuple[Gate, ...] = ("shadow", "ramp", "soak")


@dataclass(frozen=True)
class Guardrail:
    """One promise about one metric.

    `scale` is the planned variance of one unit and `bucket_units` the planned effective
    units per bucket (n1*n0/(n1+n0), or n when paired): they fix the width of the test and
    cost only speed when wrong. `margin` and `tolerance` are relative to the stable arm
    (`paired`: to `baseline`, its planned mean); `margin_absolute` is in the metric's unit,
    and staying inside EITHER margin is safe, so that a stable arm without any error can
    still be matched. Safety is judged bucket by bucket beside unit by unit, and so is harm by
    `bursty` events (errors, slow answers); what the unit alone decides (a score) needs no such
    caution to be harm. With `labels`, buckets are stamped with the time of the PREDICTION and
    count once older than `maturity_s`. `shares` is the planned candidate share per stage (form
    `split`).

    `threshold` is what a value must exceed to be an event, frozen before the rollout; `per`
    divides every value. Buckets are added up to `bucket_s` seconds (0: as they are counted);
    `burst` events at least come at a time.
    `ladder` says in which stages how many times the margin suffices: little traffic can only
    rule out large harm. `slice` (`column=value`) says whose units are counted, empty for all;
    `apart` are stages that let none of them in: nothing is asked there.
    """

    name: str
    metric: str
    form: Form
    scale: float = 1.0
    direction: Direction = "higher_is_worse"
    margin: float = 0.0
    margin_absolute: float = 0.0
    tolerance: float = 0.0
    weight: float = 1.0
    gate: tuple[Gate, ...] = ("ramp",)
    labels: bool = False
    maturity_s: float = 0.0
    min_units: int = 1
    bucket_units: float = 50.0
    baseline: float | None = None
    bursty: bool = True
    slice: str = ""
    shares: Mapping[str, float] = field(default_factory=dict)
    threshold: float | None = None
    per: float = 1.0
    bucket_s: int = 0
    burst: float = 5.0
    ladder: Mapping[str, float] = field(default_factory=dict)
    apart: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wrong = _objections(self)
        if wrong:
            raise Invalid(f"guardrail {self.name} cannot be judged", objections=wrong)

    def to_json(self) -> dict[str, Any]:
        body = {**asdict(self), "gate": list(self.gate), "shares": dict(self.shares)}
        # What says nothing is left out: what was agreed before there was a word keeps its digest.
        return {name: said for name, said in body.items() if _LATER.get(name, ...) != said}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Guardrail:
        lists = {name: tuple(body[name]) for name in ("gate", "apart") if name in body}
        return cls(**{**body, **lists})

    def asked(self, gate: Gate | None, stage: str | None) -> bool:
        """Whether `stage`, of the kind `gate`, waits for this (None: any)."""
        return (gate is None or gate in self.gate) and stage not in self.apart

    def at(self, stage: str | None) -> Guardrail:
        """What must be shown to leave `stage`: the margin times its rung of the ladder."""
        rung = self.ladder.get(stage, 1.0) if stage else 1.0
        if rung == 1:
            return self
        absolute = self.margin_absolute * rung
        return replace(self, margin=self.margin * rung, margin_absolute=absolute, ladder={})

    @property
    def sides(self) -> tuple[bool, ...]:
        """The directions in which the candidate can be worse: True is upwards."""
        both = {"higher_is_worse": (True,), "lower_is_worse": (False,), "two_sided": (True, False)}
        return both[self.direction]

    def fail_bound(self, worse_up: bool) -> Bound:
        """Evidence beyond this bound is harm."""
        return self._relative(self.tolerance, worse_up, above=worse_up)

    def pass_bounds(self, worse_up: bool) -> list[Bound]:
        """Evidence inside any of these bounds is safety."""
        away = self.margin_absolute if worse_up else -self.margin_absolute
        if self.form == "paired":
            return [self._paired(max(self.margin * self._level, self.margin_absolute), worse_up)]
        bounds = [self._relative(self.margin, worse_up, above=not worse_up)] if self.margin else []
        return bounds + ([Bound(1.0, away, not worse_up)] if self.margin_absolute else [])

    @property
    def _level(self) -> float:
        return abs(self.baseline or 0.0)

    def _paired(self, off: float, worse_up: bool) -> Bound:
        return Bound(0.0, off if worse_up else -off, above=not worse_up)

    def _relative(self, share: float, worse_up: bool, above: bool) -> Bound:
        if self.form == "paired":
            off = share * self._level
            return Bound(0.0, off if worse_up else -off, above)
        # A rate may halve as easily as it doubles; a mean of 90 % is 10 % worse.
        down = 1 / (1 + share) if self.form == "rate" else 1 - share
        return Bound(1 + share if worse_up else down, 0.0, above)


_LATER: dict[str, Any] = {"threshold": None, "per": 1.0, "bucket_s": 0, "burst": 5.0, "ladder": {},
                          "apart": ()}  # fmt: skip


def _objections(it: Guardrail) -> tuple[str, ...]:
    relative = it.margin or it.tolerance
    numbers = (
        it.scale, it.margin, it.margin_absolute, it.tolerance, it.weight, it.bucket_units, it.per,
        it.burst, it.baseline or 0.0, *it.shares.values(), *it.ladder.values(),
    )  # fmt: skip
    checks = {
        # One that is none would hide what all others saw.
        "every number must be finite": not all(map(isfinite, numbers)),
        "a margin is needed, relative or absolute": it.margin <= 0 and it.margin_absolute <= 0,
        "margins, tolerance and weight cannot be negative": min(
            it.margin, it.margin_absolute, it.tolerance, it.weight
        )
        < 0,
        "scale and bucket_units must be above 0": it.scale <= 0 or it.bucket_units <= 0,
        "a relative margin of differences needs the baseline": bool(
            it.form == "paired" and relative and it.baseline is None
        ),
        "a split needs the planned share of each stage": it.form == "split" and not it.shares,
        "gate knows shadow, ramp and soak": not set(it.gate) <= set(GATES),
        "a rung of the ladder is 1 or more": min(it.ladder.values(), default=1.0) < 1,
        "values are divided by a number above 0": it.per <= 0,
    }
    return tuple(said for said, wrong in checks.items() if wrong)


def registered_digest(guardrails: Sequence[Guardrail], alpha: float, beta: float) -> str:
    """The address of what was promised; edited afterwards, the guarantee is void."""
    body = [one.to_json() for one in sorted(guardrails, key=lambda one: one.name)]
    return digest({"guardrails": body, "alpha": alpha, "beta": beta})
