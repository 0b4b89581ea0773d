"""Take a version away for good: its physical table, its online rows, its name.

Never a part of a rollout. Refused while anything declares that it reads it, in what runs
or in what may still be gone back to, and while anybody was seen to ask for it within the
rollback window. What is done is idempotent and written down before and after, so that a
kill at any line is mended by asking again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from interlock.app.labels import SHORT, Label, labels
from interlock.app.recompute import PASSING, beside
from interlock.app.versions import stable
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.errors import NotFound, Refused
from interlock.features.dialect import dialect_of
from interlock.ports import Put

_LEAST = 4  # characters that name a label


@dataclass(frozen=True)
class Retired:
    """What is gone now. `labels` are the versions, `tables` those that stood until now."""

    ref: str
    labels: tuple[str, ...]
    tables: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"ref": self.ref, "labels": list(self.labels), "tables": list(self.tables)}


def retire(workspace: Workspace, text: str, *, by: str, label: str = "") -> Retired:
    """Remove every version of `text`, or only the one whose label starts with `label`.

    The warehouse is opened first: it lets one process in, so nothing is built or released
    while this one looks and removes.
    """
    workspace.warehouse.has("il.pointed")
    found = _wanted(labels(workspace, text), text, label)
    today = workspace.now().date()
    objections = tuple(dict.fromkeys(said for one in found for said in _objections(one, today)))
    if objections:
        raise Refused(
            f"{text} is still needed",
            help="move each reader to another version and release that; then wait for the "
            "rollback window",
            objections=objections,
        )
    for one in found:
        if one.rows is None and _state(workspace, one) == "done":
            continue  # and nobody has built it again
        _note(workspace, one, "begun", by)
        _remove(workspace, one)
        _note(workspace, one, "done", by)
    stood = tuple(one.table for one in found if one.rows is not None)
    return Retired(text, tuple(one.label for one in found), stood)


def _wanted(found: Sequence[Label], text: str, label: str) -> list[Label]:
    exact = [one for one in found if one.ref == text]
    if not exact:
        versions = ", ".join(dict.fromkeys(one.ref for one in found))
        raise NotFound(f"{text} names no single version", help=f"it has {versions}")
    if not label:
        return exact
    chosen = [one for one in exact if len(label) >= _LEAST and one.label.startswith(label)]
    if len(chosen) != 1:
        known = ", ".join(one.label[:SHORT] for one in exact)
        raise NotFound(f"{text} has no single version {label}", help=f"its labels: {known}")
    return chosen


def _objections(one: Label, today: date) -> Iterator[str]:
    """What was promised, then every reader by name: who declares it, then who was seen."""
    version = f"{one.ref} ({one.short})"
    if one.promised and today <= one.promised:
        yield f"{version} was promised until {one.promised:%d %b %Y}"
    if one.declared:
        yield f"{version} is declared in the files here: remove its file"
    for needed in one.needed:
        names = ", ".join(one.readers)
        reads = f"read by {names}" if names else "declared, and read by nothing"
        yield f"{version} is {reads} in release {needed.release[:SHORT]}: {needed.why}"
    for change in one.waiting:
        yield f"{version}: {change.sentence}"
    for asked in one.answers:
        yield f"{version}: {asked.sentence}, from release {asked.release[:SHORT]}"


def _note(workspace: Workspace, one: Label, state: str, by: str) -> None:
    """In the record: what is being taken away, by whom, and that it is gone."""
    ref = Ref("retirement", one.label)
    before = workspace.record.get(ref)
    if before and before.body["state"] == state:
        return
    body = {"ref": one.ref, "label": one.label, "state": state, "table": one.table}
    put = Put(ref, body, before.version if before else 0)
    workspace.record.write([put], by=by, at=workspace.now())


def _state(workspace: Workspace, one: Label) -> str:
    entry = workspace.record.get(Ref("retirement", one.label))
    return str(entry.body["state"]) if entry else ""


def _remove(workspace: Workspace, one: Label) -> None:
    """Rows that are served first, then the name people query, then the tables behind both."""
    ref, dialect = Ref.parse(one.ref), dialect_of(workspace.warehouse)
    if ref.kind == "view":
        workspace.online.drop(one.label)
    runs = stable(workspace)
    if runs is None or one.ref not in runs.facts.nodes:
        name = f"features.{ref.name}_v{ref.version}" if ref.kind == "view" else ref.name
        schema = name.partition(".")[0]
        workspace.warehouse.execute(f"CREATE SCHEMA IF NOT EXISTS {dialect.quoted(schema)}")
        workspace.warehouse.execute(f"DROP VIEW IF EXISTS {dialect.address(name)}")
    kept = [beside(ref, one.label, what) for what in ("rows", *PASSING)]
    for table in (*kept, one.table):
        workspace.warehouse.drop(table)
