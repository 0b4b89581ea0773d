"""The client over real HTTP: it follows, it changes over, and silence costs only the candidate."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest
from client_world import QUICK, gateway_at, serving, speaking, until
from serving_world import CANDIDATE, STABLE, THIRD, World, world
from serving_world import body as infer
from starlette.types import Receive, Scope, Send

from interlock.app.releases import Pace
from interlock.client.client import Client
from interlock.client.elapsed import elapsed
from interlock.client.follow import EVENTS, ROUTE
from interlock.web.gateway import gateway_app

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


@pytest.fixture
def made(tmp_path: Path) -> World:
    one = world(tmp_path)
    one.route(candidate=CANDIDATE, weight=1.0)
    return one


@pytest.fixture
def url(made: World) -> Iterator[str]:
    with gateway_at(made) as address:
        yield address


def event(made: World, seen: float, now: float) -> bytes:
    """One event as a gateway says it."""
    body = made.gateway.live().published.to_json()
    return b"data: " + orjson.dumps({**body, "seen": seen, "now": now}) + b"\n\n"


def test_each_move_of_the_route_is_heard(made: World, url: str) -> None:
    client = Client([url]).start()
    assert client.assign("1") == (CANDIDATE, 1, "candidate")
    made.record.put(made.gateway.releases._ref, {"environment": "flights", "stable": STABLE})
    assert until(lambda: client.epoch == 2)
    assert client.assign("1") == (STABLE, 2, "stable")
    assert client.status()["following"] == url
    assert client.counts["no_events"] == 0
    client.stop()


def test_a_process_that_was_forked_follows_by_itself(made: World, url: str) -> None:
    """As gunicorn's workers do, after the application was loaded once for all of them."""
    client = Client([url], QUICK).start()
    child = os.fork()
    if child == 0:
        heard = until(lambda: client.epoch == 2) and not until(lambda: not client.leased, 1.5)
        os._exit(0 if heard else 1)
    made.route(stable=CANDIDATE)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert until(lambda: client.epoch == 2)
    client.stop()
    stopped = os.fork()
    if stopped == 0:
        os._exit(0 if until(lambda: not client.leased) else 1)  # nobody asked it to go on
    assert os.waitstatus_to_exitcode(os.waitpid(stopped, 0)[1]) == 0


def test_when_its_gateway_dies_it_follows_the_next(made: World, url: str, tmp_path: Path) -> None:
    other = world(tmp_path / "other")
    other.route(candidate=CANDIDATE, weight=1.0)
    with gateway_at(other) as first:
        client = Client([first, url], QUICK).start()
        assert client.status()["following"] == first
        held = client._held
    assert until(lambda: client.status()["following"] == url)
    assert held is not None
    assert until(lambda: client._held and client._held.until > held.until)
    assert client.assign("1").release == CANDIDATE
    client.stop()


def test_where_events_do_not_come_through_it_asks(made: World) -> None:
    inner = gateway_app(made.gateway)
    asked = []

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])
        path = "/nowhere" if scope["path"] == EVENTS else scope["path"]
        await inner({**scope, "path": path}, receive, send)

    made.gateway.start()
    with serving(proxy) as url:
        client = Client([url], QUICK).start()
        made.record.put(made.gateway.releases._ref, {"environment": "flights", "stable": STABLE})
        assert until(lambda: client.epoch == 2)
        assert client.counts["no_events"] > 0
        assert asked.count(ROUTE) > 1
        client.stop()
    made.gateway.stop()


def test_a_stream_that_falls_silent_costs_the_candidate_then_the_next_gateway_speaks(
    made: World, url: str
) -> None:
    """Half closed: the connection stands, nothing comes. Nobody is told, everybody is safe."""

    spoken = []

    def say(link: socket.socket, path: str) -> None:
        if not spoken:
            link.sendall(HEAD + event(made, elapsed(), elapsed()))
        spoken.append(path)

    with speaking(say) as silent:
        alone = Client([silent], QUICK).start()
        assert alone.assign("1").release == CANDIDATE
        assert until(lambda: not alone.leased)
        assert alone.assign("1") == (STABLE, 1, "stable")
        assert alone.counts["lease_over"] > 0
        spoken.clear()
        both = Client([silent, url], QUICK).start()
        assert until(lambda: both.status()["following"] == url)
        assert both.assign("1").release == CANDIDATE
        alone.stop()
        both.stop()


def test_events_that_were_held_back_do_not_lengthen_the_lease(made: World) -> None:
    """What a proxy kept for a while is as old as it is, whenever it comes."""

    began = elapsed()

    def say(link: socket.socket, path: str) -> None:
        link.sendall(HEAD + event(made, began, elapsed()))
        while True:
            time.sleep(0.05)
            link.sendall(event(made, began, began + 0.05))

    with speaking(say) as url:
        client = Client([url], QUICK).start()
        assert until(lambda: not client.leased)
        assert client.assign("1").release == STABLE
        client.stop()


@pytest.mark.parametrize("ahead", [0.0, 5e8, -5e8])
def test_whose_clock_is_right_does_not_matter(made: World, ahead: float) -> None:
    """A gateway tells seconds of its own; only what passed between two of them counts."""

    def say(link: socket.socket, path: str) -> None:
        link.sendall(HEAD)
        while True:
            link.sendall(event(made, elapsed() + ahead, elapsed() + ahead))
            time.sleep(0.05)

    with speaking(say) as url:
        client = Client([url], QUICK).start()
        assert client.leased
        held = client._held
        assert held is not None
        assert held.until <= elapsed() + QUICK.lease
        client.stop()


def test_a_clock_that_jumps_ahead_lends_no_time(made: World) -> None:
    spoken = []

    def say(link: socket.socket, path: str) -> None:
        if not spoken:
            link.sendall(HEAD + event(made, elapsed(), elapsed()))
            link.sendall(event(made, elapsed() + 1e6, elapsed() + 1e6))
        spoken.append(path)

    with speaking(say) as url:
        client = Client([url], QUICK).start()
        assert until(lambda: not client.leased)
        client.stop()


@pytest.mark.parametrize(
    "said",
    [
        b"data: {\n\n", b"data: {}\n\n", b"data: [1]\n\n", b"data: null\n\n", b"\n\n\n\n",
        b'data: {"route": {"weight": 2}, "known": [], "services": [], "seen": 1, "now": 1}\n\n',
        b"data: " + b"x" * (2 << 20),
    ],
)  # fmt: skip
def test_nonsense_is_no_route(made: World, url: str, said: bytes) -> None:
    def say(link: socket.socket, path: str) -> None:
        link.sendall(HEAD + said)
        link.close()

    with speaking(say) as wrong:
        client = Client([wrong, url], QUICK).start()
        assert client.status()["following"] == url
        client.stop()


def test_a_route_row_edited_by_hand_is_never_followed(made: World, url: str) -> None:
    client = Client([url], QUICK).start()
    assert client.assign("1").release == CANDIDATE
    entry = made.record.get(made.gateway.releases._ref)
    assert entry is not None
    for edit in (
        {"weight": 7},
        {"candidate": None},
        {"candidate": [THIRD]},
        {"arms": 3},
        {"a_later_word": 3},
    ):
        made.record.entries[entry.ref][-1] = entry  # as it was; the same number throughout
        assert until(lambda: client.assign("1").release == CANDIDATE)
        made.record.entries[entry.ref][-1] = type(entry)(
            entry.ref, entry.version, entry.body | edit, entry.written_at, "somebody"
        )
        assert until(lambda: client.assign("1").release == STABLE)
        assert made.gateway.live().candidates == {}
        assert made.gateway.live().stable.spec.release == STABLE
        assert made.gateway.status()["candidate_error"]
    client.stop()


def test_a_gateway_that_lost_the_record_is_left_for_one_that_has_not(
    made: World, url: str, tmp_path: Path
) -> None:
    lost = world(tmp_path / "lost", Pace(lease=0.5, retry=0.0))
    lost.route(candidate=CANDIDATE, weight=1.0)
    with gateway_at(lost) as first:
        client = Client([first, url], QUICK).start()
        assert client.status()["following"] == first
        lost.record.away = True
        assert until(lambda: client.status()["following"] == url)
        assert client.assign("1").release == CANDIDATE
        client.stop()


def test_a_gateway_started_anew_still_knows_what_callers_carry(tmp_path: Path) -> None:
    made = world(tmp_path)
    made.route(candidate=CANDIDATE, weight=1.0)
    made.route(stable=CANDIDATE)  # committed
    anew = type(made.gateway)(
        made.record, made.artifacts, made.store, made.log, "flights", True
    )  # fmt: skip
    anew.releases.poll()
    assert set(anew.live().known) == {STABLE, CANDIDATE}
    assert anew.live().carried(STABLE) == ("pinned", anew.live().known[STABLE])
    made.route(stable=CANDIDATE, blocked=[STABLE])
    again = type(made.gateway)(made.record, made.artifacts, made.store, made.log, "flights", True)
    again.releases.poll()
    assert set(again.live().known) == {CANDIDATE}


def test_a_gateway_that_lags_waits_a_moment_for_the_epoch_that_upstream_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world(tmp_path, Pace(calm=1000.0))
    made.route()
    body = made.record.entries[made.gateway.releases._ref][-1].body
    with gateway_at(made) as url, httpx.Client(base_url=url) as http:
        made.record.put(made.gateway.releases._ref, body | {"candidate": CANDIDATE, "weight": 0.0})
        asked = {"context": {"targetingKey": "7"}}
        header = {"x-interlock-release": f"{CANDIDATE};e=2"}
        monkeypatch.setattr("interlock.web.upstream.CATCH_UP", 20.0)
        threading.Timer(0.2, made.gateway.releases.poll).start()
        reply = http.post("/v2/models/late/infer", json=infer([1]), headers=header)
        assert reply.headers["x-interlock-release"] == f"{CANDIDATE};e=2"
        monkeypatch.undo()
        # Forged: one request waits, the next does not, and both are stable.
        header = {"x-interlock-release": f"{THIRD};e=999"}
        for _ in range(3):
            reply = http.post("/v2/models/late/infer", json=infer([1]), headers=header)
            assert reply.headers["x-interlock-release"] == f"{STABLE};e=2"
        flag = "/ofrep/v1/evaluate/flags/crew.release"
        carried = {"baggage": f"user=7,interlock-release={CANDIDATE};e=2"}
        assert http.post(flag, json=asked, headers=carried).json()["value"] == CANDIDATE
        twice = [("x-interlock-release", f"{CANDIDATE};e=2"), ("x-interlock-release", "x")]
        assert http.post(flag, json=asked, headers=twice).json()["value"] == STABLE
        assert made.gateway.status()["counts"]["unknown_release"] == 4
