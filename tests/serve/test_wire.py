"""Requests that go straight from the parser to a turn are answered as those that take the long way.

The same bytes are sent to two servers over one gateway: uvicorn's protocol and ours.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
import uvicorn
from client_world import serving, until
from serving_world import CANDIDATE, STABLE, World, body, world
from starlette.types import Receive, Scope, Send

from interlock.web import oip, tensors
from interlock.web.gateway import gateway_app
from interlock.web.wire import protocol_of

INFER = "/v2/models/late/infer"
SENT = orjson.dumps(body([1, 2], origin=["EWR", "LGA"]))
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
# Ids and times: no two answers share them.
OWN = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])(-[0-9a-f]{16}-0[01])?|date: [^\r]+")


class Door(NamedTuple):
    """A server, and what was asked of its ASGI application."""

    port: int
    asked: list[str]


@contextmanager
def door(made: World, ours: bool, most: int = 1024) -> Iterator[Door]:
    plane, asked = gateway_app(made.gateway, most), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])
        await plane(scope, receive, send)

    with serving(app, protocol_of(plane) if ours else "httptools") as url:
        yield Door(int(url.rpartition(":")[2]), asked)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = world(tmp_path_factory.mktemp("wire"))
    made.route(candidate=CANDIDATE, weight=0.5)
    yield made
    made.gateway.stop()


@pytest.fixture(scope="module")
def doors(served: World) -> Iterator[tuple[Door, Door]]:
    with door(served, ours=True) as short, door(served, ours=False) as long:
        yield short, long


def request(path: str = INFER, sent: bytes = SENT, *lines: str, method: str = "POST") -> bytes:
    extra = "".join(f"{line}\r\n" for line in lines)
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\n{extra}content-length: {len(sent)}\r\n\r\n"
    return head.encode("latin-1") + sent


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + end


def binary() -> bytes:
    sent = orjson.loads(SENT)
    distance = tensors.pack("FP64", sent["inputs"][3].pop("data"))
    sent["inputs"][3]["parameters"] = {"binary_data_size": len(distance)}
    text = orjson.dumps(sent)
    return request(INFER, text + distance, f"{tensors.HEADER.decode()}: {len(text)}")


def talk(port: int, *parts: bytes, wait: float = 0.02) -> bytes:
    """Everything that comes back; the last request of each talk asks to be the last."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
        for part in parts:
            link.sendall(part)
            time.sleep(wait if len(parts) > 1 else 0)
        said = b""
        while more := link.recv(1 << 16):
            said += more
    return OWN.sub(b"-", said)


LAST = request("/v2/health/live", b"", "connection: close", method="GET")
SHORT: dict[str, bytes] = {
    "plain": request(),
    "version": request("/v2/models/late/versions/late@2/infer"),
    "nobody": request("/v2/models/early/infer"),
    "traced": request(INFER, SENT, f"traceparent: {PARENT}"),
    "traced badly": request(INFER, SENT, "traceparent: 7", "traceparent: 8"),
    "released": request(INFER, SENT, f"x-interlock-release: {STABLE};e=1"),
    "released wrongly": request(INFER, SENT, "X-Interlock-Release: 7"),
    "carried": request(INFER, SENT, f"baggage: interlock-release={CANDIDATE};e=1"),
    "binary": binary(),
    "compressed": request(INFER, SENT, "content-encoding: gzip"),
    "no JSON": request(INFER, b"\xff\xfe"),
    "empty": request(INFER, b""),
    "chunked": chunked(SENT[:50], SENT[50:]),
    "many rows": request(INFER, orjson.dumps(body(list(range(700))))),
}
LONG: dict[str, tuple[bytes, ...]] = {
    "get": (request(INFER, b"", method="GET"),),
    "a query": (request(INFER + "?now=1"),),
    "decoded": (request("/v2/models/l%61te/infer"),),
    "closes": (request(INFER, SENT, "connection: close"),),
    "old": (request(INFER, SENT, "connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"),),
    "in parts": (request()[:40], request()[40:150], request()[150:]),
    "byte by byte": tuple(bytes([one]) for one in request()),
    "chunks one by one": (chunked(SENT[:50], end=b""), chunked(SENT[50:])[62:]),
    "expects": (request(INFER, b"", "expect: 100-continue").replace(b"h: 0", b"h: %d" % len(SENT)),
                SENT),
    "upgrades": (request(INFER, SENT, "connection: upgrade", "upgrade: x"),),
    "ahead": (request(INFER, SENT, f"x-interlock-release: {'9' * 64};e=99"),),
}  # fmt: skip
BROKEN: dict[str, bytes] = {
    "two lengths": request(INFER, SENT, f"content-length: {len(SENT) + 1}"),
    "both forms": request(INFER, SENT, "transfer-encoding: chunked"),
    "no length": request(INFER, SENT).replace(b"content-length: ", b"content-length: x"),
    "not ASCII": request("/v2/models/l\xe4te/infer"),
    "bad chunk": chunked(SENT[:50], end=b"zz\r\n"),
}


@pytest.mark.parametrize("name", SHORT)
def test_the_short_way_says_what_the_long_one_says(doors: tuple[Door, Door], name: str) -> None:
    short, long = doors
    short.asked.clear()
    sent = SHORT[name]
    assert talk(short.port, sent, LAST) == talk(long.port, sent, LAST)
    assert short.asked == ["/v2/health/live"]


@pytest.mark.parametrize("name", LONG)
def test_what_is_not_plain_goes_the_long_way(doors: tuple[Door, Door], name: str) -> None:
    short = doors[0]
    short.asked.clear()
    wait = 0.0005 if len(LONG[name]) > 9 else 0.02
    said = [talk(one.port, *LONG[name], LAST, wait=wait) for one in doors]
    assert said[0] == said[1]
    assert len(short.asked) == said[0].count(b"HTTP/1.1") - said[0].count(b"HTTP/1.1 100")


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_request_is_refused_alike(doors: tuple[Door, Door], name: str) -> None:
    doors[0].asked.clear()
    short, long = (talk(one.port, BROKEN[name]) for one in doors)
    assert short == long
    assert short.startswith(b"HTTP/1.1 400")
    assert doors[0].asked == []


def test_requests_sent_ahead_are_answered_in_their_order(doors: tuple[Door, Door]) -> None:
    mine = [request(INFER, orjson.dumps(body([1]) | {"id": str(n)})) for n in range(3)]
    sent = mine[0] + request("/v2", b"", method="GET") + mine[1] + mine[2] + LAST
    short, long = (talk(one.port, sent) for one in doors)
    assert short == long
    assert re.findall(rb'"id":"(\d)"|"(name)":"interlock"|"(live)":true', short) == [
        (b"0", b"", b""), (b"", b"name", b""), (b"1", b"", b""), (b"2", b"", b""),
        (b"", b"", b"live"),
    ]  # fmt: skip


def test_what_follows_and_is_no_request_costs_no_other_connection(
    doors: tuple[Door, Door],
) -> None:
    for one in doors:
        assert b"HTTP/1.1 400" in talk(one.port, request() + b"\x00 nothing\r\n\r\n")
        assert talk(one.port, request() + LAST).count(b"HTTP/1.1 200") == 2


def test_too_many_at_once_are_told_when_to_come_again(served: World) -> None:
    with door(served, ours=True, most=0) as full:
        said = talk(full.port, request(), LAST)
        assert full.asked == ["/v2/health/live"]
    assert said.startswith(b"HTTP/1.1 429")
    assert b"retry-after: 1\r\n" in said


def test_who_left_before_the_turn_is_neither_answered_nor_logged(served: World) -> None:
    """A turn that takes long: what comes meanwhile waits, and one of those leaves."""
    stable = served.gateway.live().stable
    scorer, going, entered = stable.scorers["late"], threading.Event(), threading.Event()

    class Slow:
        def score(self, matrix: Any) -> Any:
            entered.set()
            going.wait(30)
            return scorer.score(matrix)

    before = len(served.rows())
    pinned = request("/v2/models/late/versions/late@1/infer")
    with door(served, ours=True) as one:
        stable.scorers["late"] = Slow()  # type: ignore[index]  # a dict
        first = socket.create_connection(("127.0.0.1", one.port), timeout=30)
        first.sendall(pinned)
        assert entered.wait(30)
        leaves = [socket.create_connection(("127.0.0.1", one.port)) for _ in range(3)]
        for link in leaves:
            link.sendall(pinned)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            link.close()  # with a reset: the server hears of it in the same turn
        going.set()
        assert first.recv(1 << 16).startswith(b"HTTP/1.1 200")
        first.close()
        stable.scorers["late"] = scorer  # type: ignore[index]  # a dict
        assert talk(one.port, request(), LAST).count(b"HTTP/1.1 200") == 2
    assert len(served.rows()) <= before + 2 * 5  # those who left may have been heard too late


def test_a_mistake_of_ours_leaves_nobody_waiting(tmp_path: Path) -> None:
    made = world(tmp_path)
    made.route()

    class Mistaken:
        def score(self, matrix: Any) -> Any:
            raise AssertionError("nobody thought of this")

    made.gateway.live().stable.scorers["late"] = Mistaken()  # type: ignore[index]  # a dict
    for ours in (True, False):
        with door(made, ours) as one:
            said = talk(one.port, request(), LAST)
        assert said.startswith(b"HTTP/1.1 503")
        assert b"could not be answered" in said
    made.gateway.stop()


def test_a_request_that_finds_a_mistake_of_ours_costs_no_other(
    served: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = oip.parse

    def mistaken(asked: oip.Door, sent: bytes) -> oip.Inquiry:
        if b"mistake" in sent:
            raise TypeError("nobody thought of this")
        return parse(asked, sent)

    monkeypatch.setattr(oip, "parse", mistaken)
    wrong = request(INFER, b"mistake")
    with door(served, ours=True) as one:
        good = [socket.create_connection(("127.0.0.1", one.port), timeout=30) for _ in range(3)]
        for link in good:
            link.sendall(request())
            assert b"200" not in talk(one.port, wrong, LAST)
        assert [link.recv(12) for link in good] == [b"HTTP/1.1 200"] * 3
        for link in good:
            link.close()


def test_a_server_that_leaves_hears_of_every_request(served: World) -> None:
    """It goes when nobody asked for a while: what takes the short way is not seen to ask."""
    with door(served, ours=True) as one:
        assert b"HTTP/1.1 200" in talk(one.port, request(), LAST)
        one.asked.clear()
        served.gateway.drain()
        try:
            assert b"HTTP/1.1 200" in talk(one.port, request(INFER, SENT, "connection: close"))
            assert b"HTTP/1.1 200" in talk(one.port, request(), LAST)
        finally:
            served.gateway.draining = False
        assert one.asked.count(INFER) == 2


def test_answers_of_both_ways_are_counted(served: World) -> None:
    with door(served, ours=True) as one:
        talk(one.port, request(), request(INFER, b"[]"), LAST)
        found = talk(one.port, request("/metrics", b"", "connection: close", method="GET"))
    assert b'interlock_responses_total{status="200"} 1\n' in found
    assert b'interlock_responses_total{status="400"} 1\n' in found


def test_a_connection_that_rests_is_closed(served: World) -> None:
    """The keep-alive of uvicorn runs on the short way too."""
    plane = gateway_app(served.gateway)
    config = uvicorn.Config(
        plane, http=protocol_of(plane), timeout_keep_alive=1, log_level="error", lifespan="off"
    )
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    assert until(lambda: server.started)
    said = talk(listening.getsockname()[1], request())
    server.should_exit = True
    thread.join()
    assert said.startswith(b"HTTP/1.1 200")


def test_who_never_reads_is_not_answered_without_end(served: World) -> None:
    """What somebody asked and does not take is kept for him only up to a bound."""
    many = request(INFER, orjson.dumps(body([7] * 500)))
    counts = served.gateway.counts
    with door(served, ours=True) as one, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", one.port))
        for _ in range(300):
            before = counts()["requests"]
            deaf.sendall(many)
            if not until(lambda before=before: counts()["requests"] > before, 0.5):
                break
        else:
            raise AssertionError("it answers on and on")
        assert talk(one.port, request(), LAST).count(b"HTTP/1.1 200") == 2
