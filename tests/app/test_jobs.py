"""A job is a row: whoever works on it may die, and the next goes on."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import api_world as api
import app_world as world
import pytest

from interlock.app.changes import all_changes
from interlock.app.jobs import ATTEMPTS, Job, Runner, find, open_job, work
from interlock.app.workspace import Workspace

pytestmark = pytest.mark.slow
ASKED = {"title": "Wider", "rollback_criteria": "any harm", "metrics": [], "bounds": []}


@pytest.fixture
def folder(signed: Path, tmp_path: Path) -> Path:
    found = world.copied(signed, tmp_path / "project")
    world.edit(found, "services/crew.yaml", "  margin: 0.05", "  margin: 0.08")
    return found


def opened(workspace: Workspace, **more: object) -> Job:
    job = Job("job-1", "propose", "wei", "token:abc", ASKED)
    texts = api.files(workspace.folder)
    return open_job(workspace, replace(job, **more), texts)  # type: ignore[arg-type]


def test_a_job_whose_process_is_killed_is_done_by_the_next(folder: Path) -> None:
    with world.opened(folder) as workspace:
        job = opened(workspace)
        command = [sys.executable, "-P", "-m", "interlock.app.jobs", "--project", str(folder)]
        process = subprocess.Popen([*command, job.id])
        while not find(workspace, job.id).said:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.wait()
        runner = Runner(folder, "prod")
        while (found := find(workspace, job.id)).state not in ("done", "failed"):
            runner.look_at(found)
            time.sleep(0.1)
        assert (found.state, found.change, found.attempt) == ("done", "CR-4", 2), found
        assert [one.id for one in all_changes(workspace)][:2] == ["CR-4", "CR-3"]
        entry = workspace.record.history(world.current(workspace, "CR-4").ref)[-1]
        assert (entry.by, entry.source) == ("wei", "token:abc")


def test_a_job_that_kills_every_process_is_given_up(folder: Path) -> None:
    with world.opened(folder) as workspace:
        job = opened(workspace, attempt=ATTEMPTS, state="running")
        done = work(workspace, job.id)
        assert done.state == "failed"
        assert done.error is not None
        assert "cut off 3 times" in done.error["message"]
        assert work(workspace, job.id) == done


def test_the_row_of_a_job_is_opened_once(folder: Path) -> None:
    with world.opened(folder) as workspace:
        first = opened(workspace)
        assert opened(workspace, person="mallory") == find(workspace, first.id) == first
