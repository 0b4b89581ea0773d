"""A gateway as a process of its own: `python gateway_process.py FOLDER`. Run by tests."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving_world import CANDIDATE, world

from interlock.web.gateway import gateway_app
from interlock.web.server import Application, run


def main(folder: Path) -> None:
    made = world(folder)
    made.gateway.replay_clock = False
    made.route(candidate=CANDIDATE, weight=0.5, mirror=True)
    app = gateway_app(made.gateway)
    run(Application(made.gateway, app, app, app, (made.log.close,)), socket.create_server(("", 0)))


@contextmanager
def started(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process, and the port at which it answers."""
    command = [sys.executable, __file__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.kill()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
