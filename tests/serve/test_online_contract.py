"""Every online store keeps the same promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis_server import RedisServer, new_server

from interlock.adapters.lmdb import LmdbOnlineStore
from interlock.adapters.memory import MemoryOnlineStore
from interlock.adapters.redis import RedisOnlineStore
from interlock.errors import Unavailable
from interlock.ports import OnlineRow, OnlineStore
from interlock.testing.online import NEW, OLD, OnlineStoreContract


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = new_server(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


class TestMemory(OnlineStoreContract):
    def make(self, folder: Path) -> OnlineStore:
        return MemoryOnlineStore()


class TestLmdb(OnlineStoreContract):
    def make(self, folder: Path) -> OnlineStore:
        return LmdbOnlineStore(folder / "online", sync=False, map_size=1 << 16)


class TestRedis(OnlineStoreContract):
    server: RedisServer

    @pytest.fixture(autouse=True)
    def _empty(self, redis_server: RedisServer) -> None:
        redis_server.flush()
        self.server = redis_server

    def make(self, folder: Path) -> OnlineStore:
        return RedisOnlineStore(self.server.url, prefix="a[b]*", timeout=5)

    def test_prefixes_are_worlds_of_their_own(self, store: OnlineStore) -> None:
        other = RedisOnlineStore(self.server.url, prefix="a[b]*c", timeout=5)
        for one, at in ((store, 1.0), (other, 2.0)):
            one.write(OLD, [("EWR", OnlineRow(at, ()))], (None, at))
        store.drop(OLD)
        assert other.read([(OLD, "EWR")]) == [OnlineRow(2.0, ())]
        assert (store.watermarks(), other.watermarks()) == ({}, {OLD: 2.0})
        other.close()

    def test_a_read_is_one_command(self, store: OnlineStore) -> None:
        store.write(OLD, [(f"k{n}", OnlineRow(1.0, (1.0,))) for n in range(50)])
        import redis

        with redis.Redis.from_url(self.server.url) as client:
            client.config_resetstat()
            store.read([(view, f"k{n}") for n in range(50) for view in (OLD, NEW)])
            calls = {name: said["calls"] for name, said in client.info("commandstats").items()}
        assert calls["cmdstat_mget"] == 1
        assert "cmdstat_get" not in calls

    def test_a_full_server_says_so_and_keeps_its_watermark(self, store: OnlineStore) -> None:
        import redis

        with redis.Redis.from_url(self.server.url) as client:
            client.config_set("maxmemory", 3_000_000)
            try:
                rows = [(f"k{n}", OnlineRow(1.0, (1.0,) * 50)) for n in range(20_000)]
                with pytest.raises(Unavailable, match="is full"):
                    store.write(OLD, rows, (None, 9.0))
            finally:
                client.config_set("maxmemory", 0)
        assert store.watermarks() == {}
        assert store.write(OLD, rows, (None, 9.0)) == 20_000
        assert store.watermarks() == {OLD: 9.0}


def test_a_server_that_is_not_there_is_unavailable_and_no_password_is_shown(tmp_path: Path) -> None:
    store = RedisOnlineStore(f"unix://me:secret@{tmp_path}/none.sock", timeout=1)
    with pytest.raises(Unavailable, match="did not answer") as caught:
        store.read([(OLD, "EWR")])
    assert "secret" not in str(caught.value)
    with pytest.raises(Unavailable, match="no Redis address"):
        RedisOnlineStore("ftp://somewhere")


def test_a_connection_the_server_closed_costs_no_answer(redis_server: RedisServer) -> None:
    store = RedisOnlineStore(redis_server.url, timeout=5)
    store.write(OLD, [("EWR", OnlineRow(1.0, ()))])
    import redis

    with redis.Redis.from_url(redis_server.url) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    assert store.read([(OLD, "EWR")]) == [OnlineRow(1.0, ())]
    store.close()
