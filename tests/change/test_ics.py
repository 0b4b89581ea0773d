"""The feed opens in a calendar program and says the same as the calendar; holidays come in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from booking_world import at, booking, phases
from icalendar import Calendar as Ics

from interlock.change.agenda import Booked, Sources, lines
from interlock.change.change import Change
from interlock.change.ics import to_ics
from interlock.change.windows import Interval, frozen
from interlock.define.calendar import Absence, Allow, Calendar, Freeze, Import
from interlock.define.ics import windows_in
from interlock.define.project import Project
from interlock.define.refs import Ref

WRITTEN = datetime(2013, 3, 1, 12, tzinfo=UTC)
WEEKEND = Freeze(
    name="weekend", start="2013-03-01T18:00:00", end="2013-03-04T08:00:00",
    timezone="America/New_York", rrule="FREQ=WEEKLY;BYDAY=FR;UNTIL=20131201T000000",
    scope=("service:gates",), reason="nobody is at the desk; really, nobody",
)  # fmt: skip
OFFICE = Allow(
    name="office", start="2013-03-04T09:00:00", end="2013-03-04T17:00:00",
    timezone="Europe/Berlin", rrule="FREQ=WEEKLY;BYDAY=MO",
)  # fmt: skip
AWAY = Absence(person="ana", start="2013-03-05T00:00:00", end="2013-03-06T00:00:00", timezone="UTC")
PROJECT = Project(
    name="flights",
    environments={},
    calendar=Calendar(freezes=(WEEKEND,), allows=(OFFICE,), absences=(AWAY,)),
)
CHANGE = Change(
    "CR-1", "°C; and, more", "wei", "prod", WRITTEN, "APPROVED", expected="warmer",
    rollback_criteria="it is colder",
    plan={"requirements": [{"team": "ops"}], "after": "CR-0", "slot": None},
)  # fmt: skip


def _booked(standing: Any = "held", revision: int = 1) -> Booked:
    held = booking("CR-1", 24, 1, 2, 1, 4, writes="table:a", owner="wei", after="CR-0")
    held = replace(held, title=CHANGE.title)
    return Booked(held, standing, "prod", "approved", revision, WRITTEN)


def _feed(*booked: Booked) -> Ics:
    found = Ics.from_ical(to_ics(Sources(PROJECT, "prod", (CHANGE,), booked), at(0)))
    assert isinstance(found, Ics)
    return found


def _events(feed: Ics) -> dict[str, Any]:
    return {str(event["summary"]): event for event in feed.walk("VEVENT")}


def test_a_booked_change_is_an_event_per_phase() -> None:  # R-A1
    events = _events(_feed(_booked()))
    for name, hours in {"prepare": (24, 25), "ramp": (25, 27), "rollback": (28, 32)}.items():
        event = events[f"CR-1 {name}: °C; and, more"]
        assert (event.decoded("dtstart"), event.decoded("dtend")) == tuple(map(at, hours))
        assert event["uid"] == f"CR-1-{name}@prod.flights.interlock"
        assert event["status"] == "CONFIRMED"
        assert event.decoded("last-modified") == WRITTEN
    said = str(events["CR-1 ramp: °C; and, more"]["description"])
    for part in ("by wei", "writes table:a", "after CR-0", "owners: ops", "done when: warmer",
                 "done when: taken back when it is colder"):  # fmt: skip
        assert part in said


def test_a_moved_one_moves_and_a_cancelled_one_is_struck_out() -> None:
    before = _events(_feed(_booked()))
    after = _events(_feed(_booked("cancelled", revision=4)))
    assert before.keys() == after.keys()
    for name, event in after.items():
        if name.startswith("CR-1"):
            assert event["uid"] == before[name]["uid"]
            assert (before[name]["sequence"], event["sequence"]) == (0, 3)
            assert event["status"] == "CANCELLED"


def test_windows_are_rules_in_their_zone_and_bring_it_along() -> None:
    feed = _feed()
    events = _events(feed)
    weekend = events["Freeze: weekend"]
    assert weekend.decoded("dtstart").isoformat() == "2013-03-01T18:00:00-05:00"
    assert weekend["dtstart"].params["TZID"] == "America/New_York"
    # A start with a zone asks for an UNTIL in UTC: midnight in New York is five o'clock there.
    assert weekend["rrule"].to_ical() == b"FREQ=WEEKLY;UNTIL=20131201T050000Z;BYDAY=FR"
    assert "nobody is at the desk" in str(weekend["description"])
    assert "for service:gates" in str(weekend["description"])
    assert set(events) == {"Freeze: weekend", "Allowed: office", "Away: ana"}
    zones = {str(zone["tzid"]): zone for zone in feed.timezones}
    assert set(zones) == {"America/New_York", "Europe/Berlin"}
    new_york = zones["America/New_York"].to_tz()
    assert datetime(2013, 3, 9, 18, tzinfo=new_york).utcoffset() == timedelta(hours=-5)
    assert datetime(2013, 3, 10, 18, tzinfo=new_york).utcoffset() == timedelta(hours=-4)


def test_equal_input_gives_equal_text() -> None:
    sources = Sources(PROJECT, "prod", (CHANGE,), (_booked(),))
    assert to_ics(sources, at(0)) == to_ics(sources, at(1))


def test_lines_are_the_same_for_everybody_who_draws_them() -> None:  # R-A1
    window = Interval(at(0), at(24 * 7))
    found = lines(Sources(PROJECT, "prod", (CHANGE,), (_booked(),)), window, at(0))
    change, *others = found
    assert (change.name, change.standing, change.by) == ("CR-1", "held", "wei")
    assert (change.start, change.end) == (at(24), at(32))
    assert [name for name, _ in change.phases] == ["prepare", "ramp", "soak", "rollback"]
    assert (change.owners, change.after) == (("ops",), ("CR-0",))
    assert change.criteria == ("warmer", "taken back when it is colder")
    assert {(one.kind, one.name) for one in others} == {
        ("freeze", "weekend"), ("allow", "office"), ("absence", "ana"),
    }  # fmt: skip
    assert change.to_json()["phases"]["ramp"] == [at(25).isoformat(), at(27).isoformat()]


def test_a_rollout_that_takes_longer_still_holds_its_time() -> None:
    started = _booked("started")
    late = started.lasting(at(40)).phases
    assert late.commit == at(41)
    assert late.over == at(45)
    assert started.lasting(at(26)).phases == phases(24)
    assert _booked("held").lasting(at(40)).phases == phases(24)


# --- holidays --------------------------------------------------------------------------


def _ics(*events: str) -> str:
    return "\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *events, "END:VCALENDAR", ""])


def _event(*lines: str) -> str:
    return "\n".join(["BEGIN:VEVENT", *lines, "END:VEVENT"])


HOLIDAYS = _ics(
    _event("UID:1", "SUMMARY:Tag der Arbeit", "DTSTART;VALUE=DATE:20130501",
           "RRULE:FREQ=YEARLY"),
    _event("UID:2", "SUMMARY:Betriebs", " versammlung",
           "DTSTART;TZID=Europe/Berlin:20130603T090000", "DURATION:PT3H"),
    _event("UID:3", "SUMMARY:Gone", "STATUS:CANCELLED", "DTSTART:20130604T000000Z",
           "DTEND:20130605T000000Z"),
)  # fmt: skip
BERLIN = Import(file="holidays.ics", timezone="Europe/Berlin", scope=("service:*",))


def test_holidays_become_freezes_in_their_zone() -> None:
    windows, problems = windows_in(HOLIDAYS, BERLIN)
    assert problems == ()
    freezes = [one for one in windows if isinstance(one, Freeze)]
    assert [one.name for one in freezes] == ["tag_der_arbeit", "betriebsversammlung"]
    calendar = Calendar(freezes=tuple(freezes))
    gates, table = Ref("service", "gates"), Ref("table", "wh.flights")
    for moment, held in (
        (datetime(2014, 4, 30, 21, 59, tzinfo=UTC), False),
        (datetime(2014, 4, 30, 22, 0, tzinfo=UTC), True),  # midnight in Berlin
        (datetime(2013, 6, 3, 9, 59, tzinfo=UTC), True),
        (datetime(2013, 6, 3, 10, 0, tzinfo=UTC), False),
        (datetime(2013, 6, 4, 12, 0, tzinfo=UTC), False),
    ):
        assert bool(frozen(calendar, [gates], moment)) is held
        assert frozen(calendar, [table], moment) == []


def test_holidays_of_a_person_become_absences() -> None:
    wanted = Import(file="ana.ics", kind="absence", person="ana")
    windows, problems = windows_in(HOLIDAYS, wanted)
    assert problems == ()
    assert [one.person for one in windows if isinstance(one, Absence)] == ["ana", "ana"]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "not an iCalendar file"),
        ("hello", 1, "not an iCalendar file"),
        ("BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:1\n", 3, "VEVENT does not end"),
        ("BEGIN:VCALENDAR\nEND:VEVENT\n", 2, "END:VEVENT ends nothing"),
        (_ics(_event("UID:1", "SUMMARY:x")), 3, "no DTSTART"),
        (_ics(_event("UID:1", "what is this", "DTSTART:20130501T000000Z")), 5, "is no property"),
        (_ics(_event("UID:1", "DTSTART:2013-05-01")), 5, "DTSTART cannot be read"),
        (_ics(_event("UID:1", "DTSTART:20130501T000000Z", "RRULE:FREQ=SOMETIMES")), 6, "RRULE"),
        (
            _ics(_event("UID:1", "DTSTART;VALUE=DATE:20130501", "EXDATE;VALUE=DATE:20140501")),
            6,
            "EXDATE is not understood",
        ),
        (
            _ics(_event("UID:1", "DTSTART:20130501T000000Z", "DTEND:20130430T000000Z")),
            5,
            "ends before it begins",
        ),
        (
            _ics(_event("UID:1", "DTSTART;TZID=Mars/Olympus:20130501T000000")),
            5,
            "zone is not known",
        ),
    ],
)
def test_a_file_that_cannot_be_taken_over_is_refused_with_its_line(
    text: str, line: int, said: str
) -> None:
    windows, problems = windows_in(text, BERLIN)
    assert windows == ()
    assert any(p.line == line and said in p.message for p in problems), problems
    assert all(p.file == "holidays.ics" and p.fix for p in problems)
