"""What is on an environment's calendar, for the terminal and for calendar programs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from interlock.app.atomic import replaced
from interlock.app.booking import all_booked, world_of
from interlock.app.changes import all_changes
from interlock.app.versions import stable
from interlock.app.workspace import Workspace
from interlock.change.agenda import Line, Sources, lines, open_bookings
from interlock.change.calendar import Agenda, conflicts
from interlock.change.ics import to_ics
from interlock.change.windows import Interval


@dataclass(frozen=True)
class Shown:
    """Lines that touch [start, end); `meets` are conflicts of bookings as they stand."""

    environment: str
    start: datetime
    end: datetime
    lines: tuple[Line, ...]
    meets: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data; times are UTC."""
        return {
            "environment": self.environment,
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "lines": [line.to_json() for line in self.lines],
            "conflicts": list(self.meets),
        }


def sources(workspace: Workspace) -> Sources:
    """The calendar that binds: of the release that runs, or of the files before the first."""
    running = stable(workspace)
    project = running.project if running else workspace.project
    changes = tuple(all_changes(workspace))
    return Sources(project, workspace.environment, changes, tuple(all_booked(workspace)))


def agenda(workspace: Workspace, ahead: timedelta) -> Shown:
    """What is on the calendar from now on, and what meets there."""
    now = workspace.now()
    window = Interval(now, now + ahead)
    known = sources(workspace)
    held = Agenda(open_bookings(known.booked, now))
    world = world_of(workspace, known.project.calendar)
    meets = [
        f"{booking.change}: {one.sentence} [{one.rule}, {one.action}]"
        for booking in held.around(window)
        for one in conflicts(held, booking, world)
        # Two sides say the same thing: it is told once.
        if not one.other or booking.change < one.other
    ]
    return Shown(workspace.environment, now, window.end, lines(known, window, now), tuple(meets))


def feed(workspace: Workspace) -> str:
    """The whole calendar as iCalendar text."""
    return to_ics(sources(workspace), workspace.now())


def save_feed(workspace: Workspace, file: Path) -> Path:
    """The same in a file, whole or not at all."""
    text = feed(workspace).encode()
    with replaced(file) as beside:
        beside.write_bytes(text)
    return file
