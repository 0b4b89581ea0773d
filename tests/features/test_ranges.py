"""Spans of event time: what they cover, and that no instant is lost or doubled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from interlock.features.dialect import DUCKDB
from interlock.features.ranges import (
    EVERYTHING,
    FIRST,
    LAST,
    Span,
    Spans,
    is_everything,
    merged,
    monthly,
    reached,
    spans_from,
    spans_json,
    spans_of,
    within,
    without,
)

START = datetime(2024, 1, 30, tzinfo=UTC)
HOUR, STEP = timedelta(hours=1), timedelta(hours=12)
steps = st.integers(0, 2 * 70)
spans = st.lists(
    st.tuples(steps, steps).map(
        lambda pair: Span(START + min(pair) * STEP, START + max(pair) * STEP)
    ),
    max_size=8,
)


def covered(found: Spans | list[Span]) -> set[int]:
    """Steps whose first instant is in a span."""
    ends = [((s.start - START) // STEP, (s.end - START) // STEP) for s in found]
    return {at for start, end in ends for at in range(start, end)}


@given(spans)
def test_merging_keeps_every_instant_once_and_in_order(some: list[Span]) -> None:
    found = merged(some)
    assert covered(found) == covered(some)
    assert all(a.end < b.start for a, b in pairwise(found))


@given(spans, st.integers(1, 4))
def test_fewer_spans_only_ever_cover_more(some: list[Span], most: int) -> None:
    found = merged(some, most)
    assert len(found) <= most
    assert covered(found) >= covered(some)


@given(spans, spans)
def test_what_is_done_is_left_out_and_nothing_else(todo: list[Span], done: list[Span]) -> None:
    assert covered(without(todo, done)) == covered(todo) - covered(done)


@given(spans)
def test_months_are_the_same_instants_cut_where_a_month_begins(some: list[Span]) -> None:
    parts = [part for month in monthly(merged(some)) for part in month]
    assert covered(parts) == covered(some)
    assert sum((p.end - p.start for p in parts), timedelta()) == sum(
        (s.end - s.start for s in merged(some)), timedelta()
    )
    for part in parts:
        last = part.end - timedelta(microseconds=1)
        assert (part.start.year, part.start.month) == (last.year, last.month)


@given(spans, st.integers(0, 40))
def test_a_change_reaches_exactly_so_far_as_rows_look_back(some: list[Span], n: int) -> None:
    there = [span for span in some if span.start < span.end]
    looked = {at + k for at in covered(there) for k in range(n + 1)}
    assert covered(reached(there, n * STEP)) == looked


@given(spans)
def test_spans_survive_the_record(some: list[Span]) -> None:
    assert spans_from(spans_json(some)) == tuple(some)


def test_the_ends_of_the_calendar_do_not_overflow() -> None:
    wide = Span(FIRST, LAST).widened(timedelta(days=9), timedelta(days=9))
    assert (wide.start, wide.end) == (FIRST, LAST)
    assert reached([Span(START, LAST - HOUR)], timedelta(days=400))[0].end == LAST
    assert without(EVERYTHING, EVERYTHING) == ()


def test_a_changed_row_without_a_time_may_be_anywhere() -> None:
    day = {"first": datetime(2024, 2, 1, 3), "last": datetime(2024, 2, 1, 4)}
    (found,) = spans_of([day])
    assert (found.start.hour, found.end - found.start) == (3, HOUR + timedelta(microseconds=1))
    assert is_everything(spans_of([day, {"first": None, "last": None}]))


def test_rows_are_asked_for_by_half_open_spans() -> None:
    asked = within("ts", (Span(START, START + HOUR),), DUCKDB)
    assert asked == (
        "((\"ts\" >= TIMESTAMP '2024-01-30 00:00:00.000000' "
        "AND \"ts\" < TIMESTAMP '2024-01-30 01:00:00.000000'))"
    )
    assert within("ts", EVERYTHING, DUCKDB) == "TRUE"
    assert within("ts", (), DUCKDB) == "FALSE"
