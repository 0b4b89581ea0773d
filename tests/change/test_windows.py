"""Windows across time zones and clock changes: frozen, open, and those that never open."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from interlock.change.windows import (
    Interval,
    closed,
    freezes_within,
    frozen,
    names_of,
    openings,
    problems_in,
)
from interlock.define.calendar import Allow, Calendar, Freeze
from interlock.define.refs import Ref
from interlock.errors import Invalid

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


# --- rules that name no day ----------------------------------------------------------


@pytest.mark.parametrize("every", ["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY"])
def test_a_rule_that_never_opens_is_said_and_ends(every: str) -> None:
    calendar = _calendar(
        start="2013-02-01T00:00:00",
        end="2013-02-01T01:00:00",
        rrule=f"FREQ={every};BYMONTH=2;BYMONTHDAY=30",
    )
    (problem,) = problems_in(calendar)
    assert "never opens" in problem.message
    assert "days that exist" in problem.fix


def test_a_leap_day_opens() -> None:
    rule = "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29"
    leap = _calendar(start="2013-02-01T00:00:00", end="2013-02-01T12:00:00", rrule=rule)
    assert problems_in(leap) == ()
    assert frozen(leap, [GATES], _utc("2016-02-29T12:00:00"))
    assert not frozen(leap, [GATES], _utc("2013-02-28T12:00:00"))


# --- allow windows: X8 -----------------------------------------------------------------

OFFICE = Allow(
    name="office",
    start="2013-03-04T09:00:00",
    end="2013-03-04T17:00:00",
    timezone="America/New_York",
    rrule="FREQ=WEEKLY;BYDAY=MO,TU,WE,TH",
    scope=("service:*",),
)


@pytest.mark.parametrize(
    ("at", "open_"),
    [
        ("2013-03-07T13:59:59", False),  # 08:59 EST
        ("2013-03-07T14:00:00", True),
        ("2013-03-07T21:59:59", True),
        ("2013-03-07T22:00:00", False),  # 17:00 EST
        ("2013-03-08T15:00:00", False),  # a Friday
        ("2013-03-11T13:00:00", True),  # 09:00 EDT: the clocks changed
        ("2013-03-11T21:00:00", False),
    ],
)
def test_an_allow_window_stays_at_its_wall_time(at: str, open_: bool) -> None:
    calendar = Calendar(allows=(OFFICE,))
    said = closed(calendar, [GATES], _utc(at))
    assert (said == []) is open_
    assert closed(calendar, [VIEW], _utc(at)) == []  # its scope names services only


def test_a_closed_window_says_when_the_next_one_opens() -> None:
    (said,) = closed(Calendar(allows=(OFFICE,)), [GATES], _utc("2013-03-08T15:00:00"))
    assert said == "outside of office: the next opens at 11 Mar 2013 13:00 UTC"
    over = OFFICE.model_copy(update={"rrule": "FREQ=WEEKLY;BYDAY=MO;UNTIL=20130401T000000"})
    (said,) = closed(Calendar(allows=(over,)), [GATES], _utc("2013-05-01"))
    assert said == "outside of office: none opens within a year"


def test_of_two_allow_windows_one_is_enough() -> None:
    night = OFFICE.model_copy(
        update={"name": "night", "start": "2013-03-04T16:00:00", "end": "2013-03-04T23:00:00"}
    )
    calendar = Calendar(allows=(OFFICE, night))
    day = Interval(_utc("2013-03-07T05:00:00"), _utc("2013-03-08T05:00:00"))
    assert openings(calendar, names_of([GATES]), day) == [
        Interval(_utc("2013-03-07T14:00:00"), _utc("2013-03-08T04:00:00"))
    ]
    assert openings(calendar, names_of([VIEW]), day) == [day]
