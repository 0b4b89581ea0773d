"""New data: files that grew or were corrected, and all that stands on them, brought up to date.

A file is loaded beside what was read before and compared with it, so that late rows,
corrections and deletions are one case: the range of event time in which something differs.
From there every table and view is computed again where that reaches, and the online stores
are told. The lease is taken before any work; a kill at any moment repeats an interval.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from interlock.app.arrived import wrong_with
from interlock.app.build import Say, quiet
from interlock.app.changes import may_go_back_to
from interlock.app.engines import fill
from interlock.app.feed import Feeder, keep_online, live_lookups
from interlock.app.leases import LEASE_S, Lease, holder, leased
from interlock.app.ledger import Ledgers, pending
from interlock.app.recompute import (
    Difference,
    Node,
    Recomputer,
    columns_in,
    difference,
    extent,
    sweep,
)
from interlock.app.runs import journal, keep, said_of
from interlock.app.versions import Version, stored
from interlock.app.workspace import CONTROLLER, Workspace
from interlock.define.definitions import Table
from interlock.define.refs import Ref
from interlock.define.schema import did_you_mean
from interlock.errors import InterlockError, NotFound, Refused, Unavailable, about
from interlock.features.compile import physical
from interlock.features.ranges import EVERYTHING, Spans, spans_json, within
from interlock.impact.sql import tables_read
from interlock.ports import Json, Replacement


@dataclass(frozen=True)
class Part:
    """What a refresh did to one physical table; `intervals` are those computed again."""

    ref: Ref
    table: str
    difference: Difference
    intervals: Spans = ()
    rows: int | None = None
    watermark: str | None = None

    @property
    def told(self) -> Json:
        """What the journal keeps of it."""
        said = {name: getattr(self, name) for name in ("rows", "watermark")}
        found = {"added": self.difference.added, "removed": self.difference.removed}
        return {"ref": str(self.ref), **found, **said}

    def to_json(self) -> Json:
        return {
            "ref": str(self.ref), "table": self.table, "added": self.difference.added,
            "removed": self.difference.removed, "changed": spans_json(self.difference.spans),
            "intervals": spans_json(self.intervals),
        }  # fmt: skip


@dataclass(frozen=True)
class Report:
    """Every table and view of the live releases, sources first; rows sent online again.

    `unfit` says which release, that may be gone back to, could not be brought along, and why.
    """

    parts: tuple[Part, ...]
    online: int = 0
    unfit: tuple[str, ...] = ()

    def to_json(self) -> Json:
        tables = [part.to_json() for part in self.parts]
        return {"tables": tables, "online": self.online, "unfit": list(self.unfit)}


def refresh(
    workspace: Workspace, tables: Sequence[str] = (), say: Say = quiet, whole: bool = False
) -> Report:
    """Bring what the live releases read up to their sources; `tables` limits which are asked.

    `whole` takes no promise of `incremental` on trust: all is computed again and compared.

    Raises `Conflict` when another refresh runs, `Refused` with every objection to new data
    before anything is moved.
    """
    what, name = f"is refreshing {workspace.environment}", f"refresh:{workspace.environment}"
    with leased(workspace.record, name, LEASE_S, what) as lease:
        report = recorded(workspace, lease, tables, say, whole)
    _keep_online(workspace)
    return report


def follow(workspace: Workspace, version: Version, say: Say = quiet) -> None:
    """Bring the tables of a version that does not run yet up to what was refreshed below them."""
    what, name = f"is refreshing {workspace.environment}", f"refresh:{workspace.environment}"
    with leased(workspace.record, name, LEASE_S, what) as lease:
        _refreshed(workspace, lease, [version], frozenset(), (say, False))


def recorded(
    workspace: Workspace,
    lease: Lease,
    tables: Sequence[str],
    say: Say = quiet,
    whole: bool = False,
    scheduled: bool = False,
) -> Report:
    """A refresh under `lease`, written down as it begins and as it ends, whichever way."""
    versions = live_versions(workspace)
    asked = _asked(versions, tables)
    begun = journal(workspace.record, workspace.environment).begun(
        asked, workspace.now(), scheduled
    )
    keep(workspace, begun)
    try:
        report = _refreshed(workspace, lease, versions, asked, (say, whole))
    except InterlockError as error:
        keep(workspace, begun.failed(workspace.now(), said_of(error)))
        raise
    report = _brought_along(workspace, lease, report, say)
    moved = [part.told for part in report.parts if part.difference.spans]
    keep(workspace, begun.done(workspace.now(), moved, report.online))
    return report


def _brought_along(workspace: Workspace, lease: Lease, report: Report, say: Say) -> Report:
    """What a rollback would lead to stands on the new rows too; that it cannot stops nothing."""
    for release in may_go_back_to(workspace):
        try:
            version = stored(workspace, release)
            more = _refreshed(workspace, lease, [version], frozenset(), (say, False))
        except InterlockError as error:
            said = f"release {release[:12]} would answer from older rows: {said_of(error)}"
            report = replace(report, unfit=(*report.unfit, said))
            continue
        known = {part.table for part in report.parts}
        parts = (*report.parts, *(part for part in more.parts if part.table not in known))
        report = replace(report, parts=parts, online=report.online + more.online)
    return report


def _refreshed(
    workspace: Workspace,
    lease: Lease,
    versions: Sequence[Version],
    asked: frozenset[str],
    how: tuple[Say, bool],
) -> Report:
    say, whole = how
    address = versions[0].project.environments[workspace.environment].warehouse
    job = _Job(workspace, Recomputer(Ledgers(workspace, lease, address), say, whole))
    return job.run(list(_nodes(workspace, versions, say)), asked)


def live_versions(workspace: Workspace) -> list[Version]:
    """What the Route names, understood; raises `NotFound` before the first release."""
    found = [stored(workspace, digest) for digest in workspace.route().releases]
    if not found:
        raise NotFound(
            f"nothing runs in {workspace.environment} yet, so there is nothing to refresh",
            help="release something first: interlock propose, sign, apply",
        )
    return found


def _asked(versions: Sequence[Version], tables: Sequence[str]) -> frozenset[str]:
    """Names of the tables whose files are looked at."""
    known = {t.name for v in versions for t in v.project.tables.values() if t.source}
    asked = [name.removeprefix("table:") for name in tables]
    strange = [name for name in asked if name not in known]
    if strange:
        raise NotFound(
            f"no live release reads a file as {', '.join(strange)}",
            help=did_you_mean(strange[0], known),
        )
    return frozenset(asked) or frozenset(known)


def _nodes(workspace: Workspace, versions: Sequence[Version], say: Say) -> Iterator[Node]:
    """Every physical table once, each after all that it reads."""
    seen: set[str] = set()
    for version in versions:
        builder = version.builder(workspace, say)
        pushed = {table.name for table in builder.project.tables.values() if table.push}
        others = {table.name for table in builder.project.tables.values() if table.stored_as}
        for table in _in_order(builder.project.tables):
            if pushed & _read_by(table):
                pushed.add(table.name)
            target = physical(table.name, builder.facts.fingerprint(table.ref))
            if not table.push and not table.stored_as and target not in seen:
                seen.add(target)
                unseen = bool(others & _read_by(table))
                yield Node(builder, table, target, table.name in pushed, unseen)
        for view in builder.project.views.values():
            text = f"{view.view}@{view.version}"
            target = physical(text, builder.facts.fingerprint(view.ref))
            if target not in seen:
                seen.add(target)
                reads = tables_read(view.sql)
                yield Node(builder, view, target, bool(pushed & reads), bool(others & reads))


def _read_by(table: Table) -> frozenset[str]:
    return frozenset(tables_read(table.sql)) if table.sql else frozenset()


def _in_order(tables: Mapping[str, Table]) -> Iterator[Table]:
    done: set[str] = set()

    def walk(names: Iterable[str]) -> Iterator[Table]:
        for name in sorted(set(names) & set(tables) - done):
            done.add(name)
            yield from walk(_read_by(tables[name]))
            yield tables[name]

    return walk(tables)


@dataclass(frozen=True)
class _Job:
    workspace: Workspace
    recomputer: Recomputer

    @property
    def ledgers(self) -> Ledgers:
        return self.recomputer.ledgers

    def run(self, nodes: Sequence[Node], asked: frozenset[str]) -> Report:
        for node in nodes:
            self._built(node)
        sources = [n for n in nodes if isinstance(n.thing, Table) and n.thing.source]
        found = self._staged([node for node in sources if node.ref.name in asked])
        parts = []
        for node in nodes:
            if node in sources:
                changed = self._load(node, found[node.target]) if node.target in found else None
                parts.append(self._part(node, changed or Difference()))
            else:
                parts.append(self._part(node, *self.recomputer.node(node)))
        return Report(tuple(parts), self._online())

    def _part(self, node: Node, found: Difference, intervals: Spans = ()) -> Part:
        ledger = self.ledgers.of(node.target, node.ref)
        return Part(node.ref, node.target, found, intervals, ledger.rows, ledger.watermark)

    def _built(self, node: Node) -> None:
        """What is not there is built whole; whoever stands on it hears that all may differ."""
        if self.workspace.warehouse.has(node.target):
            return
        ledger = self.ledgers.of(node.target, node.ref)
        self.ledgers.keep(node.target, replace(ledger.about_to(EVERYTHING), read=None, source=None))
        if node.view is None:
            node.builder.table(node.ref.name)
        else:
            node.builder.view(node.view)

    # --- files

    def _staged(self, sources: Sequence[Node]) -> dict[str, Json]:
        """Changed files, loaded beside and checked; every objection to any of them at once."""
        found, objections = {}, []
        for node in sources:
            ledger = self.ledgers.of(node.target, node.ref)
            try:
                with about(node.ref), node.builder.masks.quiet():
                    # Of a load that was cut off nobody knows which file's rows are there.
                    signature = self._loaded(node, None if ledger.doing else ledger.source)
                    fresh = signature and "same" not in signature
                    said = wrong_with(node, node.aside("new")) if fresh else []
            except Unavailable as error:
                self.recomputer.failed(node, error)
                raise
            except InterlockError as error:
                said, signature = [f"{node.ref}: {error}"], None
            if said:
                self.recomputer.failed(node, Refused("; ".join(said)))
            objections += said
            if signature:
                found[node.target] = signature
        if objections:
            for node in sources:
                sweep(node)
            raise Refused(
                "the new data cannot be taken; nothing was moved",
                help="mend the files, then run this again",
                objections=objections,
            )
        return found

    def _loaded(self, node: Node, before: Json | None) -> Json | None:
        """The file's rows beside the table, and its signature; None when it has not changed."""
        assert isinstance(node.thing, Table)
        assert node.thing.source is not None
        path = self.workspace.folder / node.thing.source.csv
        size = _size(path)
        if before and size and all(before[name] == value for name, value in size.items()):
            return None
        sha256 = _sha256(path) if size else ""
        if before and before["sha256"] == sha256:
            return {**size, "sha256": sha256, "same": True}
        self.recomputer.say(f"reading {node.thing.source.csv} for {node.ref}")
        fill(self.workspace.warehouse, node.aside("new"), node.thing, self.workspace.folder)
        if _size(path) != size:
            raise Unavailable(
                f"{node.thing.source.csv} was written to while it was read",
                help="put a finished file in its place with one rename, then run this again",
            )
        return {**size, "sha256": sha256}

    def _load(self, node: Node, signature: Json) -> Difference:
        """Put the staged rows where they differ, all in one transaction."""
        warehouse, new, keep = self.workspace.warehouse, node.aside("new"), self.ledgers.keep
        if signature.pop("same", False):
            before = self.ledgers.of(node.target)
            keep(node.target, before.finished(source=signature))
            return Difference()
        ledger = keep(node.target, self.ledgers.of(node.target, node.ref).begun({}, EVERYTHING))
        with about(node.ref), node.builder.masks.quiet():
            try:
                found = difference(node, node.target, new)
                if found.spans:
                    ledger = keep(node.target, ledger.about_to(found.spans))
                    warehouse.replace([_moved(node, found.spans)])
                keep(node.target, ledger.finished(source=signature, **extent(node)))
            except InterlockError as error:
                self.recomputer.failed(node, error)
                raise
        sweep(node)
        return found

    # --- online

    def _online(self) -> int:
        """Tell the stores what moved behind them."""
        feeder, sent = Feeder(self.workspace.warehouse, self.workspace.online), 0
        for lookup in live_lookups(self.workspace):
            name = physical(lookup.view, lookup.fingerprint)
            ledger = self.ledgers.of(name)
            if missed := pending(ledger):
                known = [datetime.fromisoformat(m.since) if m.since else None for m in missed]
                since = None if None in known else min(k for k in known if k)
                sent += feeder.again(lookup, since, any(m.withdrawn for m in missed))
                self.ledgers.keep(name, replace(ledger, online=ledger.number))
        return sent


def _keep_online(workspace: Workspace) -> None:
    """Everything that became known since, unless a controller is at work: its next look does it."""
    lease = f"{CONTROLLER}:{workspace.environment}"
    if workspace.record.claim(lease, holder(), LEASE_S) is not None:
        try:
            keep_online(workspace)
        finally:
            workspace.record.release(lease, holder())


def _moved(node: Node, spans: Spans) -> Replacement:
    time_, dialect = node.thing.event_time, node.builder.dialect
    where = within(time_, spans, dialect) if time_ else "TRUE"
    columns = columns_in(node, node.target)
    return Replacement(
        node.target, where, f"SELECT {columns} FROM {node.aside('new')} WHERE {where}"
    )


def _size(path: Path) -> dict[str, Any]:
    """What tells that a file was touched; empty when there is none."""
    try:
        said = path.stat()
    except OSError:
        return {}
    return {"size": said.st_size, "mtime_ns": said.st_mtime_ns}


def _sha256(path: Path) -> str:
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
