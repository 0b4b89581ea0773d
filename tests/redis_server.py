"""A real redis-server of the test's own, on a socket in its folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis


@dataclass
class RedisServer:
    """One server; `kill` is without warning, `start` again finds what `save` kept."""

    folder: Path
    program: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.folder / 'r.sock'}"

    def start(self) -> RedisServer:
        """Start and wait until it answers."""
        command = [
            self.program, "--port", "0", "--unixsocket", str(self.folder / "r.sock"),
            "--dir", str(self.folder), "--save", "", "--loglevel", "warning",
        ]  # fmt: skip
        with (self.folder / "redis.out").open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        ends = time.monotonic() + 120
        while not self._answers():
            assert time.monotonic() < ends, (self.folder / "redis.out").read_text()
            time.sleep(0.01)
        return self

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(10)

    def flush(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


def new_server(folder: Path) -> RedisServer:
    """A server that runs, in `folder`."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None and os.environ.get("CI"):
        pytest.fail("CI must have redis-server: without it nobody has run the Redis store")
    if program is None:
        pytest.skip("no redis-server on this machine")
    folder.mkdir(parents=True, exist_ok=True)
    return RedisServer(folder, program).start()
