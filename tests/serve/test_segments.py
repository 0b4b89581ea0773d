"""Segments that nobody writes any more become Parquet: the same lines, once, whatever is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.adapters.predictions import JsonLinesLog
from interlock.errors import Unavailable

KILLED = Path(__file__).parent / "segment_processes.py"


def rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"id": f"p{n}", "score": n / 7, "model": "late", "inputs": [n, None], "text": "a\n\u2028"}
        for n in range(first, first + count)
    ]


def written(folder: Path, name: str = "one", count: int = 6) -> list[dict[str, Any]]:
    """Segments of a writer that has ended."""
    log = JsonLinesLog(folder, name, segment=200)
    for row in rows(count):
        log.append([row])
    log.close()
    return rows(count)


def names(folder: Path) -> set[str]:
    return {path.suffix for path in folder.iterdir()}


def test_a_packed_log_reads_as_before_from_any_cursor(tmp_path: Path) -> None:
    wanted = written(tmp_path)
    log = JsonLinesLog(tmp_path)
    before = log.read({})
    assert before[0] == wanted
    cursors = [{}, before[1]]
    first = sorted(before[1]["offsets"])[0]
    cursors.append({"offsets": {first: before[1]["offsets"][first]}, "skipped": 0})
    reads = [log.read(cursor) for cursor in cursors]
    waits = [log.waiting(cursor) for cursor in cursors]
    assert log.pack(most=1, settled=0) == 1
    assert names(tmp_path) == {".jsonl", ".parquet"}
    assert [log.read(cursor) for cursor in cursors] == reads
    assert log.pack(most=99, settled=0) > 0
    assert names(tmp_path) == {".parquet"}
    assert [log.read(cursor) for cursor in cursors] == reads
    assert [log.waiting(cursor) for cursor in cursors] == waits
    assert log.find("p4") == [wanted[4]]
    assert log.pack(most=99, settled=0) == 0
    again = JsonLinesLog(tmp_path, "one")
    again.append(rows(1, 100))
    assert again.read(before[1])[0] == rows(1, 100)


def test_others_query_the_columns(tmp_path: Path) -> None:
    written(tmp_path)
    JsonLinesLog(tmp_path).pack(most=99, settled=0)
    found = duckdb.sql(
        f"SELECT id, score, json_extract(decode(line), '$.inputs[0]')::INT AS first "
        f"FROM '{tmp_path}/*.parquet' WHERE model = 'late' ORDER BY score"
    ).fetchall()
    assert found == [(f"p{n}", n / 7, n) for n in range(6)]


def test_what_is_still_written_or_fresh_is_left_alone(tmp_path: Path) -> None:
    log = JsonLinesLog(tmp_path, "one")
    log.append(rows(3))
    reader = JsonLinesLog(tmp_path)
    assert reader.pack(settled=0) == 0  # its writer lives
    log.close()
    assert reader.pack() == 0  # written just now
    os.utime(next(tmp_path.iterdir()), (0, 0))
    assert reader.pack() == 1
    (tmp_path / "two-000001.jsonl").touch()
    assert reader.pack(settled=0) == 0  # somebody is about to write
    assert reader.read({})[0] == rows(3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([b"{}", b'{"id": "x"}', b"[1]", b"{", b"", b'{"id": 7}']), max_size=9),
    st.booleans(),
    st.integers(0, 60),
)
def test_every_line_keeps_its_place_good_or_bad(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], whole: bool, offset: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    data = b"\n".join(lines) + (b"\n" if whole else b"")
    (folder / "one-000001.jsonl").write_bytes(data)
    (folder / "one-000002.jsonl").write_bytes(b'{"id": "last"}\n')
    log = JsonLinesLog(folder)
    cursor = {"offsets": {"one-000001.jsonl": min(offset, len(data))}, "skipped": 0}
    reads = [log.read({}), log.read(cursor), log.read(log.read({})[1])]
    log.pack(most=99, settled=0)
    assert [log.read({}), log.read(cursor), log.read(log.read({})[1])] == reads


def test_killed_at_any_line_of_packing_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """A process packs, and is killed at its first line, its second, and so on to the end."""
    ran = subprocess.run(
        [sys.executable, str(KILLED), str(tmp_path)], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    before, *places = orjson.loads(ran.stdout)
    assert len(places) > 20
    assert {place["after"] for place in places} == {before["after"]}
    assert {place["again"] for place in places} == {before["after"]}
    # It was really interrupted: before the new form was there, with both, and at the end.
    assert {tuple(place["forms"]) for place in places} >= {(".jsonl",), (".jsonl", ".parquet")}
    assert all(place["mended"] == [".parquet"] for place in places)


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    wanted = written(tmp_path, count=1)
    os.utime(next(tmp_path.iterdir()), (0, 0))
    size = next(tmp_path.iterdir()).stat().st_size
    (tmp_path / f"one-000001.{size}.parquet.new").mkdir()
    log = JsonLinesLog(tmp_path)
    with pytest.raises(Unavailable, match="cannot be written"):
        log.pack()
    assert log.read({})[0] == wanted
