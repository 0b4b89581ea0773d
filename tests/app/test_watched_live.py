"""A rollout looked at while it moves: stages, share, evidence, samples to go, and then it ends."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import app_world as world

from interlock.app import decide
from interlock.app.changes import describe
from interlock.app.live import frame
from interlock.rollout.metrics import Guardrail
from interlock.rollout.planner import to_go

ID = "CR-2"
Stages = Mapping[str, Path]


def test_a_look_says_where_it_is_who_sees_it_and_what_is_to_come(
    stages: Stages, tmp_path: Path
) -> None:
    with world.opened(world.copied(stages["STEP"], tmp_path / "project")) as workspace:
        found = frame(describe(workspace, ID))
        state = world.rollout(workspace, ID)
        change = world.current(workspace, ID)
    assert [(s.name, s.place) for s in found.steps] == [
        ("mirror", "done"), ("quarter", "here"), ("soak", "ahead"),
    ]  # fmt: skip
    assert (found.share, found.ended, found.state) == (0.25, False, "STEP")
    by = {gauge.name: gauge for gauge in found.gauges}
    agreed = {g["name"]: Guardrail.from_json(g) for g in change.details["judge"]["guardrails"]}
    assert set(by) == set(agreed)
    waiting = [g for g in by.values() if g.required and g.verdict != "safe"]
    assert waiting, "made-up data is too little to show everything"
    assert all(g.to_go for g in waiting), "what is open has something to come"
    assert all(g.to_go is None for g in by.values() if not g.required)
    assert all(g.to_go == 0 for g in by.values() if g.required and g.verdict == "safe")
    assert state.stage is not None
    more, less = (to_go(agreed["split"], state.stage, (n, 3.0 * n)) for n in (10.0, 50.0))
    assert more > less > 0


def test_looking_goes_on_until_the_change_has_ended(stages: Stages, tmp_path: Path) -> None:
    folder = world.copied(stages["STEP"], tmp_path / "project")
    process = world.started(folder, "status", ID, "--watch", "--every", "0.1")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert (first["share"], first["ended"]) == (0.25, False)
    with world.opened(folder) as workspace:
        decide.rollback(workspace, ID, by="sam", reason="enough seen")
    went = json.loads(process.stdout.readline())
    assert (went["state"], went["share"]) == ("ABORTING", 0.0)
    assert world.command(folder, "tick").code == 0
    rest = [json.loads(line) for line in process.stdout.read().splitlines()]
    assert (rest[-1]["state"], rest[-1]["ended"]) == ("ABORTED", True)
    assert process.wait(30) == 0


def test_on_a_terminal_one_picture_is_drawn_over(stages: Stages, tmp_path: Path) -> None:
    folder = world.copied(stages["COMMITTED"], tmp_path / "project")
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "interlock.cli.main", "status", ID, "--watch", "-C", str(folder)]
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    environ.pop("NO_COLOR", None)
    with os.fdopen(theirs, "wb") as end:
        process = subprocess.Popen(line, stdout=end, stderr=subprocess.PIPE, env=environ)
    assert process.wait(60) == 0
    told = b""
    while chunk := _some(ours):
        told += chunk
    assert b"\x1b[" in told
    for word in (b"stages", b"mirror", b"quarter", b"guardrails", b"100% of subjects", b"to go"):
        assert word in told


def _some(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # the other end is closed: all was read
        return b""
