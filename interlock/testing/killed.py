"""A process that is killed at its n-th write, for whoever wants to know what it leaves behind.

`Killed` is a record like the one it wraps, up to the write that it does not survive: SIGKILL,
as a crash would, so nothing is flushed, closed or said good-bye to.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from interlock.app.workspace import CONTROLLER, Workspace
from interlock.ports import Bucket, Entry, Put, Record

Moment = Literal["before", "after"]
Step = Callable[[Workspace], object]
"""Something that is done to an environment, and may be asked for again."""


@dataclass
class Killed:
    """`record`, whose process dies `when` its `at`-th write is made (counted from 1)."""

    record: Record
    at: int
    when: Moment = "before"
    made: int = 0

    def write(
        self,
        puts: Sequence[Put],
        *,
        by: str,
        at: datetime,
        buckets: Mapping[str, Sequence[Bucket]] | None = None,
    ) -> tuple[Entry, ...]:
        """As the record writes; at the write that was named this process ends."""
        self.made += 1
        if (self.made, self.when) == (self.at, "before"):
            die()
        written = self.record.write(puts, by=by, at=at, buckets=buckets)
        if (self.made, self.when) == (self.at, "after"):
            die()
        return written

    def __getattr__(self, name: str) -> Any:
        # Reading, leases, closing: as ever.
        return getattr(self.record, name)


def die() -> None:
    """End this process here and now."""
    os.kill(os.getpid(), signal.SIGKILL)


def run_step(folder: Path, step: Step, at: int = 0, when: Moment = "before") -> None:
    """`step` in `folder`, killed at its `at`-th write (0: never).

    The process exits with how many writes it made, so this is the last that it does.
    """
    with closing(Workspace(folder)) as workspace:
        watched = Killed(workspace.record, at, when)
        workspace.__dict__["record"] = watched
        step(workspace)
    sys.exit(watched.made)


def leases_run_out(folder: Path, pid: int) -> None:
    """What a dead process held is free, as it is after a few seconds for anybody."""
    with closing(Workspace(folder)) as workspace:
        for name in (CONTROLLER, "refresh"):
            dead = f"{socket.gethostname()}:{pid}"
            workspace.record.release(f"{name}:{workspace.environment}", dead)


# --- what the record holds afterwards --------------------------------------------------

# Not decisions: who asks twice is answered twice.
KINDS = ("change", "booking", "route", "release", "evidence", "review", "judgement")


def standing(folder: Path) -> dict[str, Any]:
    """Everything that was decided in `folder`, by address, as it stands now.

    Numbers to nine digits: an engine that adds up in several threads differs behind them.
    """
    with closing(Workspace(folder)) as workspace:
        return {
            str(entry.ref): _rounded(entry.body)
            for kind in KINDS
            for entry in workspace.record.list(kind)  # type: ignore[arg-type]  # kinds of Refs
        }


def _rounded(body: Any) -> Any:
    match body:
        case float():
            return float(f"{body:.9g}")
        case Mapping():
            return {name: _rounded(part) for name, part in body.items()}
        case list() | tuple():
            return [_rounded(part) for part in body]
        case _:
            return body


def moves(folder: Path) -> dict[str, list[str]]:
    """By change, the states that it went through; staying in one is no move."""
    with closing(Workspace(folder)) as workspace:
        record = workspace.record
        found = {}
        for entry in record.list("change"):
            states = [_place(one.body) for one in record.history(entry.ref)]
            found[entry.ref.name] = [s for n, s in enumerate(states) if states[n - 1 : n] != [s]]
        return found


def _place(body: Mapping[str, Any]) -> str:
    rollout = body.get("details", {}).get("rollout") or {}
    return f"{body['state']} {rollout.get('index', '')}".strip()
