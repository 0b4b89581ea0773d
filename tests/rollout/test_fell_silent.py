"""A metric that is counted no more in the middle of a stage is named, and its stage waits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rollout_story import ALPHA, BETA, ERRORS

from interlock.define.environment import Environment
from interlock.errors import Invalid
from interlock.ports import Bucket
from interlock.rollout.judge import Judgement, judge
from interlock.rollout.metrics import Guardrail

HOUR = 3600
SLOW = replace(ERRORS, name="slow", metric="slow")
LOSS = Guardrail(
    "log_loss", "log_loss", "mean", scale=0.3, margin=0.3, baseline=0.5, labels=True,
    bucket_units=25,
)  # fmt: skip
MISSING = Guardrail(
    "label_missing", "label_missing", "rate", scale=0.01, margin_absolute=0.05, labels=True,
    bucket_units=25,
)  # fmt: skip
KPI = Guardrail(
    "kpi:desk", "kpi:desk", "paired", scale=1, margin=2, baseline=1, labels=True,
    bucket_s=24 * HOUR,
)  # fmt: skip


def counted(metric: str, hours: range, n: int = 50, value: float = 0.0) -> list[Bucket]:
    arms = ("candidate", "stable")
    return [
        Bucket("tenth", metric, arm, h * HOUR, n, n * value, n * value**2)
        for h in hours
        for arm in arms
    ]


def judged(guardrails: list[Guardrail], *buckets: list[Bucket]) -> Judgement:
    return judge(guardrails, [b for many in buckets for b in many], ALPHA, BETA, "ramp", "tenth")


def test_what_is_not_counted_any_more_holds_a_stage_that_was_shown_to_be_safe() -> None:
    whole, part = range(96), range(60)
    both = judged([ERRORS, SLOW], counted("errors", whole), counted("slow", whole))
    gone = judged([ERRORS, SLOW], counted("errors", whole), counted("slow", part))
    assert (both.verdict, gone.verdict) == ("safe", "error")
    assert "slow was last counted at 1970-01-03 11:00 UTC, errors after that" in gone.sentence
    assert [one.verdict for one in gone.per_guardrail] == ["safe", "error"]


def test_labels_that_stopped_in_both_arms_are_not_a_difference_of_none() -> None:
    """All of them missing in both arms is no difference, and no success."""
    since = [replace_all(b) for b in counted("label_missing", range(60, 96))]
    missing = counted("label_missing", range(60)) + since
    loss = counted("log_loss", range(60), value=0.5)
    found = judged([LOSS, MISSING], loss, missing)
    assert found.per_guardrail[1].verdict != "harm"
    assert (found.verdict, found.per_guardrail[0].verdict) == ("error", "error")
    assert "log_loss was last counted" in found.sentence


def replace_all(bucket: Bucket) -> Bucket:
    return replace(bucket, total=bucket.n, squares=bucket.n)


@pytest.mark.parametrize(
    ("hours", "units"),
    [(range(80), 50), (range(92), 50), (range(0, 96, 40), 1)],
    ids=["a short gap", "the hour at hand", "what comes seldom"],
)
def test_what_may_still_come_is_waited_for(hours: range, units: int) -> None:
    found = judged([ERRORS, SLOW], counted("errors", range(96)), counted("slow", hours, units))
    assert found.per_guardrail[1].verdict != "error"


def test_a_day_that_is_not_over_is_no_silence() -> None:
    days = [Bucket("tenth", "kpi:desk", "paired", 24 * HOUR * d, 20, 0.0, 2.0) for d in range(2)]
    labels = counted("label_missing", range(4 * 24 - 1))
    found = judged([KPI, MISSING], days, labels[: 2 * 24 * 3])
    assert found.per_guardrail[0].verdict != "error"
    silent = judged([KPI, MISSING], days, counted("label_missing", range(6 * 24)))
    assert silent.per_guardrail[0].verdict == "error"


def test_harm_is_harm_though_something_else_fell_silent() -> None:
    bad = [
        Bucket("tenth", "errors", arm, h * HOUR, 50, n, n)
        for h in range(96)
        for arm, n in (("candidate", 10), ("stable", 0))
    ]
    assert judged([ERRORS, SLOW], bad, counted("slow", range(60))).verdict == "harm"


@pytest.mark.parametrize("error", [0.0, 0.5, -0.1, 1.0, float("nan")])
def test_an_error_rate_that_nothing_can_be_judged_by_is_refused(error: float) -> None:
    for name in ("alpha", "beta"):
        with pytest.raises((Invalid, ValueError), match=name):
            Environment(subject=("id",), stages=(), **{name: error})
