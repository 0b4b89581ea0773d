"""The feed opens in a calendar program and says the same as the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from icalendar import Calendar as Ics

from interlock.change.calendar import Booking, Interval
from interlock.change.ics import to_ics
from interlock.define.calendar import Calendar, Freeze
from interlock.define.refs import Ref

NOON = datetime(2013, 3, 8, 12, tzinfo=UTC)
WEEKEND = Freeze(
    name="weekend",
    start="2013-03-01T18:00:00",
    end="2013-03-04T08:00:00",
    timezone="America/New_York",
    rrule="FREQ=WEEKLY;BYDAY=FR",
    scope=("service:gates",),
    reason="nobody is at the desk; really, nobody",
)


def test_every_freeze_and_booking_of_the_window_is_an_event() -> None:  # R-A1
    held = Booking(
        "CR-1", (Ref("view", "origin_weather", 2),), Interval(NOON, NOON + timedelta(hours=2)), "°C"
    )
    far = Booking(
        "CR-2", held.refs, Interval(NOON + timedelta(days=99), NOON + timedelta(days=100))
    )
    window = Interval(NOON, NOON + timedelta(days=9))
    text = to_ics("flights", Calendar(freezes=(WEEKEND,)), [held, far], window, NOON)
    events = {str(e["summary"]): e for e in Ics.from_ical(text).walk("VEVENT")}
    assert set(events) == {"Freeze: weekend", "CR-1 °C"}
    assert len(Ics.from_ical(text).walk("VEVENT")) == 3
    freeze = [e for e in Ics.from_ical(text).walk("VEVENT") if "Freeze" in str(e["summary"])]
    # Over the change of the clocks: 18:00 EST to 08:00 EDT.
    assert freeze[0].decoded("dtstart") == datetime(2013, 3, 8, 23, tzinfo=UTC)
    assert freeze[0].decoded("dtend") == datetime(2013, 3, 11, 12, tzinfo=UTC)
    assert str(freeze[0]["description"]) == WEEKEND.reason
    assert events["CR-1 °C"]["uid"] == "CR-1@interlock"
    assert to_ics("flights", Calendar(freezes=(WEEKEND,)), [held, far], window, NOON) == text
