"""Feature SQL compiled: built beside the old, joined at a point in time, pushed online.

The rule everywhere: of the rows with event time <= T and, where declared, available time
<= T, the newest by (event time, available time, tie-break), if its age is within the TTL;
every end inclusive. A newest row that holds NULL stays NULL, unless the feature says
`last_known`. `timeline` makes that rule one lookup.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta

from interlock.define.definitions import FeatureView
from interlock.errors import Unusable
from interlock.features.dialect import DUCKDB, Dialect
from interlock.features.join import PLAIN, UNTIL, Join, Met, joined_sql
from interlock.features.timeline import (
    applies,
    known_column,
    order_of,
    own_stamp,
    remembered,
    timeline_sql,
)
from interlock.impact.sql import substitute

Built = tuple[FeatureView, str]
"""A view and where its rows are: a physical table, or a parenthesised query."""

# Postgres cuts longer names without a word, and the fingerprint stands at the end.
_LONGEST_NAME = 63


def physical(ref_text_name: str, fingerprint: str) -> str:
    """The table that holds one version: `wh.flights`, `ab12..` -> `il.wh_flights__ab12..`."""
    plain = re.sub(r"[^a-z0-9_]", "_", ref_text_name.lower())
    version = f"__{fingerprint[:12]}"
    return f"il.{plain[: _LONGEST_NAME - len(version)]}{version}"


def view_rows_sql(view: FeatureView, bindings: Mapping[str, str], dialect: Dialect = DUCKDB) -> str:
    """Every row of `view` that can ever be found, read from the physical tables of `bindings`.

    Entity columns keep their types, features are cast to the declared ones, times become
    plain UTC. Rows without an entity or a time can never be looked up and are left out, and
    so are rows that were never known.
    """
    q = dialect.quoted
    times = [name for name in (view.event_time, view.available_at) if name]
    needed = times if applies(view) else [view.event_time]
    columns = [f"q.{q(name)}" for name in view.entity]
    columns += [f"{dialect.up(f'q.{q(name)}')} AS {q(name)}" for name in times]
    columns += [f"q.{q(view.tie_break)}"] if view.tie_break else []
    columns += [
        f"{dialect.cast(f'q.{q(name)}', feature.type)} AS {q(name)}"
        for name, feature in view.features.items()
    ]
    present = [f"q.{q(name)} IS NOT NULL" for name in (*view.entity, *needed)]
    body = substitute(view.sql, bindings, dialect.name)
    return f"SELECT {', '.join(columns)} FROM ({body}) AS q WHERE {' AND '.join(present)}"


def build_view_sql(
    view: FeatureView, bindings: Mapping[str, str], dialect: Dialect = DUCKDB
) -> str:
    """The rows of `view` that are the answer from some instant on (`timeline.known_column`)."""
    return timeline_sql(view, view_rows_sql(view, bindings, dialect), dialect)


def duplicates_sql(view: FeatureView, rows: str, limit: int = 5, dialect: Dialect = DUCKDB) -> str:
    """What more than one of `view_rows_sql` claims: entity and order. `rows` each, `ties` in all.

    Asked before the timeline is built: there, one of two equal rows has already gone.
    """
    keys = ", ".join(dialect.quoted(name) for name in row_key(view))
    return (
        f"SELECT {keys}, count(*) AS n_rows, count(*) OVER () AS ties FROM {rows} AS t "
        f"GROUP BY {keys} HAVING count(*) > 1 ORDER BY n_rows DESC, {keys} LIMIT {limit}"
    )


def tie_objections(view: FeatureView, rows: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """What `duplicates_sql` found, as sentences to refuse with; none when every pair is unique."""
    return tuple(
        f"{view.ref} has {row['n_rows']} rows for "
        f"{', '.join(f'{name}={row[name]}' for name in row_key(view))}: "
        "aggregate so that one row remains, or declare a tie_break"
        for row in rows
    )


def row_key(view: FeatureView) -> list[str]:
    """What tells two rows of a view apart: its entity, and all that orders them."""
    return [*view.entity, *order_of(view)]


def column_names(wanted: Sequence[str]) -> dict[str, str]:
    """The column of each `view@version:feature`: its own name or, when shared, a longer one."""
    shared = Counter(text.rpartition(":")[2] for text in wanted)
    return {
        text: feature if shared[feature] == 1 else f"{_plain(view)}__{feature}"
        for text, (view, _, feature) in ((t, t.rpartition(":")) for t in dict.fromkeys(wanted))
    }


def stamp_column(view: FeatureView) -> str:
    """Where `Join.stamps` puts the event time of the row that was found: `origin_load_1__ts`."""
    return f"{view.view}_{view.version}__ts"


def point_in_time_sql(
    spine: str,
    key: str,
    time: str,
    views: Sequence[Built],
    wanted: Sequence[str] | None = None,
    how: Join = PLAIN,
) -> str:
    """Every row of `spine` once, with all its columns, and the features known at its `time`.

    `wanted` are `view@version:feature` texts (None: all of `views`); `column_names`
    says what their columns are called. Ordered by time, then key.
    """
    chosen = _chosen(views, wanted)
    met = [_met(built, names, i) for i, (built, names) in enumerate(chosen)]
    columns = []
    for one, ((view, _), names) in zip(met, chosen, strict=True):
        columns += [
            f"{_value(view, name, one, how)} AS {how.dialect.quoted(column)}"
            for name, column in names.items()
        ]
        columns += _stamps(view, one, how.dialect) if how.stamps else []
    q = how.dialect.quoted
    order = f"ORDER BY s.{q(time)} ASC NULLS LAST, s.{q(key)} ASC NULLS LAST"
    return f"{joined_sql(spine, time, met, columns, how)} {order}"


def _chosen(
    views: Sequence[Built], wanted: Sequence[str] | None
) -> list[tuple[Built, dict[str, str]]]:
    offered = [f"{v.view}@{v.version}:{name}" for v, _ in views for name in v.features]
    unknown = sorted(set(wanted or ()) - set(offered))
    if unknown:
        raise Unusable(
            f"no view here offers {', '.join(unknown)}", help=f"offered: {', '.join(offered)}"
        )
    names = column_names(offered if wanted is None else wanted)
    found = [
        (built, {f: names[t] for f in built[0].features if (t := _text(built[0], f)) in names})
        for built in views
    ]
    return [(built, columns) for built, columns in found if columns]


def _met(built: Built, names: Mapping[str, str], number: int) -> Met:
    view, relation = built
    own = [own_stamp(name) for name in remembered(view) if name in names]
    carried = dict.fromkeys([view.event_time, *names, *own])
    return Met(
        relation, view.entity, known_column(view), view.event_time,
        {column: f"__{number}_{column}" for column in carried},
    )  # fmt: skip


def _value(view: FeatureView, name: str, met: Met, how: Join) -> str:
    feature, limit, otherwise = view.features[name], view.ttl, ""
    dialect = how.dialect
    if how.fallbacks and feature.fallback:
        longer = feature.fallback.serve_stale_for
        limit = max(limit, longer) if limit is not None and longer is not None else limit
        if feature.fallback.value is not None:
            value = dialect.cast(repr(feature.fallback.value), feature.type)
            otherwise = f" ELSE {value}"
    value = dialect.quoted(met.carried[name])
    if feature.last_known and limit is not None:
        own = dialect.quoted(met.carried[own_stamp(name)])
        value = f"CASE WHEN {dialect.within(own, limit, UNTIL)} THEN {value} END"
    elif limit is None and not otherwise:
        return value
    return f"CASE WHEN {_alive(met, limit, dialect)} THEN {value}{otherwise} END"


def _alive(met: Met, limit: timedelta | None, dialect: Dialect) -> str:
    stamp = dialect.quoted(met.stamp)
    return f"{stamp} IS NOT NULL" if limit is None else dialect.within(stamp, limit, UNTIL)


def _stamps(view: FeatureView, met: Met, dialect: Dialect) -> list[str]:
    stamp, name = dialect.quoted(met.stamp), stamp_column(view)
    status = (
        f"CASE WHEN {stamp} IS NULL THEN 'missing' "
        f"WHEN {_alive(met, view.ttl, dialect)} THEN 'fresh' ELSE 'stale' END"
    )
    return [
        f"{stamp} AS {dialect.quoted(name)}",
        f"{status} AS {dialect.quoted(name.removesuffix('ts') + 'status')}",
    ]


def _text(view: FeatureView, feature: str) -> str:
    return f"{view.view}@{view.version}:{feature}"


def _plain(view_text: str) -> str:
    return view_text.replace("@", "_")
