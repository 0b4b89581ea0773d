"""What the controller does for changes that nobody drives by hand: start them in their slot."""

from __future__ import annotations

from datetime import datetime

from interlock.app.changes import all_changes
from interlock.app.decide import apply, begins_at, settle
from interlock.app.weighing import objections
from interlock.app.workspace import CONTROLLER, Workspace
from interlock.change.change import Change
from interlock.errors import Refused, Stale


def start_due(workspace: Workspace) -> str:
    """Book what was approved and cut off before it was booked; start what is due.

    The earliest slot that has begun goes first. What may not start stays SCHEDULED, and is
    looked at again: nothing is written for it.
    """
    mine = [c for c in all_changes(workspace) if c.environment == workspace.environment]
    for change in mine:
        if change.state == "APPROVED":
            settle(workspace, change.id)
    busy = any(c.under_way or c.state in ("ABORTING", "REVERTING") for c in mine)
    due = sorted((start, c.id) for c in mine if (start := _due_at(workspace, c)) is not None)
    ripe = [id for start, id in due if start <= workspace.now()]
    # One that may not start does not keep the next from starting.
    said = ""
    for change in (c for id in ripe for c in mine if c.id == id):
        if not busy:
            said, busy = _try(workspace, change)
    return said


def _due_at(workspace: Workspace, change: Change) -> datetime | None:
    return begins_at(workspace, change.id) if change.state == "SCHEDULED" else None


def _try(workspace: Workspace, change: Change) -> tuple[str, bool]:
    """What is said of it, and whether it started."""
    against = objections(workspace, change)
    if against:
        return f"{change.id} was to start, and waits: {against[0]}", False
    try:
        return apply(workspace, change.id, by=CONTROLLER), True
    except (Refused, Stale) as error:
        return f"{change.id} was to start, and waits: {error.message}", False
