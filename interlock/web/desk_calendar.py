"""The calendar page from the record: changes by phase, windows, refreshes and retraining."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from interlock.change.agenda import Line, Sources, lines, open_bookings
from interlock.change.calendar import STOPS, Agenda
from interlock.change.change import Change
from interlock.change.conflicts import World, between
from interlock.change.ics import to_ics
from interlock.change.windows import Interval
from interlock.web import desk_change as shown
from interlock.web.desk_ledger import Ledger
from interlock.web.desk_moves import state_label
from interlock.web.desk_standing import owners_of
from interlock.web.figures import Booking, Part, Tone, tone_of
from interlock.web.views import CalendarPage

BEHIND, AHEAD = timedelta(days=5), timedelta(days=16)
_TONES: Mapping[str, Tone] = {"freeze": "wait", "absence": "wait", "allow": "good"}


def calendar_page(ledger: Ledger) -> CalendarPage:
    """What touches five days back and sixteen ahead, and what meets there."""
    now, sources = ledger.now(), _sources(ledger)
    window = Interval(now - BEHIND, now + AHEAD)
    changes = {change.id: change for change in sources.changes}
    found = lines(sources, window, now)
    shown_ = tuple(_lane(ledger, line, changes) for line in found)
    return CalendarPage(now, window.start, window.end, shown_, tuple(_meets(ledger, found, now)))


def feed(ledger: Ledger) -> str:
    """The whole calendar as iCalendar text."""
    return to_ics(_sources(ledger), ledger.now())


def _sources(ledger: Ledger) -> Sources:
    changes = tuple(one.change for one in ledger.changes())
    environment = ledger.workspace.environment
    return Sources(ledger.project(), environment, changes, ledger.booked())


def _lane(ledger: Ledger, line: Line, changes: Mapping[str, Change]) -> Booking:
    change = changes.get(line.name) if line.kind == "change" else None
    if change is None:
        label = line.name.replace("_", " ")
        tone = _TONES.get(line.kind, "quiet")
        owner = ", ".join(line.owners)
        return Booking(label, line.kind, line.start, line.end, tone, None, owner, (),
                       (line.title,) if line.title != line.name else ())  # fmt: skip
    tone = tone_of(state_label(change.__dict__))
    team = shown.team_of(change, owners_of(ledger))
    return Booking(
        change.title, "change", line.start, line.end, tone, change.id, team,
        (*line.after, *line.group), line.criteria,
        tuple(Part(name, time.start, time.end) for name, time in line.phases),
    )  # fmt: skip


def _meets(ledger: Ledger, found: Sequence[Line], now: datetime) -> Iterator[str]:
    """What two bookings share, and which change will wait in which freeze."""
    agenda = Agenda(open_bookings(ledger.booked(), now))
    world = World(now, ledger.project().calendar)
    for mine in agenda.bookings:
        for theirs in agenda.around(mine.phases.whole):
            # What is only good to know stands in the table: with whom it goes back.
            met = between(mine, theirs, world) if theirs.change > mine.change else ()
            yield from (f"{mine.change}: {one.sentence}" for one in met if one.action in STOPS)
    freezes = [line for line in found if line.kind == "freeze"]
    for line in found:
        active = [time for name, time in line.phases if name != "rollback"]
        for freeze in freezes:
            if any(time.overlaps(Interval(freeze.start, freeze.end)) for time in active):
                freeze_ = freeze.name.replace("_", " ")
                yield f"{line.name} reaches into the freeze {freeze_}: it will wait there"
