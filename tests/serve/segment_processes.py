"""Packs a log, or ships it, in a child that is killed at its n-th line, for every n.

    python segment_processes.py FOLDER [ship]

Run by tests.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import orjson
import pyarrow.parquet  # noqa: F401  # here, so that no child spends its life importing

from interlock.adapters import objects, predictions
from interlock.adapters.objects import ObjectFolder
from interlock.adapters.predictions import JsonLinesLog, segments

MOST = 200  # lines; packing one segment takes fewer
WRITES = ("pack", "_write", "_flush", "ship", "put", "_write_aside")
OURS = (predictions.__file__, segments.__file__, objects.__file__)


def in_a_child(act: Callable[[], Any]) -> int:
    """How a child ended that did `act`: children share nothing, least of all Arrow's threads."""
    child = os.fork()
    if child == 0:
        act()
        os._exit(0)
    return os.waitpid(child, 0)[1]


def moved(log: JsonLinesLog, ship: bool) -> None:
    if ship:
        log.ship()
    else:
        log.pack(most=1, settled=0)


def killed_at(line: int, log: JsonLinesLog, ship: bool) -> None:
    seen = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        code = frame.f_code
        if code.co_filename not in OURS or code.co_name not in WRITES:
            return None
        if event == "line":
            seen += 1
            if seen == line:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    moved(log, ship)


def said(log: JsonLinesLog) -> str:
    rows, cursor = log.read({})
    return f"{[row['id'] for row in rows]} {cursor['offsets']}"


def looked_at(folder: Path, log: JsonLinesLog, ship: bool) -> None:
    """What is read after the kill, and once somebody packed or shipped again."""
    after, seen = said(log), forms(folder)
    moved(log, ship)
    found = {"after": after, "forms": seen, "again": said(log), "mended": forms(folder)}
    folder.with_suffix(".said").write_bytes(orjson.dumps(found))


def forms(folder: Path) -> list[str]:
    kept = {path.suffix for path in folder.iterdir() if path.is_file()}
    there = (folder / "elsewhere/log").glob("*.parquet")
    return sorted((kept | {"elsewhere" for _ in there}) - {".new"})


def opened(folder: Path) -> JsonLinesLog:
    return JsonLinesLog(folder, elsewhere=ObjectFolder(f"file://{folder}/elsewhere", "log"))


def main(folder: Path, ship: bool = False) -> None:
    whole = folder / "whole"
    writer = JsonLinesLog(whole, "one")
    writer.append([{"id": f"p{n}", "score": n} for n in range(5)])
    writer.close()
    if ship:
        writer.pack(settled=0)
    places = []
    for line in range(MOST):  # at line 0 nobody is killed
        mine = folder / f"at-{line}"
        shutil.copytree(whole, mine)
        log = opened(mine)
        ended = in_a_child(lambda: killed_at(line, log, ship)) if line else 1  # noqa: B023
        in_a_child(lambda: looked_at(mine, log, ship))  # noqa: B023
        places.append(orjson.loads(mine.with_suffix(".said").read_bytes()))
        if ended == 0:
            break
    sys.stdout.write(orjson.dumps(places).decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["ship"])
