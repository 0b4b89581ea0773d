"""Tables and views made by SQL, computed again where their inputs moved, and nowhere else.

Everything is computed beside, compared, and put in its place by one transaction. What a
comparison finds is exact, so a table that turns out the same moves nothing downstream.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from interlock.app.build import Builder, Say
from interlock.app.ledger import Ledger, Ledgers, owed, standing
from interlock.app.stored import as_promised
from interlock.define.definitions import FeatureView, Table
from interlock.define.refs import Ref
from interlock.errors import InterlockError, about
from interlock.features.compile import build_view_sql, physical, view_rows_sql
from interlock.features.dialect import DUCKDB
from interlock.features.ranges import (
    EVERYTHING,
    REMOVED,
    Spans,
    changed_sql,
    counts_sql,
    days_sql,
    is_everything,
    keeps_every_row,
    known_sql,
    merged,
    monthly,
    of_touched,
    part_of,
    reached,
    rows_in,
    spans_of,
    timeline_from,
    withdrawn_sql,
    within,
)
from interlock.features.timeline import known_column
from interlock.impact.sql import substitute, tables_read
from interlock.ports import Replacement

PASSING = ("new", "now", "changed", "due")
"""What is computed beside a table and swept away when it is in its place."""


def beside(ref: Ref, fingerprint: str, what: str) -> str:
    """The table of ours beside a physical one that holds `what`; `rows` stay as long as it."""
    name = ref.name if ref.kind == "table" else str(ref)
    return physical(f"{what} {name}", fingerprint)


@dataclass(frozen=True)
class Node:
    """One physical table of a live release. `pushed`: it stands on a log that rows arrive in.

    `unseen`: it reads a table that others fill, of which nobody says what moved.
    """

    builder: Builder
    thing: Table | FeatureView
    target: str
    pushed: bool = False
    unseen: bool = False

    @property
    def ref(self) -> Ref:
        return self.thing.ref

    @property
    def view(self) -> FeatureView | None:
        return self.thing if isinstance(self.thing, FeatureView) else None

    @property
    def reads(self) -> frozenset[str]:
        """Logical names of the tables it is made from."""
        return frozenset(tables_read(self.thing.sql)) if self.thing.sql else frozenset()

    def from_others(self, name: str) -> bool:
        """Does the table `name` have no ledger here, because others fill it?"""
        table = self.builder.project.tables[name]
        return bool(table.push or table.stored_as)

    def aside(self, what: str) -> str:
        """A table of ours beside the physical one, of the same version."""
        return beside(self.ref, self.builder.facts.fingerprint(self.ref), what)


@dataclass(frozen=True)
class Difference:
    """Between what is there and what was computed beside it."""

    spans: Spans = ()
    added: int = 0
    removed: int = 0

    def __add__(self, other: Difference) -> Difference:
        spans = merged([*self.spans, *other.spans])
        return Difference(spans, self.added + other.added, self.removed + other.removed)


@dataclass(frozen=True)
class Step:
    """What one interval will put in its place, and what that says to others."""

    difference: Difference
    parts: tuple[Replacement, ...] = ()
    since: datetime | None = None
    withdrawn: bool = False


@dataclass(frozen=True)
class Recomputer:
    """Brings physical tables up to what they read."""

    ledgers: Ledgers
    say: Say
    whole: bool = False  # compute everything, whatever is promised or was done

    def node(self, node: Node) -> tuple[Difference, Spans]:
        """Refresh one; what differed, and the intervals that were computed."""
        try:
            bound = node.builder.bindings(node.reads)
        except InterlockError as error:
            self.failed(node, error)
            raise
        inputs = {
            name: self.ledgers.of(table)
            for name, table in bound.items()
            if not node.from_others(name)
        }
        ledger = self.ledgers.of(node.target, node.ref)
        everything = node.unseen or (self.whole and inputs)
        todo = EVERYTHING if everything else self._todo(node, ledger, inputs)
        if not todo:
            return Difference(), ()
        project, warehouse = node.builder.project, node.builder.workspace.warehouse
        with about(node.ref), node.builder.masks.quiet():
            try:
                with as_promised(project, warehouse):
                    return self._work(node, bound, standing(inputs), todo)
            except InterlockError as error:
                self.failed(node, error)
                raise

    def failed(self, node: Node, error: InterlockError) -> None:
        """Keep in the ledger why it stands where it stands."""
        ledger = self.ledgers.of(node.target, node.ref)
        self.ledgers.keep(node.target, replace(ledger, failed=error.message))

    def _todo(self, node: Node, ledger: Ledger, inputs: Mapping[str, Ledger]) -> Spans:
        due = {name: spans for name, spans in owed(ledger.read, inputs).items() if spans}
        tables, promise = node.builder.project.tables, node.thing.incremental
        if not due or promise is None or node.pushed:
            return EVERYTHING if due else ()
        if not self._rows_there(node) or any(tables[name].event_time is None for name in due):
            return EVERYTHING
        return merged([s for spans in due.values() for s in reached(spans, promise.lookback)])

    def _rows_there(self, node: Node) -> bool:
        kept = _rows_of(node)
        return kept is None or node.builder.workspace.warehouse.has(kept)

    def _work(
        self, node: Node, bound: Mapping[str, str], read: Mapping[str, int], todo: Spans
    ) -> tuple[Difference, Spans]:
        keep = self.ledgers.keep
        before = self.ledgers.of(node.target, node.ref)
        before = replace(before, doing=None) if self.whole else before
        ledger = keep(node.target, before.begun(read, todo))
        left = ledger.left()
        steps = (left,) if is_everything(left) else monthly(left)
        found = Difference()
        for spans in self._told(node, steps):
            step = (
                self._whole(node, bound) if is_everything(spans) else self._part(node, bound, spans)
            )
            found += step.difference
            if found_here := step.difference.spans:
                ledger = keep(node.target, ledger.about_to(found_here, step.since, step.withdrawn))
            if step.parts:
                node.builder.workspace.warehouse.replace(step.parts)
            self._keep_rows(node, spans)
            ledger = keep(node.target, ledger.did(spans))
        keep(node.target, ledger.finished(read=read, **extent(node)))
        sweep(node)
        return found, left

    def _told(self, node: Node, steps: Sequence[Spans]) -> Iterator[Spans]:
        """Each step, with what is left; the first one says how long the rest takes."""
        began = time.monotonic()
        for at, spans in enumerate(steps):
            took = (time.monotonic() - began) / max(at, 1)
            left = f", about {took * (len(steps) - at):.0f} s left" if at else ""
            which = (
                "whole" if is_everything(spans) else f"{spans[0]} ({at + 1} of {len(steps)}{left})"
            )
            self.say(f"refreshing {node.ref}: {which}")
            yield spans

    # --- as a whole

    def _whole(self, node: Node, bound: Mapping[str, str]) -> Step:
        new, rows, view = node.aside("new"), _rows_of(node), node.view
        warehouse, dialect = node.builder.workspace.warehouse, node.builder.dialect
        if view is None:
            warehouse.build(new, substitute(str(node.thing.sql), bound, dialect.name))
        else:
            node.builder.refuse_ties(view, f"({view_rows_sql(view, bound, dialect)})")
            warehouse.build(new, build_view_sql(view, bound, dialect))
        if view is not None and rows is not None:
            warehouse.build(node.aside("now"), view_rows_sql(view, bound, dialect))
        if node.unseen:
            # What others keep may have changed while it was read: then nothing is taken from it.
            node.builder.bindings(node.reads)
        found = difference(node, node.target, new)
        if not found.spans:
            return Step(found, self._rows_anew(node))
        columns = columns_in(node, node.target)
        parts = (Replacement(node.target, "TRUE", f"SELECT {columns} FROM {new}"),)
        since, withdrawn = self._heard(node, f"SELECT * FROM {new}") if view else (None, False)
        return Step(found, (*parts, *self._rows_anew(node)), since, withdrawn)

    def _rows_anew(self, node: Node) -> tuple[Replacement, ...]:
        rows, now = _rows_of(node), node.aside("now")
        if rows is None or not node.builder.workspace.warehouse.has(rows):
            return ()
        return (Replacement(rows, "TRUE", f"SELECT {columns_in(node, rows)} FROM {now}"),)

    def _keep_rows(self, node: Node, spans: Spans) -> None:
        """All rows of a view beside those that were ever the newest, for ranges to come."""
        rows, warehouse = _rows_of(node), node.builder.workspace.warehouse
        if rows is not None and is_everything(spans) and not warehouse.has(rows):
            warehouse.build(rows, f"SELECT * FROM {node.aside('now')}")

    def _heard(self, node: Node, after: str) -> tuple[datetime | None, bool]:
        """From when on the online stores must hear of it, and whether the newest has gone."""
        view, changed = node.view, node.aside("changed")
        assert view is not None
        warehouse, dialect = node.builder.workspace.warehouse, node.builder.dialect
        since = first_known(node, dialect.quoted(known_column(view)))
        gone = f"SELECT * FROM {changed} WHERE {REMOVED}"
        now = node.builder.workspace.now()
        asked = withdrawn_sql(view, gone, after, now, dialect)
        return since, bool(warehouse.query(asked).to_pylist()[0]["n"])

    # --- in part

    def _part(self, node: Node, bound: Mapping[str, str], spans: Spans) -> Step:
        new, time_ = node.aside("new"), str(node.thing.event_time)
        warehouse, dialect = node.builder.workspace.warehouse, node.builder.dialect
        near = self._near(node, bound, spans)
        inside = within(time_, spans, dialect)
        if node.view is None:
            body = substitute(str(node.thing.sql), near, dialect.name)
            warehouse.build(new, f"SELECT * FROM ({body}) AS q WHERE {inside}")
        else:
            warehouse.build(new, rows_in(node.view, near, spans, dialect))
            node.builder.refuse_ties(node.view, new)
        held = _rows_of(node) or node.target
        found = difference(node, part_of(held, time_, spans, dialect), new)
        if not found.spans:
            return Step(found)
        part = Replacement(held, inside, f"SELECT {columns_in(node, held)} FROM {new}")
        if node.view is None:
            return Step(found, (part,))
        # Of what is there only the spans go; rows are told apart by them, not by their values.
        kept = f"SELECT {columns_in(node, new)} FROM {held} WHERE NOT {inside}"
        after = f"SELECT * FROM {new} UNION ALL {kept}"
        if held == node.target:
            since, withdrawn = self._heard(node, after)
            return Step(found, (part,), since, withdrawn)
        return self._timeline(node, node.view, found, part, after)

    def _near(self, node: Node, bound: Mapping[str, str], spans: Spans) -> dict[str, str]:
        """The inputs that the rows in `spans` can stand on, by the promise of `incremental`."""
        promise, tables = node.thing.incremental, node.builder.project.tables
        assert promise is not None
        asked = merged([span.widened(before=promise.lookback) for span in spans])
        # Put in the place of a table they are part of a definition, and written as those are.
        return {
            name: part_of(table, tables[name].event_time, asked, DUCKDB)
            for name, table in bound.items()
        }

    def _timeline(
        self, node: Node, view: FeatureView, found: Difference, part: Replacement, after: str
    ) -> Step:
        """Of the touched entities, what is known from the first change on."""
        warehouse, dialect = node.builder.workspace.warehouse, node.builder.dialect
        changed, due = node.aside("changed"), node.aside("due")
        since = first_known(node, known_sql(view, dialect))
        warehouse.build(due, timeline_from(view, after, changed, since, dialect))
        later = f"{dialect.quoted(known_column(view))} >= {dialect.instant(since)}"
        where = f"{later} AND {of_touched(view, changed, dialect)}"
        gone = f"SELECT * FROM {node.target} WHERE {where}"
        asked = withdrawn_sql(
            view, gone, f"SELECT * FROM {due}", node.builder.workspace.now(), dialect
        )
        withdrawn = bool(warehouse.query(asked).to_pylist()[0]["n"])
        built = f"SELECT {columns_in(node, node.target)} FROM {due}"
        return Step(found, (part, Replacement(node.target, where, built)), since, withdrawn)


def _rows_of(node: Node) -> str | None:
    """Where all rows of a view are kept whose built table is only some of them."""
    view = node.view
    if view is None or view.incremental is None or node.pushed or keeps_every_row(view):
        return None
    return node.aside("rows")


def difference(node: Node, old: str, new: str) -> Difference:
    """Rows that only one side has, kept beside as `changed`; in which event times they stand."""
    warehouse, dialect = node.builder.workspace.warehouse, node.builder.dialect
    changed, time_ = node.aside("changed"), node.thing.event_time
    columns = list(warehouse.columns(f"SELECT * FROM {new}"))
    warehouse.build(changed, changed_sql(old, new, columns, dialect))
    asked = days_sql(changed, time_, dialect) if time_ else f"SELECT {counts_sql()} FROM {changed}"
    days = warehouse.query(asked).to_pylist()
    added, removed = (sum(int(d[side] or 0) for d in days) for side in ("added", "removed"))
    if not added and not removed:
        return Difference()
    return Difference(spans_of(days) if time_ else EVERYTHING, added, removed)


def first_known(node: Node, known: str) -> datetime:
    """The earliest instant at which a changed row was known."""
    asked = f"SELECT min({known}) AS at FROM {node.aside('changed')}"
    found: datetime = node.builder.workspace.warehouse.query(asked).to_pylist()[0]["at"]
    return found.replace(tzinfo=UTC)


def columns_in(node: Node, table: str) -> str:
    """The columns of `table` in its order, for an insert."""
    columns = node.builder.workspace.warehouse.columns(f"SELECT * FROM {table}")
    return ", ".join(map(node.builder.dialect.quoted, columns))


def extent(node: Node) -> dict[str, object]:
    """How many rows there are now, and the last event time."""
    time_, warehouse = node.thing.event_time, node.builder.workspace.warehouse
    last = f"max({node.builder.dialect.quoted(time_)})" if time_ else "NULL"
    said = warehouse.query(f"SELECT count(*) AS n, {last} AS at FROM {node.target}").to_pylist()[0]
    return {"rows": int(said["n"]), "watermark": str(said["at"]) if said["at"] else None}


def sweep(node: Node) -> None:
    """What was computed beside is no longer needed."""
    for what in PASSING:
        node.builder.workspace.warehouse.drop(node.aside(what))
