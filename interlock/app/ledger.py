"""What is known of a physical table: every change of its rows, and how far it has read others'.

The next change is written BEFORE the rows move and what was read AFTER. So a kill between
repeats an interval, and whoever stands on the table hears of a change at least once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from interlock.app.leases import Lease
from interlock.app.workspace import Workspace
from interlock.define.digest import digest
from interlock.define.refs import Ref
from interlock.errors import Unavailable
from interlock.features.ranges import (
    EVERYTHING,
    Spans,
    merged,
    spans_from,
    spans_json,
    without,
)
from interlock.ports import Json, Put, RecordReader

KEPT = 100  # changes; who stands on a table and missed more computes everything again
WRITER = "refresh"


@dataclass(frozen=True)
class Moved:
    """One change: where in event time, from which known instant on, and whether rows went.

    `since` and `withdrawn` are said of views: what the online stores have to hear again.
    """

    number: int
    spans: Spans
    since: str | None = None
    withdrawn: bool = False

    def to_json(self) -> Json:
        return {**self.__dict__, "spans": spans_json(self.spans)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Moved:
        return cls(**{**body, "spans": spans_from(body["spans"])})


@dataclass(frozen=True)
class Ledger:
    """The ledger of one physical table. `read` and `online` are numbers of others' changes.

    `source` is the signature of the file that was loaded. `doing` is a refresh under way:
    what it reads, all its intervals, and those that are done.
    """

    of: str
    number: int = 0
    changes: tuple[Moved, ...] = ()
    read: Mapping[str, int] | None = None
    source: Json | None = None
    doing: Json | None = None
    rows: int | None = None
    watermark: str | None = None
    intervals: Spans = ()
    attempts: int = 0
    failed: str = ""
    online: int = 0
    fence: int = 0

    def to_json(self) -> Json:
        return {
            **self.__dict__,
            "changes": [change.to_json() for change in self.changes],
            "intervals": spans_json(self.intervals),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Ledger:
        changes = tuple(Moved.from_json(change) for change in body["changes"])
        return cls(**{**body, "changes": changes, "intervals": spans_from(body["intervals"])})

    def after(self, number: int) -> tuple[Moved, ...] | None:
        """Changes newer than `number`; None when some of them are no longer kept."""
        first = self.number - len(self.changes)
        return None if number < first else tuple(c for c in self.changes if c.number > number)

    def about_to(
        self, spans: Spans, since: datetime | None = None, withdrawn: bool = False
    ) -> Ledger:
        """The next change, before the rows move."""
        known = since.isoformat() if since else None
        change = Moved(self.number + 1, spans, known, withdrawn)
        return replace(self, number=change.number, changes=(*self.changes, change)[-KEPT:])

    def begun(self, read: Mapping[str, int], todo: Spans) -> Ledger:
        """A refresh that reads `read`; one that was interrupted goes on where it stood."""
        doing = self.doing
        if doing is None or doing["read"] != dict(read):
            doing = {"read": dict(read), "todo": spans_json(todo), "done": []}
        return replace(self, doing=doing, attempts=self.attempts + 1)

    def left(self) -> Spans:
        """Intervals of the refresh under way that are not done."""
        assert self.doing is not None
        return without(spans_from(self.doing["todo"]), spans_from(self.doing["done"]))

    def did(self, spans: Spans) -> Ledger:
        """These intervals are in the warehouse too."""
        assert self.doing is not None
        done = spans_json(merged([*spans_from(self.doing["done"]), *spans]))
        intervals = merged([*self.intervals, *spans])
        return replace(self, doing={**self.doing, "done": done}, intervals=intervals)

    def finished(self, **said: Any) -> Ledger:
        return replace(self, doing=None, attempts=0, failed="", **said)


@dataclass
class Ledgers:
    """Ledgers in the record, by physical table of one environment's warehouse."""

    workspace: Workspace
    lease: Lease
    warehouse: str  # its address, as the release declares it
    _held: dict[str, tuple[int, Ledger]] = field(default_factory=dict)

    def of(self, physical: str, ref: object = "") -> Ledger:
        if physical not in self._held:
            entry = self.workspace.record.get(self._ref(physical))
            found = (
                (entry.version, Ledger.from_json(entry.body)) if entry else (0, Ledger(str(ref)))
            )
            self._held[physical] = found
        return self._held[physical][1]

    def keep(self, physical: str, ledger: Ledger) -> Ledger:
        """Write it, unless it says nothing new; refused when the lease is somebody else's now."""
        before = self.of(physical)
        if ledger == before and before.fence:
            return before
        if before.fence > self.lease.fence:
            raise Unavailable(
                f"{physical} is being refreshed by another process", help="run this again"
            )
        self.lease.still_held()
        ledger = replace(ledger, fence=self.lease.fence)
        put = Put(self._ref(physical), ledger.to_json(), self._held[physical][0])
        entries = self.workspace.record.write([put], by=WRITER, at=self.workspace.now())
        self._held[physical] = entries[0].version, ledger
        return ledger

    def _ref(self, physical: str) -> Ref:
        return ledger_ref(physical, self.warehouse)


def ledger_ref(physical: str, warehouse: str) -> Ref:
    """Environments share the record; the warehouse they share only when they say the same."""
    own = "" if warehouse == "duckdb://" else f".{digest(warehouse)[:8]}"
    return Ref("ledger", physical + own)


def moves(record: RecordReader, physical: str, warehouse: str) -> int:
    """How often a refresh has moved rows of a table since it was built."""
    entry = record.get(ledger_ref(physical, warehouse))
    return int(entry.body["number"]) if entry else 0


def owed(read: Mapping[str, int] | None, inputs: Mapping[str, Ledger]) -> dict[str, Spans]:
    """What changed in each input since it was read; everything when that is not known."""
    found = {}
    for name, ledger in inputs.items():
        missed = None if read is None or name not in read else ledger.after(read[name])
        found[name] = EVERYTHING if missed is None else merged([s for c in missed for s in c.spans])
    return found


def standing(inputs: Mapping[str, Ledger]) -> dict[str, int]:
    """How far each input has come."""
    return {name: ledger.number for name, ledger in inputs.items()}


def pending(ledger: Ledger) -> Sequence[Moved]:
    """Changes that the online stores have not heard of; all kept ones when that is not known."""
    missed = ledger.after(ledger.online)
    return (Moved(ledger.number, EVERYTHING, withdrawn=True),) if missed is None else missed
