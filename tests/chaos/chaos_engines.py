"""A Postgres record and a Redis server for a project, and the same again for a copy of it."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from adbc_driver_postgresql import dbapi
from redis_server import RedisServer, new_server

RECORD, ONLINE = "CHAOS_RECORD", "CHAOS_ONLINE"


@dataclass
class Engines:
    """Where one project keeps its record and its online rows."""

    server: str  # a Postgres
    database: str
    online: RedisServer

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
            shutil.copy(like.online.folder / "dump.rdb", folder / "dump.rdb")
        return cls(server, name, new_server(folder))

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.online.url)

    def use(self, patch: pytest.MonkeyPatch) -> Engines:
        """From now on this process, and those it starts, find these."""
        patch.setenv(RECORD, self.server.replace("/postgres?", f"/{self.database}?"))
        # What is tried here is not how long a machine with too much to do takes for one read.
        patch.setenv(ONLINE, f"{self.online.url}?socket_timeout=10&socket_connect_timeout=10")
        return self

    def stop(self) -> None:
        self.online.stop()
