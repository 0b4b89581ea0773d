"""`interlock sample`: rows as the person who asks may see them.

Who is shown a clear value of a masked column is cleared for it, and the look is on record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.app.build import Builder, view_pointer
from interlock.app.engines import embedded_only
from interlock.app.masking import key_of
from interlock.app.versions import Version, stable
from interlock.app.workspace import Workspace
from interlock.define.definitions import FeatureView, Table
from interlock.define.digest import digest
from interlock.define.privacy import LEVELS, Classification
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.errors import NotFound, Refused, Stale, Unusable
from interlock.features.covers import Cover, Covers, covers
from interlock.features.dialect import POSTGRES
from interlock.features.masking import Relation, masked_sql
from interlock.features.text import address, quoted
from interlock.impact.graph import column_ref
from interlock.impact.sql import tables_named
from interlock.ports import Put

MOST_ROWS = 1000


@dataclass(frozen=True)
class Asked:
    """Rows of one table, view or feature, or of a query over them."""

    by: str
    ref: str = ""
    sql: str = ""
    rows: int = 10


@dataclass(frozen=True)
class Sample:
    """What a person saw. `masked` says per column how and because of what.

    `clear` are the columns that were shown clear although they are classified.
    """

    of: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    masked: Mapping[str, str] = field(default_factory=dict)
    clear: tuple[str, ...] = ()


def sample(workspace: Workspace, asked: Asked) -> Sample:
    """Rows as `asked.by` may see them; a look at clear values becomes a leaf of the audit."""
    if bool(asked.ref) == bool(asked.sql):
        raise Unusable("nothing or two things to look at", help="give an address or --sql")
    version = stable(workspace) or Version(workspace.project, workspace.facts, {})
    every = _covers_now(workspace, version)
    level = _level(workspace, version, asked.by)
    embedded_only(workspace.warehouse, "a sample", POSTGRES)
    hidden = {n: c for n, c in every.items() if LEVELS.index(c.level) > LEVELS.index(level)}
    key = key_of(version.project)
    builder = version.builder(workspace)
    sql = asked.sql or _select(version.project, asked.ref)
    names = [name for name, _ in _tables(sql)]
    found = {n: _relation(builder, n, hidden) for n in names if n in _known(version.project)}
    known = {**dict.fromkeys(_known(version.project), Relation("", ())), **found}
    shown = masked_sql(sql, known, key, builder.dialect)
    written = f"SELECT * FROM ({shown}) AS q LIMIT {_count(asked.rows)}"
    read = {f"{name}.{c}": column_ref(_thing(version.project, name).ref, c)
            for name, relation in found.items() for c in relation.columns}  # fmt: skip
    clear = sorted(c for c, n in read.items() if n in every and n not in hidden)
    if clear:
        _write_down(workspace, asked, clear, sql)
    table = workspace.warehouse.query(written)
    rows = tuple(tuple(row.values()) for row in table.to_pylist())
    said = {c: _because(hidden[n], key) for c, n in sorted(read.items()) if n in hidden}
    return Sample(asked.ref or "query", tuple(table.column_names), rows, said, tuple(clear))


def clear_or_refuse(workspace: Workspace, asked: Asked, addresses: Iterable[str]) -> None:
    """For values that cannot be masked and keep their use: only for who is cleared, on record."""
    version = stable(workspace) or Version(workspace.project, workspace.facts, {})
    every = _covers_now(workspace, version)
    needed = sorted({name for name in addresses if name in every})
    level = LEVELS.index(_level(workspace, version, asked.by))
    lacking = [name for name in needed if LEVELS.index(every[name].level) > level]
    if lacking:
        raise Refused(
            f"{asked.by or 'who asks'} is not cleared for {', '.join(lacking)}",
            help="ask somebody whom privacy.clearance names, who says --by",
        )
    if needed:
        _write_down(workspace, asked, needed, asked.sql)


def _count(rows: int) -> int:
    if not 1 <= rows <= MOST_ROWS:
        raise Unusable(f"{rows} rows", help=f"ask for 1 to {MOST_ROWS}")
    return rows


def _covers_now(workspace: Workspace, version: Version) -> dict[str, Cover]:
    """Masks of what runs, and of the files: a new mask need not wait for a release."""
    wanted = covers(workspace.project, workspace.facts)
    return {**wanted, **covers(version.project, version.facts)}


def _level(workspace: Workspace, version: Version, person: str) -> Classification:
    """What a person may see clear: only what the files and the release that runs both say."""
    found = []
    for project in (version.project, workspace.project):
        roles = frozenset(role for o in project.owners for role in o.people.get(person, ()))
        found.append(project.privacy.cleared(person, roles))
    return min(found, key=LEVELS.index)


def _tables(sql: str) -> Iterable[tuple[str, int]]:
    named = tables_named(sql)
    return named if isinstance(named, tuple) else ()


def _known(project: Project) -> list[str]:
    return [*project.tables, *(view_pointer(view) for view in project.views.values())]


def _thing(project: Project, name: str) -> Table | FeatureView:
    if name in project.tables:
        return project.tables[name]
    return next(view for view in project.views.values() if view_pointer(view) == name)


def _columns(thing: Table | FeatureView) -> tuple[str, ...]:
    if isinstance(thing, Table):
        return tuple(thing.columns)
    times = (n for n in (thing.event_time, thing.available_at, thing.tie_break) if n)
    return tuple(dict.fromkeys([*thing.entity, *times, *thing.features]))


def _relation(builder: Builder, name: str, hidden: Covers) -> Relation:
    thing = _thing(builder.project, name)
    stored = builder.table(name) if isinstance(thing, Table) else builder.view(thing)[1]
    there = builder.workspace.warehouse.columns(f"SELECT * FROM {stored}")
    columns = tuple(column for column in _columns(thing) if column in there)
    refs = {column: column_ref(thing.ref, column) for column in columns}
    return Relation(stored, columns, {c: hidden[n] for c, n in refs.items() if n in hidden})


def _select(project: Project, text: str) -> str:
    """The query that shows a table, a view, or one feature with its entity and time."""
    ref = Ref.parse(text)
    if ref.kind == "table" and ref.name in project.tables:
        return f"SELECT * FROM {address(ref.name)}"
    view = project.views.get(f"{ref.name}@{ref.version}")
    if ref.kind == "view" and view is not None:
        return f"SELECT * FROM {view_pointer(view)}"
    if ref.kind == "feature" and view is not None and (part := ref.part or "") in view.features:
        names = dict.fromkeys([*view.entity, view.event_time, part])
        return f"SELECT {', '.join(map(quoted, names))} FROM {view_pointer(view)}"
    things = [t.ref for t in project.tables.values()] + [v.ref for v in project.views.values()]
    known = ", ".join(map(str, sorted(things)))
    raise NotFound(f"{text} has no rows to show", help=f"a table, view or feature: {known}")


def _because(cover: Cover, key: bytes | None) -> str:
    lost = cover.mask.mask == "hash" and key is None
    how = "redact, as hash has no key" if lost else cover.mask.mask
    return f"{how}: {cover.level}, from {', '.join(cover.of)}"


def _write_down(workspace: Workspace, asked: Asked, clear: Iterable[str], sql: str) -> None:
    """Before anything is shown; the query by its digest, as it may hold values itself."""
    ref = Ref("look", re.sub(r"[^\w.-]", "-", asked.by) or "nobody")
    body = {"by": asked.by, "of": asked.ref or "query", "columns": list(clear),
            "rows": asked.rows, "query": digest([sql])}  # fmt: skip
    while True:
        entry = workspace.record.get(ref)
        put = Put(ref, body, entry.version if entry else 0)
        try:
            workspace.record.write([put], by=asked.by, at=workspace.now())
        except Stale:
            continue  # the same person looked at the same time elsewhere
        return
