"""A real Prometheus of the test's own, on loopback, filled with points of any day."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Point = tuple[str, float, float]
"""A series as it is exposed (`queue{release="a"}`), seconds since 1970, its value then."""


def program(name: str) -> str:
    """`prometheus` or `promtool`; where CI has none, nobody has run what stands on it."""
    found = shutil.which(name)
    if found is None and (os.environ.get("CI") or os.environ.get("INTERLOCK_EVERY_ENGINE")):
        pytest.fail(f"{name} is not installed: apt-get install prometheus")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@contextmanager
def prometheus(folder: Path, points: Iterable[Point], users: str = "{}") -> Iterator[str]:
    """Its address while it runs with `points`, sorted by series and time, and scrapes nobody.

    `users` are names with bcrypt hashes, as YAML.
    """
    server, tool = program("prometheus"), program("promtool")
    text, data, settings = folder / "points.txt", folder / "data", folder / "prometheus.yml"
    lines = "".join(f"{name} {value!r} {at:.0f}\n" for name, at, value in points)
    text.write_text(f"{lines}# EOF\n")
    settings.write_text("global: {}\n")
    web = folder / "web.yml"
    web.write_text(f"basic_auth_users: {users}\n")
    filled = [tool, "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=720h"]
    subprocess.run([*filled, str(text), str(data)], check=True, capture_output=True)
    port = _free()
    command = [
        server, f"--config.file={settings}", f"--storage.tsdb.path={data}",
        f"--web.config.file={web}", "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (folder / "prometheus.out").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        url, ends = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while not _ready(url):
            assert process.poll() is None, f"it ended: {output.name}"
            assert time.monotonic() < ends, f"it does not get ready: {output.name}"
            time.sleep(0.02)
        yield url
    finally:
        process.kill()
        process.wait(10)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as reply:
            return bool(reply.status == 200)
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False


def _free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
