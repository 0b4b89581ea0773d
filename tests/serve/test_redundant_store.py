"""A store that dies costs one answer its time, nobody a wrong value, and comes back by itself."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from redis_server import RedisServer, new_server
from serving_world import HOUR, LATE, NOW, WEATHER, World, body, world

from interlock.adapters.lmdb import LmdbOnlineStore
from interlock.adapters.redis import RedisOnlineStore
from interlock.app.serving import Gateway, Pace
from interlock.app.stores import Places, RedundantStore, Told, expanded, open_online
from interlock.errors import Unavailable, Unusable
from interlock.ports import OnlineRow, OnlineStore
from interlock.serve.packed import unpack_all
from interlock.testing.online import NEW, OLD, OnlineStoreContract
from interlock.web import oip

OLDER, NEWER = OnlineRow(10.0, (1.0,)), OnlineRow(20.0, (2.0,))


class Counted:
    """A real store that counts how often it was asked."""

    def __init__(self, store: RedisOnlineStore) -> None:
        self.store, self.reads = store, 0

    def packed(self, wanted: list[tuple[str, str]]) -> list[bytes | None]:
        self.reads += 1
        return self.store.packed(wanted)

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)


def read_from(
    store: RedundantStore, wanted: list[tuple[str, str]]
) -> tuple[list[OnlineRow | None], Told]:
    """Rows as values, and which store gave them."""
    rows, told = store.packed_from(wanted)
    return unpack_all(rows), told


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    made = new_server(tmp_path_factory.mktemp("redis"))
    yield made
    made.stop()


@pytest.fixture
def redis_first(server: RedisServer, tmp_path: Path) -> Iterator[RedundantStore]:
    """Redis, and a folder that stands in for it."""
    if server.process is None or server.process.poll() is not None:
        server.start()
    server.flush()
    store = RedundantStore(
        [
            lambda: RedisOnlineStore(server.url, timeout=0.3),
            lambda: LmdbOnlineStore(tmp_path / "second", sync=False),
        ],
        poll=0.05,
    )
    yield store
    store.close()


def eventually(true: Callable[[], bool]) -> None:
    """Fails when `true` does not come true; how long it takes is not what is tested."""
    ends = time.monotonic() + 120
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


class TestRedundant(OnlineStoreContract):
    """Two stores keep the promises of one."""

    def make(self, folder: Path) -> OnlineStore:
        return RedundantStore(
            [
                lambda: LmdbOnlineStore(folder / "one", sync=False),
                lambda: LmdbOnlineStore(folder / "two", sync=False),
            ]
        )


# R-A14
def test_a_dead_store_is_replaced_at_once_and_comes_back_when_it_caught_up(
    redis_first: RedundantStore, server: RedisServer
) -> None:
    store = redis_first
    store.write(OLD, [("EWR", OLDER)], (None, 10.0))
    assert read_from(store, [(OLD, "EWR")]) == ([OLDER], ("primary", 0.0))
    server.kill()
    assert read_from(store, [(OLD, "EWR")]) == ([OLDER], ("secondary", 0.0))
    assert "primary does not answer" in store.sentences()[0]
    store.write(OLD, [("EWR", NEWER)], (10.0, 20.0))
    assert read_from(store, [(OLD, "EWR")]) == ([NEWER], ("secondary", 0.0))

    server.start()  # empty: it lost everything
    eventually(lambda: store.standing()[0]["healthy"])
    assert read_from(store, [(OLD, "EWR")]) == ([NEWER], ("secondary", 0.0))
    assert any("primary has missed everything" in said for said in store.sentences())
    assert store.watermarks() == {}, "who feeds must begin at the beginning"
    store.write(OLD, [("EWR", NEWER)], (None, 20.0))
    eventually(lambda: store.standing()[0]["reading"])
    assert read_from(store, [(OLD, "EWR")]) == ([NEWER], ("primary", 0.0))
    assert store.sentences() == []


def test_a_store_that_hangs_costs_one_request_its_timeout_and_the_others_nothing(
    server: RedisServer, tmp_path: Path
) -> None:
    slow = Counted(RedisOnlineStore(server.url, timeout=0.3))
    second = LmdbOnlineStore(tmp_path / "second", sync=False)
    store = RedundantStore([lambda: slow, lambda: second], poll=3600.0)  # type: ignore[list-item, return-value]  # it counts, and passes on
    for one in (slow.store, second):
        one.write(NEW, [("EWR", OLDER)], (None, 10.0))
    assert read_from(store, [(NEW, "EWR")])[1].store == "primary"
    server.signal(signal.SIGSTOP)
    try:
        answers = [read_from(store, [(NEW, "EWR")]) for _ in range(50)]
    finally:
        server.signal(signal.SIGCONT)
    assert answers == [([OLDER], ("secondary", 0.0))] * 50
    assert slow.reads == 2, "one before it hung, and one to find out"
    store.close()


def test_the_only_store_left_says_what_it_missed(
    redis_first: RedundantStore, server: RedisServer, tmp_path: Path
) -> None:
    store = redis_first
    store.write(OLD, [("EWR", OLDER)], (None, 10.0))
    with RedisClient(server) as primary:
        primary.write(OLD, [("EWR", NEWER)], (10.0, 20.0))  # the second store was away
    assert read_from(store, [(OLD, "EWR")]) == ([NEWER], ("primary", 0.0))
    store.look()
    server.kill()
    rows, told = read_from(store, [(OLD, "EWR")])
    assert (rows, told) == ([OLDER], ("secondary", 10.0))
    assert told.text == "secondary, 10 s behind"


class RedisClient:
    def __init__(self, server: RedisServer) -> None:
        self.store = RedisOnlineStore(server.url, timeout=5)

    def __enter__(self) -> RedisOnlineStore:
        return self.store

    def __exit__(self, *_: object) -> None:
        self.store.close()


def test_when_nothing_answers_every_store_is_named(
    redis_first: RedundantStore, server: RedisServer, tmp_path: Path
) -> None:
    server.kill()
    alone = RedundantStore([lambda: RedisOnlineStore(server.url), _nowhere], poll=3600.0)
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"primary: .*r\.sock.*secondary: nowhere"):
            alone.read([(OLD, "EWR")])
    with pytest.raises(Unavailable, match="no online store took rows"):
        alone.write(OLD, [("EWR", OLDER)])
    assert [one["healthy"] for one in alone.standing()] == [False, False]
    alone.close()


def _nowhere() -> OnlineStore:
    raise Unavailable("nowhere")


# --- through the gateway --------------------------------------------------------------


@pytest.fixture
def served(redis_first: RedundantStore, tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    for view, rows in (
        (WEATHER, [("EWR", OnlineRow(NOW - HOUR, (40.0, 7.0)))]),
        (LATE, [("UA|EWR", OnlineRow(NOW - 9 * HOUR, (0.3,)))]),
    ):
        redis_first.write(view.fingerprint, rows, (None, NOW))
    gateway = Gateway(
        made.record,
        made.artifacts,
        redis_first,
        made.log,
        "flights",
        True,
        Pace(lease=120.0, retry=0.0),
    )
    made = replace(made, gateway=gateway)
    made.route()
    yield made
    made.log.close()
    made.store.close()


def answered(world: World) -> tuple[str, dict[str, object]]:
    inquiry = oip.parse(oip.Door("late"), orjson.dumps(body([7])))
    got = world.gateway.answer(inquiry.ask)
    said = orjson.loads(oip.reply(inquiry, got)[0])
    outputs = {one["name"]: one["data"][0] for one in said["outputs"]}
    return said["parameters"]["store"], outputs


# R-A14
def test_an_answer_names_its_store_and_a_store_that_missed_something_is_never_fresh(
    served: World, redis_first: RedundantStore, server: RedisServer
) -> None:
    store, first = answered(served)
    assert (store, first["stale"], first["reason"]) == ("primary", False, "live")
    server.kill()
    store, second = answered(served)
    assert (store, second["stale"], second["score"]) == ("secondary", False, first["score"])
    assert served.gateway.ready
    assert [s["healthy"] for s in served.gateway.status()["stores"]] == [False, True]
    server.start()
    with RedisClient(server) as primary:
        primary.write(WEATHER.fingerprint, [], (None, NOW + 60))
        primary.write(LATE.fingerprint, [], (None, NOW + 60))
    # Healthy is not enough: it must have been asked how far it is since it was written to.
    eventually(lambda: redis_first.standing()[1]["behind_s"] == 60)
    server.kill()
    store, third = answered(served)
    assert (store, third["stale"]) == ("secondary, 60 s behind", True)
    assert [row.get("store") for row in served.rows()] == ["primary", "secondary", store]
    assert [row["stale"] for row in served.rows()] == [False, False, True]


# --- addresses --------------------------------------------------------------------------


def test_secrets_come_from_the_process_and_a_missing_one_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STORE_KEY", "s3cret")
    assert expanded("redis://:${STORE_KEY}@db:6379/0") == "redis://:s3cret@db:6379/0"
    monkeypatch.delenv("STORE_KEY")
    with pytest.raises(Unusable, match="STORE_KEY is not set"):
        expanded("redis://:${STORE_KEY}@db:6379/0")


def test_addresses_open_what_they_name(server: RedisServer, tmp_path: Path) -> None:
    places = Places(tmp_path, "flights.prod")
    usual = open_online((), places)
    assert isinstance(usual, LmdbOnlineStore)
    both = open_online((server.url, "lmdb://.interlock/other"), places)
    if server.process is None or server.process.poll() is not None:
        server.start()
    both.write(OLD, [("EWR", OLDER)], (None, 10.0))
    both.close()
    reader = open_online(("lmdb://.interlock/other",), places, "read")
    assert reader.read([(OLD, "EWR")]) == [OLDER]
    elsewhere = open_online((server.url,), Places(tmp_path, "flights.dev"))
    assert elsewhere.read([(OLD, "EWR")]) == [None], "environments do not share rows"
    for store in (usual, reader, elsewhere):
        store.close()
