"""Rows go online in the order in which they became known, and never before that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import app_world as world
import pytest

from interlock.adapters.lmdb import LmdbOnlineStore
from interlock.app.feed import Feeder, lookups_of
from interlock.app.prepare import prepare
from interlock.app.versions import stable
from interlock.app.workspace import Workspace
from interlock.define.keys import entity_key
from interlock.features.compile import physical
from interlock.ports import OnlineRow
from interlock.serve.spec import Lookup

NOON = world.START + timedelta(hours=12)
WEATHER = "origin_weather@1"
Stored = dict[tuple[str, str], OnlineRow | None]


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[LmdbOnlineStore]]:
    """Two empty stores of the test's own."""
    made = [LmdbOnlineStore(tmp_path / name, sync=False) for name in ("one", "other")]
    yield made
    for store in made:
        store.close()


def views(workspace: Workspace) -> tuple[Lookup, ...]:
    version = stable(workspace)
    assert version is not None
    assert version.release is not None
    return lookups_of([prepare(workspace, version, version.release)])


def stored(workspace: Workspace, store: LmdbOnlineStore, lookups: Sequence[Lookup]) -> Stored:
    """What is online for every entity that a view ever has."""
    found: Stored = {}
    for lookup in lookups:
        table = physical(lookup.view, lookup.fingerprint)
        entities = workspace.warehouse.query(
            f"SELECT DISTINCT {', '.join(lookup.entity)} FROM {table}"
        ).to_pylist()
        keys = [key for row in entities if (key := entity_key([row[e] for e in lookup.entity]))]
        rows = store.read([(lookup.fingerprint, key) for key in keys])
        found |= {(lookup.view, key): row for key, row in zip(keys, rows, strict=True)}
    return found


def pushed(feeder: Feeder, lookups: Sequence[Lookup], until: datetime, steps: int) -> None:
    """From where the feeder stands to `until`, in steps."""
    feeder.look_ahead(lookups, until)
    for step in range(steps + 1):
        feeder.push(lookups, until - timedelta(minutes=37) * (steps - step))


# R-B3
def test_pushing_step_by_step_ends_where_catching_up_at_once_does(
    live: Workspace, stores: list[LmdbOnlineStore]
) -> None:
    lookups = views(live)
    once, stepwise = (Feeder(live.warehouse, store) for store in stores)
    once.catch_up(lookups, NOON)
    stepwise.catch_up(lookups, world.START)
    at_start = stored(live, stores[1], lookups)
    pushed(stepwise, lookups, NOON, steps=15)
    assert stored(live, stores[1], lookups) == stored(live, stores[0], lookups)
    assert stored(live, stores[1], lookups) != at_start, "nothing became known in half a day"


def test_nothing_goes_online_before_it_is_known(
    live: Workspace, stores: list[LmdbOnlineStore]
) -> None:
    lookups = views(live)
    feeder = Feeder(live.warehouse, stores[0])
    feeder.catch_up(lookups, world.START)
    feeder.look_ahead(lookups, NOON)
    now = world.START
    while now < NOON:
        now += timedelta(hours=2)
        feeder.push(lookups, now)
        times = [row.event_time for row in stored(live, stores[0], lookups).values() if row]
        assert max(times) <= now.timestamp()
    # A later look ahead, or catching up to the past, takes nothing from the future either.
    assert feeder.catch_up(lookups, world.START) == 0
    assert max(times) > world.START.timestamp()


# R-A14
def test_a_withheld_view_stands_still_and_catches_up_when_it_comes_back(
    live: Workspace, stores: list[LmdbOnlineStore]
) -> None:
    lookups = views(live)
    feeder = Feeder(live.warehouse, stores[0], withheld={WEATHER})
    feeder.catch_up(lookups, world.START)
    assert not any(
        row for (view, _), row in stored(live, stores[0], lookups).items() if view == WEATHER
    )
    feeder.withheld.clear()
    feeder.catch_up(lookups, world.START)
    before = stored(live, stores[0], lookups)
    feeder.withheld.add(WEATHER)
    pushed(feeder, lookups, NOON, steps=5)
    late = stored(live, stores[0], lookups)
    moved = {view for (view, key), row in late.items() if row != before[view, key]}
    assert moved
    assert WEATHER not in moved
    feeder.withheld.clear()
    feeder.catch_up(lookups, NOON)
    Feeder(live.warehouse, stores[1]).catch_up(lookups, NOON)
    assert stored(live, stores[0], lookups) == stored(live, stores[1], lookups)
