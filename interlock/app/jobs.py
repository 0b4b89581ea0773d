"""Long work that somebody elsewhere asked for: a row in the record, done by a process of its own.

Who asked may hang up, and the server may end: the row says what was asked and, in the end,
what came of it. A process that dies in the middle leaves the row as it was; whoever looks
starts it again, and what it does can be done again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from interlock.app.answers import error_json
from interlock.app.files import uploaded
from interlock.app.leases import leased
from interlock.app.workspace import Workspace
from interlock.define.digest import canonical
from interlock.define.refs import Ref
from interlock.errors import Conflict, InterlockError, NotFound, Stale, Unavailable
from interlock.ports import Json, Put

ATTEMPTS = 3
OVER = ("done", "failed")
_LEASE_SECONDS = 10.0
_PATIENCE_SECONDS = 1800.0


@dataclass(frozen=True)
class Job:
    """`kind` is propose, replan or prove. `asked` is what for, `files` the definitions' digest.

    `state`: queued, running, done, failed. `change` is known when it is done, `error` when not.
    """

    id: str
    kind: str
    person: str
    source: str
    asked: Mapping[str, Any]
    files: str = ""
    state: str = "queued"
    attempt: int = 0
    said: tuple[str, ...] = ()
    change: str = ""
    error: Mapping[str, Any] | None = None

    @property
    def ref(self) -> Ref:
        return Ref("job", self.id)

    def to_json(self) -> Json:
        return {**self.__dict__, "said": list(self.said)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Job:
        known = {f.name: body[f.name] for f in fields(cls) if f.name in body}
        return cls(**{**known, "said": tuple(known.get("said", ()))})


def open_job(workspace: Workspace, job: Job, texts: Mapping[str, str] | None = None) -> Job:
    """The row of `job`; one that is there already stays as it is."""
    if texts is not None:
        job = replace(job, files=workspace.artifacts.put(canonical(dict(texts))))
    try:
        workspace.record.write([Put(job.ref, job.to_json(), 0)], by=job.person, at=workspace.now())
    except Stale:
        return find(workspace, job.id)
    return job


def find(workspace: Workspace, id: str) -> Job:
    """How a job stands, with what it has said so far."""
    entry = workspace.record.get(Ref("job", id))
    if entry is None:
        raise NotFound(f"there is no job {id}", help="its address was in the answer that began it")
    job = Job.from_json(entry.body)
    return job if job.state in OVER else replace(job, said=_said(workspace, id))


def _told(workspace: Workspace, id: str) -> Path:
    """Where its progress is told while it works; the row keeps it in the end."""
    return workspace.state / "jobs" / f"{id}.txt"


def _said(workspace: Workspace, id: str) -> tuple[str, ...]:
    try:
        return tuple(_told(workspace, id).read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:
        return ()


# --- the process that works -----------------------------------------------------------


def work(workspace: Workspace, id: str) -> Job:
    """Do the job, if nobody has done it yet. One works at a time; others wait for their turn."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with leased(workspace.record, "jobs", _LEASE_SECONDS, "is at work on a job"):
                return _work(workspace, id)
        except Conflict:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _work(workspace: Workspace, id: str) -> Job:
    job = find(workspace, id)
    if job.state in OVER:
        return job
    if job.attempt >= ATTEMPTS:
        lost = Unavailable(f"it was cut off {job.attempt} times", "see the log of the server")
        return _move(workspace, job, state="failed", error=error_json(lost))
    job = _move(workspace, job, state="running", attempt=job.attempt + 1)
    teller = _told(workspace, id)
    teller.parent.mkdir(exist_ok=True)
    with teller.open("w", encoding="utf-8") as lines:
        try:
            change = _do(workspace, job, lambda text: _tell(lines, text))
        except InterlockError as error:
            more: Json = {"state": "failed", "error": error_json(error)}
        else:
            more = {"state": "done", "change": change}
    done = _move(workspace, job, said=_said(workspace, id), **more)
    teller.unlink(missing_ok=True)
    return done


def _tell(lines: Any, text: str) -> None:
    lines.write(" ".join(text.split()) + "\n")
    lines.flush()


def _do(workspace: Workspace, job: Job, say: Any) -> str:
    from interlock.app.beside import Placed
    from interlock.app.deferred import propose_after, replan
    from interlock.app.outdated import prove_again
    from interlock.app.propose import propose
    from interlock.change.request import Request

    asked = dict(job.asked)
    if job.kind == "replan":
        return replan(workspace, asked["change"], say, asked.get("after", "")).id
    if job.kind == "prove":
        return prove_again(workspace, asked["change"], say).id
    placed = Placed(asked.pop("after", ""), asked.pop("beside", ""))
    lists: Json = {name: tuple(asked[name]) for name in ("metrics", "bounds") if name in asked}
    request = Request(**{**asked, **lists, "by": job.person})
    if placed.after:
        return propose_after(workspace, request, placed.after, say).id
    return propose(workspace, request, say, beside=placed.beside).id


def _move(workspace: Workspace, job: Job, **more: Any) -> Job:
    moved = replace(job, **more)
    entry = workspace.record.get(job.ref)
    put = Put(job.ref, moved.to_json(), entry.version if entry else 0)
    workspace.record.write([put], by=job.person, at=workspace.now())
    return moved


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m interlock.app.jobs --project DIR --env prod ID`."""
    parser = argparse.ArgumentParser(prog="interlock.app.jobs", description=__doc__)
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--env", default="prod")
    parser.add_argument("id")
    asked = parser.parse_args(arguments)
    with closing(Workspace(asked.project, asked.env)) as own:
        job = find(own, asked.id)
        texts = json.loads(own.artifacts.get(job.files)) if job.files else None
    sent = uploaded(texts) if texts is not None else None
    with closing(Workspace(asked.project, asked.env, source=job.source, texts=sent)) as workspace:
        work(workspace, job.id)


# --- the server that has it done ------------------------------------------------------


@dataclass
class Runner:
    """Starts a process per job, and again when it died before its job was over.

    The processes outlive the server: what was begun is ended.
    """

    folder: Path
    environment: str
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look_at(self, job: Job) -> None:
        """See that somebody works on `job`."""
        with self._lock:
            process = self._running.get(job.id)
            if job.state in OVER:
                if process is not None and process.poll() is not None:
                    del self._running[job.id]
            elif process is None or process.poll() is not None:
                self._running[job.id] = self._start(job.id)

    def _start(self, id: str) -> subprocess.Popen[bytes]:
        command = [
            sys.executable, "-P", "-m", "interlock.app.jobs", "--project", str(self.folder),
            "--env", self.environment, id,
        ]  # fmt: skip
        log = self.folder / ".interlock" / "jobs.log"
        with log.open("ab") as kept:
            # A session and a log of its own: who stops the server does not stop the work.
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=kept, stderr=kept, start_new_session=True
            )


if __name__ == "__main__":
    main()
