"""Refreshes by the clock: what is due is brought up once, beside the looks, and written down."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import refresh_world as world
from app_world import command

from interlock.app.refresh import refresh
from interlock.app.runs import Journal, Run, journal, keep, runs
from interlock.app.scheduled import Planned, planned, refreshing
from interlock.app.tick import look_until_fresh, tick
from interlock.app.workspace import Workspace
from interlock.errors import Refused
from interlock.testing.clock import FixedClock
from interlock.web.desk import RecordDesk

HOUR = timedelta(hours=1)
NOON = datetime(2024, 4, 1, 12, tzinfo=UTC)
HOURLY = world.MAIN + "    refresh: 1h\n"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built once: a project whose files are looked at every hour, and were at noon."""
    folder = world.shop_project(tmp_path_factory.mktemp("built"), world.Shop(seed=7), HOURLY)
    with world.opened(folder) as workspace:
        workspace.__dict__["clock"] = FixedClock(NOON)
        looked(workspace)
    return folder


@pytest.fixture
def shop() -> world.Shop:
    return world.Shop(seed=7)


@pytest.fixture
def tills(tmp_path: Path, built: Path) -> Iterator[Workspace]:
    """A copy to work with; it is noon."""
    folder = shutil.copytree(built, tmp_path / "tills")
    with world.opened(folder) as workspace:
        workspace.__dict__["clock"] = FixedClock(NOON)
        yield workspace


def looked(workspace: Workspace) -> str:
    """Looks until nothing is refreshed; all that was said."""
    return "\n".join(look_until_fresh(workspace, every=0.02))


def later(workspace: Workspace, by: timedelta) -> None:
    clock = workspace.clock
    assert isinstance(clock, FixedClock)
    clock.pass_by(by)


def sold(shop: world.Shop, workspace: Workspace, id: int) -> None:
    shop.sales.append(world.sale(shop.rng, id, 61))
    shop.write(workspace.folder)


def last(workspace: Workspace) -> Run:
    run = journal(workspace.record, "prod").run
    assert run is not None
    return run


def plan_of(workspace: Workspace, table: str) -> Planned:
    return next(one for one in planned(workspace) if one.table == table)


# R-A13
def test_what_is_due_is_refreshed_and_written_down(tills: Workspace, shop: world.Shop) -> None:
    sold(shop, tills, 900)
    assert looked(tills) == "nothing is being released", "the hour is not over"
    later(tills, HOUR)
    assert "refreshed wh.sales, wh.tills" in looked(tills)
    run = last(tills)
    assert (run.state, run.scheduled, run.tables) == ("done", True, ("wh.sales", "wh.tills"))
    assert run.started == run.ended == NOON + HOUR
    sales = next(part for part in run.parts if part["ref"] == "table:wh.sales")
    assert (sales["added"], sales["removed"], sales["rows"]) == (1, 0, len(shop.sales))
    assert sales["watermark"][:10] == shop.sales[-1]["ts"][:10]
    assert plan_of(tills, "wh.sales").next == NOON + 2 * HOUR
    count = len(runs(tills.record, "prod"))
    looked(tills)
    assert len(runs(tills.record, "prod")) == count, "once is enough"


def test_what_was_missed_while_nobody_looked_is_made_good_once(
    tills: Workspace, shop: world.Shop
) -> None:
    sold(shop, tills, 900)
    before = len(runs(tills.record, "prod"))
    later(tills, 50 * HOUR)
    looked(tills)
    assert len(runs(tills.record, "prod")) == before + 1


def test_a_clock_that_went_back_refreshes_once_and_goes_on(tills: Workspace) -> None:
    """A row of the year 2030 would otherwise mean: nothing is due before 2030."""
    before = len(runs(tills.record, "prod"))
    later(tills, -30 * HOUR)
    looked(tills)
    looked(tills)
    assert len(runs(tills.record, "prod")) == before + 1
    later(tills, HOUR)
    looked(tills)
    assert len(runs(tills.record, "prod")) == before + 2


# R-A13
def test_one_bad_file_waits_longer_each_time_and_holds_nobody_back(
    tills: Workspace, shop: world.Shop
) -> None:
    (tills.folder / "data" / "tills.csv").write_text("till,floor\n")
    shop.sales.append(world.sale(shop.rng, 900, 61))
    world.write(tills.folder, "sales", shop.sales)
    later(tills, HOUR)
    said = looked(tills)
    assert "the file is empty" in said
    for _ in range(3):  # the two that failed together are tried by themselves
        said += looked(tills)
    assert plan_of(tills, "wh.sales").standing.failures == 0
    bad = plan_of(tills, "wh.tills")
    assert (bad.standing.failures, bad.next) == (2, NOON + HOUR + timedelta(minutes=2))
    assert "could not be refreshed 2 times, again 01 Apr 13:02 UTC" in looked(tills)
    before = len(runs(tills.record, "prod"))
    later(tills, timedelta(minutes=1))
    looked(tills)
    assert len(runs(tills.record, "prod")) == before, "it waits"
    later(tills, timedelta(minutes=1))
    looked(tills)
    assert plan_of(tills, "wh.tills").next == NOON + HOUR + timedelta(minutes=6)
    assert "failed 3 times: the new data cannot be taken" in "\n".join(refreshing(tills))
    shop.write(tills.folder)
    later(tills, timedelta(minutes=4))
    looked(tills)
    assert plan_of(tills, "wh.tills").standing.failures == 0
    assert world.held(tills) == world.rebuilt(tills.folder)


def test_a_refresh_by_hand_counts(tills: Workspace) -> None:
    later(tills, HOUR)
    refresh(tills)
    assert last(tills).scheduled is False
    before = len(runs(tills.record, "prod"))
    looked(tills)
    assert len(runs(tills.record, "prod")) == before


def test_a_refresh_by_hand_that_failed_is_written_down(tills: Workspace, shop: world.Shop) -> None:
    (tills.folder / "data" / "tills.csv").unlink()
    with pytest.raises(Refused):
        refresh(tills, ["wh.tills"])
    run = last(tills)
    assert (run.state, run.scheduled, run.tables) == ("failed", False, ("wh.tills",))
    assert "there is no such file" in run.failure


# R-A13
def test_looks_go_on_while_a_refresh_takes_long(tills: Workspace, shop: world.Shop) -> None:
    sold(shop, tills, 900)
    later(tills, HOUR)
    held = threading.Event()
    tills.refreshing._pool.submit(held.wait)  # what it is about to do takes until we say so
    assert "refreshing wh.sales, wh.tills" in tick(tills)
    before = len(runs(tills.record, "prod"))
    for _ in range(3):
        assert "refreshing wh.sales, wh.tills" in tick(tills)
    assert len(runs(tills.record, "prod")) == before
    held.set()
    looked(tills)
    assert len(runs(tills.record, "prod")) == before + 1


def test_of_two_controllers_one_refreshes(tills: Workspace, shop: world.Shop) -> None:
    sold(shop, tills, 900)
    later(tills, HOUR)
    tills.record.claim("refresh:prod", "elsewhere:1", 60)
    before = len(runs(tills.record, "prod"))
    tick(tills)
    tills.refreshing._pool.submit(tuple).result()
    assert "a refresh runs elsewhere" in tick(tills)
    assert len(runs(tills.record, "prod")) == before
    assert plan_of(tills, "wh.sales").standing.failures == 0, "that is no failure"
    tills.record.release("refresh:prod", "elsewhere:1")
    looked(tills)
    assert len(runs(tills.record, "prod")) == before + 1


def test_a_mistake_of_ours_ends_no_look(tills: Workspace) -> None:
    """The file is a folder: nothing in a refresh expects that."""
    path = tills.folder / "data" / "tills.csv"
    path.unlink()
    path.mkdir()
    later(tills, HOUR)
    for _ in range(4):
        looked(tills)
    assert plan_of(tills, "wh.sales").standing.failures == 0
    assert plan_of(tills, "wh.tills").standing.failures == 2


def test_status_tells_of_it(tills: Workspace) -> None:
    expected = "wh.sales: every 1h, last 01 Apr 12:00 UTC, next 01 Apr 13:00 UTC"
    assert expected in refreshing(tills)
    notes = {row.ref: row.note for row in RecordDesk(tills).catalog().rows}
    assert notes["table:wh.tills"].startswith("read from data/tills.csv, every 1h, last 01 Apr")
    said = command(tills.folder, "status")
    assert said.code == 0, said
    assert [text.partition(", next")[0] for text in json.loads(said.out)["refreshes"]] == [
        "wh.sales: every 1h, last 01 Apr 12:00 UTC, due now",
        "wh.tills: every 1h, last 01 Apr 12:00 UTC, due now",
    ]


# R-A13
def test_killed_at_any_moment_the_next_look_goes_on(
    tmp_path: Path, built: Path, shop: world.Shop
) -> None:
    folder, rng = shutil.copytree(built, tmp_path / "tills"), random.Random(5)
    for kill in range(3):
        for _ in range(3):
            shop.step()
        shop.write(folder)
        process = subprocess.Popen(
            [sys.executable, "-m", "interlock.cli.main", "tick", "-C", str(folder)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert "refreshing" in process.stdout.readline(), f"kill {kill}: still due"
        time.sleep(rng.random() * 0.4)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with world.opened(folder) as workspace:
            me = f"{socket.gethostname()}:{process.pid}"
            workspace.record.release("refresh:prod", f"{me}:refresh_0")
            workspace.record.release("controller:prod", me)
            if last(workspace).state == "done":
                keep(workspace, Journal())  # it came through: as if another hour had passed
    with world.opened(folder) as workspace:
        looked(workspace)
        assert world.held(workspace) == world.rebuilt(folder)
        assert last(workspace).state == "done"
