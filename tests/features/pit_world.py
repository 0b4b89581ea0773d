"""A crowd of small made-up histories, and an oracle that knows nothing of SQL.

The oracle is nested loops over Python rows. Times stand on a coarse grid, so that equal
times, edges of a TTL and late arrivals are common and not lucky.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa

from interlock.define.definitions import FeatureValue, FeatureView

Row = Mapping[str, Any]
START = datetime(2013, 3, 10)  # a day on which New York's clocks change
HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)
FIRST, LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)
ENTITY = ("w", "a", "b")
# Glued together, the first two are one key.
KEYS = ((1, 12), (11, 2), (1, 1), (2, None), (None, 2))

RAW = pa.schema(
    [
        ("w", pa.string()), ("a", pa.int64()), ("b", pa.int64()), ("ts", pa.timestamp("us")),
        ("known_at", pa.timestamp("us")), ("seq", pa.int64()), ("x", pa.float64()),
        ("n", pa.int64()), ("word", pa.string()), ("yes", pa.bool_()), ("day", pa.date32()),
    ]
)  # fmt: skip
SPINE = pa.schema(
    [
        ("id", pa.int64()), ("w", pa.string()), ("a", pa.int64()), ("b", pa.int64()),
        ("t", pa.timestamp("us")), ("note", pa.string()),
    ]
)  # fmt: skip
KINDS = {"x": "double", "n": "integer", "word": "string", "yes": "boolean", "day": "date"}


def a_view(name: str, *last_known: str, **stated: Any) -> FeatureView:
    features = {
        kind: FeatureValue(type=type, last_known=kind in last_known)  # type: ignore[arg-type]
        for kind, type in KINDS.items()
    }
    return FeatureView(
        owner="data", view=name, version=1, entity=ENTITY, features=features,
        sql="SELECT * FROM wh.raw", **stated,
    )  # fmt: skip


LATE: dict[str, Any] = {"available_at": "known_at"}
# Every way to declare a view; all of them order the rows completely, thanks to `seq`.
VIEWS = (
    a_view("plain", tie_break="seq"),
    a_view("plain_ttl", tie_break="seq", ttl=2 * HOUR),
    a_view("at_once", tie_break="seq", ttl=timedelta(0)),
    a_view("late", tie_break="seq", **LATE),
    a_view("late_ttl", tie_break="seq", ttl=3 * HOUR, **LATE),
    a_view("ignored", tie_break="seq", ttl=3 * HOUR, availability="ignored", **LATE),
    a_view("held", "x", "day", tie_break="seq", ttl=4 * HOUR),
    a_view("held_late", "x", "n", tie_break="seq", ttl=4 * HOUR, **LATE),
    a_view("held_for_ever", "x", tie_break="seq", ttl=timedelta.max, **LATE),
)


def the_answer(view: FeatureView, rows: Sequence[Row], asked: Row) -> dict[str, Any]:
    """What `view` must say of one spine row: nested loops, no index, no SQL."""
    known = [row for row in rows if _known(view, row, asked)]
    newest = _newest(view, known)
    status = "missing"
    if newest is not None:
        status = "fresh" if _alive(view, newest, asked) else "stale"
    said: dict[str, Any] = {}
    for name, feature in view.features.items():
        found = newest
        if feature.last_known:
            found = _newest(view, [row for row in known if row[name] is not None])
        alive = found is not None and _alive(view, found, asked)
        said[name] = found[name] if found is not None and alive else None
    return {**said, "ts": newest and newest["ts"], "status": status}


def _known(view: FeatureView, row: Row, asked: Row) -> bool:
    if any(asked[k] is None or row[k] is None or asked[k] != row[k] for k in view.entity):
        return False
    if asked["t"] is None or row["ts"] is None or row["ts"] > asked["t"]:
        return False
    if view.available_at is None or view.availability == "ignored":
        return True
    at = row[view.available_at]
    return at is not None and at <= asked["t"]


def _newest(view: FeatureView, rows: Sequence[Row]) -> Row | None:
    best: Row | None = None
    for row in rows:
        if best is None or _order(view, row) > _order(view, best):
            best = row
    return best


def _order(view: FeatureView, row: Row) -> tuple[Any, ...]:
    order: list[Any] = [row["ts"]]
    if view.available_at:
        order.append(row[view.available_at] or datetime.min)
    if view.tie_break:
        tie = row[view.tie_break]
        order.append(-(10**9) if tie is None else tie)
    return tuple(order)


def _alive(view: FeatureView, row: Row, asked: Row) -> bool:
    return view.ttl is None or asked["t"] - row["ts"] <= view.ttl


def histories(rng: random.Random, worlds: int, longest: int = 14) -> list[Row]:
    """Up to `longest` rows for every key of every world."""
    rows: list[Row] = []
    for world in range(worlds):
        for a, b in KEYS:
            rows += [
                _row(rng, {"w": f"w{world}", "a": a, "b": b, "seq": seq})
                for seq in rng.sample([None, *range(longest)], rng.randint(0, longest))
            ]
    rng.shuffle(rows)
    return rows


def _row(rng: random.Random, key: Row) -> Row:
    ts = _moment(rng)
    late = rng.choice([timedelta(0), timedelta(0), HOUR, 5 * HOUR, -2 * HOUR, TICK, None])
    known_at = None if late is None else _moved(ts, late) if ts else START
    return {
        **key, "ts": ts, "known_at": known_at,
        "x": rng.choice([None, float("nan"), round(rng.uniform(-9, 9), 3)]),
        "n": rng.choice([None, rng.randint(-(2**62), 2**62)]),
        "word": rng.choice([None, "", "é'\"\\", "late"]),
        "yes": rng.choice([None, True, False]),
        "day": rng.choice([None, date(2013, 3, 10), date(1, 1, 1)]),
    }  # fmt: skip


def _moment(rng: random.Random) -> datetime | None:
    if rng.random() < 0.05:
        return rng.choice([None, FIRST, LAST])
    return START + rng.randint(0, 12) * HOUR


def _moved(at: datetime, by: timedelta) -> datetime:
    return at if at in (FIRST, LAST) else at + by


def questions(rng: random.Random, worlds: int, each: int) -> list[Row]:
    """`each` questions per key; ids and whole rows repeat, as in a real spine."""
    asked: list[Row] = []
    for world in range(worlds + 1):  # the last world has no history
        for a, b in KEYS:
            for _ in range(each):
                t = _moment(rng)
                nudge = rng.choice([timedelta(0), timedelta(0), TICK, -TICK])
                asked.append(
                    {"id": rng.randint(0, 99), "w": f"w{world}", "a": a, "b": b,
                     "t": _moved(t, nudge) if t else None, "note": rng.choice([None, "n"])}
                )  # fmt: skip
    return asked + asked[:7]


def expected(view: FeatureView, rows: Sequence[Row], spine: Sequence[Row]) -> list[str]:
    """Every spine row with the oracle's answer, as a bag."""
    by_world: dict[str, list[Row]] = {}
    for row in rows:
        by_world.setdefault(row["w"], []).append(row)
    return as_a_bag(
        [{**asked, **the_answer(view, by_world.get(asked["w"], []), asked)} for asked in spine]
    )


def as_a_bag(rows: Sequence[Row]) -> list[str]:
    return sorted(repr(sorted(row.items())) for row in rows)


def as_table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=schema)


# --- single lines of the contract, where a wrong answer has a face ---------------------


@dataclass(frozen=True)
class Line:
    """A world of its own: what `x` of `view` must be at each of `times`."""

    world: str
    view: str
    rows: tuple[Row, ...]
    times: tuple[datetime, ...]
    x: tuple[float | None, ...]

    @property
    def asked(self) -> list[Row]:
        return [
            {"id": i, "w": self.world, "a": 1, "b": 12, "t": t, "note": None}
            for i, t in enumerate(self.times)
        ]


def a_row(
    world: str, x: float | None, ts: datetime, known_at: datetime | None = None, **more: Any
) -> Row:
    nothing = dict.fromkeys(("seq", "n", "word", "yes", "day"))
    return {"w": world, "a": 1, "b": 12, **nothing, "ts": ts, "known_at": known_at, "x": x, **more}


def _line(
    world: str, view: str, rows: Sequence[tuple[Any, ...]], said: Mapping[datetime, float | None]
) -> Line:
    made = tuple(a_row(world, *row, seq=i) for i, row in enumerate(rows))
    return Line(world, view, made, tuple(said), tuple(said.values()))


_CORRECTED = [
    (1.0, START, START + HOUR),
    (2.0, START, START + 3 * HOUR),  # the same hour, corrected
    (9.0, START - HOUR, START + 5 * HOUR),  # an older hour, arriving last of all
]
_FORECAST = [
    (5.0, START + 5 * HOUR, START - HOUR),  # ordered by arrival alone, tomorrow would answer today
    (1.0, START + HOUR, START + 2 * HOUR),
]
_NEVER = [(1.0, START, START), (2.0, START + HOUR, None)]
_REMEMBERED = [(1.0, START), (None, START + 2 * HOUR), (None, START + 4 * HOUR)]
LINES = (
    _line("correction", "late", _CORRECTED, {
        START: None, START + HOUR: 1.0, START + 3 * HOUR - TICK: 1.0, START + 3 * HOUR: 2.0,
        START + 9 * HOUR: 2.0,
    }),
    _line("forecast", "late", _FORECAST, {
        START: None, START + 2 * HOUR: 1.0, START + 5 * HOUR - TICK: 1.0, START + 5 * HOUR: 5.0,
    }),
    _line("never_arrived", "late", _NEVER, {START + 2 * HOUR: 1.0}),
    _line("opted_out", "ignored", _NEVER, {START + 2 * HOUR: 2.0}),
    _line("null_stays_null", "plain_ttl", _REMEMBERED, {START: 1.0, START + 2 * HOUR: None}),
    _line("remembered", "held", _REMEMBERED, {
        START + 2 * HOUR: 1.0, START + 4 * HOUR: 1.0, START + 4 * HOUR + TICK: None,
    }),
    _line("ends_of_a_ttl", "plain_ttl", [(1.0, START)], {
        START - TICK: None, START: 1.0, START + 2 * HOUR: 1.0, START + 2 * HOUR + TICK: None,
    }),
    _line("ttl_of_nothing", "at_once", [(1.0, START)], {START: 1.0, START + TICK: None}),
    _line("ends_of_time", "plain", [(1.0, FIRST), (2.0, LAST)], {
        FIRST: 1.0, LAST - TICK: 1.0, LAST: 2.0,
    }),
    _line("last_of_equals", "plain", [(1.0, START), (2.0, START)], {START: 2.0}),
)  # fmt: skip
