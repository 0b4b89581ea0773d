"""Rows by HTTP: acknowledged, refused row by row, or asked to come again."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from client_world import serving
from serving_world import STABLE, World, world

from interlock.app.push import Pusher
from interlock.define.refs import Ref
from interlock.ports import OnlineRow
from interlock.serve.push import Feed, PushSpec
from interlock.serve.spec import ServingSpec
from interlock.web import ofrep, push
from interlock.web.gateway import gateway_app

PRINT = "7" * 64
SPEC = PushSpec(
    "wh.gates", {"gate": ("string", False), "at": ("timestamp", False), "queue": ("double", True)},
    ("gate",), "at", "arrived", 2000, (Feed(PRINT, ("gate",), "at", ("queue",)),),
)  # fmt: skip
NOON, LATER = "2013-04-01T12:00:00Z", "2013-04-01T12:05:00Z"


@pytest.fixture
def taking(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    ref = Ref("serving", STABLE)
    serving = ServingSpec.from_json(made.record.entries[ref][-1].body)
    made.record.put(ref, replace(serving, pushes=(SPEC,)).to_json())
    made.gateway.pusher = Pusher(tmp_path, made.store)
    made.route()
    yield made
    made.gateway.pusher.close()
    made.log.close()
    made.store.close()


async def post(world: World, body: Any, table: str = "wh.gates") -> httpx.Response:
    transport = httpx.ASGITransport(app=gateway_app(world.gateway))
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.post(f"/v1/push/{table}", content=content)


def pushed(world: World, body: Any, table: str = "wh.gates") -> tuple[int, Any, str | None]:
    import asyncio

    answer = asyncio.run(post(world, body, table))
    return answer.status_code, answer.json(), answer.headers.get("retry-after")


def row(gate: str, queue: float | None = 1.0) -> dict[str, Any]:
    return {"gate": gate, "at": "2013-04-01T11:00:00Z", "queue": queue}


# R-A4
def test_rows_are_acknowledged_and_online(taking: World) -> None:
    status, said, _ = pushed(taking, {"rows": [row("A1"), row("B2", None)], "at": NOON})
    assert (status, said["accepted"], said["duplicates"], said["online"]) == (200, 2, 0, 2)
    assert said["arrived"] == NOON
    stored = taking.store.read([(PRINT, "A1"), (PRINT, "B2")])
    assert [one and one.values for one in stored] == [(1.0,), (None,)]
    assert isinstance(stored[0], OnlineRow)
    status, again, _ = pushed(taking, {"rows": [row("A1")], "at": LATER})
    assert (status, again["accepted"], again["duplicates"]) == (200, 0, 1)
    assert taking.store.read([(PRINT, "A1")]) == stored[:1]


def test_every_bad_row_is_named(taking: World) -> None:
    body = {"rows": [row("A1"), {"gate": "B2"}, {**row("C3"), "queue": "long"}], "at": NOON}
    status, said, _ = pushed(taking, body)
    assert status == 400
    assert said["objections"] == [
        "row 1: 'at' is missing or null", "row 2: 'queue' is double: 'long' is not",
    ]  # fmt: skip
    assert taking.store.read([(PRINT, "A1")]) == [None]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        {"rows": {}},
        {"rows": []},
        {"rows": [row("A")], "at": 7},
        {"rows": [row("A\x00")]},
        {"rows": [{**row("A"), "at": "0001-01-01T00:00:00+14:00"}]},
    ],
)
def test_what_is_no_push_is_refused(taking: World, body: Any) -> None:
    status, said, _ = pushed(taking, body)
    assert status == 400
    assert said["error"]


def test_a_table_that_takes_no_rows_is_not_found(taking: World) -> None:
    status, said, _ = pushed(taking, {"rows": [row("A1")], "at": NOON}, "wh.weather")
    assert (status, said["help"]) == (404, "known: wh.gates")


def test_a_full_buffer_asks_to_come_again(taking: World) -> None:
    codes = [
        pushed(taking, {"rows": [row(f"G{n}-{i}") for i in range(5)], "at": NOON})
        for n in range(8)
    ]  # fmt: skip
    assert codes[0][0] == 200
    status, said, retry = codes[-1]
    assert (status, retry) == (429, "5")
    assert "interlock tick" in said["help"]


def test_a_disk_that_is_full_is_said_and_the_same_rows_are_taken_when_it_has_room(
    taking: World, tmp_path: Path
) -> None:
    first, many = [row("A1")], [{**row(f"B{n}"), "at": "2013-04-01T11:30:00Z"} for n in range(8)]
    assert pushed(taking, {"rows": first, "at": NOON})[0] == 200
    (segment,) = (tmp_path / "push" / "wh.gates").glob("*.jsonl")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (segment.stat().st_size + 300, before[1]))
        status, said, _ = pushed(taking, {"rows": many, "at": LATER})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 503
    assert str(segment.parent) in said["error"]
    assert "disk" in said["help"]
    assert taking.store.read([(PRINT, "B0")]) == [None]
    status, said, _ = pushed(taking, {"rows": many, "at": LATER})
    assert (status, said["accepted"], said["duplicates"]) == (200, 8, 0)
    assert pushed(taking, {"rows": many, "at": LATER})[1]["duplicates"] == 8
    # In replayed time the clock may go back: what arrives later still arrived later.
    status, late, _ = pushed(taking, {"rows": [row("C3")], "at": NOON})
    assert status == 200
    arrived, then = (datetime.fromisoformat(one["arrived"]) for one in (late, said))
    assert arrived > then == datetime.fromisoformat(LATER)


def test_a_process_that_cannot_write_says_so(taking: World) -> None:
    pusher, taking.gateway.pusher = taking.gateway.pusher, None
    status, said, _ = pushed(taking, {"rows": [row("A1")], "at": NOON})
    assert (status, said["help"]) == (503, "start `interlock serve` again")
    taking.gateway.pusher = pusher


def test_a_body_is_bounded_in_bytes_and_seconds(
    taking: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "LARGEST_BODY", 1000)
    sent = orjson.dumps({"rows": [row("x" * 2000)]})
    status, said, _ = pushed(taking, sent)
    assert (status, said["error"]) == (413, "the body is larger than 1000 bytes")
    monkeypatch.setattr(push, "SLOWEST_BODY", 0.1)
    with serving(gateway_app(taking.gateway)) as url:
        port = int(url.rpartition(":")[2])
        for path in ("/v1/push/wh.gates", "/ofrep/v1/evaluate/flags"):
            monkeypatch.setattr(ofrep, "SLOWEST_BODY", 0.1)
            with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
                head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{{"
                link.sendall(head.encode())
                heard = b""
                while part := link.recv(1 << 16):
                    heard += part
            assert heard.startswith(b"HTTP/1.1 408")
