"""As-of replay: proof that a training value could have been known at its time.

Every source is cut to the rows available at T, the SAME view SQL runs on what is
left, and its newest row at T must hold what the training set holds. A source that
does not say when its rows became available can prove nothing: `unprovable`, never
`clean`. Rows edited in place after the fact stay invisible to this check. The queries here
are DuckDB's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from interlock.define.definitions import ColumnType, FeatureView, Table
from interlock.features.compile import build_view_sql
from interlock.features.dialect import DUCKDB
from interlock.features.text import differs, instant, literal, quoted
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


def cutoffs_sql(spine: str, time: str, count: int = 20) -> str:
    """`count` instants of the spine as column `at`, spread over its whole time, the same each run.

    Each stretch of time looks at another hour of the day - what leaks in the evening may be
    clean at dawn - and of that hour takes the instant with the most rows.
    """
    counted = (
        f"SELECT {quoted(time)} AS at_, count(*) AS n FROM {spine} AS s "
        f"WHERE {quoted(time)} IS NOT NULL GROUP BY 1"
    )
    # 7 and 24 have no common divisor: all hours come up before one comes up twice.
    hour = "((extract(hour FROM at_) - (7 * b) % 24 + 24) % 24)"
    return (
        f"SELECT at_ AS {quoted('at')} FROM "
        f"(SELECT *, ntile({count}) OVER (ORDER BY at_) AS b FROM ({counted}) AS t) AS u "
        f"QUALIFY row_number() OVER (PARTITION BY b ORDER BY {hour}, n DESC, at_) = 1 ORDER BY 1"
    )


def truncate(
    sql: str, tables: Mapping[str, Table], bindings: Mapping[str, str], at: datetime
) -> Truncation:
    """What every table that `sql` reads looked like at `at`.

    A table that declares `available_at` is cut by it. One that does not, but is itself
    built by SQL from tables that do, is built again from their cut rows.
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


def entities_sql(view: FeatureView, spine: Spine, at: datetime) -> str:
    """The entities asked for at `at`, one row each."""
    keys = ", ".join(quoted(name) for name in view.entity)
    where = f"{quoted(spine.time)} = {instant(at)}"
    return f"SELECT DISTINCT {keys} FROM {spine.relation} AS s WHERE {where} LIMIT {_NAMED + 1}"


def replay_sql(
    view: FeatureView,
    built: str,
    spine: Spine,
    at: datetime,
    replacements: Mapping[str, str],
    entities: Sequence[Mapping[str, object]] = (),
) -> str:
    """One row: `compared` spine rows at `at`, `mismatched` ones, and examples of these.

    `built` holds the view's training rows; `replacements` come from `truncate`.
    """
    keys = [quoted(name) for name in view.entity]
    # The key under a name of its own: it may also be one of the entity's columns.
    asked = (
        f"SELECT {', '.join(keys)}, {quoted(spine.key)} AS {quoted('__key')} "
        f"FROM {spine.relation} AS r WHERE {quoted(spine.time)} = {instant(at)}"
    )
    again = f"({build_view_sql(view, replacements)})"
    only = _only(view, entities)
    on = " AND ".join(f"x.{key} = s.{key}" for key in keys)
    differ = [_example(name, feature.type) for name, feature in view.features.items()]
    return (
        f"WITH s AS ({asked}), old AS ({_newest(view, built, at, only)}), "
        f"new AS ({_newest(view, again, at, only)}), "
        f"judged AS (SELECT list_filter([{', '.join(differ)}], lambda d: d IS NOT NULL) AS wrong "
        f"FROM s LEFT JOIN old ON {on.replace('x.', 'old.')} "
        f"LEFT JOIN new ON {on.replace('x.', 'new.')}) "
        "SELECT count(*) AS compared, count(*) FILTER (len(wrong) > 0) AS mismatched, "
        f"flatten(list(wrong) FILTER (len(wrong) > 0))[1:{EXAMPLES}] AS examples FROM judged"
    )


def judge_replay(
    view: FeatureView, at: Sequence[datetime], rows: Sequence[Mapping[str, Any]], sources: set[str]
) -> Replay:
    """The answers of `replay_sql`, one per cutoff, as one result."""
    compared = sum(int(row["compared"]) for row in rows)
    wrong = sum(int(row["mismatched"]) for row in rows)
    status: Status = "leak" if wrong else "unprovable" if sources or not compared else "clean"
    found = [
        {**example, "at": when.isoformat()}
        for when, row in zip(at, rows, strict=True)
        for example in row["examples"] or ()
    ]
    shown = tuple(found[:EXAMPLES])
    return Replay(str(view.ref), compared, wrong, len(at), status, tuple(sorted(sources)), shown)


def pick_cutoffs(warehouse: Warehouse, spine: Spine, count: int = 20) -> list[datetime]:
    """The instants of `cutoffs_sql`, as the warehouse holds them: UTC."""
    rows = warehouse.query(cutoffs_sql(spine.relation, spine.time, count)).to_pylist()
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
    """Replay `view` at every cutoff: one small query for the entities, one for the comparison."""
    rows, sources = [], set[str]()
    for at in cutoffs:
        cut = truncate(view.sql, tables, bindings, at)
        sources |= set(cut.unprovable)
        entities = warehouse.query(entities_sql(view, spine, at)).to_pylist()
        sql = replay_sql(view, built, spine, at, cut.replacements, entities)
        rows += warehouse.query(sql).to_pylist()
    return judge_replay(view, cutoffs, rows, sources)


def _newest(view: FeatureView, relation: str, at: datetime, only: str) -> str:
    """The newest living row of each entity at `at`; one that is too old is no row."""
    known, stamp = quoted(known_column(view)), quoted(view.event_time)
    alive = _alive(view, stamp, at)
    keys = [quoted(name) for name in view.entity]
    values = [
        f"CASE WHEN {_alive(view, quoted(own_stamp(name)), at)} THEN {quoted(name)} END "
        f"AS {quoted(name)}"
        if feature.last_known
        else quoted(name)
        for name, feature in view.features.items()
    ]
    return (
        f"SELECT {', '.join([*keys, *values])} FROM {relation} AS t "
        f"WHERE {known} <= {instant(at)} AND {alive}{only} "
        f"QUALIFY row_number() OVER (PARTITION BY {', '.join(keys)} ORDER BY {known} DESC) = 1"
    )


def _alive(view: FeatureView, stamp: str, at: datetime) -> str:
    return DUCKDB.within(stamp, view.ttl, instant(at)) if view.ttl is not None else "true"


def _only(view: FeatureView, entities: Sequence[Mapping[str, object]]) -> str:
    if not entities or len(entities) > _NAMED:
        return ""
    parts = ""
    for name in view.entity:
        values = dict.fromkeys(row[name] for row in entities if row[name] is not None)
        # NULL alone: nothing can be looked up, and `IN ()` is not SQL.
        listed = ", ".join(literal(value) for value in values) or "NULL"
        parts += f" AND {quoted(name)} IN ({listed})"
    return parts


def _example(name: str, type: ColumnType) -> str:
    old, new = f"old.{quoted(name)}", f"new.{quoted(name)}"
    packed = (
        f"struct_pack(key := CAST(s.{quoted('__key')} AS VARCHAR), feature := '{name}', "
        f"trained := CAST({old} AS VARCHAR), replayed := CAST({new} AS VARCHAR))"
    )
    return f"CASE WHEN {differs(old, new, type)} THEN {packed} END"
