"""A disk that fills: a clear refusal, nothing acknowledged is lost, and a retry completes.

A limit on the size of files is what an ordinary user can set; the engines meet it as they
would meet a full disk, in the middle of a write.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import refresh_world as world
import test_app_engines as orders
from forks import forks

from interlock.adapters.files import FileArtifacts
from interlock.adapters.lmdb import LmdbOnlineStore
from interlock.adapters.memory import MemoryOnlineStore
from interlock.adapters.predictions import JsonLinesLog
from interlock.adapters.sqlrecord import SqlRecord
from interlock.app.leases import LEASE_S
from interlock.app.ledger import Ledger
from interlock.app.push import Pusher
from interlock.define.refs import Ref
from interlock.errors import InterlockError
from interlock.ports import OnlineRow, Put
from interlock.serve.push import PushSpec

NOON = datetime(2024, 4, 1, 12, tzinfo=UTC)
ROOM = 100 * 1024  # bytes that a file may have


def record(folder: Path) -> Callable[[int], object]:
    opened = SqlRecord(folder / "record.db")
    body = {"text": "x" * 300}
    return lambda n: opened.write([Put(Ref("note", f"n{n}"), body, 0)], by="t", at=NOON)


def predictions(folder: Path) -> Callable[[int], object]:
    opened = JsonLinesLog(folder / "predictions", name="gateway")
    return lambda n: opened.append([{"id": n, "text": "x" * 3000}])


def artifacts(folder: Path) -> Callable[[int], object]:
    opened = FileArtifacts(folder / "artifacts")
    return lambda n: opened.put(bytes([n]) * 30_000 * (n + 1))


def online(folder: Path) -> Callable[[int], object]:
    opened = LmdbOnlineStore(folder / "online", map_size=1 << 20)
    return lambda n: opened.write("v" * 64, [(f"{n}", OnlineRow(float(n), (1.0,) * 400))])


def pushed(folder: Path) -> Callable[[int], object]:
    opened = Pusher(folder, MemoryOnlineStore(), "gateway")
    columns = {"gate": ("string", False), "at": ("timestamp", False), "note": ("string", True)}
    spec = PushSpec("wh.gates", columns, ("gate",), "at", "arrived", 1 << 30, ())
    row = {"at": "2024-04-01T11:00:00Z", "note": "x" * 1000}
    return lambda n: opened.push(spec, [{**row, "gate": f"{n}-{k}"} for k in range(3)], NOON)


WRITERS = {
    "push": pushed,
    "record.db": record,
    "predictions": predictions,
    "artifacts": artifacts,
    "online": online,
}


def filling(what: str, folder: Path, told: Connection) -> None:
    """Writes until there is no more room; says how many were acknowledged, and what it was told."""
    write, done = WRITERS[what](folder), 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))
    try:
        while done < 5000:
            write(done)
            done += 1
    except InterlockError as error:
        told.send({"code": error.code, "said": error.message, "help": error.help, "done": done})


def filled(folder: Path, what: str) -> dict[str, Any]:
    ours, theirs = forks().Pipe(duplex=False)
    process = forks().Process(target=filling, args=(what, folder, theirs))
    process.start()
    theirs.close()  # who dies without a word is not waited for
    told: dict[str, Any] = ours.recv()
    process.join()
    assert process.exitcode == 0
    return told


@pytest.mark.parametrize("what", list(WRITERS))
def test_the_refusal_names_the_place_and_with_room_again_the_same_write_is_done(
    tmp_path: Path, what: str
) -> None:
    told = filled(tmp_path, what)
    assert told["code"] == "unavailable"
    assert str(tmp_path / what) in told["said"]
    assert "disk" in told["help"]
    WRITERS[what](tmp_path)(told["done"])


def test_the_record_holds_what_it_acknowledged_and_the_audit_adds_up(tmp_path: Path) -> None:
    done = filled(tmp_path, "record.db")["done"]
    held = SqlRecord(tmp_path / "record.db")
    assert len(held.list("note")) == done
    assert [leaf["ref"] for leaf in held.audit()] == [f"note:n{n}" for n in range(done)]


def test_every_prediction_that_was_acknowledged_is_there(tmp_path: Path) -> None:
    done = filled(tmp_path, "predictions")["done"]
    rows, _ = JsonLinesLog(tmp_path / "predictions", name="reader").read({})
    assert done > 0
    assert [row["id"] for row in rows] == list(range(done))


def test_pushed_rows_that_were_acknowledged_are_there_once_and_the_others_can_come_again(
    tmp_path: Path,
) -> None:
    done = filled(tmp_path, "push")["done"]
    assert done > 0
    for n in range(done + 1):
        WRITERS["push"](tmp_path)(n)
    rows, cursor = JsonLinesLog(tmp_path / "push" / "wh.gates", name="reader").read({})
    arrived: dict[str, set[str]] = {}
    for row in rows:
        arrived.setdefault(row["gate"], set()).add(row["arrived"])
    assert set(arrived) == {f"{n}-{k}" for n in range(done + 1) for k in range(3)}
    # Only what was cut off may stand there twice; a reader takes the first by its id.
    assert {gate for gate, times in arrived.items() if len(times) > 1} <= {
        f"{done}-{k}" for k in range(3)
    }
    assert cursor["skipped"] <= 1


def test_an_online_store_keeps_the_rows_it_took(tmp_path: Path) -> None:
    done = filled(tmp_path, "online")["done"]
    found = LmdbOnlineStore(tmp_path / "online").read([("v" * 64, f"{n}") for n in range(done)])
    assert done > 0
    assert all(found)


# --- a training set ---------------------------------------------------------------------


def dataset(folder: Path, out: Path, room: int | None) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    return subprocess.run(
        [sys.executable, "-m", "interlock.cli.main", "dataset", "build", "gift", "-C", str(folder),
         "--out", str(out)],
        capture_output=True, text=True, check=False, preexec_fn=limit,
    )  # fmt: skip


@pytest.mark.parametrize(("where", "room"), [("rows.csv", 200), (".interlock", 120)])
def test_a_training_set_that_finds_no_room_leaves_no_file_and_a_retry_completes(
    tmp_path: Path, where: str, room: int
) -> None:
    """In the file itself, and in the warehouse below it."""
    folder, out = orders.write_shop(tmp_path / "shop", 6000), tmp_path / "shop" / "rows.csv"
    if where == "rows.csv":
        assert dataset(folder, tmp_path / "first.csv", None).returncode == 0
    full = dataset(folder, out, room * 1024)
    assert full.returncode == 6, full.stderr
    assert "Traceback" not in full.stderr
    assert str(folder / where) in full.stderr
    assert "disk" in full.stderr.partition("help: ")[2]
    assert list(folder.glob("*rows*")) == []
    again = dataset(folder, out, None)
    assert again.returncode == 0, again.stderr
    assert sorted(p.name for p in folder.glob("*rows*")) == ["rows.csv", "rows.csv.manifest.json"]
    if where == "rows.csv":
        assert out.read_bytes() == (tmp_path / "first.csv").read_bytes()


# --- a refresh --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose file has grown by more than there is room for."""
    shop, folder = world.Shop(seed=7, rows=500), tmp_path_factory.mktemp("grown")
    world.shop_project(folder, shop)
    shop.sales += [world.sale(shop.rng, 100_000 + n, 70) for n in range(3000)]
    shop.write(folder)
    return folder


def refreshed(folder: Path, room: int | None) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    return subprocess.run(
        [sys.executable, "-m", "interlock.cli.main", "refresh", "-C", str(folder)],
        capture_output=True, text=True, check=False, preexec_fn=limit,
    )  # fmt: skip


# R-A13
@pytest.mark.parametrize("room", [60, 120, 500])
def test_a_refresh_that_runs_out_of_room_says_so_and_a_retry_completes(
    grown: Path, tmp_path: Path, room: int
) -> None:
    """In the record, at the first table, and in the middle of the views."""
    folder = shutil.copytree(grown, tmp_path / "project")
    full = refreshed(folder, room * 1024)
    assert full.returncode == 6, full.stderr
    assert "Traceback" not in full.stderr
    assert str(folder / ".interlock") in full.stderr
    assert "disk" in full.stderr.partition("help: ")[2]
    with world.opened(folder) as workspace:
        left = [Ledger.from_json(entry.body) for entry in workspace.record.list("ledger")]
        assert all(ledger.rows is None or not ledger.doing for ledger in left)
    again = refreshed(folder, None)
    if again.returncode == 4:  # not even the lease could be given back: it ends by itself
        assert f"try again in {LEASE_S:.0f} s" in again.stderr
        time.sleep(LEASE_S)
        again = refreshed(folder, None)
    assert again.returncode == 0, again.stderr
    with world.opened(folder) as workspace:
        assert world.held(workspace) == world.rebuilt(folder)
