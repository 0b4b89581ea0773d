"""The calendar as iCalendar text (RFC 5545), for the calendar programs people already use.

A booked change is one event per phase. It keeps its UID, and its SEQUENCE grows with every
write of the booking, so that a moved one moves and a cancelled one is struck out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from interlock.change.agenda import PHASES, Booked, Sources, criteria, retrainings
from interlock.change.change import Change
from interlock.change.conflicts import listed
from interlock.change.windows import Interval
from interlock.define.calendar import PhaseName, Recurring
from interlock.define.digest import digest
from interlock.define.schedules import Schedule, refreshes

if TYPE_CHECKING:
    from icalendar import Calendar as Ics
    from icalendar import Event

_UNTIL = re.compile(r"UNTIL=(\d{8})(T\d{6})?(?!Z)(?=;|$)", re.IGNORECASE)
_RUN = timedelta(minutes=15)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


def to_ics(sources: Sources, now: datetime) -> str:
    """Every booking there is, every window and every daily or rarer run. Equal input, equal text.

    Runs more often than daily are left out: no calendar program shows them usefully.
    """
    from icalendar import Calendar as Ics

    feed = Ics()
    feed.add("prodid", "-//Interlock//calendar//EN")
    feed.add("version", "2.0")
    feed.add("method", "PUBLISH")
    feed.add("x-wr-calname", f"{sources.project.name} {sources.environment}")
    stamp = max((one.written_at for one in sources.booked), default=_EPOCH)
    for event in (*_bookings(sources, now), *_windows(sources), *_runs(sources)):
        if "dtstamp" not in event:
            event.add("dtstamp", stamp.astimezone(UTC))
        feed.add_component(event)
    return _zoned(feed)


def _zoned(feed: Ics) -> str:
    """With the rules of every zone that is used, so that a program needs none of its own."""
    feed.add_missing_timezones()
    return str(feed.to_ical().decode())


def _uid(sources: Sources, *parts: str) -> str:
    return f"{'-'.join(parts)}@{sources.environment}.{sources.project.name}.interlock"


# --- changes ---------------------------------------------------------------------------


def _bookings(sources: Sources, now: datetime) -> Iterator[Event]:
    changes = {change.id: change for change in sources.changes}
    for booked in sources.booked:
        change = changes.get(booked.booking.change)
        times = booked.lasting(now).phases
        for name in PHASES:
            if times.phase(name).length:
                yield _phase(sources, booked, change, name, times.phase(name))


def _phase(
    sources: Sources, booked: Booked, change: Change | None, name: PhaseName, time: Interval
) -> Event:
    booking = booked.booking
    event = _event(
        _uid(sources, booking.change, name),
        f"{booking.change} {name}: {booking.title}".rstrip(": "),
        "\n".join(_told(booked, change)),
    )
    event.add("dtstart", time.start.astimezone(UTC))
    event.add("dtend", time.end.astimezone(UTC))
    event.add("dtstamp", booked.written_at.astimezone(UTC))
    event.add("last-modified", booked.written_at.astimezone(UTC))
    event.add("sequence", booked.revision - 1)
    event.add("status", "CANCELLED" if booked.standing == "cancelled" else "CONFIRMED")
    event.add("transp", "TRANSPARENT" if name == "rollback" else "OPAQUE")
    return event


def _told(booked: Booked, change: Change | None) -> Iterator[str]:
    booking = booked.booking
    yield f"{booked.standing} ({booked.why})"
    yield f"by {booking.owner}"
    yield f"writes {listed(booking.footprint.writes)}"
    if booking.after:
        yield f"after {booking.after}"
    if booking.group:
        yield f"goes back together with {', '.join(booking.group)}"
    plan = (change.plan if change else None) or {}
    teams = dict.fromkeys(required["team"] for required in plan.get("requirements", ()))
    if teams:
        yield f"owners: {', '.join(teams)}"
    if change:
        yield from (f"done when: {said}" for said in criteria(change))


def _event(uid: str, title: str, text: str) -> Event:
    from icalendar import Event

    event = Event()
    event.add("uid", uid)
    event.add("summary", title)
    if text:
        event.add("description", text)
    return event


# --- windows and runs --------------------------------------------------------------------


def _windows(sources: Sources) -> Iterator[Event]:
    calendar = sources.project.calendar
    named = [
        *(("Freeze", one.name, one.scope, one) for one in calendar.freezes),
        *(("Allowed", one.name, one.scope, one) for one in calendar.allows),
        *(("Away", one.person, (), one) for one in calendar.absences),
    ]
    for kind, name, scope, window in named:
        about = f"{kind}: {name.replace('_', ' ')}"
        text = [" ".join(window.reason.split()), f"for {', '.join(scope)}" if scope else ""]
        said = "\n".join(filter(None, text))
        # One that was edited is another event: nobody counts its revisions.
        uid = _uid(sources, kind.lower(), name, digest(window.model_dump(mode="json"))[:8])
        event = _event(uid, about, said)
        start, end = map(datetime.fromisoformat, (window.start, window.end))
        _at(event, window, start, end)
        event.add("transp", "TRANSPARENT")
        yield event


def _at(event: Event, window: Recurring, start: datetime, end: datetime) -> None:
    """Local times with their zone, and the rule as it was written."""
    zone = ZoneInfo(window.timezone)
    event.add("dtstart", start.replace(tzinfo=zone))
    event.add("dtend", end.replace(tzinfo=zone))
    if window.rrule:
        _rule(event, window.rrule, zone)


def _rule(event: Event, rule: str, zone: ZoneInfo) -> None:
    from icalendar.prop import vRecur

    # A start with a zone asks for an end in UTC.
    text = _UNTIL.sub(lambda found: f"UNTIL={_utc(found, zone)}", rule.removeprefix("RRULE:"))
    event.add("rrule", vRecur.from_ical(text))


def _utc(found: re.Match[str], zone: ZoneInfo) -> str:
    local = datetime.strptime(found[1] + (found[2] or "T235959"), "%Y%m%dT%H%M%S")
    return local.replace(tzinfo=zone).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _runs(sources: Sources) -> Iterator[Event]:
    tables = refreshes(sources.project, sources.environment)
    for name, schedule in tables.items():
        yield from _run(sources, "refresh", f"table:{name}", schedule)
    for name, schedule in retrainings(sources.project).items():
        yield from _run(sources, "retrain", name, schedule)


def _run(sources: Sources, kind: str, name: str, schedule: Schedule) -> Iterator[Event]:
    if schedule.never or (schedule.every is not None and schedule.every < _DAY):
        return
    uid = _uid(sources, kind, name.replace(":", "."), digest(str(schedule))[:8])
    event = _event(uid, f"{kind.capitalize()} {name}", f"{schedule}")
    window = _as_window(schedule)
    start = datetime.fromisoformat(window.start)
    _at(event, window, start, start + _RUN)
    event.add("transp", "TRANSPARENT")
    yield event


def _as_window(schedule: Schedule) -> Recurring:
    """A schedule as a rule with its first time."""
    first = datetime.fromisoformat(schedule.start)
    zone, rule = schedule.timezone, schedule.rrule
    if schedule.daily is not None:
        hour, minute, *_ = map(int, schedule.daily.split(":"))
        first, rule = first.replace(hour=hour, minute=minute), "FREQ=DAILY"
    elif schedule.every is not None:
        first, zone = datetime(1970, 1, 1), "UTC"
        rule = f"FREQ=HOURLY;INTERVAL={int(schedule.every / timedelta(hours=1))}"
    return Recurring(start=first.isoformat(), end=first.isoformat(), timezone=zone, rrule=rule)
