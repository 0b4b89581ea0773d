"""New versions beside the old: tables and views built under their fingerprints.

A physical table is named by what it means, so building it again is never needed and
never harmful: after a kill, what is there is complete and what is missing is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cached_property
from typing import TYPE_CHECKING

from interlock.app.engines import fill
from interlock.app.ledger import moves
from interlock.app.masking import Masks, masks_of
from interlock.app.push import log_table
from interlock.app.stored import as_promised, stored
from interlock.app.workspace import Workspace
from interlock.define.definitions import FeatureView, Model, Table
from interlock.define.project import Project
from interlock.errors import Refused, about
from interlock.features.compile import (
    Built,
    build_view_sql,
    duplicates_sql,
    physical,
    point_in_time_sql,
    tie_objections,
    view_rows_sql,
)
from interlock.features.dialect import Dialect, dialect_of
from interlock.features.join import Join
from interlock.impact.sql import substitute, tables_read

if TYPE_CHECKING:
    from interlock.impact.facts import Facts

Say = Callable[[str], None]


def quiet(_: str) -> None:
    """Says nothing."""


@dataclass(frozen=True)
class Builder:
    """Builds one version of a project's tables and views."""

    workspace: Workspace
    project: Project
    facts: Facts
    say: Say = quiet

    @cached_property
    def masks(self) -> Masks:
        """What of this version nobody may see without clearance."""
        return masks_of(self.project, self.facts)

    def table(self, name: str) -> str:
        """The physical name of a table of this version, built with all it reads if need be."""
        table = self.project.tables[name]
        if table.push:
            return log_table(self, table)
        if table.stored_as:
            return stored(self.workspace.warehouse, table)
        target = physical(name, self.facts.fingerprint(table.ref))
        if not self.workspace.warehouse.has(target):
            with about(table.ref), self.masks.quiet():
                self.say(f"building table:{name}")
                if table.sql is None:
                    fill(self.workspace.warehouse, target, table, self.workspace.folder)
                else:
                    self._made(tables_read(table.sql), target, self.table_sql(table.sql))
        return target

    def table_sql(self, sql: str) -> str:
        """The rows of a table that `sql` makes, on the physical tables it reads."""
        return substitute(sql, self.bindings(tables_read(sql)), self.dialect.name)

    def _made(self, reads: Iterable[str], target: str, sql: str) -> None:
        """`target` as the rows of `sql`, once no table of others changed while they were read.

        Until that is known they stand beside: under its own name a table is complete and right.
        """
        warehouse, tables = self.workspace.warehouse, self.project.tables
        others = [tables[name] for name in sorted(reads) if tables[name].stored_as]
        if not others:
            warehouse.build(target, sql)
            return
        beside = f"{target}__beside"
        try:
            with as_promised(self.project, warehouse):
                warehouse.build(beside, sql)
            for table in others:
                stored(warehouse, table)
            warehouse.execute(f"ALTER TABLE {beside} RENAME TO {target.rpartition('.')[2]}")
        finally:
            warehouse.drop(beside)

    @property
    def dialect(self) -> Dialect:
        """The SQL that the warehouse speaks."""
        return dialect_of(self.workspace.warehouse)

    def join(self, spine: str) -> Join:
        """How the warehouse writes a point-in-time join with `spine`."""
        if self.dialect.asof:
            return Join(self.dialect)
        columns = self.workspace.warehouse.columns(f"SELECT * FROM {spine} AS s")
        return Join(self.dialect, tuple(columns))

    def bindings(self, names: Iterable[str]) -> dict[str, str]:
        """Logical name -> physical table, each built."""
        return {name: self.table(name) for name in sorted(names)}

    def view(self, view: FeatureView) -> Built:
        """The view and its physical table; refused when two rows claim one entity and time."""
        text = f"{view.view}@{view.version}"
        target = physical(text, self.facts.fingerprint(view.ref))
        warehouse = self.workspace.warehouse
        if not warehouse.has(target):
            with about(view.ref), self.masks.quiet():
                self.say(f"building view:{text}")
                bound = self.bindings(tables_read(view.sql))
                with as_promised(self.project, warehouse):
                    self.refuse_ties(view, f"({view_rows_sql(view, bound, self.dialect)})")
                sql = build_view_sql(view, bound, self.dialect)
                self._made(tables_read(view.sql), target, sql)
        return view, target

    def refuse_ties(self, view: FeatureView, rows: str) -> None:
        """`rows` (of `view_rows_sql`, before any timeline) may claim an entity and time once."""
        twice = duplicates_sql(view, rows, dialect=self.dialect)
        ties = self.workspace.warehouse.query(twice).to_pylist()
        if ties:
            raise Refused(
                f"{view.ref} has several rows for one entity and time",
                help="aggregate in its SQL until one is left, or declare a tie_break",
                objections=tie_objections(view, [self.masks.row(view.ref, tie) for tie in ties]),
            )

    def views(self, model: Model) -> list[Built]:
        """Every view that `model` reads, built."""
        return [self.view(self.project.views[f"{r.name}@{r.version}"]) for r in model.view_refs]

    def rows(self, model: Model, start: date, end: date) -> str:
        """The point-in-time rows of `model` with its time in [start, end), as a physical table.

        Named by what it is made of, refreshes too, so that asking again costs nothing.
        """
        from interlock.define.digest import digest

        spine = self.table(model.spine)
        built = self.views(model)
        made_of: list[object] = [
            spine,
            [t for _, t in built],
            list(model.features),
            str(start),
            str(end),
        ]
        where = self.project.environments[self.workspace.environment].warehouse
        moved = [moves(self.workspace.record, t, where) for t in (spine, *(t for _, t in built))]
        made_of += [moved] if any(moved) else []
        made_of += self.standing(self.project.tables[model.spine], model.time)
        name = physical(f"rows_{model.model}", digest(made_of))
        if not self.workspace.warehouse.has(name):
            self.workspace.warehouse.build(name, self.rows_sql(model, start, end))
        return name

    def rows_sql(self, model: Model, start: date, end: date) -> str:
        """The SELECT of the point-in-time rows of `model` with its time in [start, end)."""
        self.say(f"joining features of model:{model.model} point in time")
        stamp, instant = self.dialect.quoted(model.time), self.dialect.instant
        asked = (
            f"(SELECT * FROM {self.table(model.spine)} AS t "
            f"WHERE {stamp} >= {instant(midnight(start))} AND {stamp} < {instant(midnight(end))})"
        )
        how, wanted = self.join(asked), list(model.features)
        return point_in_time_sql(asked, model.key, model.time, self.views(model), wanted, how)

    def standing(self, table: Table, time: str) -> list[object]:
        """How far a table has come that others fill: of it no refresh says that it moved."""
        if not table.stored_as:
            return []
        last = self.dialect.cast(f"max({self.dialect.quoted(time)})", "string")
        asked = f"SELECT count(*) AS n, {last} AS last FROM {self.table(table.name)} AS t"
        return [self.workspace.warehouse.query(asked).to_pylist()[0]]

    def everything(self) -> dict[str, str]:
        """All tables and views of the project: logical name -> physical table.

        A table that others fill under its own name needs no other.
        """
        tables = self.bindings(self.project.tables)
        pointers = {name: table for name, table in tables.items() if name != table}
        for view in self.project.views.values():
            pointers[view_pointer(view)] = self.view(view)[1]
        return pointers


def midnight(day: date) -> datetime:
    """The first instant of a UTC day."""
    return datetime.combine(day, time(), UTC)


def view_pointer(view: FeatureView) -> str:
    """The name under which people query the live rows of a view: `features.origin_weather_v1`."""
    return f"features.{view.view}_v{view.version}"
