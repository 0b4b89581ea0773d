"""What is online at any instant is what the oracle of `pit_world` says of that instant."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pit_world import (
    HOUR,
    KEYS,
    RAW,
    START,
    TICK,
    VIEWS,
    Row,
    as_table,
    histories,
    the_answer,
)  # fmt: skip

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.adapters.memory import MemoryOnlineStore
from interlock.app.feed import Feeder
from interlock.define.definitions import FeatureView
from interlock.define.keys import entity_key
from interlock.features.compile import build_view_sql, physical
from interlock.serve.answer import resolve
from interlock.serve.spec import Lookup, lookup_of

WORLDS = 25
MOMENTS = [START + n * HOUR + nudge for n in range(19) for nudge in (-TICK, timedelta(0), TICK)]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return histories(random.Random(20130310), WORLDS)


@pytest.fixture(scope="module")
def warehouse(rows: Sequence[Row]) -> Iterator[DuckDBWarehouse]:
    made = DuckDBWarehouse(None)
    made.load("wh.raw", as_table(rows, RAW))
    for view in VIEWS:
        lookup = of(view)
        sql = build_view_sql(view, {"wh.raw": "wh.raw"})
        made.build(physical(lookup.view, lookup.fingerprint), sql)
    yield made
    made.close()


def of(view: FeatureView) -> Lookup:
    return lookup_of(view, {str(view.ref): view.view.encode().hex().ljust(64, "0")})


def number(value: Any) -> float | None:
    """As a matrix would hold it."""
    if isinstance(value, date):
        return (value - date(1970, 1, 1)).days * 86400.0
    return None if value is None else float(value)


def wrong(lookup: Lookup, view: FeatureView, store: MemoryOnlineStore, at: datetime,
          by_world: Mapping[str, Sequence[Row]]) -> list[str]:  # fmt: skip
    """Every entity whose online answer at `at` is not the oracle's."""
    found = []
    seconds = at.replace(tzinfo=UTC).timestamp()
    for world, history in by_world.items():
        for a, b in KEYS:
            asked = {"w": world, "a": a, "b": b, "t": at}
            expected = the_answer(view, history, asked)
            key = entity_key([world, a, b])
            row = store.read([(lookup.fingerprint, key)])[0] if key else None
            got = resolve(lookup, row, seconds)
            for name, value, status in zip(lookup.features, got.values, got.statuses, strict=True):
                if name == "word":  # text does not go online
                    continue
                same = value == number(expected[name]) or (
                    value is not None and math.isnan(value) and expected[name] != expected[name]
                )
                if not same or (status == "fresh") != (expected[name] is not None):
                    found.append(f"{at} {key} {name}: {value} {status}, not {expected[name]}")
    return found


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.view)
def test_online_is_the_oracle_at_every_instant(  # R-B3
    view: FeatureView, rows: Sequence[Row], warehouse: DuckDBWarehouse
) -> None:
    lookup, worlds = of(view), sorted({row["w"] for row in rows})
    by_world = {name: [row for row in rows if row["w"] == name] for name in worlds}
    hourly, pushed = MemoryOnlineStore(), MemoryOnlineStore()
    feeder, pusher = Feeder(warehouse, hourly), Feeder(warehouse, pushed)
    start, end = (at.replace(tzinfo=UTC) for at in (MOMENTS[0], MOMENTS[-1]))
    pusher.catch_up([lookup], start)
    pusher.look_ahead([lookup], end)
    for at in MOMENTS:
        now = at.replace(tzinfo=UTC)
        feeder.catch_up([lookup], now)
        pusher.push([lookup], now)
        assert wrong(lookup, view, hourly, at, by_world) == []
        assert wrong(lookup, view, pushed, at, by_world) == []


def test_a_store_filled_at_once_is_one_that_was_filled_step_by_step(
    warehouse: DuckDBWarehouse, rows: Sequence[Row]
) -> None:
    keys = {key for row in rows if (key := entity_key([row["w"], row["a"], row["b"]]))}
    for view in VIEWS:
        lookup, once, stepwise = of(view), MemoryOnlineStore(), MemoryOnlineStore()
        for at in MOMENTS[::4]:
            Feeder(warehouse, stepwise).catch_up([lookup], at.replace(tzinfo=UTC))
        Feeder(warehouse, once).catch_up([lookup], MOMENTS[::4][-1].replace(tzinfo=UTC))
        wanted = [(lookup.fingerprint, key) for key in sorted(keys)]
        assert repr(once.read(wanted)) == repr(stepwise.read(wanted))
        assert once.watermarks() == stepwise.watermarks()
