"""Which part of a table's time a change reaches, and the SQL that replaces only that part.

Event time is cut into half-open spans, because their ends meet without a gap however fine
the engine's clock is. A change in an input at [a, b) moves what stands on it in
[a, b + lookback), by the promise of `incremental`; without the promise, everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from interlock.define.definitions import FeatureView
from interlock.features.dialect import Dialect
from interlock.features.timeline import (
    applies,
    columns_of,
    known_column,
    order_of,
    remembered,
    timeline_sql,
)

FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
TICK = timedelta(microseconds=1)
REMOVED = "removed__"
# More separate spans than this make a condition that costs more than the rows between them.
MOST_SPANS = 50


@dataclass(frozen=True, order=True)
class Span:
    """Event times from `start` (inclusive) to `end` (exclusive), aware UTC instants."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M} .. {self.end:%Y-%m-%d %H:%M}"

    def widened(self, before: timedelta = timedelta(0), after: timedelta = timedelta(0)) -> Span:
        """Stretched, but never over the ends of the calendar."""
        start = self.start - before if self.start - FIRST > before else FIRST
        return Span(start, self.end + after if LAST - self.end > after else LAST)


Spans = tuple[Span, ...]
EVERYTHING: Spans = (Span(FIRST, LAST),)


def merged(spans: Sequence[Span], most: int = MOST_SPANS) -> Spans:
    """The same instants in order, none twice; past `most` spans the nearest become one."""
    found: list[Span] = []
    for span in sorted(span for span in spans if span.start < span.end):
        if found and span.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    while len(found) > most:
        at = min(range(1, len(found)), key=lambda i: found[i].start - found[i - 1].end)
        found[at - 1 : at + 1] = [Span(found[at - 1].start, found[at].end)]
    return tuple(found)


def reached(changed: Sequence[Span], lookback: timedelta) -> Spans:
    """Where outputs move when inputs moved in `changed`."""
    return merged([span.widened(after=lookback) for span in changed])


def without(spans: Sequence[Span], done: Sequence[Span]) -> Spans:
    """What of `spans` is not in `done`."""
    left = list(merged(spans))
    for gone in done:
        left = [
            part
            for span in left
            for part in (
                Span(span.start, min(span.end, gone.start)),
                Span(max(span.start, gone.end), span.end),
            )
            if part.start < part.end
        ]
    return merged(left)


def monthly(spans: Sequence[Span]) -> tuple[Spans, ...]:
    """`spans` month by month: what one step of a long backfill does."""
    found: dict[tuple[int, int], list[Span]] = {}
    for part in (part for span in spans for part in _months(span)):
        found.setdefault((part.start.year, part.start.month), []).append(part)
    return tuple(map(tuple, found.values()))


def _months(span: Span) -> Iterator[Span]:
    start = span.start
    # No rows stand outside of these years that could be cut into months of sense.
    low, high = max(span.start.year, 1900), min(span.end.year, 2200)
    for month in range(low * 12 + span.start.month * (low == span.start.year), high * 12 + 12):
        cut = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
        if start < cut < span.end:
            yield Span(start, cut)
            start = cut
    yield Span(start, span.end)


def is_everything(spans: Sequence[Span]) -> bool:
    return EVERYTHING[0] in spans


def spans_json(spans: Sequence[Span]) -> list[list[str]]:
    return [[span.start.isoformat(), span.end.isoformat()] for span in spans]


def spans_from(said: Sequence[Sequence[str]]) -> Spans:
    return tuple(Span(*(datetime.fromisoformat(text) for text in pair)) for pair in said)


# --- SQL ----------------------------------------------------------------------------


def within(column: str, spans: Sequence[Span], dialect: Dialect) -> str:
    """True for rows in `spans`; rows without a time are in everything, and nowhere else."""
    if is_everything(spans):
        return "TRUE"
    q = dialect.quoted(column)
    parts = [
        f"({q} >= {dialect.instant(s.start)} AND {q} < {dialect.instant(s.end)})" for s in spans
    ]
    return f"({' OR '.join(parts)})" if parts else "FALSE"


def part_of(table: str, column: str | None, spans: Sequence[Span], dialect: Dialect) -> str:
    """`table`, or a query of its rows in `spans`; as a whole when it has no event time."""
    if column is None or is_everything(spans):
        return table
    return f"(SELECT * FROM {table} WHERE {within(column, spans, dialect)})"


def changed_sql(old: str, new: str, columns: Sequence[str], dialect: Dialect) -> str:
    """Rows that only one of two relations has, as often as it has them more; marked by side."""
    names = ", ".join(map(dialect.quoted, columns))
    a, b = (
        f"SELECT {names} FROM {relation} AS {side}" for relation, side in ((old, "o"), (new, "n"))
    )
    return (
        f"SELECT g.*, true AS {REMOVED} FROM ({a} EXCEPT ALL {b}) AS g "
        f"UNION ALL SELECT c.*, false AS {REMOVED} FROM ({b} EXCEPT ALL {a}) AS c"
    )


def days_sql(changed: str, column: str, dialect: Dialect) -> str:
    """Per day of event time: `first` and `last` as plain UTC, `added` and `removed` rows."""
    q = dialect.quoted(column)
    return (
        f"SELECT {dialect.down(f'min(c.{q})')} AS first, {dialect.up(f'max(c.{q})')} AS last, "
        f"{counts_sql()} FROM {changed} AS c GROUP BY CAST(c.{q} AS DATE)"
    )


def counts_sql() -> str:
    return (
        f"sum(CASE WHEN {REMOVED} THEN 0 ELSE 1 END) AS added, "
        f"sum(CASE WHEN {REMOVED} THEN 1 ELSE 0 END) AS removed"
    )


def spans_of(days: Sequence[Mapping[str, object]]) -> Spans:
    """The rows of `days_sql` as spans; a changed row without a time may be anywhere."""
    found = []
    for day in days:
        first, last = day["first"], day["last"]
        if not isinstance(first, datetime) or not isinstance(last, datetime):
            return EVERYTHING
        span = Span(first.replace(tzinfo=UTC), last.replace(tzinfo=UTC))
        found.append(span.widened(after=TICK))
    return merged(found)


# --- views --------------------------------------------------------------------------


def keeps_every_row(view: FeatureView) -> bool:
    """Is the built view simply its rows? Else a row decides about rows of other event times."""
    return order_of(view) == [view.event_time] and not remembered(view)


def known_sql(view: FeatureView, dialect: Dialect) -> str:
    """The instant from which a row of `view_rows_sql` is known."""
    if not applies(view):
        return dialect.quoted(view.event_time)
    times = ", ".join(dialect.quoted(n) for n in (view.event_time, view.available_at) if n)
    return f"greatest({times})"


def rows_in(
    view: FeatureView, bindings: Mapping[str, str], spans: Sequence[Span], dialect: Dialect
) -> str:
    """The rows of `view` with their event time in `spans`."""
    from interlock.features.compile import view_rows_sql  # pages read spans, and parse no SQL

    rows = view_rows_sql(view, bindings, dialect)
    return f"SELECT * FROM ({rows}) AS v WHERE {within(view.event_time, spans, dialect)}"


def of_touched(view: FeatureView, touched: str, dialect: Dialect) -> str:
    """True for rows of an entity that stands in `touched`."""
    keys = ", ".join(map(dialect.quoted, view.entity))
    return f"({keys}) IN (SELECT {keys} FROM {touched})"


def timeline_from(
    view: FeatureView, rows: str, touched: str, since: datetime, dialect: Dialect
) -> str:
    """The built rows of the touched entities from `since` on.

    What is known earlier stays: whether a row was ever the newest depends only on rows that
    were known no later than itself. It does depend on all of those, however old.
    """
    asked = f"SELECT * FROM ({rows}) AS h WHERE {of_touched(view, touched, dialect)}"
    columns = ", ".join(map(dialect.quoted, columns_of(view)))
    later = f"{dialect.quoted(known_column(view))} >= {dialect.instant(since)}"
    return f"SELECT {columns} FROM ({timeline_sql(view, asked, dialect)}) AS t WHERE {later}"


def withdrawn_sql(
    view: FeatureView, before: str, after: str, now: datetime, dialect: Dialect
) -> str:
    """How many rows that were known by `now` have gone with nothing as new in their place.

    `before` are built rows that go, `after` all that will be there. What is online may be one
    of them, and a newer row would never overwrite it.
    """
    q, known, at = dialect.quoted, known_column(view), dialect.instant(now)
    keys = ", ".join(map(q, view.entity))
    order = list(dict.fromkeys(n for n in (view.event_time, view.available_at, known) if n))
    newest = ", ".join(f"{q(name)} DESC NULLS LAST" for name in order)
    last = (
        f"SELECT a.*, row_number() OVER (PARTITION BY {keys} ORDER BY {newest}) AS place__ "
        f"FROM ({after}) AS a WHERE {q(known)} <= {at} "
        f"AND ({keys}) IN (SELECT {keys} FROM ({before}) AS b)"
    )
    newer, equal = [], ""
    for name in order:
        newer.append(f"({equal}n.{q(name)} > r.{q(name)})")
        equal += f"n.{q(name)} IS NOT DISTINCT FROM r.{q(name)} AND "
    newer.append(f"({equal.removesuffix(' AND ')})")
    same = " AND ".join(f"n.{q(name)} = r.{q(name)}" for name in view.entity)
    return (
        f"SELECT count(*) AS n FROM ({before}) AS r WHERE r.{q(known)} <= {at} AND NOT EXISTS "
        f"(SELECT 1 FROM ({last}) AS n WHERE n.place__ = 1 AND {same} AND ({' OR '.join(newer)}))"
    )
