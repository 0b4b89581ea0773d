"""What the demo and the drills need: a project to edit, people who sign, a server, traffic."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from interlock.app import decide
from interlock.app.build import Say, quiet
from interlock.app.changes import evidence_of, held
from interlock.app.gather import PROVEN
from interlock.app.outdated import prove_again
from interlock.app.play import new_replayer
from interlock.app.propose import propose
from interlock.app.traffic import Caller, Replayer, request_columns, tensor
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.change.evidence import Evidence
from interlock.change.layers import Layer, layer_of
from interlock.change.request import Request
from interlock.define.refs import Ref
from interlock.errors import Refused, Unavailable
from interlock.plan.plan import Plan
from interlock.serve.spec import ServingSpec

START_S = 30.0
# Often enough to see the last answer to a few milliseconds, seldom enough not to be the load.
PAUSE_S = 0.004


@dataclass
class Server:
    """`interlock serve` as a process of its own; stopped by its process id."""

    process: subprocess.Popen[str]
    url: str

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def start_server(folder: Path, environment: str = "prod", port: int = 0) -> Server:
    """Start the server and wait until it says where it listens."""
    command = [
        sys.executable, "-m", "interlock.web.server", "--project", str(folder),
        "--env", environment, "--port", str(port),
    ]  # fmt: skip
    log = folder / ".interlock" / "server.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ}
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("serving on "):
        process.wait(START_S)
        said = (line + log.read_text()).strip().splitlines()
        raise Unavailable(f"the server did not start: {said[-1] if said else 'no output'}")
    return Server(process, line.split()[-1])


@dataclass
class Stage:
    """A project folder in the hands of its people."""

    workspace: Workspace
    say: Say = quiet
    edits: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.workspace.folder

    def edit(self, path: str, *swaps: tuple[str, str]) -> None:
        """Replace text in a definition file, as a person would; remembers what it was."""
        file = self.folder / path
        text = file.read_text()
        self.edits.setdefault(path, text)
        for before, after in swaps:
            if before not in text:
                raise Refused(f"{path} does not hold {before!r}; the story cannot edit it")
            text = text.replace(before, after)
        file.write_text(text)
        self.workspace.reread()

    def add(self, path: str, text: str) -> None:
        """A new definition file."""
        self.edits.setdefault(path, "")
        (self.folder / path).write_text(text)
        self.workspace.reread()

    def undo(self) -> None:
        """Every file as it was before the edits."""
        for path, text in self.edits.items():
            if text:
                (self.folder / path).write_text(text)
            else:
                (self.folder / path).unlink()
        self.edits.clear()
        self.workspace.reread()

    def keep(self) -> None:
        """The edits are the new truth: they were released."""
        self.edits.clear()

    def propose(self, title: str, by: str, **told: Any) -> Change:
        """Open a change, with rollback criteria unless told otherwise."""
        told.setdefault("rollback_criteria", "any guardrail of the rollout shows harm")
        told.setdefault("expected", "what the evidence says")
        return propose(self.workspace, Request(title, by, **told), self.say)

    def evidence(self, change: Change) -> dict[str, Evidence]:
        """By name of the check."""
        now = held(self.workspace.record, change.id).change
        return {piece.check: piece for piece in evidence_of(self.workspace.record, now)}

    def waive(
        self, change: Change, by: str, reason: str, layers: Iterable[Layer] = PROVEN
    ) -> list[str]:
        """What failed in `layers`, one after the other, until more is run; names of the checks."""
        lifted: list[str] = []
        while True:
            now, asked = self.now(change), set(layers)
            for check in self._open(now):
                if layer_of(check) in asked and check not in lifted:
                    role = self._role_of(by)
                    decide.waive(self.workspace, now.id, check, by=by, role=role, reason=reason)
                    lifted.append(check)
            before = self.now(change)
            if before.state != "EVIDENCE" or before == now:
                return lifted
            prove_again(self.workspace, now.id, self.say)

    def _open(self, change: Change) -> list[str]:
        asked = Plan.from_json(change.plan or {}).evidence
        made = self.evidence(change).items()
        return [c for c, p in made if c in asked and p.verdict != "pass" and not p.not_run]

    def _role_of(self, person: str) -> str:
        roles = (owner.people.get(person, ()) for owner in self.workspace.project.owners)
        return next(role for held_ in roles for role in held_)

    def sign(self, change: Change, but: Iterable[str] = ()) -> list[str]:
        """Everybody who must sign does, except the teams in `but`; who signed."""
        signed = []
        for needed in Plan.from_json(change.plan or {}).requirements:
            if needed.team in set(but):
                continue
            person = next(p for p in needed.people if p != change.author)
            decide.sign(self.workspace, change.id, by=person, role=needed.role, team=needed.team)
            signed.append(f"{person} ({needed.team})")
        return signed

    def refused(self, change: Change, by: str) -> tuple[str, ...]:
        """What `apply` objects to; raises when it does not object, for then the story is false."""
        try:
            decide.apply(self.workspace, change.id, by=by)
        except Refused as error:
            return error.objections
        raise Refused(f"{change.id} was let through and should not have been")

    def now(self, change: Change) -> Change:
        return held(self.workspace.record, change.id).change

    def replayer(self, server: Server, model: str) -> Replayer:
        return new_replayer(self.workspace, server.url, model)


@dataclass
class Heard:
    """One answer of the background load: when it came (wall seconds) and by which release."""

    at: float
    release: str


@contextmanager
def background_load(workspace: Workspace, server: Server, model: str) -> Iterator[list[Heard]]:
    """One caller that asks without pause, to see when the candidate really stops answering."""
    heard: list[Heard] = []
    stop = threading.Event()
    body = _some_rows(workspace, model)
    thread = threading.Thread(target=_ask_on, args=(server, model, body, heard, stop))
    thread.start()
    try:
        yield heard
    finally:
        stop.set()
        thread.join()


def _ask_on(
    server: Server, model: str, body: dict[str, object], heard: list[Heard], stop: threading.Event
) -> None:
    caller = Caller(server.url)
    while not stop.is_set():
        answer = caller.post(f"/v2/models/{model}/infer", body)
        now = time.time()
        releases = next(o["data"] for o in answer["outputs"] if o["name"] == "release")
        heard += [Heard(now, release) for release in dict.fromkeys(releases)]
        stop.wait(PAUSE_S)
    caller.close()


def _some_rows(workspace: Workspace, model: str, count: int = 40) -> dict[str, object]:
    """Rows that are asked for again and again; enough of them that both arms answer."""
    release = workspace.route().stable
    entry = workspace.record.get(Ref("serving", release or ""))
    if entry is None:
        raise Refused("nothing is live in this environment", help="apply a first change")
    spec = ServingSpec.from_json(entry.body)
    declared = workspace.project.models[model]
    columns = request_columns(declared, spec)
    now = workspace.now()
    rows = workspace.warehouse.query(
        f"SELECT {', '.join(columns)} FROM {declared.spine} AS s WHERE {declared.time} >= "
        f"TIMESTAMP '{now:%Y-%m-%d %H:%M:%S}' ORDER BY {declared.time}, {declared.key} "
        f"LIMIT {count}"
    ).to_pydict()
    types = spec.models[model].columns
    return {
        "inputs": [tensor(name, rows[name], types[name]) for name in columns],
        "parameters": {"at": now.strftime("%Y-%m-%dT%H:%M:%SZ"), "service": "drill"},
    }


def moment(day: int, month: int = 6, hour: int = 0) -> datetime:
    """An instant of 2013, UTC: the year of the flights."""
    from datetime import UTC

    return datetime(2013, month, day, hour, tzinfo=UTC)
