"""Controller and traffic as one process that may be killed anywhere: run it again, it goes on.

    python chaos_controller.py FOLDER URL CHANGES LAST_DAY HOURS

It plays on from the moment the replayed clock has reached, looks every HOURS of recorded
time, and ends when the changes have. In a place where it is to be killed it stands still.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chaos_world import places_of, where_to_stand_still

from interlock.app import tick
from interlock.app.play import play_through
from interlock.app.traffic import Replayer
from interlock.app.workspace import Workspace
from interlock.errors import Unavailable

# Recorded time runs a hundred thousand times faster here: days would pass unseen while the
# lease of a killed controller runs out. Safety does not rest on it.
tick.LEASE_S = 0.5


def main(folder: str, url: str, changes: str, last_day: str, hours: str) -> None:
    """Play and look until all changes have ended; a gateway that is away is waited for."""
    workspace = Workspace(Path(folder))
    last = datetime.fromisoformat(last_day).replace(tzinfo=UTC)

    def ended(_: datetime) -> bool:
        while (here := places_of(workspace, changes.split(","))) & _still(Path(folder)):
            time.sleep(0.02)
        return not here

    every = timedelta(hours=float(hours))
    # Half an hour is one request: what is killed here is not the load.
    replayer = Replayer(workspace, url, "late", step=timedelta(minutes=30))
    for _ in range(200):
        try:
            play_through(replayer, workspace.now(), last, until=ended, every=every)
            return
        except Unavailable:
            time.sleep(0.1)
    raise SystemExit("the gateway stayed away")


def _still(folder: Path) -> set[str]:
    return set(where_to_stand_still(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
