"""Old segments of the prediction log in an object store: the same rows, once, for every reader."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from object_store import s3_server

from interlock.adapters.objects import ObjectFolder
from interlock.adapters.predictions import JsonLinesLog, new_writer
from interlock.errors import Unavailable

KILLED = Path(__file__).parent / "segment_processes.py"
ROWS: list[dict[str, Any]] = [{"id": f"p{n}", "score": n / 7, "text": "a\n"} for n in range(12)]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["s3", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"file://{tmp_path}/elsewhere"
    return str(request.getfixturevalue("s3"))


def a_log(folder: Path, url: str, name: str) -> JsonLinesLog:
    return JsonLinesLog(folder, "reader", elsewhere=ObjectFolder(url, name))


def written(folder: Path, writer: str = "one", rows: list[dict[str, Any]] = ROWS) -> None:
    log = JsonLinesLog(folder, writer, segment=150)
    for row in rows:
        log.append([row])
    log.close()


def test_what_went_elsewhere_reads_as_before_from_any_machine(url: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    written(here)
    log, other = a_log(here, url, "one"), a_log(there, url, "one")
    before = log.read({})
    assert before[0] == ROWS
    assert other.read({})[0] == []
    cursors = [{}, {"offsets": dict(sorted(before[1]["offsets"].items())[:1])}, before[1]]
    reads = [log.read(cursor) for cursor in cursors]
    assert log.ship(most=99) == 0  # nothing is packed yet
    assert log.pack(most=99, settled=0) == 4
    assert log.ship(most=1) == 1
    assert [log.read(cursor) for cursor in cursors] == reads
    assert log.ship(most=99) == 3
    assert not list(here.iterdir())
    assert [log.read(cursor) for cursor in cursors] == reads
    assert [other.read(cursor) for cursor in cursors] == reads
    assert [other.waiting(cursor) for cursor in cursors] == [log.waiting(c) for c in cursors]
    assert other.find("p7") == log.find("p7") == [ROWS[7]]
    assert other.find("p99") == []
    # What is written meanwhile is read beside it.
    written(here, "two", ROWS[:1])
    assert log.read(before[1])[0] == ROWS[:1]


def test_another_store_reads_on_where_the_first_machine_stood(url: str, tmp_path: Path) -> None:
    """A cursor holds names, and those are the same wherever a segment is."""
    first, second = tmp_path / "first", tmp_path / "second"
    written(first, new_writer("gateway"), ROWS[:6])
    log = a_log(first, url, "moved")
    rows, cursor = log.read({})
    assert rows == ROWS[:6]
    log.pack(most=99, settled=0)
    log.ship(most=99)
    written(second, new_writer("gateway"), ROWS[6:])
    rows, _ = a_log(second, url, "moved").read(cursor)
    assert rows == ROWS[6:]


def test_processes_never_share_a_name() -> None:
    names = {new_writer("gateway") for _ in range(100)}
    assert len(names) == 100  # though all are of one process of one machine


def test_a_store_that_is_away_is_said_and_loses_nothing(s3: str, tmp_path: Path) -> None:
    written(tmp_path)
    JsonLinesLog(tmp_path).pack(most=99, settled=0)
    log = a_log(tmp_path, s3.replace("//interlock/", "//no-such-bucket/"), "away")
    with pytest.raises(Unavailable, match="s3://no-such-bucket/log/away cannot be read or written"):
        log.ship()
    # Never as if the rest were all there is.
    with pytest.raises(Unavailable):
        log.read({})
    assert JsonLinesLog(tmp_path).read({})[0] == ROWS


def test_a_file_that_was_cut_is_brought_again(url: str, tmp_path: Path) -> None:
    """An upload that broke off and left something under the name is not taken for the segment."""
    written(tmp_path / "here", rows=ROWS[:3])
    log, objects = a_log(tmp_path / "here", url, "cut"), ObjectFolder(url, "cut")
    log.pack(most=99, settled=0)
    (packed,) = (tmp_path / "here").iterdir()
    part = tmp_path / packed.name
    part.write_bytes(packed.read_bytes()[:100])
    objects.put(part)
    assert log.read({})[0] == ROWS[:3]
    assert log.ship() == 1
    assert log.read({})[0] == ROWS[:3]
    assert objects.sizes()[packed.name] > 100


def test_an_address_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(Unavailable, match=r"cannot be read or written: .*nonsense"):
        ObjectFolder("s3://bucket/log?nonsense=1", "predictions")


def test_killed_at_any_line_of_shipping_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, str(KILLED), str(tmp_path), "ship"], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    before, *places = orjson.loads(ran.stdout)
    assert len(places) > 15
    assert {place["after"] for place in places} == {before["after"]}
    assert {place["again"] for place in places} == {before["after"]}
    # It was really interrupted: before it was there, while it was in both places, and at the end.
    assert {tuple(place["forms"]) for place in places} >= {
        (".parquet",), (".parquet", "elsewhere"), ("elsewhere",),
    }  # fmt: skip
    assert all(place["mended"] == ["elsewhere"] for place in places)
