"""A flights project as people use it: proposed, signed, running, and asked for predictions."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from interlock.app import decide
from interlock.app.changes import evidence_of
from interlock.app.outdated import prove_again
from interlock.app.propose import propose
from interlock.app.tick import tick
from interlock.app.traffic import Replayer
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.change.request import Request
from interlock.plan.plan import Plan

AUTHOR = "wei"


def copied(folder: Path, to: Path) -> Path:
    """The project with its state; nothing may have it open."""
    return Path(shutil.copytree(folder, to))


def first_proposed(folder: Path) -> None:
    """CR-1 in review: everything is new, and one check does not pass."""
    with opened(folder) as workspace:
        said = "A service owner asks for it."
        propose(workspace, Request("First release", AUTHOR, "none yet", "a chance", said, "few"))


def start(workspace: Workspace, id: str) -> None:
    """Waive what does not pass, collect every signature, start, and look."""
    waived(workspace, id)
    plan = Plan.from_json(held(workspace, id).plan or {})
    for required in plan.requirements:
        signer = next(person for person in required.people if person != AUTHOR)
        decide.sign(workspace, id, by=signer, role=required.role, team=required.team)
    decide.apply(workspace, id, by="sam")
    tick(workspace)


def waived(workspace: Workspace, id: str) -> None:
    """What does not pass, layer after layer, until people can decide."""
    while True:
        change = held(workspace, id)
        asked = Plan.from_json(change.plan or {}).evidence
        for piece in evidence_of(workspace.record, change):
            if piece.verdict != "pass" and piece.check in asked and not piece.not_run:
                reason = "made-up data, accepted as it is"
                decide.waive(
                    workspace, id, piece.check, by="dana", role="model_validator", reason=reason
                )
        if change.state != "EVIDENCE":
            return
        prove_again(workspace, id, lambda _: None)


def held(workspace: Workspace, id: str) -> Change:
    return decide.held(workspace.record, id).change


def second_proposed(folder: Path) -> None:
    """CR-2 in review: the same model with fewer trees."""
    file = folder / "models" / "late.yaml"
    file.write_text(file.read_text().replace("num_trees: 150", "num_trees: 120"))
    with opened(folder) as workspace:
        said = "p99 above 60 ms\na service owner asks for it"
        propose(workspace, Request("Fewer trees", AUTHOR, "faster", "the same", said, "few"))


def played(folder: Path) -> None:
    """CR-2 mirrors, and a real server answered a day and a half of requests."""
    with opened(folder) as workspace:
        tick(workspace)  # CR-1 is committed: the tables that requests come from are pointed at
        start(workspace, "CR-2")
        with serving(folder) as url:
            replayer = Replayer(workspace, url, "late")
            first, last = (datetime(2013, 3, day, tzinfo=UTC) for day in (13, 15))
            replayer.play(first, last, after_each=lambda _: bool(tick(workspace)) and False)


@contextmanager
def opened(folder: Path) -> Iterator[Workspace]:
    workspace = Workspace(folder)
    try:
        yield workspace
    finally:
        workspace.close()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a server of its own process."""
    command = [sys.executable, "-m", "interlock.web.server", "--project", str(folder)]
    process = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("serving on http://127.0.0.1:"), line
        yield line.split()[-1]
    finally:
        process.terminate()
        process.wait(10)
