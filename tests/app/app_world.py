"""A flights project in the hands of its people: proposed, signed, walked through its stages."""

from __future__ import annotations

import io
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from interlock.adapters.predictions import JsonLinesLog
from interlock.adapters.sqlrecord import SqlRecord
from interlock.app import decide
from interlock.app.changes import evidence_of, held
from interlock.app.mirroring import mirrors_of
from interlock.app.outdated import prove_again
from interlock.app.play import new_replayer, play_through
from interlock.app.propose import propose
from interlock.app.serving import Gateway
from interlock.app.tick import tick
from interlock.app.traffic import Played
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.change.request import Request
from interlock.cli.main import run
from interlock.errors import InterlockError, Refused
from interlock.plan.plan import Plan
from interlock.rollout.state import RolloutState
from interlock.web.gateway import gateway_app

AUTHOR, MODEL = "wei", "late"
START = datetime(2013, 2, 26, tzinfo=UTC)  # the evaluation ends here, so replay begins here
# In the calendar of every release; the stages of CR-2 end before it.
FREEZE = (datetime(2013, 3, 8, tzinfo=UTC), datetime(2013, 3, 9, tzinfo=UTC))
STAGES = """\
      - {name: mirror, weight: 0, hold: 2d}
      - {name: quarter, weight: 0.25, hold: 2d}
      - {name: soak, weight: 1, hold: 3d}
"""
HOLDS = {"SHADOW": 2, "STEP": 2, "SOAKING": 3}  # days; labels and whole units come later
WALKED = ("PREPARING", "SHADOW", "STEP", "SOAKING", "COMMITTED")
# Due at once, and no pause after: what keeps a storm to one run is not the cool-down.
TRIGGERS = """\
triggers:
  - {metric: age, over: 10, min_rows: 100, cooldown: 0s}
  - {metric: ece, over: 0.01, min_rows: 100, cooldown: 0s}
"""
CALENDAR = """\
freezes:
  - name: stocktaking
    start: "2013-03-08T00:00:00"
    end: "2013-03-09T00:00:00"
    timezone: UTC
    reason: nobody has a hand free
"""


def configure(folder: Path) -> None:
    """Short windows, a short ramp, one freeze: what a test has time for."""
    model = folder / "models/late.yaml"
    text = model.read_text()
    text = re.sub(r"(?ms)^(training:.*?^  end: )\S+", r"\g<1>2013-02-05", text)
    text = re.sub(
        r"(evaluation:\n  start: )\S+\n  end: \S+", r"\g<1>2013-02-05\n  end: 2013-02-26", text
    )
    text = re.sub(r"(?ms)^triggers:\n.*?(?=^fallback_score)", TRIGGERS, text)
    model.write_text(text.replace("num_trees: 150", "num_trees: 25"))
    settings = folder / "interlock.yaml"
    text = settings.read_text()
    text = re.sub(r"(?ms)^    stages:\n.*?(?=^    rollback_window)", f"    stages:\n{STAGES}", text)
    settings.write_text(text)
    (folder / "calendar.yaml").write_text(CALENDAR)


def copied(folder: Path, to: Path) -> Path:
    """The project with its state; nothing may have it open."""
    return Path(shutil.copytree(folder, to))


@contextmanager
def opened(folder: Path) -> Iterator[Workspace]:
    workspace = Workspace(folder)
    try:
        yield workspace
    finally:
        workspace.close()


def edit(folder: Path, file: str, old: str, new: str) -> None:
    """One replacement that must find its place."""
    path = folder / file
    text = path.read_text()
    assert old in text, f"{old!r} is not in {file}"
    path.write_text(text.replace(old, new))


def asked(title: str) -> Request:
    return Request(title, AUTHOR, "a test", "the same", "any harm", "none")


def proposed(workspace: Workspace, title: str) -> Change:
    workspace.reread()
    return propose(workspace, asked(title))


def signed(workspace: Workspace, id: str) -> None:
    """What made-up data cannot show is waived; then everybody who must sign does."""
    waived(workspace, id)
    for need in Plan.from_json(current(workspace, id).plan or {}).requirements:
        person = next(one for one in need.people if one != AUTHOR)
        decide.sign(workspace, id, by=person, role=need.role, team=need.team)


def waived(workspace: Workspace, id: str) -> None:
    """Whatever does not pass, layer after layer, until it is all there."""
    while True:
        change = current(workspace, id)
        asked = Plan.from_json(change.plan or {}).evidence
        for piece in evidence_of(workspace.record, change):
            if piece.verdict != "pass" and piece.check in asked and not piece.not_run:
                decide.waive(
                    workspace, id, piece.check, by="dana", role="model_validator",
                    reason="made-up data cannot show this",
                )  # fmt: skip
        if change.state != "EVIDENCE":
            return
        prove_again(workspace, id, lambda _: None)


def at(moment: datetime, workspace: Workspace) -> datetime:
    """Nothing happens until `moment`."""
    workspace.advance(moment)
    assert workspace.now() == moment
    return moment


def refused(workspace: Workspace, id: str) -> tuple[str, ...]:
    """What `apply` objects to; it moved nothing."""
    before = workspace.route(), held(workspace.record, id)
    with pytest.raises(Refused) as caught:
        decide.apply(workspace, id, by="sam")
    assert (workspace.route(), held(workspace.record, id)) == before
    return caught.value.objections


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> Any:
        return json.loads(self.err.splitlines()[-1])


def command(folder: Path, *arguments: str) -> Done:
    """A command of this folder, run in this process; errors as JSON."""
    return done(*arguments, "-C", str(folder), "--json")


def done(*arguments: str) -> Done:
    """A command as it stands, run in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            run(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A command in a process of its own, under way."""
    return subprocess.Popen(
        [sys.executable, "-m", "interlock.cli.main", *arguments, "-C", str(folder), "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def at_once(*jobs: Callable[[], object]) -> list[str]:
    """What each job said, or was told no with; all of them begin together."""
    gate, told = threading.Barrier(len(jobs)), []

    def run(job: Callable[[], object]) -> None:
        gate.wait()
        try:
            told.append(str(job()))
        except InterlockError as error:
            told.append(error.code)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def current(workspace: Workspace, id: str) -> Change:
    return held(workspace.record, id).change


def rollout(workspace: Workspace, id: str) -> RolloutState:
    return RolloutState.from_json(current(workspace, id).details["rollout"])


@contextmanager
def serving(workspace: Workspace) -> Iterator[tuple[Gateway, str]]:
    """A gateway of this process behind a real port."""
    record = SqlRecord(workspace.state / "record.db")
    log = JsonLinesLog(workspace.state / "predictions", name="gateway")
    gateway = Gateway(record, workspace.artifacts, workspace.online, log, "prod", replay_clock=True)
    gateway.mirrors = mirrors_of(workspace)
    gateway.start()
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(gateway_app(gateway), log_level="warning"))
        thread = threading.Thread(target=server.run, args=([door],))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield gateway, f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
            gateway.stop()
            log.close()
            record.close()


def play(workspace: Workspace, length: timedelta) -> Played:
    """Recorded requests from now on, for `length`; nobody looks after the rollout meanwhile."""
    with serving(workspace) as (_, url):
        now = workspace.now()
        replayer = new_replayer(workspace, url, MODEL)
        return play_through(replayer, now, now + length, drive=False)


def go_on(workspace: Workspace, id: str) -> str:
    """One stage further, at the word of somebody who waives what is open."""
    decide.promote(workspace, id, by="sam", reason="made-up data is too little to show it")
    return tick(workspace)


def walk(folder: Path, id: str, keep: Path) -> dict[str, Path]:
    """`id` from its start to its commit; a copy of the project in each state, ripe to go on."""
    found = {}
    with opened(folder) as workspace:
        decide.apply(workspace, id, by="sam")
    found["PREPARING"] = copied(folder, keep / "PREPARING")
    for state, days in HOLDS.items():
        with opened(folder) as workspace:
            go_on(workspace, id)
            assert current(workspace, id).state == state, current(workspace, id).said
            play(workspace, timedelta(days=days))
            tick(workspace)
        found[state] = copied(folder, keep / state)
    with opened(folder) as workspace:
        go_on(workspace, id)
        assert current(workspace, id).state == "COMMITTED", current(workspace, id).said
    found["COMMITTED"] = copied(folder, keep / "COMMITTED")
    return found
