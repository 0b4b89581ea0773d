"""As-of replay: proof that a training value could have been known at its time.

Every source is cut to the rows available at T, the SAME view SQL runs on what is
left, and its newest row at T must hold what the training set holds. A source that
does not say when its rows became available can prove nothing: `unprovable`, never
`clean`. Rows edited in place after the fact stay invisible to this check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from interlock.define.definitions import FeatureView, Table
from interlock.features.compile import build_view_sql
from interlock.features.dialect import DUCKDB, Dialect, dialect_of
from interlock.features.text import differs, instant, quoted
from interlock.features.timeline import known_column, own_stamp
from interlock.impact.sql import substitute, tables_read
from interlock.ports import Warehouse

Status = Literal["clean", "leak", "unprovable"]
EXAMPLES = 5
# Entities are named one by one in the query, so that the engine can skip the others
# before it computes windows; past this many the list costs more than it saves.
_NAMED = 2000


@dataclass(frozen=True)
class Spine:
    """Where predictions are asked for: a table (or parenthesised query), its key and time."""

    relation: str
    key: str
    time: str


@dataclass(frozen=True)
class Replay:
    """What replay saw of one view. `rows` spine rows were compared at `cutoffs` instants.

    `examples` hold the key, the instant, the feature, and both values.
    """

    view: str
    rows: int
    mismatches: int
    cutoffs: int
    status: Status
    unprovable_sources: tuple[str, ...] = ()
    examples: tuple[Mapping[str, Any], ...] = field(default=())

    @property
    def sentence(self) -> str:
        """The result as a person would say it."""
        seen = f"{self.rows} rows at {self.cutoffs} cutoffs"
        if self.status == "leak":
            return f"{self.view}: {self.mismatches} of {seen} hold a value not known at that time"
        if self.unprovable_sources:
            sources = ", ".join(self.unprovable_sources)
            return f"{self.view}: unprovable, {sources} does not say when its rows were available"
        if self.status == "unprovable":
            return f"{self.view}: unprovable, no spine row has one of the {self.cutoffs} cutoffs"
        return f"{self.view}: {seen} agree with what was known then"


@dataclass(frozen=True)
class Truncation:
    """The tables of a query as of one instant, and those that could not be cut."""

    replacements: Mapping[str, str]
    unprovable: tuple[str, ...]


def cutoffs_sql(spine: str, time: str, count: int = 20, dialect: Dialect = DUCKDB) -> str:
    """`count` instants of the spine as column `at`, spread over its whole time, the same each run.

    Each stretch of time looks at another hour of the day - what leaks in the evening may be
    clean at dawn - and of that hour takes the instant with the most rows.
    """
    stamp = dialect.quoted(time)
    counted = (
        f"SELECT {stamp} AS at_, count(*) AS n FROM {spine} AS s WHERE {stamp} IS NOT NULL "
        f"GROUP BY {stamp}"
    )
    parts = f"SELECT at_, n, ntile({count}) OVER (ORDER BY at_) AS b FROM ({counted}) AS t"
    # 7 and 24 have no common divisor: all hours come up before one comes up twice.
    hour = "((extract(hour FROM at_) - (7 * b) % 24 + 24) % 24)"
    place = f"row_number() OVER (PARTITION BY b ORDER BY {hour}, n DESC, at_)"
    return (
        f"SELECT at_ AS {dialect.quoted('at')} FROM "
        f"(SELECT at_, {place} AS place FROM ({parts}) AS u) AS v WHERE place = 1 ORDER BY at_"
    )


def truncate(
    sql: str, tables: Mapping[str, Table], bindings: Mapping[str, str], at: datetime
) -> Truncation:
    """What every table that `sql` reads looked like at `at`.

    A table that declares `available_at` is cut by it. One that does not, but is itself
    built by SQL from tables that do, is built again from their cut rows. The queries are in
    the dialect of definitions: whoever puts them into one writes all of it for the engine.
    """
    replacements, unprovable = dict(bindings), set[str]()
    for name in sorted(tables_read(sql)):
        table = tables.get(name)
        if table and table.available_at:
            known = f"{quoted(table.available_at)} <= {instant(at)}"
            replacements[name] = f"(SELECT * FROM {bindings.get(name, name)} WHERE {known})"
        elif table and table.sql and tables_read(table.sql):
            below = truncate(table.sql, tables, bindings, at)
            replacements[name] = f"({substitute(table.sql, below.replacements)})"
            unprovable |= set(below.unprovable and (name,))
        else:
            unprovable.add(name)
    kept = {name: bindings.get(name, name) for name in unprovable}
    return Truncation({**replacements, **kept}, tuple(sorted(unprovable)))


def entities_sql(view: FeatureView, spine: Spine, at: datetime, dialect: Dialect = DUCKDB) -> str:
    """The entities asked for at `at`, one row each."""
    keys = ", ".join(map(dialect.quoted, view.entity))
    where = f"{dialect.quoted(spine.time)} = {dialect.instant(at)}"
    return f"SELECT DISTINCT {keys} FROM {spine.relation} AS s WHERE {where} LIMIT {_NAMED + 1}"


@dataclass(frozen=True)
class Again:
    """One replay as SQL: what was trained on at `at`, beside what the cut sources give.

    `built` holds the view's training rows; `replacements` come from `truncate`. `entities`,
    if they are few, are those of `entities_sql`.
    """

    view: FeatureView
    built: str
    spine: Spine
    at: datetime
    replacements: Mapping[str, str]
    entities: Sequence[Mapping[str, object]] = ()
    dialect: Dialect = DUCKDB

    @property
    def counts_sql(self) -> str:
        """One row: `compared` spine rows, and the `mismatched` ones."""
        wrong = " OR ".join(self._differ(name) for name in self.view.features)
        return (
            f"WITH {self._sides()} SELECT count(*) AS compared, "
            f"count(*) FILTER (WHERE {wrong}) AS mismatched {self._joined()}"
        )

    @property
    def examples_sql(self) -> str:
        """Mismatches: the spine row's `key`, the `feature`, its values `trained`, `replayed`."""
        q, text = self.dialect.quoted, self.dialect.text
        parts = " UNION ALL ".join(
            f"SELECT {self._text('s.__key')} AS key, {text(name)} AS feature, "
            f"{self._text(f'a.{q(name)}')} AS trained, {self._text(f'b.{q(name)}')} AS replayed "
            f"{self._joined()} WHERE {self._differ(name)}"
            for name in self.view.features
        )
        first = f"ORDER BY key, feature LIMIT {EXAMPLES}"
        return f"WITH {self._sides()} SELECT * FROM ({parts}) AS e {first}"

    def _text(self, value: str) -> str:
        return self.dialect.cast(value, "string")

    def _differ(self, name: str) -> str:
        column = self.dialect.quoted(name)
        type = self.view.features[name].type
        return differs(f"a.{column}", f"b.{column}", type, self.dialect)

    def _sides(self) -> str:
        """The spine rows at `at`, and the rows of the view then, as trained and again."""
        q, spine = self.dialect.quoted, self.spine
        keys = ", ".join(map(q, self.view.entity))
        # The key under a name of its own: it may also be one of the entity's columns.
        asked = (
            f"SELECT {keys}, {q(spine.key)} AS __key FROM {spine.relation} AS r "
            f"WHERE {q(spine.time)} = {self.dialect.instant(self.at)}"
        )
        again = f"({build_view_sql(self.view, self.replacements, self.dialect)})"
        return f"s AS ({asked}), a AS ({self._newest(self.built)}), b AS ({self._newest(again)})"

    def _joined(self) -> str:
        keys = [self.dialect.quoted(name) for name in self.view.entity]
        on = {side: " AND ".join(f"{side}.{k} = s.{k}" for k in keys) for side in "ab"}
        return f"FROM s LEFT JOIN a ON {on['a']} LEFT JOIN b ON {on['b']}"

    def _newest(self, relation: str) -> str:
        """The newest living row of each entity at `at`; one that is too old is no row."""
        q, view, at = self.dialect.quoted, self.view, self.dialect.instant(self.at)
        known = q(known_column(view))
        keys = [q(name) for name in view.entity]
        values = [
            f"CASE WHEN {self._alive(own_stamp(name))} THEN {q(name)} END AS {q(name)}"
            if feature.last_known
            else q(name)
            for name, feature in view.features.items()
        ]
        place = f"row_number() OVER (PARTITION BY {', '.join(keys)} ORDER BY {known} DESC)"
        return (
            f"SELECT {', '.join([*keys, *values])} FROM (SELECT t.*, {place} AS __place "
            f"FROM {relation} AS t WHERE {known} <= {at} AND {self._alive(view.event_time)}"
            f"{self._only()}) AS u WHERE __place = 1"
        )

    def _alive(self, stamp: str) -> str:
        at, limit = self.dialect.instant(self.at), self.view.ttl
        return (
            "true" if limit is None else self.dialect.within(self.dialect.quoted(stamp), limit, at)
        )

    def _only(self) -> str:
        if not self.entities or len(self.entities) > _NAMED:
            return ""
        parts = ""
        for name in self.view.entity:
            values = dict.fromkeys(row[name] for row in self.entities if row[name] is not None)
            # NULL alone: nothing can be looked up, and `IN ()` is not SQL.
            listed = ", ".join(map(self.dialect.literal, values)) or "NULL"
            parts += f" AND {self.dialect.quoted(name)} IN ({listed})"
        return parts


def judge_replay(
    view: FeatureView,
    cutoffs: int,
    rows: Sequence[Mapping[str, Any]],
    sources: set[str],
    examples: Sequence[Mapping[str, Any]] = (),
) -> Replay:
    """The answers of `Again.counts_sql`, one per cutoff, as one result."""
    compared = sum(int(row["compared"]) for row in rows)
    wrong = sum(int(row["mismatched"]) for row in rows)
    status: Status = "leak" if wrong else "unprovable" if sources or not compared else "clean"
    shown = tuple(examples[:EXAMPLES])
    return Replay(str(view.ref), compared, wrong, cutoffs, status, tuple(sorted(sources)), shown)


def pick_cutoffs(warehouse: Warehouse, spine: Spine, count: int = 20) -> list[datetime]:
    """The instants of `cutoffs_sql`, as the warehouse holds them: UTC."""
    dialect = dialect_of(warehouse)
    rows = warehouse.query(cutoffs_sql(spine.relation, spine.time, count, dialect)).to_pylist()
    return [row["at"].replace(tzinfo=UTC) for row in rows]


def run_replay(
    warehouse: Warehouse,
    view: FeatureView,
    built: str,
    spine: Spine,
    tables: Mapping[str, Table],
    bindings: Mapping[str, str],
    cutoffs: Sequence[datetime],
) -> Replay:
    """Replay `view` at every cutoff: one small query for the entities, one for the comparison.

    Examples are asked for where something differs: mostly nothing does.
    """
    dialect = dialect_of(warehouse)
    rows, sources, examples = [], set[str](), list[Mapping[str, Any]]()
    for at in cutoffs:
        cut = truncate(view.sql, tables, bindings, at)
        sources |= set(cut.unprovable)
        entities = warehouse.query(entities_sql(view, spine, at, dialect)).to_pylist()
        again = Again(view, built, spine, at, cut.replacements, entities, dialect)
        found = warehouse.query(again.counts_sql).to_pylist()
        rows += found
        if found[0]["mismatched"] and len(examples) < EXAMPLES:
            told = warehouse.query(again.examples_sql).to_pylist()
            examples += [{**one, "at": at.isoformat()} for one in told]
    return judge_replay(view, len(cutoffs), rows, sources, examples)
