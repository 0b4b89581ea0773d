"""What a refresh leaves is what a warehouse would hold that was built from the files of today."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import refresh_world as world
from app_world import command, copied

from interlock.app.feed import Feeder
from interlock.app.leases import leased
from interlock.app.ledger import Ledger, moves
from interlock.app.refresh import Part, Report, refresh
from interlock.app.retire import retire
from interlock.app.versions import keep_definitions, release_body
from interlock.app.workspace import Workspace
from interlock.define.keys import entity_key
from interlock.define.refs import Ref
from interlock.errors import Conflict, NotFound, Refused, Unusable
from interlock.features.compile import physical
from interlock.plan.plan import wanted_release
from interlock.ports import Put
from interlock.serve.spec import Lookup, lookup_of

ZONES = (UTC, timezone(timedelta(hours=-5)), timezone(timedelta(hours=5, minutes=30)))


def same_as_rebuilt(workspace: Workspace) -> None:
    there, afresh = world.held(workspace), world.rebuilt(workspace.folder)
    assert {n for n in there if there[n] != afresh[n]} == set()


def part(report: Report, name: str) -> Part:
    return next(one for one in report.parts if one.ref.name == name)


def ledger(workspace: Workspace, ref: Ref) -> Ledger:
    name = f"{ref.name}@{ref.version}" if ref.version else ref.name
    entry = workspace.record.get(Ref("ledger", physical(name, workspace.facts.fingerprint(ref))))
    assert entry is not None
    return Ledger.from_json(entry.body)


@pytest.fixture
def shop() -> world.Shop:
    return world.Shop(seed=5)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of `shop` that runs, its engines closed. Copy it before you write."""
    return world.shop_project(tmp_path_factory.mktemp("built") / "tills", world.Shop(seed=5))


@pytest.fixture(scope="module")
def refreshed(built: Path) -> Path:
    """The same, refreshed once."""
    folder = copied(built, built.parent / "refreshed")
    with world.opened(folder) as workspace:
        refresh(workspace)
    return folder


@pytest.fixture
def tills(tmp_path: Path, refreshed: Path) -> Iterator[Workspace]:
    """A project that runs, and has been refreshed once."""
    with world.opened(copied(refreshed, tmp_path / "tills")) as workspace:
        yield workspace


# R-A13
@pytest.mark.parametrize("seed", [11, 12])
def test_refreshed_is_rebuilt(tmp_path: Path, seed: int) -> None:
    """Appends, late rows, corrections, deletions and moves, in any order, over every shape."""
    shop = world.Shop(seed)
    with world.opened(world.shop_project(tmp_path, shop)) as workspace:
        for _ in range(3):
            for _ in range(shop.rng.randrange(1, 5)):
                shop.step()
            shop.write(tmp_path)
            refresh(workspace)
            same_as_rebuilt(workspace)


# R-A13
def test_on_postgres_it_ends_where_duckdb_begins(tmp_path: Path, postgres_url: str) -> None:
    shop, main = world.Shop(seed=4), f"{world.MAIN}    warehouse: {postgres_url}\n"
    with world.opened(world.shop_project(tmp_path, shop, main)) as workspace:
        refresh(workspace)
        for _ in range(2):
            for _ in range(3):
                shop.step()
            shop.write(tmp_path)
            refresh(workspace)
        same_as_rebuilt(workspace)


# R-A13
def test_a_late_row_computes_only_its_range_again(tills: Workspace, shop: world.Shop) -> None:
    late = {**world.sale(shop.rng, 900, 3), "ts": "2024-01-22T10:30:00Z", "amount": 5}
    shop.sales.append({**late, "known_at": "2024-03-01T00:00:00Z"})
    shop.write(tills.folder)
    found = refresh(tills)
    hourly, window = part(found, "wh.hourly"), part(found, "window")
    hour = timedelta(hours=1)
    assert part(found, "wh.sales").difference.added == 1
    assert [s.end - s.start for s in hourly.intervals] == [hour + timedelta(microseconds=1)]
    assert max(s.end for s in window.intervals) - window.intervals[0].start < 50 * hour
    assert hourly.difference.removed <= 1
    same_as_rebuilt(tills)
    assert all(not one.difference.spans and not one.intervals for one in refresh(tills).parts)


def test_a_touched_file_with_the_same_rows_moves_nothing(
    tills: Workspace, shop: world.Shop
) -> None:
    before = ledger(tills, Ref("table", "wh.sales"))
    shop.sales.reverse()
    shop.write(tills.folder)
    assert all(not one.difference.spans for one in refresh(tills).parts)
    after = ledger(tills, Ref("table", "wh.sales"))
    assert after.number == before.number
    assert after.source != before.source


def test_the_ledger_says_how_far_and_how_much(tills: Workspace, shop: world.Shop) -> None:
    shop.sales.append(world.sale(shop.rng, 900, 61))
    shop.write(tills.folder)
    refresh(tills)
    said = ledger(tills, Ref("view", "plain", 1))
    assert (said.doing, said.failed, said.attempts) == (None, "", 0)
    assert said.rows == len(world.held(tills)["features.plain_v1"])
    assert said.watermark is not None
    assert said.watermark[:10] == shop.sales[-1]["ts"][:10]
    assert said.intervals


def test_a_promise_that_was_not_kept_is_found_by_computing_everything(
    tmp_path: Path, shop: world.Shop
) -> None:
    world.write_project(tmp_path)
    view = tmp_path / "features" / "window.sql"
    view.write_text(view.read_text().replace("lookback: 48h", "lookback: 1h"))
    shop.write(tmp_path)
    with world.opened(tmp_path) as workspace:
        world.release(workspace)
        refresh(workspace)
        first = min(shop.sales, key=lambda row: row["ts"])
        shop.sales.append({**first, "id": 900, "amount": 5})
        later = world.datetime.fromisoformat(first["ts"]) + timedelta(hours=20)
        shop.sales.append({**first, "id": 901, "ts": later.isoformat(), "amount": 5})
        shop.write(tmp_path)
        refresh(workspace)
        shop.sales[-2]["amount"] = 6
        shop.write(tmp_path)
        refresh(workspace)
        found = refresh(workspace, whole=True)
        assert [one.ref.name for one in found.parts if one.difference.spans] == ["window"]
        same_as_rebuilt(workspace)


def test_a_promise_is_released_and_moves_no_value(tills: Workspace) -> None:
    before = tills.facts  # read before the file is edited
    path = tills.folder / "features" / "window.sql"
    path.write_text(path.read_text().replace("lookback: 48h", "lookback: 49h"))
    tills.reread()
    assert {n: node.fingerprint for n, node in tills.facts.nodes.items()} == {
        n: node.fingerprint for n, node in before.nodes.items()
    }
    assert wanted_release(tills.facts, {}).digest != wanted_release(before, {}).digest


# R-A13
def test_a_file_put_back_after_a_load_that_was_cut_off_is_read_again(
    tills: Workspace, shop: world.Shop
) -> None:
    """The rows had moved, the ledger still named the old file: the old file looked unchanged."""
    ref, good = Ref("table", "wh.sales"), list(shop.sales)
    before = ledger(tills, ref).source
    shop.sales.append(world.sale(shop.rng, 900, 61))
    shop.write(tills.folder)
    refresh(tills)
    entry = tills.record.get(Ref("ledger", physical("wh.sales", tills.facts.fingerprint(ref))))
    assert entry is not None
    cut = {**entry.body, "source": before, "doing": {"read": {}, "todo": [], "done": []}}
    tills.record.write([Put(entry.ref, cut, entry.version)], by="test", at=tills.now())
    shop.sales = good
    shop.write(tills.folder)
    refresh(tills)
    same_as_rebuilt(tills)


# --- what is refused ----------------------------------------------------------------


def test_everything_wrong_with_new_data_is_said_at_once_and_nothing_moves(
    tills: Workspace, shop: world.Shop
) -> None:
    before = world.held(tills)
    good = list(shop.sales)
    far = {**good[0], "id": 901, "ts": "3024-01-01T00:00:00Z", "known_at": "3024-01-01T00:00:00Z"}
    shop.sales = [*good, good[0], far]
    shop.tills.append({"till": "", "floor": 3})
    shop.write(tills.folder)
    with pytest.raises(Refused) as caught:
        refresh(tills)
    said = "\n".join(caught.value.objections)
    assert len(caught.value.objections) == 3
    for words in (
        "1 rows repeat id",
        "1 rows have ts more than a year ahead",
        "1 rows have no till",
    ):
        assert words in said
    assert world.held(tills) == before
    assert "repeat id" in ledger(tills, Ref("table", "wh.sales")).failed
    shop.sales, shop.tills = good, shop.tills[:-1]
    shop.write(tills.folder)
    refresh(tills)
    assert ledger(tills, Ref("table", "wh.sales")).failed == ""
    same_as_rebuilt(tills)


def test_times_with_and_without_an_offset_in_one_column_are_refused(
    tills: Workspace, shop: world.Shop
) -> None:
    before, ref = world.held(tills), Ref("table", "wh.sales")
    good = [dict(sale) for sale in shop.sales]
    for sale in shop.sales[:3]:
        sale["ts"] = sale["ts"].removesuffix("+00:00")
    shop.write(tills.folder)
    with pytest.raises(Refused) as caught:
        refresh(tills)
    said = "\n".join(caught.value.objections)
    assert f"ts: {len(good) - 3} times have an offset and 3 have none" in said
    assert "known_at" not in said
    assert world.held(tills) == before
    assert "mean different things" in ledger(tills, ref).failed
    # The same instants as others write them: not one row moves.
    for at, sale in enumerate(good):
        sale["ts"] = datetime.fromisoformat(sale["ts"]).astimezone(ZONES[at % 3]).isoformat()
    shop.sales = good
    shop.write(tills.folder)
    refresh(tills)
    assert world.held(tills) == before
    assert ledger(tills, ref).failed == ""


def test_a_file_that_is_gone_and_one_whose_type_changed(tills: Workspace, shop: world.Shop) -> None:
    before = world.held(tills)
    shop.sales[0]["amount"] = "a lot"
    shop.write(tills.folder)
    (tills.folder / "data" / "tills.csv").unlink()
    with pytest.raises(Refused) as caught:
        refresh(tills)
    said = "\n".join(caught.value.objections)
    assert "a lot" in said
    assert "there is no such file" in said
    assert world.held(tills) == before


# R-A13
def test_what_fails_in_the_middle_is_written_down_and_a_retry_completes(
    tills: Workspace, shop: world.Shop
) -> None:
    good = list(shop.sales)
    much = {**good[0], "amount": 9 * 10**18}
    shop.sales += [{**much, "id": 901}, {**much, "id": 902}]
    shop.write(tills.folder)
    with pytest.raises(Unusable) as caught:
        refresh(tills)
    assert "table:wh.hourly" in str(caught.value.__notes__)
    assert ledger(tills, Ref("table", "wh.hourly")).failed == caught.value.message
    assert ledger(tills, Ref("table", "wh.sales")).rows == len(shop.sales), "its rows had moved"
    shop.sales = good
    shop.write(tills.folder)
    refresh(tills)
    assert ledger(tills, Ref("table", "wh.hourly")).failed == ""
    same_as_rebuilt(tills)


def test_an_emptied_file_is_an_accident_until_somebody_says_otherwise(
    tills: Workspace, shop: world.Shop
) -> None:
    (tills.folder / "data" / "tills.csv").write_text("till,floor\n")
    with pytest.raises(Refused, match="the file is empty, and 3 rows"):
        refresh(tills)


def test_one_at_a_time(tills: Workspace) -> None:
    tills.record.claim("refresh:prod", "another:1", 60)
    with pytest.raises(Conflict, match="another process is refreshing prod"):
        refresh(tills)
    tills.record.release("refresh:prod", "another:1")
    with leased(tills.record, "refresh:prod", 60, "x") as lease:
        assert lease.fence == 3
    refresh(tills)


def test_only_a_file_of_a_live_release_can_be_asked_for(tills: Workspace) -> None:
    with pytest.raises(NotFound, match=r"wh\.seles"):
        refresh(tills, ["wh.seles"])


def test_one_file_of_two(tills: Workspace, shop: world.Shop) -> None:
    shop.sales.append(world.sale(shop.rng, 900, 61))
    shop.tills[0]["floor"] = 77
    shop.write(tills.folder)
    found = refresh(tills, ["table:wh.tills"])
    assert [one.ref.name for one in found.parts if one.difference.spans] == ["wh.tills", "joined"]
    refresh(tills)
    same_as_rebuilt(tills)


def test_the_command(tmp_path: Path, built: Path, shop: world.Shop) -> None:
    folder = copied(built, tmp_path / "tills")
    assert command(folder, "refresh").code == 0
    shop.sales.append(world.sale(shop.rng, 900, 61))
    shop.write(folder)
    done = command(folder, "refresh")
    said = {one["ref"]: one["added"] for one in json.loads(done.out)["tables"]}
    assert (done.code, said["table:wh.sales"]) == (0, 1)
    shop.sales.append(shop.sales[0])
    shop.write(folder)
    done = command(folder, "refresh")
    assert (done.code, done.error["error"]) == (3, "refused")


# R-B1
def test_training_rows_are_joined_again_after_a_refresh(
    tmp_path: Path, built: Path, shop: world.Shop
) -> None:
    """Their name is what they are made of: rows of yesterday's data must not have today's name."""
    folder = copied(built, tmp_path / "tills")
    with world.opened(folder) as workspace:
        view = Ref("view", "plain", 1)
        table = physical("plain@1", workspace.facts.fingerprint(view))
        assert moves(workspace.record, table, "duckdb://") == 0
        refresh(workspace)
        assert moves(workspace.record, table, "duckdb://") == 0, "nothing moved"
        shop.sales.append(world.sale(shop.rng, 900, 61))
        shop.write(folder)
        refresh(workspace)
        assert moves(workspace.record, table, "duckdb://") == 1
        assert moves(workspace.record, table, "postgresql://elsewhere/x") == 0


# --- online -------------------------------------------------------------------------


def look(workspace: Workspace, lookup: Lookup, till: int) -> float | None:
    key = entity_key([till])
    assert key is not None
    (row,) = workspace.online.read([(lookup.fingerprint, key)])
    return row.values[0] if row else None


def sent_again(workspace: Workspace, lookup: Lookup) -> None:
    """What the job does for every view that a serving release reads."""
    said = ledger(workspace, Ref("view", "plain", 1)).changes[-1]
    feeder = Feeder(workspace.warehouse, workspace.online)
    since = None if said.since is None else world.datetime.fromisoformat(said.since)
    feeder.again(lookup, since, said.withdrawn)


# R-A13
def test_online_follows_what_moved_behind_its_back(tills: Workspace, shop: world.Shop) -> None:
    ref = Ref("view", "plain", 1)
    lookup = lookup_of(tills.project.views["plain@1"], {str(ref): tills.facts.fingerprint(ref)})
    newest = {
        "id": 950,
        "till": 1,
        "ts": "2024-05-01T00:00:00Z",
        "known_at": "2024-05-02T00:00:00Z",
    }
    shop.sales.append({**newest, "amount": 50})
    shop.write(tills.folder)
    refresh(tills)
    Feeder(tills.warehouse, tills.online).catch_up([lookup], tills.now())
    assert look(tills, lookup, 1) == 50

    late = {**newest, "id": 951, "ts": "2024-04-01T00:00:00Z", "known_at": "2024-05-03T00:00:00Z"}
    shop.sales += [{**late, "amount": 9}, {**newest, "id": 952, "till": 2, "amount": 8}]
    shop.write(tills.folder)
    refresh(tills)
    sent_again(tills, lookup)
    assert look(tills, lookup, 1) == 50, "a late older row overwrote a newer one"
    assert look(tills, lookup, 2) == 8, "a row that was known before the store stood is missing"

    shop.sales[-3]["amount"] = 51
    shop.write(tills.folder)
    refresh(tills)
    sent_again(tills, lookup)
    assert look(tills, lookup, 1) == 51, "a correction in its place was not sent"

    del shop.sales[-3]
    shop.write(tills.folder)
    refresh(tills)
    sent_again(tills, lookup)
    assert look(tills, lookup, 1) == 9, "a deleted row is still online"


# --- killed -------------------------------------------------------------------------


def killed_after(folder: Path, seconds: float) -> bool:
    """A real refresh in a process of its own, killed; False when it was done before."""
    process = subprocess.Popen(
        [sys.executable, "-m", "interlock.cli.main", "refresh", "-C", str(folder)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    process.stderr.readline()  # the first step is announced: now it is at work
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    killed = process.wait() == -signal.SIGKILL
    with world.opened(folder) as workspace:
        workspace.record.release("refresh:prod", f"{socket.gethostname()}:{process.pid}")
        workspace.record.release("controller:prod", f"{socket.gethostname()}:{process.pid}")
    return killed


# R-A13
def test_killed_at_any_moment_it_repeats_and_loses_nothing(
    tmp_path: Path, refreshed: Path, shop: world.Shop
) -> None:
    folder, rng = copied(refreshed, tmp_path / "tills"), random.Random(3)
    kills = 0
    while kills < 10:
        for _ in range(3):
            shop.step()
        shop.write(folder)
        kills += killed_after(folder, rng.random() * 1.2)
    with world.opened(folder) as workspace:
        refresh(workspace)
        same_as_rebuilt(workspace)
        assert all(not one.difference.spans for one in refresh(workspace).parts)
        left = workspace.warehouse.query(
            "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'new_%'"
        )
        assert left.num_rows == 0


def test_what_a_view_keeps_beside_it_goes_with_it(tills: Workspace) -> None:
    """A view with `available_at` keeps all of its rows; nobody else would remove them."""
    asked = "SELECT count(*) AS n FROM information_schema.tables WHERE table_name LIKE 'rows_view%'"
    before = tills.warehouse.query(asked).to_pylist()[0]["n"]
    (tills.folder / "features" / "grouped.sql").unlink()
    tills.reread()
    components = {name: node.fingerprint for name, node in tills.facts.nodes.items()}
    body = release_body(components, keep_definitions(tills, tills.project), {}, "CR-2")
    route = replace(tills.route(), stable="s" * 64).to_json()
    puts = [Put(Ref("release", "s" * 64), body, 0), Put(tills.route_ref, route, 1)]
    tills.record.write(puts, by="test", at=tills.now())
    assert retire(tills, "view:grouped@1", by="ann").tables
    assert tills.warehouse.query(asked).to_pylist()[0]["n"] == before - 1
