"""The prediction log: what append returned for is there, in order, once, whatever died."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.adapters.predictions import JsonLinesLog
from interlock.errors import Unavailable


def ids(rows: list[dict[str, object]]) -> list[object]:
    return [row["id"] for row in rows]


def test_a_reader_reads_on_over_segments_and_writers(tmp_path: Path) -> None:
    one, two = JsonLinesLog(tmp_path, "one", segment=40), JsonLinesLog(tmp_path, "two")
    reader = JsonLinesLog(tmp_path)
    assert reader.read({}) == ([], {"offsets": {}, "skipped": 0})
    for i in range(5):
        one.append([{"id": i}, {"id": i + 10}])
    two.append([{"id": 99, "nan": float("nan")}])
    rows, cursor = reader.read({})
    assert ids(rows) == [0, 10, 1, 11, 2, 12, 3, 13, 4, 14, 99]
    assert rows[-1]["nan"] is None
    assert reader.read(cursor) == ([], cursor)
    one.append([{"id": 5}])
    assert ids(reader.read(cursor)[0]) == [5]
    assert len(list(tmp_path.glob("one-*.jsonl"))) > 1
    assert not list(tmp_path.glob("gateway-*"))  # a reader leaves nothing behind


def test_a_line_being_written_waits_and_a_torn_one_is_counted(tmp_path: Path) -> None:
    log = JsonLinesLog(tmp_path, "one")
    log.append([{"id": 1}])
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b'{"id": 2')
        file.flush()
        rows, cursor = log.read({})
        assert (ids(rows), cursor["skipped"]) == ([1], 0)
        file.write(b"}\n")
    rows, cursor = log.read(cursor)
    assert ids(rows) == [2]
    with path.open("ab") as file:
        file.write(b'{"id": 3')  # its writer dies here, and starts again
    again = JsonLinesLog(tmp_path, "one")
    again.append([{"id": 4}])
    rows, cursor = again.read(cursor)
    assert (ids(rows), cursor["skipped"]) == ([4], 1)
    assert again.read(cursor) == ([], cursor)


def test_a_line_that_is_not_json_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / "one-000001.jsonl").write_bytes(b'{"id": 1}\n{"id": \n[2]\n{"id": 3}\n')
    rows, cursor = JsonLinesLog(tmp_path).read({})
    assert (ids(rows), cursor["skipped"]) == ([1, 3], 2)


def test_killing_the_writer_loses_nothing_it_was_told_is_kept(tmp_path: Path) -> None:
    script = (
        "from interlock.adapters.predictions import JsonLinesLog\n"
        f"log = JsonLinesLog({str(tmp_path)!r}, 'one', segment=20000)\n"
        "i = 0\n"
        "while True:\n"
        "    log.append([{'id': i, 'pad': 'x' * 300}]); print(i, flush=True); i += 1\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        told = [int(it.stdout.readline()) for _ in range(500)][-1]
        it.send_signal(signal.SIGKILL)
    found = ids(JsonLinesLog(tmp_path).read({})[0])
    assert found == list(range(len(found)))
    assert len(found) > told


def test_a_full_disk_is_unavailable() -> None:
    log = JsonLinesLog("/dev/null/predictions")
    with pytest.raises(Unavailable, match="cannot be written"):
        log.append([{"id": 1}])
