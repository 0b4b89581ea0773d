"""Real processes, killed as a machine would kill them: no warning, the whole group."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

CONTROLLER = Path(__file__).with_name("chaos_controller.py")


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, each another; who comes back comes back there."""
    with ExitStack() as stack:
        doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        for door in doors:
            stack.enter_context(door)
        return [int(door.getsockname()[1]) for door in doors]


def wait_until(true: Callable[[], bool], seconds: float, pause: float = 0.005) -> bool:
    """Whether `true` came true within `seconds`."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if true():
            return True
        time.sleep(pause)
    return False


@dataclass
class Killable:
    """One command in a process group of its own; started again after every kill."""

    command: Sequence[str]
    output: Path
    kills: int = 0
    process: subprocess.Popen[bytes] | None = None
    exits: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Start unless it runs."""
        if self.alive:
            return
        self._collect()
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> bool:
        """SIGKILL to the group, now; whether there was anything left to kill."""
        if self.process is None or not self.alive:
            return False
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self.kills += self.process.returncode == -signal.SIGKILL
        self._collect()
        return True

    def run(self, seconds: float) -> int:
        """Once, to its own end; the exit code."""
        self.start()
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        finally:
            self.stop()
            self.process = None

    def stop(self) -> None:
        """The end of the test: whatever still runs is ended by its own id."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def _collect(self) -> None:
        if self.process is not None and self.process.returncode not in (None, -signal.SIGKILL):
            self.exits.append(self.process.returncode)
        self.process = None

    def said(self) -> str:
        """Its last lines, for the message of a failing test."""
        return self.output.read_text(errors="replace")[-3000:] if self.output.exists() else ""


def gateway(folder: Path, port: int) -> Killable:
    """The product's own server."""
    command = (
        sys.executable, "-m", "interlock.web.server", "--project", str(folder), "--port", str(port),
    )  # fmt: skip
    return Killable(command, folder / f"gateway-{port}.out")


def services(folder: Path, ports: Sequence[int], gateways: Sequence[int]) -> list[Killable]:
    """The project's own three services, each asking the next; the last is the edge."""
    asked = [word for port in gateways for word in ("--gateway", f"http://127.0.0.1:{port}")]
    found: list[Killable] = []
    after: list[str] = []
    for name, port in zip(("gates", "crew", "rebooking"), ports, strict=True):
        command = (sys.executable, str(folder / f"apps/{name}.py"), "--port", str(port))
        edge = ["--edge"] if name == "rebooking" else []
        found.append(Killable((*command, *asked, *after, *edge), folder / f"{name}.out"))
        after = ["--next", f"http://127.0.0.1:{port}"]
    return found


def controller(
    folder: Path, port: int, changes: Sequence[str], last_day: str, hours: int
) -> Killable:
    """Traffic and the reconcile loop."""
    url = f"http://127.0.0.1:{port}"
    told = (str(folder), url, ",".join(changes), last_day, str(hours))
    return Killable((sys.executable, str(CONTROLLER), *told), folder / "controller.out")


def command(folder: Path, *words: str) -> Killable:
    """The command line, as a person would run it."""
    whole = (sys.executable, "-m", "interlock.cli.main", *words, "--project", str(folder))
    return Killable(whole, folder / f"{words[0]}.out")


def answers(port: int) -> bool:
    """Whether the gateway there is ready."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        link.request("GET", "/v2/health/ready")
        return link.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        link.close()
