"""Freezes across time zones and clock changes, bookings refused with a name and an hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.change.calendar import (
    Booking,
    Interval,
    book,
    conflicts,
    freezes_within,
    frozen,
    next_free_slot,
    problems_in,
)
from interlock.define.calendar import Calendar, Freeze
from interlock.define.refs import Ref
from interlock.errors import Invalid, Refused

GATES, VIEW = Ref("service", "gates"), Ref("view", "origin_weather", 2)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FLIGHTS = Path(__file__).parents[2] / "examples" / "flights" / "calendar.yaml"


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _calendar(**freeze: Any) -> Calendar:
    known = {"name": "weekend", "timezone": "America/New_York", **freeze}
    return Calendar(file="calendar.yaml", freezes=(Freeze(**known),))


WEEKEND = _calendar(
    start="2013-03-01T18:00:00", end="2013-03-04T08:00:00", rrule="FREQ=WEEKLY;BYDAY=FR"
)


def test_the_flights_freeze_holds_from_local_midnight_to_local_midnight() -> None:
    calendar = Calendar.model_validate(yaml.safe_load(FLIGHTS.read_text()))
    assert frozen(calendar, [VIEW], _utc("2013-07-03T03:59:59")) == []
    (said,) = frozen(calendar, [VIEW], _utc("2013-07-03T04:00:00"))
    assert said.startswith("frozen by independence_day until 08 Jul 2013 04:00 UTC: Independence")
    assert frozen(calendar, [VIEW], _utc("2013-07-08T03:59:59")) != []
    assert frozen(calendar, [VIEW], _utc("2013-07-08T04:00:00")) == []


@pytest.mark.parametrize(
    ("at", "held"),
    [
        ("2013-03-08T22:59:00", False),  # 17:59 EST
        ("2013-03-08T23:00:00", True),  # 18:00 EST
        ("2013-03-11T11:59:00", True),  # 07:59 EDT: the clocks changed on that Sunday
        ("2013-03-11T12:00:00", False),  # 08:00 EDT
        ("2013-03-15T22:00:00", True),  # 18:00 EDT
        ("2013-11-01T22:00:00", True),  # 18:00 EDT, clocks go back on Sunday
        ("2013-11-04T12:59:00", True),  # 07:59 EST
        ("2013-11-04T13:00:00", False),  # 08:00 EST
        ("2013-02-22T23:30:00", False),  # before the first
    ],
)
def test_a_weekly_freeze_stays_at_its_wall_time(at: str, held: bool) -> None:
    assert bool(frozen(WEEKEND, [GATES], _utc(at))) is held


def test_an_hour_that_occurs_twice_is_frozen_twice() -> None:
    night = _calendar(start="2013-11-03T00:00:00", end="2013-11-03T01:30:00")
    (found,) = freezes_within(night, [GATES], Interval(_utc("2013-11-01"), _utc("2013-11-05")))
    assert found[1] == Interval(_utc("2013-11-03T04:00:00"), _utc("2013-11-03T06:30:00"))


@pytest.mark.parametrize("until", ["20130316T000000Z", "20130315T200000"])
def test_a_rule_ends_with_its_until(until: str) -> None:
    ends = _calendar(
        start="2013-03-01T18:00:00",
        end="2013-03-02T18:00:00",
        rrule=f"FREQ=WEEKLY;BYDAY=FR;UNTIL={until}",
    )
    assert frozen(ends, [GATES], _utc("2013-03-16T01:00:00"))
    assert not frozen(ends, [GATES], _utc("2013-03-23T01:00:00"))


@pytest.mark.parametrize(
    ("scope", "ref", "held"),
    [
        ("*", VIEW, True),
        ("service:*", GATES, True),
        ("service:crew", GATES, False),
        ("view:origin_weather@2", Ref("feature", "origin_weather", 2, "temp_f"), True),
        ("table:wh.*", Ref("column", "wh.flights.dep_delay"), True),
        ("table:wh.*", Ref("table", "raw.flights"), False),
    ],
)
def test_a_freeze_holds_what_its_scope_names(scope: str, ref: Ref, held: bool) -> None:
    calendar = _calendar(start="2013-07-01T00:00:00", end="2013-07-02T00:00:00", scope=(scope,))
    assert bool(frozen(calendar, [ref], _utc("2013-07-01T12:00:00"))) is held


@pytest.mark.parametrize(
    "wrong",
    [
        {"timezone": "Mars/Olympus"},
        {"rrule": "FREQ=SOMETIMES"},
        {"rrule": "every friday"},
        {"rrule": "FREQ=SECONDLY"},
        {"end": "2013-02-01T00:00:00"},
        {"start": "2013-03-01T18:00:00+00:00"},
        {"start": "friday"},
    ],
)
def test_a_freeze_that_cannot_be_read_never_means_free(wrong: dict[str, str]) -> None:
    known = {"start": "2013-03-01T18:00:00", "end": "2013-03-04T08:00:00", **wrong}
    calendar = _calendar(**known)
    (problem,) = problems_in(calendar)
    assert "freeze weekend" in problem.message
    with pytest.raises(Invalid):
        frozen(calendar, [GATES], _utc("2013-06-01"))


def _booking(change: str, ref: Ref, start: str, length: timedelta = DAY) -> Booking:
    return Booking(change, (ref,), Interval(_utc(start), _utc(start) + length))


def test_two_changes_of_one_thing_conflict_with_a_name_and_an_hour() -> None:  # R-C3 X1
    held = _booking("CR-1", VIEW, "2013-05-01T13:00:00")
    wanted = _booking("CR-2", VIEW, "2013-05-02T12:59:00")
    assert conflicts([held], wanted) == (
        "CR-1 already holds view:origin_weather@2 until 02 May 2013 13:00 UTC",
    )
    # Near misses: it begins as the other ends; another version; the change itself.
    assert conflicts([held], _booking("CR-2", VIEW, "2013-05-02T13:00:00")) == ()
    other = Ref("view", "origin_weather", 1)
    assert conflicts([held], _booking("CR-2", other, "2013-05-01T13:00:00")) == ()
    assert conflicts([held], _booking("CR-1", VIEW, "2013-05-01T13:00:00")) == ()


def test_two_columns_of_one_table_are_one_thing_to_write() -> None:
    held = _booking("CR-1", Ref("column", "wh.flights.dep_delay"), "2013-05-01")
    wanted = _booking("CR-2", Ref("column", "wh.flights.distance"), "2013-05-01")
    assert len(conflicts([held], wanted)) == 1
    far = _booking("CR-2", Ref("column", "wh.planes.seats"), "2013-05-01")
    assert conflicts([held], far) == ()


def test_a_booking_is_refused_with_every_reason_and_the_next_slot() -> None:  # R-A1
    held = (_booking("CR-1", GATES, "2013-03-20T12:00:00"),)
    wanted = _booking("CR-2", GATES, "2013-03-21T00:00:00", 2 * DAY)
    with pytest.raises(Refused) as caught:
        book(WEEKEND, held, wanted, _utc("2013-03-20T12:00:00"))
    said = str(caught.value)
    assert "CR-1 already holds service:gates until 21 Mar 2013 12:00 UTC" in said
    assert "weekend forbids forward moves from 22 Mar 2013 22:00" in said
    assert "the next free slot begins at 25 Mar 2013 12:00 UTC" in said
    free = Booking("CR-2", (GATES,), Interval(_utc("2013-03-25T12:00"), _utc("2013-03-27T12:00")))
    assert book(WEEKEND, held, free, _utc("2013-03-20T12:00:00")) == (*held, free)


def test_notice_is_kept() -> None:
    calendar = Calendar(notice=2 * DAY)
    now = _utc("2013-05-01")
    with pytest.raises(Refused, match="notice"):
        book(calendar, (), _booking("CR-1", VIEW, "2013-05-02"), now)
    assert next_free_slot(calendar, (), [VIEW], HOUR, now).start == _utc("2013-05-03")


def test_no_slot_at_all_is_said() -> None:
    always = _calendar(start="2013-01-01T00:00:00", end="2013-01-02T00:00:00", rrule="FREQ=DAILY")
    with pytest.raises(Refused, match="no free slot"):
        next_free_slot(always, (), [VIEW], HOUR, _utc("2013-05-01"))


starts = st.integers(0, 24 * 20).map(lambda hours: _utc("2013-03-01") + hours * HOUR)
bookings = st.lists(
    st.builds(
        lambda n, ref, start, hours: Booking(
            f"CR-{n}", (ref,), Interval(start, start + hours * HOUR)
        ),
        st.integers(1, 9),
        st.sampled_from([GATES, VIEW]),
        starts,
        st.integers(1, 60),
    ),
    max_size=6,
)


@settings(derandomize=True, max_examples=80, deadline=None)
@given(bookings, starts, st.integers(1, 90))
def test_the_next_free_slot_is_free_and_there_is_none_before(
    held: list[Booking], after: datetime, hours: int
) -> None:
    length = hours * HOUR

    def free(start: datetime) -> bool:
        wanted = Booking("CR-99", (GATES,), Interval(start, start + length))
        return not conflicts(held, wanted) and not freezes_within(WEEKEND, [GATES], wanted.time)

    slot = next_free_slot(WEEKEND, held, [GATES], length, after)
    assert slot.start >= after
    assert slot.end - slot.start == length
    assert free(slot.start)
    earlier = after
    while earlier < slot.start:
        assert not free(earlier)
        earlier += HOUR
