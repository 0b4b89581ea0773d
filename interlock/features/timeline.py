"""Of all rows that a view ever had, those that were the newest when they became known.

A row is known from the later of its event time and the time it became available. The
newest of the rows known at T is the last one by (event time, available time, tie-break).
Ordered by the instant they became known, only rows that raise the maximum so far can ever
be that answer. Kept alone, "the newest row known at T" is the last kept row at or before
T: one plain lookup, however late and out of order the rows arrived.
"""

from __future__ import annotations

from collections.abc import Sequence

from interlock.define.definitions import FeatureView
from interlock.features.dialect import Dialect

KNOWN = "__known"
_RANK, _TOP = "__rank", "__top"


def applies(view: FeatureView) -> bool:
    """Is `available_at <= T` part of what this view answers?"""
    return view.available_at is not None and view.availability == "applied"


def known_column(view: FeatureView) -> str:
    """The column of the built rows from whose instant on a row is the answer."""
    return KNOWN if applies(view) else view.event_time


def remembered(view: FeatureView) -> list[str]:
    """The features whose last value that is not NULL counts."""
    return [name for name, feature in view.features.items() if feature.last_known]


def own_stamp(feature: str) -> str:
    """Where a `last_known` feature keeps the event time of its value."""
    return f"{feature}__ts"


def order_of(view: FeatureView) -> list[str]:
    """What decides which of two rows is newer."""
    return [n for n in (view.event_time, view.available_at, view.tie_break) if n]


def columns_of(view: FeatureView) -> list[str]:
    """The columns of the built rows, in order."""
    stamps = [own_stamp(name) for name in remembered(view)]
    known = [KNOWN] if applies(view) else []
    return list(dict.fromkeys([*view.entity, *order_of(view), *view.features, *stamps, *known]))


def timeline_sql(view: FeatureView, rows: str, dialect: Dialect) -> str:
    """`rows` (clean: keys and times there) without those that were never the newest.

    With `last_known` features a row is kept for every instant at which one of them, or the
    newest row, changed; it holds what was known from then on.
    """
    if order_of(view) == [view.event_time] and not remembered(view):
        return rows
    q = dialect.quoted
    ranked, tops = _ranked(view, rows, dialect), _tops(view, dialect)
    marked = f"SELECT k.*, {', '.join(tops.values())} FROM ranked AS k"
    head = f"WITH ranked AS ({ranked}), marked AS ({marked})"
    raises = " OR ".join(f"m.{q(_RANK)} = m.{q(top)}" for top in tops)
    if len(tops) == 1:
        kept = ", ".join(f"m.{q(name)}" for name in columns_of(view))
        return f"{head} SELECT {kept} FROM marked AS m WHERE {raises}"
    return f"{head} {_states(view, raises, list(tops), dialect)}"


def _ranked(view: FeatureView, rows: str, dialect: Dialect) -> str:
    """Rows with their place in the order of newness, and the instant they became known."""
    q = dialect.quoted
    keys = ", ".join(f"r.{q(name)}" for name in view.entity)
    order = ", ".join(f"r.{q(name)} ASC NULLS FIRST" for name in order_of(view))
    rank = f"row_number() OVER (PARTITION BY {keys} ORDER BY {order}) AS {q(_RANK)}"
    times = ", ".join(f"r.{q(name)}" for name in (view.event_time, view.available_at) if name)
    known = f", greatest({times}) AS {q(KNOWN)}" if applies(view) else ""
    return f"SELECT r.*, {rank}{known} FROM ({rows}) AS r"


def _tops(view: FeatureView, dialect: Dialect) -> dict[str, str]:
    """The highest rank known so far: of all rows, and of those with a value, per feature.

    Rows that became known at one instant are peers: each sees the others.
    """
    q = dialect.quoted
    keys = ", ".join(f"k.{q(name)}" for name in view.entity)
    over = (
        f"OVER (PARTITION BY {keys} ORDER BY k.{q(known_column(view))} "
        "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    )
    tops = {_TOP: f"max(k.{q(_RANK)}) {over} AS {q(_TOP)}"}
    for name in remembered(view):
        rank = f"CASE WHEN k.{q(name)} IS NOT NULL THEN k.{q(_RANK)} END"
        tops[f"{_TOP}_{name}"] = f"max({rank}) {over} AS {q(f'{_TOP}_{name}')}"
    return tops


def _states(view: FeatureView, raises: str, tops: Sequence[str], dialect: Dialect) -> str:
    q = dialect.quoted
    known, names = known_column(view), remembered(view)
    picked = ", ".join(f"m.{q(n)}" for n in dict.fromkeys([*view.entity, known, *tops]))
    states = f"SELECT DISTINCT {picked} FROM marked AS m WHERE {raises}"
    source = {name: f"o{i}.{q(name)}" for i, name in enumerate(names)}
    source |= {
        own_stamp(name): f"o{i}.{q(view.event_time)} AS {q(own_stamp(name))}"
        for i, name in enumerate(names)
    }
    source |= {KNOWN: f"s.{q(KNOWN)}"}
    columns = ", ".join(source.get(name, f"n.{q(name)}") for name in columns_of(view))
    joins = [f"JOIN ranked AS n ON {_same(view, 'n', _TOP, dialect)}"]
    joins += [
        f"LEFT JOIN ranked AS o{i} ON {_same(view, f'o{i}', f'{_TOP}_{name}', dialect)}"
        for i, name in enumerate(names)
    ]
    return f"SELECT {columns} FROM ({states}) AS s {' '.join(joins)}"


def _same(view: FeatureView, row: str, top: str, dialect: Dialect) -> str:
    q = dialect.quoted
    same = [f"{row}.{q(name)} = s.{q(name)}" for name in view.entity]
    return " AND ".join([*same, f"{row}.{q(_RANK)} = s.{q(top)}"])
