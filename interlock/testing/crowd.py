"""Many hands on the same changes at once, over a real record: what must hold whatever happens.

`Crowd` is a world of ten clients and two controllers, each with a connection of its own. It
does what people and controllers do through the functions of `app`; `laws_broken` reads the
record alone and names what may never be: a transition made twice, a signature lost, a time
booked twice, two changes on one Route, an audit that does not add up.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from interlock.adapters.sqlrecord import SqlRecord
from interlock.app import booking, decide
from interlock.app.changes import held, open_new, save, update
from interlock.app.versions import Version
from interlock.app.workspace import Workspace
from interlock.change.agenda import OPEN, Booked
from interlock.change.audit import verify
from interlock.change.change import NEXT, Change, Planned, moved, planned, signed, with_evidence
from interlock.change.footprint import of_writes
from interlock.change.signoff import SignOff
from interlock.define.environment import Owner
from interlock.define.project import Project
from interlock.errors import Conflict, NotFound, Refused, Stale
from interlock.plan.plan import Plan, Slot
from interlock.ports import Put
from interlock.testing.clock import FixedClock

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
BASE, OBJECTS = "b" * 64, ("view:one@1", "view:two@1")
CLIENTS, CONTROLLERS, CHANGES = 10, 2, 4
PEOPLE = tuple(f"person-{n}" for n in range(CLIENTS))
OWNERS = (Owner(name="crew", people=dict.fromkeys(PEOPLE, ("service_owner",))),)
FORWARD = ("SHADOW", "STEP", "SOAKING", "COMMITTED")
OPS = ("propose", "sign", "approve", "withdraw", "start", "rollback")

Act = tuple[int, str, int]
"""Who (clients first, then controllers), what, and on which of the changes."""


@dataclass(frozen=True)
class Did:
    """Something that was said to have been done."""

    op: str
    change: str
    by: str


@dataclass
class Crowd:
    """`target` is where the record is; `project` lends its calendar and stages."""

    target: str
    folder: Path
    project: Project
    did: list[Did] = field(default_factory=list)
    connect: Callable[[str], SqlRecord] = SqlRecord
    _desks: dict[int, Workspace] = field(default_factory=dict)

    @property
    def record(self) -> SqlRecord:
        """What the first client sees."""
        found = self.desk(0).record
        assert isinstance(found, SqlRecord)
        return found

    def desk(self, worker: int) -> Workspace:
        """What one worker works at, from its first act on."""
        if worker not in self._desks:
            self._desks[worker] = self._opened()
        return self._desks[worker]

    def _opened(self) -> Workspace:
        desk = Workspace(self.folder)
        desk.__dict__["record"] = self.connect(self.target)
        desk.__dict__["clock"] = FixedClock(NOON)
        lent: Any = None  # facts are not looked at by what is done here
        releases = {f"{n:064x}": Version(self.project, lent, {}) for n in range(CHANGES)}
        desk.versions.update(releases)
        return desk

    def close(self) -> None:
        for desk in self._desks.values():
            desk.record.close()

    def all_at_once(self, acts: Sequence[Act]) -> None:
        """Every worker does its acts in order, all workers together."""
        workers = {worker for worker, _, _ in acts}
        barrier = threading.Barrier(len(workers))

        def work(worker: int) -> None:
            barrier.wait()
            for one, op, change in acts:
                if one == worker:
                    self.act(worker, op, change)

        with ThreadPoolExecutor(len(workers)) as pool:
            list(pool.map(work, workers))  # what goes wrong in one of them is raised here

    # --- what people and controllers do ---

    def act(self, worker: int, op: str, change: int) -> None:
        """One act; a refusal is an answer, and is not written down as done."""
        desk, who = self.desk(worker), f"person-{worker}"
        try:
            if worker >= CLIENTS:
                self._tick(desk, f"controller-{worker}")
            else:
                self._client(desk, who, op, change)
        except (Refused, Stale, Conflict, NotFound):
            return

    def _client(self, desk: Workspace, who: str, op: str, change: int) -> None:
        id = f"CR-{change + 1}"
        match op:
            case "propose":
                id = self._propose(desk, who, change)
            case "sign":
                self._sign(desk, who, id)
            case "approve":
                if not booking.approve(desk, id, who).startswith("approved, booked"):
                    return
            case "withdraw":
                decide.withdraw(desk, id, by=who, reason="no need any more")
            case "start":
                self._start(desk, who, id)
            case _:
                self._rollback(desk, who, id)
        self.did.append(Did(op, id, who))

    def _propose(self, desk: Workspace, who: str, number: int) -> str:
        slot = Slot(NOON + timedelta(hours=1), NOON + timedelta(hours=2))
        plan = Plan("crowd", "prod", BASE, f"{number:064x}", "change", slot=slot)
        made = Planned(plan.to_json(), plan.digest, f"{number:064x}", BASE)
        details = {"footprint": of_writes([OBJECTS[number % len(OBJECTS)]]).to_json()}
        title = f"change {len(self.did)} of {who}"
        draft = Change("", title, who, "prod", NOON, details=details)
        found = open_new(desk, draft)
        update(desk, found.change.id, who, lambda c: planned(c, made))
        update(desk, found.change.id, who, lambda c: with_evidence(c, ()))
        update(desk, found.change.id, who, lambda c: moved(c, "REVIEW"))
        return found.change.id

    def _sign(self, desk: Workspace, who: str, id: str) -> None:
        def step(change: Change) -> Change:
            decision = SignOff(who, "service_owner", "crew", change.plan_digest, NOON)
            return signed(change, decision, OWNERS)

        update(desk, id, who, step)

    def _start(self, desk: Workspace, who: str, id: str) -> None:
        """As `decide.apply` does it: the Route is claimed in the write that starts the change."""
        route, before = desk.route(), held(desk.record, id)
        if route.change:
            raise Conflict(f"{route.change} is on the Route")
        put = Put(desk.route_ref, replace(route, change=id).to_json(), route.epoch)
        save(desk, before, moved(before.change, "PREPARING"), by=who, also=[put])

    def _rollback(self, desk: Workspace, who: str, id: str) -> None:
        route, before = desk.route(), held(desk.record, id)
        if route.change != id:
            raise Refused(f"{id} is not on the Route")
        put = Put(desk.route_ref, replace(route, change=None).to_json(), route.epoch)
        save(desk, before, moved(before.change, "ABORTING"), by=who, also=[put])

    def _tick(self, desk: Workspace, name: str) -> None:
        """One look of a controller, as `app.tick` makes it: a lease, then one write."""
        if desk.record.claim("controller:prod", name, 30) is None:
            return
        try:
            route = desk.route()
            if not route.change:
                return
            before = held(desk.record, route.change)
            state = FORWARD[_rank(before.change.state) + 1]
            last = state == FORWARD[-1]
            after = replace(route, change=None if last else route.change)
            put = Put(desk.route_ref, after.to_json(), route.epoch)
            save(desk, before, moved(before.change, state), by=name, also=[put])  # type: ignore[arg-type]  # one of FORWARD
            self.did.append(Did(state, before.change.id, name))
        finally:
            desk.record.release("controller:prod", name)


def _rank(state: str) -> int:
    return FORWARD.index(state) if state in FORWARD else -1


# --- the laws -----------------------------------------------------------------------------

_REACHES = {
    "approve": "APPROVED", "withdraw": "WITHDRAWN", "start": "PREPARING", "rollback": "ABORTING",
    **{state: state for state in FORWARD},
}  # fmt: skip


def laws_broken(record: SqlRecord, did: Sequence[Did]) -> list[str]:
    """What the record shows that may not be; `did` is what callers were told is done."""
    histories = {
        entry.ref.name: [Change.from_json(e.body) for e in record.history(entry.ref)]
        for entry in record.list("change")
    }
    return [
        *_steps(histories),
        *_done_once(histories, did),
        *_signatures(histories, did),
        *_bookings(record),
        *_one_on_the_route(histories),
        *verify(record, [record.head()]).objections,
    ]


def _steps(histories: dict[str, list[Change]]) -> Iterator[str]:
    for id, history in histories.items():
        if history[0].state != "DRAFT":
            yield f"{id} begins as {history[0].state}"
        for one, other in itertools.pairwise(history):
            if one.state != other.state and other.state not in NEXT[one.state]:
                yield f"{id} went from {one.state} to {other.state}"


def _done_once(histories: dict[str, list[Change]], did: Sequence[Did]) -> Iterator[str]:
    """As many transitions as callers were told of: none twice, none lost, none in secret."""
    told = Counter((one.change, _REACHES[one.op]) for one in did if one.op in _REACHES)
    made: Counter[tuple[str, str]] = Counter()
    for id, history in histories.items():
        for one, other in itertools.pairwise(history):
            if one.state != other.state and other.state in _REACHES.values():
                made[id, other.state] += 1
    for key in told.keys() | made.keys():
        if told[key] != made[key] or made[key] > 1:
            yield f"{key[0]} reached {key[1]} {made[key]} times, {told[key]} were told of"
    opened = Counter(one.change for one in did if one.op == "propose")
    yield from (f"{id} was opened {n} times" for id, n in opened.items() if n > 1)


def _signatures(histories: dict[str, list[Change]], did: Sequence[Did]) -> Iterator[str]:
    for one in did:
        signers = {s.person for s in histories[one.change][-1].signoffs}
        if one.op == "sign" and one.by not in signers:
            yield f"the signature of {one.by} under {one.change} is lost"


def _bookings(record: SqlRecord) -> Iterator[str]:
    """Written without the rules of the calendar: same thing, same time, two changes."""
    kept = [Booked.read(entry) for entry in record.list("booking")]
    kept = [one for one in kept if one.standing in OPEN]
    for n, one in enumerate(kept):
        for other in kept[n + 1 :]:
            a, b = one.booking, other.booking
            shared = a.footprint.writes & b.footprint.writes
            if shared and a.time.start < b.time.end and b.time.start < a.time.end:
                yield f"{a.change} and {b.change} both hold {', '.join(sorted(shared))}"


def _one_on_the_route(histories: dict[str, list[Change]]) -> Iterator[str]:
    going = sorted(id for id, history in histories.items() if history[-1].under_way)
    if len(going) > 1:
        yield f"{' and '.join(going)} are both under way"
