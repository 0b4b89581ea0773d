"""What the controller does for changes that nobody drives by hand: start them in their slot."""

from __future__ import annotations

from datetime import datetime

from interlock.app.begin import beside_lack
from interlock.app.beside import begins_with
from interlock.app.booking import begins_at
from interlock.app.changes import all_changes
from interlock.app.decide import apply, settle
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
    # Those beside each other begin as one: the first that is scheduled stands for them.
    first = {c.experiment: c for c in mine if c.state == "SCHEDULED"}.values()
    due = sorted((start, c.id) for c in first if (start := _due_at(workspace, c)) is not None)
    ripe = [id for start, id in due if start <= workspace.now()]
    # One that may not start does not keep the next from starting.
    said = ""
    for change in (c for id in ripe for c in mine if c.id == id):
        if not busy:
            said, busy = _try(workspace, change)
    return said


def _due_at(workspace: Workspace, change: Change) -> datetime | None:
    """An experiment begins at the latest of the times that were taken for its changes."""
    own = begins_at(workspace, change.id)
    return own and max([own, *begins_with(workspace, change.experiment)])


def _try(workspace: Workspace, change: Change) -> tuple[str, bool]:
    """What is said of it, and whether it started."""
    against = (*objections(workspace, change), *beside_lack(workspace, change))
    if against:
        return f"{change.id} was to start, and waits: {against[0]}", False
    try:
        return apply(workspace, change.id, by=CONTROLLER), True
    except (Refused, Stale) as error:
        return f"{change.id} was to start, and waits: {error.message}", False
