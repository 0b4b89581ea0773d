"""A gateway as a process of its own: `python gateway_process.py FOLDER`. Run by tests.

Each line that it is told is a Route for it to follow.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
from serving_world import CANDIDATE, FOURTH, THIRD, World, world

from interlock.web.gateway import gateway_app
from interlock.web.server import Application, run


def main(folder: Path) -> None:
    made = world(folder)
    made.gateway.replay_clock = False
    made.release(THIRD, 3)
    made.release(FOURTH, 4)
    made.route(candidate=CANDIDATE, weight=0.5, mirror=True)
    threading.Thread(target=_follow, args=(made,), daemon=True).start()
    app = gateway_app(made.gateway)
    run(Application(made.gateway, app, app, app, (made.log.close,)), socket.create_server(("", 0)))


def _follow(made: World) -> None:
    for line in sys.stdin:
        made.route(**orjson.loads(line))


@contextmanager
def started(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process, and the port at which it answers."""
    command = [sys.executable, __file__, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.kill()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
