"""What rows evidence stands on.

Everything that is computed follows from the files at the bottom. So a check notes how often
each of them had moved, and the event time it looked up to: a row that came later, or moved
behind that, is nothing to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

from interlock.app.build import Builder
from interlock.app.ledger import moves
from interlock.change.evidence import Evidence
from interlock.define.definitions import Model
from interlock.define.project import Project
from interlock.features.compile import physical
from interlock.impact.sql import tables_read
from interlock.ports import Json

LABELS_COME = timedelta(days=1)
"""How long after the time that was asked for a label may arrive."""


def on_rows(
    builders: Sequence[Builder],
    queries: Iterable[str],
    until: datetime,
    make: Callable[[], Evidence],
) -> Evidence:
    """The evidence that `make` gives, with the rows under `queries` (SQL over logical names).

    How far the files had come is read before: what moves meanwhile must not pass unseen.
    """
    rows = footing(builders, queries, until)
    return replace(make(), rows=rows)


def footing(
    builders: Sequence[Builder], queries: Iterable[str], until: datetime
) -> dict[str, Json]:
    """By physical table of each file below `queries`: its moves so far, and `until`."""
    asked, found = list(queries), {}
    for builder in builders:
        project, workspace = builder.project, builder.workspace
        address = project.environments[workspace.environment].warehouse
        for name in files_below(project, asked):
            ref = project.tables[name].ref
            target = physical(name, builder.facts.fingerprint(ref))
            found[target] = {
                "of": str(ref), "moves": moves(workspace.record, target, address),
                "until": until.isoformat(),
            }  # fmt: skip
    return found


def files_below(project: Project, queries: Iterable[str]) -> tuple[str, ...]:
    """Every table that is read from a file under `queries`, through tables made by SQL."""
    seen: set[str] = set()
    waiting = [name for sql in queries for name in tables_read(sql)]
    while waiting:
        table = project.tables.get(waiting.pop())
        if table is not None and table.name not in seen:
            seen.add(table.name)
            waiting += tables_read(table.sql) if table.sql else ()
    return tuple(sorted(name for name in seen if project.tables[name].source))


def queries_of(project: Project, model: Model) -> tuple[str, ...]:
    """All that decides about a model's rows: its spine, its views, its label."""
    views = (project.views[f"{ref.name}@{ref.version}"].sql for ref in model.view_refs)
    return (spine_sql(model), *views, model.label.sql)


def spine_sql(model: Model) -> str:
    return f"SELECT * FROM {model.spine}"


def labelled_until(end: date) -> datetime:
    """The event time up to which rows asked for before `end` can have their label."""
    return datetime.combine(end, time(), UTC) + LABELS_COME
