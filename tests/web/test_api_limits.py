"""What the control API promises of itself, and what it takes from strangers: anything, calmly."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from conftest import Serve
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from interlock.change.token import SCOPES
from interlock.errors import Unusable
from interlock.web.api.app import schema
from interlock.web.api.limits import Limited, Limits, Pace, refuse_deep
from interlock.web.api.saying import ALWAYS

JSON = "application/json"
FILES = {
    "/api/v1/calendar.ics": "text/calendar",
    "/api/v1/changes/{id}/bundle": "application/zip",
}
WAYS = [
    (path, method, way) for path, ways in schema()["paths"].items() for method, way in ways.items()
]


@pytest.mark.parametrize(("path", "method", "way"), WAYS, ids=lambda one: str(one)[:40])
def test_every_route_says_what_it_is_for_and_how_it_says_no(
    path: str, method: str, way: dict[str, Any]
) -> None:
    assert way["description"]
    assert way["x-interlock-scope"] in SCOPES
    assert way["security"]
    assert {str(code) for code in ALWAYS} <= set(way["responses"])
    for code, answer in way["responses"].items():
        kinds = list(answer["content"])
        assert kinds == ["application/problem+json" if code >= "4" else FILES.get(path, JSON)]
    yes = next(answer for code, answer in way["responses"].items() if code < "4")
    shape = yes["content"].get(JSON, {"schema": {"$ref": ""}})["schema"]
    assert "$ref" in (shape.get("items") or shape), "say what the answer looks like"
    names = [one["name"] for one in way.get("parameters", ())]
    looks = method == "get" or path.endswith(("/plan", "/compare", "/test", "/replay"))
    assert ("Idempotency-Key" in names) == (not looks)
    assert "404" in way["responses"] or "{" not in path


def test_every_route_has_a_name_of_its_own() -> None:
    """The scope of a route is looked up by its name, and clients are made from it."""
    names = [way["operationId"] for _, _, way in WAYS]
    assert sorted(names) == sorted(set(names))


# --- how much, how deep, how slowly, how often -----------------------------------------


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await JSONResponse({"size": len(body)})(scope, receive, send)


def test_a_body_is_bounded_in_size_depth_and_time(serve: Serve) -> None:
    url = serve(Limited(echo, Limits(largest=1000, slowest=0.3, deepest=5)))
    assert httpx.post(url, json=[1]).json() == {"size": 3}
    assert httpx.post(url, content=b'"' + b"x" * 2000 + b'"').status_code == 413
    chunks = (b'"', *(b"x" * 400 for _ in range(5)), b'"')
    assert httpx.post(url, content=iter(chunks)).status_code == 413
    assert httpx.post(url, content=b"[" * 7 + b"]" * 7).status_code == 422
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[1,")
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'"\\ud800"', b'"a\\u0000b"', b'{"\\u0000": 1}', b"[" * 100_000]
)
def test_what_is_no_text_is_refused_before_anybody_looks(body: bytes) -> None:
    with pytest.raises(Unusable):
        refuse_deep(body, 40)


def test_a_text_of_brackets_is_a_text() -> None:
    refuse_deep(b'{"a": "' + b"[" * 10_000 + b'"}', 2)


@dataclass
class Wall:
    at: float = 0.0

    def __call__(self) -> float:
        return self.at


def test_a_caller_may_come_in_a_burst_and_then_at_a_pace() -> None:
    wall = Wall()
    pace = Pace(rate=2.0, burst=3.0, wall=wall)
    assert [pace.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert pace.wait("b") == 0
    wall.at = 0.5
    assert [pace.wait("a"), pace.wait("a")] == [0, 0.5]
