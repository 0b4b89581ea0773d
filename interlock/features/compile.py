"""Feature SQL compiled: built beside the old, joined at a point in time, pushed online.

The rule everywhere: the newest row with event time <= T whose age is within the TTL,
both ends inclusive. A newest row that holds NULL stays NULL.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from interlock.define.definitions import ColumnType, FeatureView
from interlock.errors import Unusable
from interlock.features.text import SQL_TYPES, as_utc, duration, instant, quoted
from interlock.impact.sql import substitute

Built = tuple[FeatureView, str]
"""A view and where its rows are: a physical table, or a parenthesised query."""

_ROW = quoted("__row")
_STAMP = quoted("__ts")


def physical(ref_text_name: str, fingerprint: str) -> str:
    """The table that holds one version: `wh.flights`, `ab12..` -> `il.wh_flights__ab12..`."""
    plain = re.sub(r"[^a-z0-9_]", "_", ref_text_name.lower())
    return f"il.{plain}__{fingerprint[:12]}"


def build_view_sql(view: FeatureView, bindings: Mapping[str, str]) -> str:
    """The rows of `view`, read from the physical tables of `bindings`.

    Entity columns keep their types, features are cast to the declared ones. Rows
    without an entity or a time can never be looked up and are left out.
    """
    stamp = as_utc(f"q.{quoted(view.event_time)}")
    keys = [f"q.{quoted(name)}" for name in view.entity]
    values = [
        f"CAST(q.{quoted(name)} AS {SQL_TYPES[feature.type]}) AS {quoted(name)}"
        for name, feature in view.features.items()
    ]
    columns = [*keys, f"{stamp} AS {quoted(view.event_time)}", *values]
    present = [f"{name} IS NOT NULL" for name in (*keys, f"q.{quoted(view.event_time)}")]
    body = substitute(view.sql, bindings)
    return f"SELECT {', '.join(columns)} FROM ({body}) AS q WHERE {' AND '.join(present)}"


def duplicates_sql(view: FeatureView, built: str, limit: int = 5) -> str:
    """The (entity, time) pairs that more than one row claims: `rows` each, `ties` in all."""
    keys = ", ".join(quoted(name) for name in (*view.entity, view.event_time))
    return (
        f"SELECT {keys}, count(*) AS rows, count(*) OVER () AS ties FROM {built} AS t "
        f"GROUP BY {keys} HAVING count(*) > 1 ORDER BY rows DESC, {keys} LIMIT {limit}"
    )


def tie_objections(view: FeatureView, rows: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """What `duplicates_sql` found, as sentences to refuse with; none when every pair is unique."""
    return tuple(
        f"{view.ref} has {row['rows']} rows for "
        f"{', '.join(f'{name}={row[name]}' for name in (*view.entity, view.event_time))}: "
        "aggregate so that one row remains"
        for row in rows
    )


def column_names(wanted: Sequence[str]) -> dict[str, str]:
    """The column of each `view@version:feature`: its own name or, when shared, a longer one."""
    shared = Counter(text.rpartition(":")[2] for text in wanted)
    return {
        text: feature if shared[feature] == 1 else f"{_plain(view)}__{feature}"
        for text, (view, _, feature) in ((t, t.rpartition(":")) for t in dict.fromkeys(wanted))
    }


def stamp_column(view: FeatureView) -> str:
    """Where `stamps=True` puts the event time of the row that was found: `origin_load_1__ts`."""
    return f"{view.view}_{view.version}__ts"


def point_in_time_sql(
    spine: str,
    key: str,
    time: str,
    views: Sequence[Built],
    wanted: Sequence[str] | None = None,
    *,
    stamps: bool = False,
    apply_fallback: bool = False,
) -> str:
    """Every row of `spine` once, with all its columns, and the features known at its `time`.

    `wanted` are `view@version:feature` texts (None: all of `views`); `column_names`
    says what their columns are called. With `stamps`, per view also the event time of
    the newest row and its status: fresh, stale or missing. Declared fallbacks are for
    serving, and appear here only when a rehearsal asks for them. Ordered by time, then key.

    Each view is met by a narrow copy of the spine and joined back by a row number:
    measured 1.4 times as fast as dragging all columns through a chain of ASOF joins, and
    keys that repeat or are NULL cost no row.
    """
    chosen = _chosen(views, wanted)
    # Materialised, or each reader would number the rows anew.
    parts = [f"spine AS MATERIALIZED (SELECT row_number() OVER () AS {_ROW}, * FROM {spine} AS s)"]
    columns, joins = [f"s.* EXCLUDE ({_ROW})"], []
    for i, ((view, built), names) in enumerate(chosen):
        parts.append(f"v{i} AS ({_newest_sql(view, built, time, tuple(names))})")
        joins.append(f"LEFT JOIN v{i} ON v{i}.{_ROW} = s.{_ROW}")
        columns += [
            f"{_value(view, name, f'v{i}', time, apply_fallback)} AS {quoted(column)}"
            for name, column in names.items()
        ]
        columns += _stamps(view, f"v{i}", time) if stamps else []
    order = f"ORDER BY s.{quoted(time)}, s.{quoted(key)}"
    body = f"SELECT {', '.join(columns)} FROM spine AS s {' '.join(joins)}"
    return f"WITH {', '.join(parts)} {body} {order}"


def online_rows_sql(view: FeatureView, built: str, since: datetime | None, until: datetime) -> str:
    """The newest row of each entity with event time in (since, until], for the online store.

    Columns: the entity's, `event_time` in seconds since 1970, then every feature as a
    double. A row stamped after `until` is left for later: it must not hide the older one.
    """
    stamp = quoted(view.event_time)
    keys = ", ".join(quoted(name) for name in view.entity)
    after = f"{stamp} > {instant(since)} AND " if since else ""
    packed = ", ".join(
        f"{quoted(name)} := {_online(view, name, feature.type)}"
        for name, feature in view.features.items()
    )
    values = ", ".join(f"newest.{quoted(name)}" for name in view.features)
    # The struct is never NULL, so a newest row whose value is NULL is not passed over.
    return (
        f"SELECT {keys}, {quoted('event_time')}, {values} FROM ("
        f"SELECT {keys}, epoch(max({stamp})) AS {quoted('event_time')}, "
        f"arg_max(struct_pack({packed}), {stamp}) AS newest FROM {built} AS t "
        f"WHERE {after}{stamp} <= {instant(until)} GROUP BY {keys}) AS q"
    )


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


def _newest_sql(view: FeatureView, built: str, time: str, names: Sequence[str]) -> str:
    narrow = ", ".join(quoted(name) for name in dict.fromkeys((time, *view.entity)))
    same = [f"s.{quoted(name)} = f.{quoted(name)}" for name in view.entity]
    on = " AND ".join([*same, f"s.{quoted(time)} >= f.{quoted(view.event_time)}"])
    values = "".join(f", f.{quoted(name)}" for name in names)
    return (
        f"SELECT s.{_ROW}, f.{quoted(view.event_time)} AS {_STAMP}{values} "
        f"FROM (SELECT {_ROW}, {narrow} FROM spine) AS s ASOF JOIN {built} AS f ON {on}"
    )


def _value(view: FeatureView, name: str, row: str, time: str, apply_fallback: bool) -> str:
    feature, limit, otherwise = view.features[name], view.ttl, ""
    if apply_fallback and feature.fallback:
        longer = feature.fallback.serve_stale_for
        limit = max(limit, longer) if limit is not None and longer is not None else limit
        if feature.fallback.value is not None:
            value = f"CAST({feature.fallback.value!r} AS {SQL_TYPES[feature.type]})"
            otherwise = f" ELSE {value}"
    if limit is None and not otherwise:
        return f"{row}.{quoted(name)}"
    alive = _alive(row, time, limit)
    return f"CASE WHEN {alive} THEN {row}.{quoted(name)}{otherwise} END"


def _alive(row: str, time: str, limit: timedelta | None) -> str:
    if limit is None:
        return f"{row}.{_STAMP} IS NOT NULL"
    # Added, not subtracted: infinity minus a timestamp is an error, infinity plus a day is not.
    return f"{row}.{_STAMP} + {duration(limit)} >= s.{quoted(time)}"


def _stamps(view: FeatureView, row: str, time: str) -> list[str]:
    status = (
        f"CASE WHEN {row}.{_STAMP} IS NULL THEN 'missing' "
        f"WHEN {_alive(row, time, view.ttl)} THEN 'fresh' ELSE 'stale' END"
    )
    name = stamp_column(view)
    return [
        f"{row}.{_STAMP} AS {quoted(name)}",
        f"{status} AS {quoted(name.removesuffix('ts') + 'status')}",
    ]


def _online(view: FeatureView, name: str, type: ColumnType) -> str:
    if type == "string":
        raise Unusable(
            f"{view.feature_ref(name)} is a string; the online store holds numbers",
            help="send codes as a request column of the model, or encode the value in the view",
        )
    if type in ("date", "timestamp"):
        return f"epoch({quoted(name)})"
    return f"CAST({quoted(name)} AS DOUBLE)"


def _text(view: FeatureView, feature: str) -> str:
    return f"{view.view}@{view.version}:{feature}"


def _plain(view_text: str) -> str:
    return view_text.replace("@", "_")
