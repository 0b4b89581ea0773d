"""Three candidates for one model, proposed beside each other on the smallest project there is."""

from __future__ import annotations

from pathlib import Path

import app_world as world
from trips_world import released

from interlock.app.propose import propose
from interlock.app.workspace import Workspace
from interlock.change.change import Change

PLACES = "    strategy: ab\n    arms: 3\n"
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


def started(folder: Path, places: str = PLACES) -> Path:
    """The first release runs, in an environment with three places."""
    folder.mkdir(parents=True)
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
