"""A Postgres record and a Redis server for a project, and the same again for a copy of it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from adbc_driver_postgresql import dbapi

RECORD, ONLINE = "CHAOS_RECORD", "CHAOS_ONLINE"


@dataclass
class Engines:
    """Where one project keeps its record and its online rows."""

    server: str  # a Postgres
    folder: Path  # of the Redis
    database: str
    redis: subprocess.Popen[bytes] | None = None

    @classmethod
    def new(cls, server: str, folder: Path, like: Engines | None = None) -> Engines:
        """Empty ones, or with everything that is in `like`."""
        folder.mkdir(parents=True)
        name = f"chaos_{secrets.token_hex(6)}"
        template = f" TEMPLATE {like.database}" if like else ""
        with dbapi.connect(server, autocommit=True) as opened, opened.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}{template}")
        if like:
            like.client().save()
            shutil.copy(like.folder / "dump.rdb", folder / "dump.rdb")
        return cls(server, folder, name).started()

    @property
    def _online(self) -> str:
        return f"unix://{self.folder / 'r.sock'}"

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self._online)

    def started(self) -> Engines:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None and os.environ.get("CI"):
            pytest.fail("CI must have redis-server: without it nobody has killed a fleet")
        if program is None:
            pytest.skip("no redis-server on this machine")
        command = [program, "--port", "0", "--unixsocket", str(self.folder / "r.sock")]
        command += ["--dir", str(self.folder), "--save", "", "--loglevel", "warning"]
        with (self.folder / "redis.out").open("ab") as output:
            self.redis = subprocess.Popen(command, stdout=output, stderr=output)
        ends = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < ends, (self.folder / "redis.out").read_text()
            time.sleep(0.01)
        return self

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

    def use(self, patch: pytest.MonkeyPatch) -> Engines:
        """From now on this process, and those it starts, find these."""
        patch.setenv(RECORD, self.server.replace("/postgres?", f"/{self.database}?"))
        patch.setenv(ONLINE, self._online)
        return self

    def stop(self) -> None:
        if self.redis is not None:
            self.redis.send_signal(signal.SIGKILL)
            self.redis.wait(10)
