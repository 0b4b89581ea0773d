"""The profile of one table or view: made in one pass, held against its contract, and kept.

The first profile of a version freezes the frame - edges and values - on which all later ones
are laid, so that pages can show how a column moved. What is kept stands in the record under
`note:profile-...`; it holds no value of a sensitive column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

from interlock.app.build import Builder, Say, quiet, view_pointer
from interlock.app.planning import wanted
from interlock.app.risk import arrivals, behind, missing_days
from interlock.app.versions import stable
from interlock.app.workspace import Workspace
from interlock.define.definitions import Check, Column, FeatureView, Table
from interlock.define.durations import parse_duration
from interlock.define.refs import Ref
from interlock.define.schema import did_you_mean
from interlock.errors import NotFound, Refused, Unusable
from interlock.features.contract import Finding, declared_type, judge_columns, judge_contract
from interlock.features.distance import psi, psi_of_values
from interlock.features.inject import stamp_of
from interlock.features.profile import (
    ColumnProfile,
    Frame,
    TableProfile,
    frame_sql,
    merged,
    profile_sql,
    read_frame,
    read_profile,
)
from interlock.features.text import quoted
from interlock.ports import Json, Put

SLICES = 50
"""More parts than this are no slices but rows."""


@dataclass(frozen=True)
class Profiled:
    """What was seen. `moved` is the PSI of each column against the profile that froze the frame."""

    ref: str
    at: datetime
    table: Table
    frame: Frame
    whole: TableProfile
    slices: Mapping[str, TableProfile] = field(default_factory=dict)
    by: str = ""
    findings: tuple[Finding, ...] = ()
    gaps: tuple[str, ...] = ()
    at_risk: tuple[str, ...] = ()
    moved: Mapping[str, float] = field(default_factory=dict)

    @property
    def broken(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.verdict != "pass")

    def to_json(self) -> Json:
        return {
            "ref": self.ref,
            "at": self.at.isoformat(),
            "frame": self.frame.to_json(),
            "profile": self.whole.to_json(),
            "by": self.by,
            "slices": {name: part.to_json() for name, part in self.slices.items()},
            "findings": [dict(vars(finding)) for finding in self.findings],
            "gaps": list(self.gaps),
            "at_risk": list(self.at_risk),
            "moved": dict(self.moved),
        }


def profile(
    workspace: Workspace, name: str, by: str = "", since: str = "", say: Say = quiet
) -> Profiled:
    """Profile what is called `name` as it runs, or as the files say before the first release.

    Rows that are not available yet do not count. With `by` (a column) or `since` (a day, or a
    duration back) nothing is kept: what is kept is always about the whole.
    """
    builder = (stable(workspace) or wanted(workspace)).builder(workspace, say)
    ref, table, built = _found(builder, name)
    now = workspace.now()
    rows = _rows(builder, table, built, since)
    missing = [f for f in judge_columns(table, _types(builder, built)) if f.verdict != "pass"]
    if missing:
        raise Refused(
            f"{ref} cannot be profiled: its columns are not those of its contract",
            help="mend the contract or the table",
            objections=tuple(finding.sentence for finding in missing),
        )
    if by and by not in table.columns:
        raise NotFound(f"{ref} has no column {by}", help=did_you_mean(by, set(table.columns)))
    if by and builder.masks.hides(ref, by):
        raise Refused(f"{by} of {ref} is masked", help="slice by a column that may be shown")
    note = Ref("note", f"profile-{str(ref).partition(':')[2].replace('@', '-v')}")
    before = workspace.record.get(note)
    kept = before.body if before and before.body["of"] == built else None
    say(f"profiling {ref}")
    frame = Frame.from_json(kept["frame"]) if kept else _freeze(builder, table, rows)
    parts = _parts(builder, table, rows, frame, by)
    whole = merged(list(parts.values()))
    first = kept["reference"] if kept else _counts(whole)
    found = Profiled(
        ref=str(ref),
        at=now,
        table=table,
        frame=frame,
        whole=whole,
        slices={name or "(none)": part for name, part in parts.items()} if by else {},
        by=by,
        findings=() if by else _judged(builder, table, whole, built),
        gaps=tuple(g.sentence for g in missing_days(workspace.warehouse, table, rows, now)),
        at_risk=behind(builder.facts, str(ref)),
        moved=_moved(first, whole),
    )
    if not by and not since:
        body = {**found.to_json(), "of": built, "reference": first}
        workspace.record.write([Put(note, body, before.version if before else 0)], by="profile",
                               at=now)  # fmt: skip
    return found


def _found(builder: Builder, name: str) -> tuple[Ref, Table, str]:
    """The address, the contract and the physical table of a table or view."""
    project = builder.project
    plain = name.removeprefix("table:").removeprefix("view:")
    if plain in project.tables:
        table = project.tables[plain]
        return table.ref, builder.masks.contract(table), builder.table(plain)
    if plain in project.views:
        view = project.views[plain]
        built = builder.view(view)[1]
        table = as_table(view, _types(builder, built))
        return view.ref, builder.masks.contract(table, view.ref), built
    known = {*project.tables, *project.views}
    raise NotFound(f"no table or view is called {plain}", help=did_you_mean(plain, known))


def as_table(view: FeatureView, types: Mapping[str, str]) -> Table:
    """The contract that a view's header states, as one of a table; `types` are the engine's."""
    columns = {n: Column(type=declared_type(types[n])) for n in (*view.entity, view.event_time)}
    columns |= {n: Column(type=f.type, unit=f.unit) for n, f in view.features.items()}
    ranges = {name: f.range for name, f in view.features.items() if f.range}
    return Table(
        name=view_pointer(view),
        owner=view.owner,
        columns=columns,
        event_time=view.event_time,
        available_at=view.available_at if view.available_at in types else None,
        checks=tuple(
            Check(name=f"{name}_in_range", sql=f"{quoted(name)} BETWEEN {low!r} AND {high!r}")
            for name, (low, high) in ranges.items()
        ),
    )


def _judged(builder: Builder, table: Table, whole: TableProfile, built: str) -> tuple[Finding, ...]:
    """Every promise of the contract, and of when rows come."""
    warehouse, now = builder.workspace.warehouse, builder.workspace.now()
    found = judge_contract(table, whole, _types(builder, built))
    return (*found, *arrivals(warehouse, table, built, now))


def _types(builder: Builder, built: str) -> dict[str, str]:
    return builder.workspace.warehouse.columns(f"SELECT * FROM {built}")


def _rows(builder: Builder, table: Table, built: str, since: str) -> str:
    stamp, now = stamp_of(table), builder.workspace.now()
    quoted, instant = builder.dialect.quoted, builder.dialect.instant
    if since and stamp is None:
        raise Unusable(f"{table.name} has no time", help="profile it without --since")
    parts = [f"{quoted(table.available_at)} <= {instant(now)}"] if table.available_at else []
    parts += [f"{quoted(stamp)} >= {instant(_instant(since, now))}"] if since and stamp else []
    return f"(SELECT * FROM {built} AS b WHERE {' AND '.join(parts)})" if parts else built


def _instant(since: str, now: datetime) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(since), time(), UTC)
    except ValueError:
        pass
    try:
        return now - parse_duration(since)
    except ValueError as error:
        message = f"{since!r} is neither a day nor a duration"
        raise Unusable(message, help="write 2013-06-01, or 7d for the last week") from error


def _freeze(builder: Builder, table: Table, rows: str) -> Frame:
    sql = frame_sql(table, rows, dialect=builder.dialect)
    if sql is None:
        return Frame()
    return read_frame(table, builder.workspace.warehouse.query(sql).to_pylist()[0])


def _parts(
    builder: Builder, table: Table, rows: str, frame: Frame, by: str
) -> dict[str | None, TableProfile]:
    """By value of `by`, most rows first; the whole under None."""
    asked = profile_sql(table, rows, frame, by or None, builder.dialect)
    found = builder.workspace.warehouse.query(asked)
    if found.num_rows > SLICES:
        raise Unusable(
            f"{table.name}.{by} has {found.num_rows} values, which are no slices",
            help=f"name a column with at most {SLICES}",
        )
    ordered = sorted(found.to_pylist(), key=lambda row: -row["__rows"])
    return {row.get("__slice"): read_profile(table, row, frame) for row in ordered}


# --- against the profile that froze the frame ---------------------------------------


def _counts(seen: TableProfile) -> dict[str, Any]:
    return {name: _places(column) for name, column in seen.columns.items() if _places(column)}


def _places(column: ColumnProfile) -> Any:
    """Rows by place of the frame, the NULLs among them."""
    if column.bins is not None:
        return list(column.bins)
    if column.values is not None:
        return {**column.values, "NULL": column.nulls}
    return None


def _moved(first: Mapping[str, Any], seen: TableProfile) -> dict[str, float]:
    found = {}
    for name, before in first.items():
        after = _places(seen.columns[name]) if name in seen.columns else None
        if isinstance(before, list) and isinstance(after, list):
            found[name] = psi(before, after)
        elif isinstance(before, dict) and isinstance(after, dict):
            found[name] = psi_of_values(before, after)
    return found
