"""Charts from buckets, and states as people say them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.ports import Bucket
from interlock.web.desk_charts import calibration, charts
from interlock.web.desk_moves import state_label
from interlock.web.figures import tone_of

HOUR = 3600
counts = st.integers(1, 40).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(0, 600))
)


def bucket(
    at: int, n: float, total: float, metric: str = "errors", arm: str = "candidate"
) -> Bucket:
    return Bucket("step_5", metric, arm, at * HOUR, n, total, total)


@settings(derandomize=True, max_examples=60)
@given(st.lists(counts, min_size=1, max_size=60, unique_by=lambda one: one[2]))
def test_a_wider_bar_is_the_sum_of_what_it_covers(rows: list[tuple[int, int, int]]) -> None:
    buckets = [bucket(at, n, events) for n, events, at in rows]
    units = [bucket(at, n, n, "units") for n, _, at in rows]
    shares, seen = charts([*buckets, *units])
    line, ns = shares.lines[0].points, seen.lines[0].points
    assert len(line) <= 62
    total = sum((p.value or 0) * (n.value or 0) for p, n in zip(line, ns, strict=True))
    assert total == pytest.approx(sum(events for _, events, _ in rows))
    assert sum(n.value or 0 for n in ns) == sum(n for n, _, _ in rows)


@settings(derandomize=True, max_examples=60)
@given(counts)
def test_the_band_of_a_share_holds_it_and_is_never_empty(row: tuple[int, int, int]) -> None:
    n, events, at = row
    (chart,) = charts([bucket(at, n, events)])
    point = chart.lines[0].points[0]
    assert point.value is not None
    assert point.low is not None
    assert point.high is not None
    assert 0 <= point.low <= point.value + 1e-12
    assert point.value - 1e-12 <= point.high <= 1
    # Nothing seen to fail in a few answers is not proof that nothing ever fails.
    assert point.high > point.low


def test_pairs_are_one_line_around_no_difference() -> None:
    pairs = [Bucket("shadow", "log_loss_paired", "paired", at * HOUR, 4, 0.4, 0.1) for at in (1, 2)]
    (chart,) = charts(pairs)
    assert [line.label for line in chart.lines] == ["difference"]
    assert (chart.bound, chart.bound_label) == (0.0, "no difference")


def test_one_pair_says_nothing_about_its_uncertainty() -> None:
    (chart,) = charts([Bucket("shadow", "log_loss_paired", "paired", 0, 1, 0.4, 0.16)])
    point = chart.lines[0].points[0]
    assert (point.value, point.low, point.high) == (0.4, None, None)


def test_calibration_is_absent_until_a_day_was_measured() -> None:
    assert calibration([], "late", 0.1) is None
    assert calibration([{"day": "2013-06-01", "ece": None}], "late", 0.1) is None
    days = [{"day": "2013-06-01", "ece": 0.04}, {"day": "2013-06-02", "ece": None}]
    chart = calibration(days, "late", 0.1)
    assert chart is not None
    assert [point.value for point in chart.lines[0].points] == [0.04, None]
    assert chart.bound == 0.1


def test_states_are_said_in_words_with_a_tone() -> None:
    stages = [{"weight": 0.0}, {"weight": 0.25}]
    rollout = {"stages": stages, "index": 1}
    assert state_label({"state": "STEP", "details": {"rollout": rollout}}) == "At 25\u00a0%"
    assert state_label({"state": "SHADOW", "details": {}}) == "Mirroring"
    tones = {s: tone_of(state_label({"state": s})) for s in ("COMMITTED", "ABORTED", "SOAKING")}
    assert tones == {"COMMITTED": "good", "ABORTED": "bad", "SOAKING": "wait"}
