"""A request that is sent again is answered again, not done again.

The caller names each request with a key of their own. The record keeps under it what was
asked and, by its digest, what was answered. Two of one key at the same moment: one works,
the other waits for its answer. A server that dies in between leaves a claim that runs out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from interlock.app import refusals
from interlock.app.workspace import WallClock, Workspace
from interlock.define.digest import canonical, digest
from interlock.define.refs import Ref
from interlock.errors import Conflict, Stale, Unusable
from interlock.ports import Clock, Entry, Json, Put

CLAIMED = timedelta(seconds=60)
WAITS_SECONDS = 10.0
_PAUSE = 0.05


@dataclass(frozen=True)
class Asked:
    """A request: who asks, under which key, and all that makes it the same request."""

    person: str
    key: str
    what: Json
    environment: str = ""

    @property
    def name(self) -> str:
        """Its address in the record. The key is a person's own: nobody can guess another's."""
        return digest([self.environment, self.person, self.key])[:32]

    @property
    def digest(self) -> str:
        return digest(self.what)


@dataclass(frozen=True)
class Answer:
    """What was answered. `kept` is what a replay gets, where the first answer held a secret."""

    status: int
    body: Json
    headers: dict[str, str] = field(default_factory=dict)
    kept: Json | None = None
    replayed: bool = False

    def to_json(self) -> Json:
        body = self.body if self.kept is None else self.kept
        return {"status": self.status, "headers": self.headers, "body": body}


def once(
    workspace: Workspace, asked: Asked, work: Callable[[], Answer], clock: Clock | None = None
) -> Answer:
    """What `work` answers, or answered before under this key.

    Raises `Unusable` when the key was used for something else, and `Conflict` when the same
    request is still being worked on after a while. An error of `work` frees the key.
    """
    clock, deadline = clock or WallClock(), time.monotonic() + WAITS_SECONDS
    while True:
        entry = workspace.record.get(Ref("request", asked.name))
        if entry is not None:
            _refuse_other(workspace, entry, asked)
            if entry.body["state"] == "done":
                return _again(workspace, entry)
        if entry is None or entry.body["state"] == "free" or _over(entry, clock):
            claimed = _claim(workspace, asked, entry, clock.now())
            if claimed:
                return _work(workspace, asked, work, claimed)
        if time.monotonic() > deadline:
            raise Conflict(
                "the same request is being worked on",
                help="send it again in a moment, with the same key: it gets the same answer",
            )
        time.sleep(_PAUSE)


def _refuse_other(workspace: Workspace, entry: Entry, asked: Asked) -> None:
    if entry.body["request"] != asked.digest:
        said = "this Idempotency-Key was used for another request"
        shown = {"request": asked.name, "asked": asked.digest, "person": asked.person}
        refusals.keep(workspace, "request", [said], by=asked.person, shown=shown)
        raise Unusable(
            said,
            help="a new request needs a new key; to repeat one, send exactly the same",
        )


def _again(workspace: Workspace, entry: Entry) -> Answer:
    said = json.loads(workspace.artifacts.get(entry.body["answer"]))
    return Answer(said["status"], said["body"], said["headers"], replayed=True)


def _over(entry: Entry, clock: Clock) -> bool:
    return clock.now() >= datetime.fromisoformat(entry.body["until"])


def _claim(workspace: Workspace, asked: Asked, entry: Entry | None, now: datetime) -> int | None:
    """The version that says it is ours; None when somebody else was faster."""
    until = (now + CLAIMED).isoformat()
    version = entry.version if entry else 0
    return _write(workspace, asked, version, {"state": "working", "until": until})


def _work(workspace: Workspace, asked: Asked, work: Callable[[], Answer], version: int) -> Answer:
    done = False
    try:
        answer = work()
        done = True
    finally:
        if not done:
            _write(workspace, asked, version, {"state": "free"})
    kept = workspace.artifacts.put(canonical(answer.to_json()))
    _write(workspace, asked, version, {"state": "done", "answer": kept})
    return answer


def _write(workspace: Workspace, asked: Asked, version: int, more: Json) -> int | None:
    body = {"request": asked.digest, "person": asked.person, **more}
    put = Put(Ref("request", asked.name), body, version)
    try:
        workspace.record.write([put], by=asked.person, at=workspace.now())
    except Stale:
        # Ours ran out, and another took it: theirs is the answer that is kept.
        return None
    return version + 1
