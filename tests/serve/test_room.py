"""However many connect and however slowly they speak or listen, others are answered."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import orjson
import pytest
from client_world import serving, until
from serving_world import World, body, world

from interlock.web import room
from interlock.web.gateway import gateway_app
from interlock.web.room import Room
from interlock.web.wire import protocol_of

INFER = "/v2/models/late/infer"
HALF = f"POST {INFER} HTTP/1.1\r\nhost: x\r\n".encode()
LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = world(tmp_path_factory.mktemp("room"))
    made.route()
    yield made
    made.gateway.stop()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOOK", 0.02)


@contextmanager
def at(served: World, most: int) -> Iterator[int]:
    plane = gateway_app(served.gateway)
    plane.room = Room(most)
    with serving(plane, protocol_of(plane)) as url:
        yield int(url.rpartition(":")[2])


def opened(port: int, *said: bytes) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", port), timeout=30)
    for part in said:
        link.sendall(part)
    return link


def heard(link: socket.socket) -> bytes:
    """Everything until the other side closes; what was sent and not read may cut it short."""
    said = b""
    try:
        while part := link.recv(1 << 16):
            said += part
    except ConnectionError:
        pass
    return said


def asked(port: int) -> int:
    return httpx.post(f"http://127.0.0.1:{port}{INFER}", json=body([1]), timeout=60).status_code


def test_who_asks_nothing_gives_way_to_who_does(served: World) -> None:
    with at(served, most=4) as port:
        silent = [opened(port) for _ in range(3)]
        rested = opened(port, LIVE)
        assert rested.recv(1 << 16).startswith(b"HTTP/1.1 200")
        for _ in range(6):  # each of them a connection of its own
            assert asked(port) == 200
        assert heard(silent[0]) == b""
        for link in (*silent, rested):
            link.close()


def test_where_everybody_asks_the_next_is_told_to_come_again(served: World) -> None:
    before = served.gateway.counts().get("turned_away", 0)
    with at(served, most=3) as port:
        slow = [opened(port, LIVE + HALF) for _ in range(3)]
        assert all(link.recv(12) == b"HTTP/1.1 200" for link in slow)  # the half has come too
        said = heard(opened(port))
        assert said.startswith(b"HTTP/1.1 429")
        assert b"retry-after: 1\r\n" in said
        assert b"connection: close\r\n" in said
        assert served.gateway.counts()["turned_away"] > before
        for link in slow:
            link.close()
        assert until(lambda: asked(port) == 200)


@pytest.mark.parametrize(
    "begun",
    [
        b"", b"\r\n", HALF, HALF + b"x: ", LIVE + HALF,
        b"POST /nowhere HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"POST /ofrep/v1/evaluate/flags HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
        b"POST /v1/push/t HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
    ],
)  # fmt: skip
def test_who_does_not_go_on_is_left(
    served: World, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SLOWEST_HEAD", 0.1)
    monkeypatch.setattr(room, "SLOWEST_REQUEST", 0.1)
    with at(served, most=100) as port:
        said = heard(opened(port, begun))
    assert said == b"" or said.startswith(b"HTTP/1.1 ")
    if not begun or begun.startswith(HALF):
        assert said.startswith(b"HTTP/1.1 408")


def test_byte_by_byte_is_no_way_to_stay(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SLOWEST_HEAD", 0.2)
    with at(served, most=100) as port:
        link = opened(port, HALF)

        def ended() -> bool:
            try:
                link.sendall(b"x")
                return False
            except ConnectionError:
                return True

        assert until(ended)
        assert asked(port) == 200


CHUNKED = HALF + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (HALF, b"x-more: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n"), (HALF + b"x: ", b"y" * 40),
        (b"GET /v2?", b"y" * 40), (CHUNKED + b"0\r\n", b"x-more: yyyyyyyyyyyyyyyyyyyyyyyy\r\n"),
        (CHUNKED + b"1;", b"y" * 40),
    ],
    ids=["headers", "a header", "the address", "trailers", "words about a chunk"],
)  # fmt: skip
def test_what_has_no_end_is_not_kept(served: World, first: bytes, more: bytes) -> None:
    with at(served, most=100) as port:
        link = opened(port, first)
        try:
            for _ in range(10_000):
                link.sendall(more * 200)
        except ConnectionError:
            pass
        else:
            raise AssertionError("it took 60 MB")
        said = heard(link)
        assert asked(port) == 200
    assert said == b"" or said.startswith(b"HTTP/1.1 4")


def test_who_never_reads_is_left(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SLOWEST_READER", 0.1)
    many = orjson.dumps(body([7] * 500))
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(many)}\r\n\r\n"
    before = served.gateway.counts().get("hung_up", 0)
    with at(served, most=100) as port, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", port))
        deaf.setblocking(False)

        def left() -> bool:
            try:
                deaf.send(head.encode() + many)
            except BlockingIOError:
                pass
            except ConnectionError:
                return True
            return served.gateway.counts().get("hung_up", 0) > before

        assert until(left)
        assert asked(port) == 200


def test_a_server_takes_the_files_it_may_have() -> None:
    code = (
        "import resource; hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1];"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard));"
        "from interlock.web import room; room.open_more_files(); print(room.open_files())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    endless = hard == resource.RLIM_INFINITY
    assert int(done.stdout) == (room.MOST_FILES if endless else min(hard, room.MOST_FILES))
