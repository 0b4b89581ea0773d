"""What the control API promises of itself, and what it takes from strangers: anything, calmly."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Serve
from desk_world import copied
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from interlock.change.token import SCOPES
from interlock.errors import Unusable
from interlock.web import server
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
    names = [one["name"] for one in way.get("parameters", ())]
    looks = method == "get" or path.endswith(("/plan", "/compare", "/test", "/replay"))
    assert ("Idempotency-Key" in names) == (not looks)
    assert "404" in way["responses"] or "{" not in path


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


# --- anything -------------------------------------------------------------------------

JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below),
    max_leaves=8,
)
WORDS = st.text(max_size=30) | st.sampled_from(["CR-1", "-", "..", "%00", "a/b", "é", "0" * 64])


@pytest.fixture(scope="module")
def url(
    small_flights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    import threading
    import time

    import uvicorn

    folder = copied(small_flights, tmp_path_factory.mktemp("fuzz") / "project")
    with socket.create_server(("127.0.0.1", 0)) as door:
        runs = uvicorn.Server(
            uvicorn.Config(server.application(folder, "prod"), log_level="critical")
        )
        thread = threading.Thread(target=runs.run, args=([door],), daemon=True)
        thread.start()
        while not runs.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{door.getsockname()[1]}", folder
        runs.should_exit = True
        thread.join(10)


def fields_of(way: dict[str, Any]) -> dict[str, Any]:
    """The properties of a route's body, by the description."""
    content = way.get("requestBody", {}).get("content", {})
    name = content.get("application/json", {}).get("schema", {}).get("$ref", "").rsplit("/")[-1]
    found: dict[str, Any] = schema()["components"]["schemas"].get(name, {}).get("properties", {})
    return found


def fitting(shape: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Mostly what the description asks for, now and then anything."""
    kinds = {
        "string": WORDS, "boolean": st.booleans(), "array": st.lists(WORDS, max_size=3),
        "object": st.dictionaries(WORDS, WORDS, max_size=3), "integer": st.integers(),
    }  # fmt: skip
    named = st.sampled_from(shape["enum"]) if "enum" in shape else kinds.get(shape.get("type", ""))
    return JSONS if named is None else st.one_of(named, named, named, JSONS)


@pytest.mark.slow
@given(data=st.data())
@settings(
    max_examples=60, deadline=None, derandomize=True, phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
def test_whatever_is_sent_nothing_breaks(url: tuple[str, Path], data: st.DataObject) -> None:
    path, method, way = data.draw(st.sampled_from(WAYS))
    for one in way.get("parameters", ()):
        if one["in"] == "path":
            word = data.draw(WORDS)
            path = path.replace(f"{{{one['name']}}}", httpx.QueryParams({"x": word}).__str__()[2:])
    query = {
        one["name"]: data.draw(WORDS)
        for one in way.get("parameters", ())
        if one["in"] == "query" and (one.get("required") or data.draw(st.booleans()))
    }
    body = {name: data.draw(fitting(shape)) for name, shape in fields_of(way).items()}
    headers = {"Idempotency-Key": uuid.uuid4().hex, "If-Match": '"0"'}
    sent = {"json": body} if method == "post" else {}
    answer = httpx.request(method, url[0] + path, params=query, headers=headers, timeout=60, **sent)  # type: ignore[arg-type]
    assert answer.status_code < 500, (path, body, answer.text)
    if answer.status_code >= 400:
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["type"].startswith("urn:interlock:error:")
        assert problem["detail"]
