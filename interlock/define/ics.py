"""Events of an iCalendar file (RFC 5545) as windows: company holidays as freezes or absences.

What cannot be taken over exactly is refused with its line: a holiday that is lost would be a
day on which things move.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from interlock.define.calendar import Absence, Freeze, Import, Recurring
from interlock.errors import Problem

if TYPE_CHECKING:
    from icalendar import Event

_NAME = re.compile(r"[^a-z0-9]+")
_DAY = timedelta(days=1)
# Each would make a window smaller, or put one somewhere else, and has no place in ours.
_UNKNOWN = ("EXDATE", "RDATE", "EXRULE", "RECURRENCE-ID")
_SAVE = "save the calendar again as .ics (RFC 5545)"


@dataclass(frozen=True)
class _Block:
    """The lines of one event, and where in the file each property stands."""

    line: int
    text: str
    lines: Mapping[str, int]


def windows_in(text: str, wanted: Import) -> tuple[tuple[Recurring, ...], tuple[Problem, ...]]:
    """One window per event that is not cancelled, in the file's order; and every mistake."""
    found: list[Recurring] = []
    blocks, problems = _blocks(text, wanted.file)
    for block in blocks:
        try:
            found += _window(block, wanted)
        except _Wrong as wrong:
            problems.append(Problem(wanted.file, wrong.line, wrong.message, wrong.fix))
    return tuple(found), tuple(problems)


class _Wrong(Exception):
    """One event that cannot be taken over."""

    def __init__(self, line: int, message: str, fix: str) -> None:
        super().__init__(message)
        self.line, self.message, self.fix = line, message, fix


def _blocks(text: str, file: str) -> tuple[list[_Block], list[Problem]]:
    """The events of the file; parts that do not end, and a file that is none."""
    lines = _unfolded(text)
    if not lines or lines[0][1].strip().upper() != "BEGIN:VCALENDAR":
        return [], [Problem(file, 1, "not an iCalendar file: no BEGIN:VCALENDAR", _SAVE)]
    found: list[_Block] = []
    problems: list[Problem] = []
    open_: list[tuple[str, int, int]] = []  # kind, line, where its lines begin
    for at, (line, content) in enumerate(lines):
        word, _, kind = content.strip().upper().partition(":")
        if word == "BEGIN":
            open_.append((kind, line, at))
        elif word == "END":
            if not open_ or open_[-1][0] != kind:
                return found, [Problem(file, line, f"END:{kind} ends nothing", _SAVE)]
            _, first, since = open_.pop()
            if kind == "VEVENT":
                found.append(_block(first, lines[since : at + 1]))
        elif content.strip() and ":" not in content:
            problems.append(Problem(file, line, f"{content[:40]!r} is no property", _SAVE))
    problems += [Problem(file, line, f"{kind} does not end", _SAVE) for kind, line, _ in open_]
    return found, problems


def _unfolded(text: str) -> list[tuple[int, str]]:
    """Lines with their numbers; one that begins with a space goes on with the one before."""
    found: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line[:1] in (" ", "\t") and found:
            found[-1] = (found[-1][0], found[-1][1] + line[1:])
        elif line.strip():
            found.append((number, line))
    return found


def _block(line: int, lines: list[tuple[int, str]]) -> _Block:
    places = {re.split("[:;]", content, maxsplit=1)[0].upper(): n for n, content in lines[::-1]}
    return _Block(line, "\r\n".join(content for _, content in lines) + "\r\n", places)


def _window(block: _Block, wanted: Import) -> Iterator[Recurring]:
    event = _event(block)
    if str(event.get("STATUS", "")).upper() == "CANCELLED":
        return
    for name in _UNKNOWN:
        if name in event:
            fix = "write each occurrence as an event of its own"
            raise _Wrong(block.lines.get(name, block.line), f"{name} is not understood", fix)
    start, end, zone = _times(block, event, wanted)
    rule = event.get("RRULE")
    held = {
        "start": start.isoformat(),
        "end": end.isoformat(),
        "timezone": zone,
        "rrule": rule.to_ical().decode() if rule is not None else None,
        "reason": str(event.get("SUMMARY", "")),
    }
    if wanted.kind == "absence":
        yield Absence.model_validate({**held, "person": wanted.person})
    else:
        name = _NAME.sub("_", str(held["reason"]).lower()).strip("_")
        name = name if name[:1].isalpha() else f"day_{name}".rstrip("_")
        yield Freeze.model_validate({**held, "name": name, "scope": wanted.scope})


def _event(block: _Block) -> Event:
    from icalendar import Event

    try:
        event = Event.from_ical(block.text)
    except (ValueError, IndexError, KeyError) as error:
        raise _Wrong(block.line, f"the event cannot be read: {error}", _SAVE) from error
    for name, said in event.errors:
        place = block.lines.get(str(name).upper(), block.line)
        raise _Wrong(place, f"{name} cannot be read: {said}", _SAVE)
    assert isinstance(event, Event)
    return event


def _times(block: _Block, event: Event, wanted: Import) -> tuple[datetime, datetime, str]:
    """Local start and end, and the zone they are local in."""
    if "DTSTART" not in event:
        raise _Wrong(block.line, "the event has no DTSTART", _SAVE)
    place = block.lines.get("DTSTART", block.line)
    start = event.decoded("DTSTART")
    whole = not isinstance(start, datetime)
    if "DTEND" in event:
        end = event.decoded("DTEND")
    else:
        end = start + (event.decoded("DURATION") if "DURATION" in event else _DAY * whole)
    zone = _zone(start, wanted.timezone)
    floating = isinstance(start, datetime) and start.tzinfo is None
    # A zone that nobody knows is dropped by the reader: the time would be in ours.
    if zone is None or (floating and "TZID" in event["DTSTART"].params):
        raise _Wrong(place, "its zone is not known by that name", "use one like Europe/Berlin")
    first, last = _local(start, zone), _local(end, zone)
    if last <= first:
        raise _Wrong(place, "the event ends before it begins, or as it begins", _SAVE)
    return first, last, zone


def _zone(start: date, otherwise: str) -> str | None:
    """The name of the zone of a time; whole days and floating times are local to us."""
    held = start.tzinfo if isinstance(start, datetime) else None
    if held is None:
        return otherwise
    name = getattr(held, "key", None) or str(held)
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError):
        return None


def _local(at: date, zone: str) -> datetime:
    if not isinstance(at, datetime):
        return datetime(at.year, at.month, at.day)
    return at.astimezone(ZoneInfo(zone)).replace(tzinfo=None) if at.tzinfo else at
