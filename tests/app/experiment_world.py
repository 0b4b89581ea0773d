"""Three candidates for one model, proposed beside each other on the smallest project there is."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import app_world as world
from trips_world import released

from interlock.app import decide
from interlock.app.propose import propose
from interlock.app.tick import tick
from interlock.app.workspace import Workspace
from interlock.change.change import Change

PLACES = "    strategy: ab\n    arms: 3\n"
# Asked by the test that opens the gate; nothing else begins this stage.
GATED = f"""{PLACES}\
    signoffs_last: 20d
    hooks:
      - {{before: mirror, url: "${{GATE_URL}}", secrets: ["${{GATE_SECRET}}"], timeout: 0.3s}}
"""
SECRET = f"whsec_{base64.b64encode(b'k' * 32).decode()}"
AB = ("{name: quarter, weight: 0.25, hold: 2d}", "{name: ab, weight: 0.6, hold: 2d}")
MODEL, SCRIPT = "models/late.yaml", "models/late.py"
SEED = "  seed: 1\n"
# What the three are: another seed, one that learned the opposite, one that learned longer.
EDITS = {
    "Another seed": (MODEL, SEED, "  seed: 2\n"),
    "The opposite": (SCRIPT, "lightgbm.Dataset(X, y,", "lightgbm.Dataset(X, 1 - y,"),
    "Longer": (SCRIPT, "rows, 10)", "rows, 40)"),
}
FIRST, HARMS, LONGER = "CR-2", "CR-3", "CR-4"
EVERY = (FIRST, HARMS, LONGER)
# After what is planned, so that it is met by who is late.
FREEZE = (datetime(2013, 3, 8, tzinfo=UTC), datetime(2013, 3, 9, tzinfo=UTC))


def started(folder: Path, places: str = PLACES) -> Path:
    """The first release runs, in an environment with three places and one freeze."""
    folder.mkdir(parents=True)
    (folder / "calendar.yaml").write_text(world.CALENDAR)
    return released(folder, places, AB)


def candidate(workspace: Workspace, title: str, beside: str = "") -> Change:
    """One of `EDITS`, proposed; the files are then as they were."""
    file, old, new = EDITS[title]
    world.edit(workspace.folder, file, old, new)
    workspace.reread()
    try:
        return propose(workspace, world.asked(title), beside=beside)
    finally:
        world.edit(workspace.folder, file, new, old)
        workspace.reread()


def three(workspace: Workspace) -> None:
    """CR-2, and CR-3 and CR-4 beside it; each is signed by everybody who must."""
    for title in EDITS:
        change = candidate(workspace, title, "" if title == "Another seed" else FIRST)
        world.signed(workspace, change.id)


# --- on their way ----------------------------------------------------------------------


def walked(keep: Path) -> dict[str, Path]:
    """By name, a project to begin in: all approved ("signed"), at the stage that divides with two
    days of requests behind it ("divided"), and the same after the look that finds harm."""
    folder = started(keep / "project", GATED)
    with world.opened(folder) as workspace:
        three(workspace)
    signed = world.copied(folder, keep / "signed")
    with world.opened(folder) as workspace:
        decide.apply(workspace, LONGER, by="sam")
        tick(workspace)
        world.play(workspace, timedelta(days=2))
        tick(workspace)
        onward(workspace)
        assert workspace.route().stage == "ab"
        world.play(workspace, timedelta(days=2))
    divided = world.copied(folder, keep / "divided")
    with world.opened(folder) as workspace:
        tick(workspace)
    return {"signed": signed, "divided": divided, "two left": folder}


@contextmanager
def copy(base: Path, to: Path) -> Iterator[Workspace]:
    """A copy, opened anew, as a controller that was started again opens it."""
    with world.opened(world.copied(base, to / "project")) as workspace:
        yield workspace


def onward(workspace: Workspace) -> str:
    """What made-up data cannot show is waived of each that is at a stage; then one look."""
    for id in EVERY:
        if world.current(workspace, id).state in ("SHADOW", "STEP"):
            decide.promote(workspace, id, by="sam", reason="made-up data is too little to show it")
    return tick(workspace)


def states(workspace: Workspace) -> list[str]:
    """Of the three, in the order of `EVERY`."""
    return [world.current(workspace, id).state for id in EVERY]


def held_places(workspace: Workspace) -> list[str | None]:
    """By place, the change that has it."""
    return [arm.change if arm else None for arm in workspace.route().arms]
