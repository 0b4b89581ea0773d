"""Three gateways read while one process writes and is killed: no torn, wrong or older answer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis_server import new_server
from store_processes import LATE, START, STEP, WEATHER, opened

HERE = Path(__file__).parent
KILLS = 4


@pytest.fixture(params=["lmdb", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "lmdb":
        yield "lmdb://online"
        return
    server = new_server(tmp_path / "redis")
    yield server.url
    server.stop()


def started(what: str, url: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "store_processes.py"), what, url, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def reached(url: str, folder: Path) -> float:
    store = opened(url, str(folder), "read")
    marks = store.watermarks()
    store.close()
    return min(marks.get(view, START) for view in (WEATHER, LATE))


def written_past(url: str, folder: Path, at: float) -> None:
    ends = time.monotonic() + 120
    while reached(url, folder) <= at:
        assert time.monotonic() < ends, "the writer writes nothing"
        time.sleep(0.02)


# R-A14
@pytest.mark.slow
def test_readers_see_whole_rows_and_never_older_ones(url: str, tmp_path: Path) -> None:
    writer = started("write", url, tmp_path)
    written_past(url, tmp_path, START)
    readers = [started("read", url, tmp_path) for _ in range(3)]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
    try:
        for _ in range(KILLS):
            before = reached(url, tmp_path)
            written_past(url, tmp_path, before + 20 * STEP)
            writer.send_signal(signal.SIGKILL)
            writer.wait(10)
            writer = started("write", url, tmp_path)
        written_past(url, tmp_path, reached(url, tmp_path))
    finally:
        writer.kill()
        writer.wait(10)
        said = [json.loads(reader.communicate("stop\n", 30)[0]) for reader in readers]
    for one in said:
        assert one["wrong"] == []
        assert one["answers"] > 20
        assert one["reached"] > START + 20 * KILLS * STEP
