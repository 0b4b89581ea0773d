"""Packs a log in a child that is killed at its n-th line, for every n. Run by tests."""

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

from interlock.adapters import predictions
from interlock.adapters.predictions import JsonLinesLog

MOST = 200  # lines; packing one segment takes fewer
WRITES = ("pack", "_pack", "_write", "_flush")


def in_a_child(act: Callable[[], Any]) -> int:
    """How a child ended that did `act`: children share nothing, least of all Arrow's threads."""
    child = os.fork()
    if child == 0:
        act()
        os._exit(0)
    return os.waitpid(child, 0)[1]


def killed_at(line: int, log: JsonLinesLog) -> None:
    seen = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        code = frame.f_code
        if code.co_filename != predictions.__file__ or code.co_name not in WRITES:
            return None
        if event == "line":
            seen += 1
            if seen == line:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    log.pack(most=1, settled=0)


def said(log: JsonLinesLog) -> str:
    rows, cursor = log.read({})
    return f"{[row['id'] for row in rows]} {cursor['offsets']}"


def looked_at(folder: Path, log: JsonLinesLog) -> None:
    """What is read after the kill, and once somebody packed again."""
    after, seen = said(log), forms(folder)
    log.pack(settled=0)
    found = {"after": after, "forms": seen, "again": said(log), "mended": forms(folder)}
    folder.with_suffix(".said").write_bytes(orjson.dumps(found))


def forms(folder: Path) -> list[str]:
    return sorted({path.suffix for path in folder.iterdir() if path.suffix != ".new"})


def main(folder: Path) -> None:
    whole = folder / "whole"
    writer = JsonLinesLog(whole, "one")
    writer.append([{"id": f"p{n}", "score": n} for n in range(5)])
    writer.close()
    places = []
    for line in range(MOST):  # at line 0 nobody is killed
        mine = folder / f"at-{line}"
        shutil.copytree(whole, mine)
        log = JsonLinesLog(mine)
        ended = in_a_child(lambda: killed_at(line, log)) if line else 1  # noqa: B023
        in_a_child(lambda: looked_at(mine, log))  # noqa: B023
        places.append(orjson.loads(mine.with_suffix(".said").read_bytes()))
        if ended == 0:
            break
    sys.stdout.write(orjson.dumps(places).decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
