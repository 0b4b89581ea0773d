"""The calendar as iCalendar text (RFC 5545), for the calendar programs people already use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from icalendar import Calendar as Ics
from icalendar import Event

from interlock.change.calendar import Booking, Interval, freezes_within
from interlock.define.calendar import Calendar


def to_ics(
    name: str, calendar: Calendar, bookings: Sequence[Booking], window: Interval, now: datetime
) -> str:
    """Bookings and freezes that touch `window`. Equal input gives equal text."""
    feed = Ics()
    feed.add("prodid", "-//Interlock//calendar//EN")
    feed.add("version", "2.0")
    feed.add("x-wr-calname", name)
    for freeze, held in freezes_within(_for_everyone(calendar), (), window):
        address = f"{freeze.name}-{held.start:%Y%m%dT%H%M%SZ}"
        reason = " ".join(freeze.reason.split())
        feed.add_component(_event(address, f"Freeze: {freeze.name}", reason, held, now))
    for booking in bookings:
        if booking.time.overlaps(window):
            title = f"{booking.change} {booking.title}".strip()
            writes = ", ".join(map(str, booking.refs))
            feed.add_component(_event(booking.change, title, writes, booking.time, now))
    return str(feed.to_ical().decode())


def _for_everyone(calendar: Calendar) -> Calendar:
    """A feed for people shows every freeze, whatever it is about."""
    everywhere = [freeze.model_copy(update={"scope": ("*",)}) for freeze in calendar.freezes]
    return calendar.model_copy(update={"freezes": tuple(everywhere)})


def _event(address: str, title: str, text: str, time: Interval, now: datetime) -> Event:
    event = Event()
    # The same thing keeps its UID, so that a moved booking moves instead of doubling.
    event.add("uid", f"{address}@interlock")
    event.add("summary", title)
    event.add("description", text)
    event.add("dtstart", time.start.astimezone(UTC))
    event.add("dtend", time.end.astimezone(UTC))
    event.add("dtstamp", now.astimezone(UTC))
    return event
