"""A gateway under load for half an hour, mirroring everything: does its memory stay flat?

`INTERLOCK_SOAK_MINUTES` says for how long (30). Each minute, two thirds of it one row a request
and the rest 32, prints the memory of the gateway and of the process that mirrors for it, and the
99th percentile of the wait. What was logged is removed on the way: it would fill the disk.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from bench.gateway import Measured, Server, prepare, requests

MINUTES = float(os.environ.get("INTERLOCK_SOAK_MINUTES", "30"))
_ANON = re.compile(r"RssAnon:\s+(\d+) kB")


def memory(pid: int) -> float:
    """Megabytes that are this process's own, without what it shares with files."""
    found = _ANON.search(Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def children(pid: int) -> list[int]:
    """The processes that `pid` started, from whichever of its threads."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(one) for said in lists for one in said.read_text().split()]


def prune(folder: Path) -> None:
    """Remove the segments of the log that nobody writes any more."""
    for kind in ("predictions", "mirrored"):
        segments = sorted((folder / kind).glob("*.jsonl"))
        newest = {one.name.rsplit("-", 1)[0]: one for one in segments}
        for one in segments:
            if newest[one.name.rsplit("-", 1)[0]] != one:
                one.unlink()


def look(server: Server, folder: Path, seconds: float) -> tuple[Measured, Measured, list[float]]:
    """One minute: single rows, many rows, and the memory afterwards."""
    single = server.measure(requests("mirrored", 1), seconds * 2 / 3)
    many = server.measure(requests("mirrored", 32), seconds / 3)
    prune(folder)
    pid = server.process.pid
    return single, many, [memory(one) for one in (pid, *children(pid))]


def main(minutes: float = MINUTES) -> list[float]:
    """Print the table; the gateway's memory in MB, minute by minute."""
    kept: list[float] = []
    with tempfile.TemporaryDirectory() as said:
        folder = Path(said)
        prepare(folder)
        server = Server("mirrored", folder)
        try:
            server.measure(requests("mirrored", 1), 2.0)
            print(f"start      {memory(server.process.pid):7.1f} MB", flush=True)
            for minute in range(1, max(round(minutes), 1) + 1):
                single, many, mine = look(server, folder, 60.0)
                kept.append(mine[0])
                mirror = "".join(f", mirror {one:.1f} MB" for one in mine[1:])
                print(
                    f"minute {minute:>3} {mine[0]:7.1f} MB{mirror};  1 row {single.speed:.0f}/s p99"
                    f" {single.p99:.1f} ms, 32 rows {many.speed:.0f}/s p99 {many.p99:.1f} ms",
                    flush=True,
                )
        finally:
            server.stop()
    print(f"from the end of the first minute: {kept[-1] - kept[0]:+.1f} MB")
    return kept
