"""What a rollout promises not to worsen, written down before it starts.

A guardrail has two nulls. FAIL: "not worse than `tolerance`" - evidence against it
rolls back. PASS: "worse by the margin or more" - evidence against it lets the stage
go on. Between the two lies a zone where either end is legitimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from interlock.define.digest import digest
from interlock.errors import Invalid
from interlock.rollout.eprocess import Bound

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
    still be matched. `bursty` events (errors, slow answers) are also judged bucket by
    bucket; what the unit alone decides (a score) needs no such caution. With `labels`,
    buckets are stamped with the time of the PREDICTION and count once older than
    `maturity_s`. `shares` is the planned candidate share per stage (form `split`).
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

    def __post_init__(self) -> None:
        wrong = _objections(self)
        if wrong:
            raise Invalid(f"guardrail {self.name} cannot be judged", objections=wrong)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "gate": list(self.gate), "shares": dict(self.shares)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Guardrail:
        return cls(**{**body, "gate": tuple(body["gate"])})

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


def _objections(it: Guardrail) -> tuple[str, ...]:
    relative = it.margin or it.tolerance
    checks = {
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
    }
    return tuple(said for said, wrong in checks.items() if wrong)


def registered_digest(guardrails: Sequence[Guardrail], alpha: float, beta: float) -> str:
    """The address of what was promised; edited afterwards, the guarantee is void."""
    body = [one.to_json() for one in sorted(guardrails, key=lambda one: one.name)]
    return digest({"guardrails": body, "alpha": alpha, "beta": beta})
