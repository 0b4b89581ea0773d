"""Counting who differs: what is wrong, missing, extra or only late."""

from __future__ import annotations

import math

import pytest

from interlock.watch.consistency import Consistency, Feature, compared, ordered

NAN = math.nan


Side = list[float | None]


def counts(first: Side, second: Side, earlier: Side | None = None) -> tuple[int, int, int, int]:
    labels = [{"id": str(n)} for n in range(len(first))]
    made = compared("f", first, second, earlier, labels, 1e-9)
    return made.mismatch, made.missing, made.extra, made.late


def test_every_way_to_differ_is_counted_apart() -> None:
    first = [1.0, 2.0, None, 4.0, None, NAN]
    second = [1.0, 2.5, 3.0, None, None, None]
    assert counts(first, second) == (1, 1, 1, 0)


@pytest.mark.parametrize(("one", "two", "same"), [
    (0.1 + 0.2, 0.3, True), (1e9, 1e9 + 0.5, True), (1e9, 1e9 + 2, False), (0.0, -0.0, True),
    (0.0, 1e-12, True), (0.0, 1e-6, False), (math.inf, math.inf, True),
    (math.inf, -math.inf, False), (1.0, math.inf, False),
])  # fmt: skip
def test_a_tolerance_is_relative(one: float, two: float, same: bool) -> None:
    assert counts([one], [two]) == ((0, 0, 0, 0) if same else (1, 0, 0, 0))


def test_what_was_right_a_lag_ago_is_late_and_not_wrong() -> None:
    first, second, earlier = [1.0, None, 5.0], [2.0, 2.0, 2.0], [1.0, None, 1.0]
    assert counts(first, second, earlier) == (1, 0, 0, 2)


def test_the_first_that_differs_is_shown() -> None:
    labels = [{"id": "a"}, {"id": "b"}, {"id": "c"}]
    made = compared("f", [1.0, 2.0, NAN], [1.0, 3.0, 4.0], None, labels, 0.0)
    assert made.example == {"id": "b", "first": 2.0, "second": 3.0, "kind": "mismatch"}


def job(*features: Feature, requests: int = 10, bound: float = 0.1) -> Consistency:
    return Consistency("a and b", requests, ordered(features), bound, 0.0, 0.0)


def test_the_verdict_is_of_the_worst_and_nothing_measured_is_no_verdict() -> None:
    fine, bad = Feature("fine", 10, mismatch=1), Feature("bad", 10, missing=1, extra=1, late=8)
    assert (job(fine).verdict, job(fine, bad).verdict) == ("pass", "fail")
    assert job(fine, bad).sentence.startswith("a and b do not agree: 10 requests, worst bad")
    assert job(fine, bad).features[0] is bad
    assert job(requests=0).verdict == job().verdict == "inconclusive"
    assert job(fine, Feature("empty", 0)).verdict == "inconclusive"
    assert job(Feature("empty", 0)).to_json()["features"][0]["rate"] is None
