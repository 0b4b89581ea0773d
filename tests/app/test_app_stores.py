"""Two stores in a released project: fed, found wanting, told of, and brought back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import app_world as world
import pytest

from interlock.adapters.lmdb import LmdbOnlineStore
from interlock.app.answers import status_json
from interlock.app.changes import describe
from interlock.app.feed import Feeder, keep_online, live_lookups
from interlock.app.loop import look_after
from interlock.app.stores import RedundantStore
from interlock.app.versions import definitions
from interlock.app.workspace import WallClock, Workspace
from interlock.cli import views
from interlock.define.digest import canonical
from interlock.define.refs import Ref
from interlock.ports import Put

TWO = '    online: ["lmdb://", "lmdb://.interlock/second"]\n'


@pytest.fixture
def two(live: Workspace) -> Iterator[Workspace]:
    """CR-1 is live, as if it had been released with a second store that is still empty."""
    ref = Ref("release", str(live.route().stable))
    entry = live.record.get(ref)
    assert entry is not None
    texts = dict(definitions(live, entry.body["definitions"]))
    texts["interlock.yaml"] = texts["interlock.yaml"].replace(
        "    clock: replay\n", f"    clock: replay\n{TWO}"
    )
    kept = live.artifacts.put(canonical(texts))
    live.record.write(
        [Put(ref, {**entry.body, "definitions": kept}, entry.version)], by="test", at=live.now()
    )
    live.close()
    with world.opened(live.folder) as workspace:
        assert isinstance(workspace.online, RedundantStore)
        yield workspace


def on_the_wall(workspace: Workspace) -> Workspace:
    """The same environment, if its time were the time on the wall."""
    workspace.__dict__["clock"] = WallClock()
    return workspace


# R-A14
def test_a_second_store_is_filled_and_told_of_until_it_is(two: Workspace) -> None:
    said = describe(two, None)
    assert "online store secondary has missed everything" in said.stores.sentences[0]
    assert said.stores.sentences[0] in " ".join(views.status(said).split())
    assert look_after(two).sentences[0] == said.stores.sentences[0]
    Feeder(two.warehouse, two.online).catch_up(live_lookups(two), two.now())
    after = describe(two, None)
    assert after.stores.sentences == ()
    assert "primary is read; secondary stands by" in views.status(after)
    assert [one["behind_s"] for one in status_json(after)["stores"]] == [0.0, 0.0]
    assert not look_after(two).sentences[0].startswith("online store")


def test_whoever_only_asks_for_the_status_sees_the_stores_too(two: Workspace) -> None:
    two.close()
    done = world.command(two.folder, "status")
    assert done.code == 0, done.err
    first, second = json.loads(done.out)["stores"]
    assert (first["reading"], first["behind_s"]) == (True, 0.0)
    assert (second["healthy"], second["behind_s"]) == (True, -1.0)


def test_the_controller_feeds_a_store_that_lost_everything(two: Workspace) -> None:
    on_the_wall(two)
    assert keep_online(two) == ""
    whole = two.online.watermarks()
    assert set(whole) == {lookup.fingerprint for lookup in live_lookups(two)}
    two.online.close()
    two.__dict__.pop("online")
    shutil.rmtree(two.state / "online")
    assert keep_online(two) == ""
    assert two.online.watermarks().keys() == whole.keys()
    with_one = rows_of(two.state / "online", two)
    assert with_one == rows_of(two.state / "second", two)
    assert sum(row is not None for row in with_one) > 40


def rows_of(folder: Path, workspace: Workspace) -> list[object]:
    """Every row of the smallest entities, from one store alone."""
    workspace.online.close()
    workspace.__dict__.pop("online", None)
    store = LmdbOnlineStore(folder, readonly=True)
    carriers = workspace.warehouse.query("SELECT DISTINCT origin, dest FROM wh.spine").to_pylist()
    keys = {key for row in carriers for key in (row["origin"], f"{row['origin']}|{row['dest']}")}
    found: list[object] = [
        row
        for lookup in live_lookups(workspace)
        for row in store.read([(lookup.fingerprint, key) for key in sorted(keys)])
    ]
    store.close()
    return found


def test_replayed_time_is_left_to_whoever_plays_it(two: Workspace) -> None:
    assert keep_online(two) == ""
    assert two.online.watermarks() == {}, "the second store has nothing yet"
