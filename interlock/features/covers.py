"""Which columns carry what is to be hidden: masks follow a column wherever its values go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from interlock.define.definitions import ColumnType, FeatureView, Table
from interlock.define.digest import digest
from interlock.define.privacy import LEVELS, REDACT, Classification, Mask
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.features.text import SQL_TYPES
from interlock.impact.carried import carried
from interlock.impact.facts import Facts
from interlock.impact.graph import column_ref
from interlock.impact.query import OutputColumn, QueryFacts, Source

_STRICT = ("bucket", "hash", "redact", "null")


@dataclass(frozen=True)
class Cover:
    """How a column is masked, of what type it is, and the declared columns it carries."""

    mask: Mask
    level: Classification
    type: ColumnType
    of: tuple[str, ...]


Covers = Mapping[str, Cover]
"""By the address of a column or a feature; what is not in it, anybody may see."""


def covers(project: Project, facts: Facts) -> dict[str, Cover]:
    """Every column and feature that must be masked, by lineage from what is declared.

    What is not understood carries everything that it may read.
    """
    follower = _Follower(project, facts)
    if not any(follower.declared(t) for t in project.tables.values()):
        return {}
    for name in project.tables:
        follower.table(name)
    for view in project.views.values():
        follower.view(view)
    return follower.found


@dataclass
class _Follower:
    project: Project
    facts: Facts
    found: dict[str, Cover] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)

    @cached_property
    def opened(self) -> bool:
        """Does any mask let aggregates through?"""
        said = self.project.privacy
        masks = (*said.masks.values(), *said.columns.values())
        return any(mask.aggregates == "clear" for mask in masks)

    def declared(self, table: Table) -> dict[str, Cover]:
        """The masks that are declared on `table` itself."""
        made = {}
        for name, column in table.columns.items():
            address = f"{table.name}.{name}"
            mask = self.project.privacy.mask_of(address, column.classification)
            if mask is not None:
                ref = column_ref(table.ref, name)
                made[name] = Cover(mask, column.classification, column.type, (ref,))
        return made

    def table(self, name: str) -> None:
        table = self.project.tables.get(name)
        if table is None or name in self.done:
            return
        self.done.add(name)
        types = {column: held.type for column, held in table.columns.items()}
        inherited = self.inherited(table.ref, table.sql, types)
        for column, cover in self.declared(table).items():
            inherited[column] = _joined([cover, *filter(None, [inherited.get(column)])])
        self.found |= {column_ref(table.ref, column): c for column, c in inherited.items()}

    def view(self, view: FeatureView) -> None:
        types: dict[str, ColumnType] = {n: f.type for n, f in view.features.items()}
        times = filter(None, (view.event_time, view.available_at))
        types |= dict.fromkeys(times, "timestamp")
        keys = filter(None, (*view.entity, view.tie_break))
        types |= {name: self.key_type(view, name) for name in keys}
        inherited = self.inherited(view.ref, view.sql, types)
        self.found |= {column_ref(view.ref, name): c for name, c in inherited.items()}

    def key_type(self, view: FeatureView, name: str) -> ColumnType:
        output = self._query(view.ref).by_name.get(name)
        known = output.type if output else None
        return known if known in SQL_TYPES else "other"  # type: ignore[return-value]  # looked up

    def inherited(
        self, ref: Ref, sql: str | None, types: Mapping[str, ColumnType]
    ) -> dict[str, Cover]:
        """What the columns of `ref` carry from the tables that its SQL reads."""
        query = self._query(ref)
        for name in self._below(ref, query):
            self.table(name)
        if self._unread(ref, query):
            every = [c for name in self._below(ref, query) for c in self._of_table(name)]
            # Of something unknown nothing is a copy, so no bucket is kept.
            hidden = [_derived(c) for c in every]
            return {n: replace(_joined(hidden), type=t) for n, t in types.items()} if hidden else {}
        spared = self._spared(query, sql)
        made = {}
        for name, type in types.items():
            carries = self._carries(query.by_name.get(name), spared)
            if carries:
                made[name] = replace(_joined(carries), type=type)
        return made

    def _query(self, ref: Ref) -> QueryFacts:
        found = self.facts.nodes[str(ref)].query
        return found or QueryFacts((), "", frozenset(), frozenset())

    def _below(self, ref: Ref, query: QueryFacts) -> frozenset[str]:
        table = self.project.tables.get(ref.name) if ref.kind == "table" else None
        outside = frozenset(table.outside.reads if table and table.outside else ())
        below = query.tables | outside
        return below or (frozenset(self.project.tables) if query.unknown else below)

    def _unread(self, ref: Ref, query: QueryFacts) -> bool:
        table = self.project.tables.get(ref.name) if ref.kind == "table" else None
        return bool(query.unknown or (table and table.outside and table.outside.unread))

    def _of_table(self, name: str) -> list[Cover]:
        table = self.project.tables.get(name)
        names = [column_ref(table.ref, column) for column in table.columns] if table else []
        return [self.found[n] for n in names if n in self.found]

    def _cover(self, read: Source) -> Cover | None:
        return self.found.get(f"column:{read.table}.{read.column}")

    def _spared(self, query: QueryFacts, sql: str | None) -> Mapping[str, frozenset[Source]] | None:
        """Reads without aggregates, where groups are not single people by what they group by."""
        if sql is None or not self.opened or any(self._single(query, n) for n in query.tables):
            return None
        groups = [read for read in query.row_reads if read.kind == "group"]
        if any(self._cover(read) for read in groups):
            return None
        schema = {
            name: {c: held.type for c, held in self.project.tables[name].columns.items()}
            for name in query.tables
            if name in self.project.tables
        }
        return carried(sql, schema)

    def _single(self, query: QueryFacts, name: str) -> bool:
        """Does it group by what tells every row of a table apart?"""
        table = self.project.tables.get(name)
        if table is None:
            return True
        by = {r.column for r in query.row_reads if r.kind == "group" and r.table == name}
        unique = [{n} for n, column in table.columns.items() if column.unique]
        keys = [set(table.key)] if table.key else []
        return any(key <= by for key in (*keys, *unique))

    def _carries(
        self, output: OutputColumn | None, spared: Mapping[str, frozenset[Source]] | None
    ) -> list[Cover]:
        made = []
        for read in output.reads if output else ():
            cover = self._cover(read)
            if cover is None:
                continue
            kept = spared is None or (read.table, read.column) in {
                (r.table, r.column) for r in spared.get(output.name if output else "", ())
            }
            if kept or cover.mask.aggregates == "masked":
                same = output and output.digest == digest(["column", read.table, read.column])
                made.append(cover if same else _derived(cover))
        return made


def _derived(cover: Cover) -> Cover:
    """Of a computed value the bucket is unknown, and one of its own could be undone."""
    if cover.mask.mask != "bucket":
        return cover
    return replace(cover, mask=REDACT.model_copy(update={"aggregates": cover.mask.aggregates}))


def _joined(found: Iterable[Cover]) -> Cover:
    """The strictest mask of several, for all that they carry."""
    held = list(found)
    worst = max(held, key=lambda c: _STRICT.index(c.mask.mask))
    level = max((c.level for c in held), key=LEVELS.index)
    open_ = all(c.mask.aggregates == "clear" for c in held)
    mask = worst.mask.model_copy(update={"aggregates": "clear" if open_ else "masked"})
    return replace(worst, mask=mask, level=level, of=tuple(sorted({o for c in held for o in c.of})))
