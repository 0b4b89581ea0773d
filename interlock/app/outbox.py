"""Tells people and systems what happened: read the record, write down, send, write down.

Of changes every transition, of triggers that they fired, of alerts that they came and went.

A transition and what is to be told of it are one row of the record, so a kill between a
transition and its telling loses nothing. An attempt is written down before it is made: a kill
in the middle repeats that one, under the same id, and no other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from interlock.app.alerts import address
from interlock.app.leases import leased
from interlock.app.stores import expanded
from interlock.app.workspace import Workspace
from interlock.change.alerted import notes_of
from interlock.change.change import Change
from interlock.change.notes import Note, moments, note
from interlock.change.outbox import Delivery, Outbox, begun, ended, queued, revived
from interlock.define.load import MAIN, read
from interlock.define.notifications import Notification
from interlock.define.refs import Ref
from interlock.errors import Conflict, InterlockError, NotFound, Stale
from interlock.ports import Entry, Json, Message, Notifier, Put

WRITER = "outbox"
LEASE_S = 5.0  # renewed while places are slow; a killed process is missed for this long
Wall = Callable[[], float]


@dataclass(frozen=True)
class Told:
    """What one pass did."""

    delivered: int = 0
    failed: int = 0
    dead: int = 0

    def __str__(self) -> str:
        if not (self.delivered or self.failed):
            return ""
        more = f", {self.failed} not taken" if self.failed else ""
        given_up = f", {self.dead} given up: `interlock outbox`" if self.dead else ""
        return f"told {self.delivered}{more}{given_up}"


def deliver(workspace: Workspace, wall: Wall = time.time) -> Told:
    """One pass: everything that is due now is tried once. Only one process does it at a time."""
    places = places_of(workspace)
    if not places:
        return Told()
    lease = f"outbox:{workspace.environment}"
    try:
        with leased(workspace.record, lease, LEASE_S, "is telling"):
            found = [_tell(workspace, one, places, wall) for one in _behind(workspace, wall())]
    except Conflict:
        return Told()
    return Told(*(sum(counts) for counts in zip(*found, strict=True))) if found else Told()


def places_of(workspace: Workspace) -> Mapping[str, Notification]:
    """Who is told, as `interlock.yaml` says now; where it is broken, as the last release says.

    The file counts and not the release: whom to tell changes nothing that is served, and no
    release is made because somebody joins a team.
    """
    file = workspace.folder / MAIN
    found = read({MAIN: file.read_text(encoding="utf-8")}).partial if file.is_file() else None
    project = found if found and found.name else workspace.released
    return project.notifications if project else {}


# --- what there is to tell ------------------------------------------------------------


@dataclass(frozen=True)
class Behind:
    """Something with something to tell: its newest entry, its outbox, and the outbox's version."""

    entry: Entry
    outbox: Outbox
    version: int


def _behind(workspace: Workspace, now: float) -> Iterator[Behind]:
    record = workspace.record
    known = {entry.ref.name: entry for entry in record.list("outbox")}
    mine = _subjects(workspace)
    begun_at = known.get(workspace.environment)
    since: Json = begun_at.body if begun_at else _begin(workspace, mine)
    for entry in mine:
        name = _name(entry.ref)
        kept = known.get(name)
        fresh = Outbox(name, told=since.get(name, 0))
        outbox = Outbox.from_json(kept.body) if kept else fresh
        if outbox.told < entry.version or outbox.due(now):
            yield Behind(entry, outbox, kept.version if kept else 0)


def _subjects(workspace: Workspace) -> list[Entry]:
    """Whatever may have something to tell here: changes, triggers, alerts."""
    record, here = workspace.record, workspace.environment
    many = (*record.list("change"), *record.list("trigger"))
    alerts = record.get(address(here))
    mine = [entry for entry in many if entry.body.get("environment") == here]
    return [*mine, alerts] if alerts else mine


def _name(ref: Ref) -> str:
    """Of the outbox of what stands under `ref`."""
    return ref.name if ref.kind == "change" else f"{ref.kind}-{ref.name}"


def _begin(workspace: Workspace, changes: Sequence[Entry]) -> Json:
    """The first pass ever: of what is closed nothing is told, of what is open the last moment."""
    since = {_name(entry.ref): _skipped(workspace, entry) for entry in changes}
    put = Put(Ref("outbox", workspace.environment), since, 0)
    workspace.record.write([put], by=WRITER, at=workspace.now())
    return since


def _skipped(workspace: Workspace, entry: Entry) -> int:
    if entry.ref.kind != "change":
        return entry.version
    told = _notes(workspace, entry, 0) if Change.from_json(entry.body).open else []
    return told[-1].version - 1 if told else entry.version


def _notes(workspace: Workspace, entry: Entry, after: int) -> list[Note]:
    """What happened in the versions newer than `after`, up to `entry`."""
    record = workspace.record
    history = [
        h for h in record.history(entry.ref, max(after - 1, 0)) if h.version <= entry.version
    ]
    if entry.ref.kind != "change":
        return notes_of(history, after)
    judgements = record.history(Ref("judgement", entry.ref.name))
    before = Change.from_json(history[0].body) if after and history else None
    found = []
    for one in history[1 if after else 0 :]:
        change = Change.from_json(one.body)
        by_then = [j.body for j in judgements if j.written_at <= one.written_at]
        judged = by_then[-1] if by_then else None
        for moment in moments(before, change):
            found.append(note(moment, change, one.version, one.written_at, one.by, judged))
        before = change
    return found


def story(workspace: Workspace, id: str) -> tuple[Note, ...]:
    """Everything that happened to a change, in words, oldest first."""
    entry = workspace.record.get(Ref("change", id))
    if entry is None:
        raise NotFound(f"there is no change {id}", help="`interlock changes` lists them")
    return tuple(_notes(workspace, entry, 0))


# --- telling it -----------------------------------------------------------------------


def _tell(
    workspace: Workspace, behind: Behind, places: Mapping[str, Notification], wall: Wall
) -> tuple[int, int, int]:
    """One of them: written down, sent, written down. Delivered, not taken, given up."""
    now, outbox = wall(), behind.outbox
    after = min([outbox.told, *(one.version - 1 for one in outbox.due(now))])
    notes = _notes(workspace, behind.entry, after)
    news = [one for one in notes if one.version > outbox.told]
    outbox = queued(outbox, behind.entry.version, news, places, now)
    trying = outbox.due(now)
    outbox = begun(outbox, trying, now)
    try:
        version = _keep(workspace, outbox, behind.version)
        if not trying:
            return 0, 0, 0
        answers = {one.id: _sent(workspace, one, places, notes) for one in trying}
        gone = ended(outbox, answers)
        _keep(workspace, gone, version)
    except Stale:
        return 0, 0, 0  # somebody asked for a retry meanwhile: the next pass looks again
    failed = sum(bool(said) for said in answers.values())
    return len(answers) - failed, failed, len(gone.dead) - len(outbox.dead)


def _keep(workspace: Workspace, outbox: Outbox, expected: int) -> int:
    put = Put(Ref("outbox", outbox.change), outbox.to_json(), expected)
    (entry,) = workspace.record.write([put], by=WRITER, at=workspace.now())
    return entry.version


def _sent(
    workspace: Workspace,
    one: Delivery,
    places: Mapping[str, Notification],
    notes: Sequence[Note],
) -> str:
    """Why it was not taken; empty when it was."""
    place = places.get(one.place)
    if place is None:
        return "this place is not declared any more"
    said = next(n for n in notes if (n.version, n.moment) == (one.version, one.moment))
    try:
        notifier(one.place, place).tell(_message(workspace, one, place, said))
    except InterlockError as error:
        return error.message
    return ""


def _message(workspace: Workspace, one: Delivery, place: Notification, said: Note) -> Message:
    data: Json = {**said.to_json(), "environment": workspace.environment}
    return Message(
        id=one.id,
        type=f"interlock.{said.moment.lower()}"
        if said.about
        else f"interlock.change.{said.moment.lower()}",
        source=f"/interlock/{workspace.environment}",
        subject=said.subject,
        at=said.at,
        title=said.title,
        text=said.text_for(place.audience),
        data=data,
    )


def notifier(name: str, place: Notification) -> Notifier:
    """The way to a place; raises `Unusable` when a variable is not set or says nothing useful."""
    seconds = place.timeout.total_seconds()
    if place.url is not None:
        from interlock.adapters.apprise import Apprise

        return Apprise(name, expanded(place.url, name), seconds)
    from interlock.adapters.webhooks import Webhook

    secrets = [expanded(secret, name) for secret in place.secrets]
    return Webhook(name, expanded(place.webhook or "", name), secrets, seconds)


# --- beside the controller ------------------------------------------------------------


@contextmanager
def telling(workspace: Workspace, every: float = 1.0) -> Iterator[None]:
    """Deliver in a thread while the block runs, and once more at its end.

    In a thread of its own, so that a place that does not answer never holds up a rollback.
    """
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            _pass(workspace)
            over.wait(every)
        _pass(workspace)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _pass(workspace: Workspace) -> None:
    try:
        deliver(workspace)
    except InterlockError:
        return  # the record is away: the controller says so, and the next pass tries again


# --- for people -----------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One delivery as people are shown it."""

    change: str
    state: str
    delivery: Delivery

    def to_json(self) -> dict[str, Any]:
        return {"change": self.change, "state": self.state, **self.delivery.__dict__}


def outbox_lines(workspace: Workspace) -> list[Line]:
    """Everything that waits or was given up, by change; what was taken is only counted there."""
    return [
        Line(outbox.change, state, one)
        for outbox in (Outbox.from_json(e.body) for e in _outboxes(workspace))
        for state, many in (("dead", outbox.dead), ("waiting", outbox.waiting))
        for one in many
    ]


def _outboxes(workspace: Workspace) -> list[Entry]:
    """Those of changes; the one of the environment only says where telling began."""
    return [entry for entry in workspace.record.list("outbox") if "told" in entry.body]


def retry(workspace: Workspace, id: str, *, by: str, wall: Wall = time.time) -> str:
    """Try a delivery again now: one that was given up, or one that waits for its turn."""
    for entry in _outboxes(workspace):
        outbox = Outbox.from_json(entry.body)
        if any(one.id == id for one in (*outbox.waiting, *outbox.dead)):
            put = Put(entry.ref, revived(outbox, id, wall()).to_json(), entry.version)
            workspace.record.write([put], by=by, at=workspace.now())
            told = deliver(workspace, wall)
            return f"{id}: {told or 'another process is telling; it is tried at once'}"
    raise NotFound(f"nothing waits under {id}", help="`interlock outbox` lists what waits")
