"""The data plane as callers meet it: real HTTP on loopback, both protocols, clear refusals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from client_world import serving
from serving_world import CANDIDATE, STABLE, World, body, world

from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.web.gateway import gateway_app
from interlock.web.wire import protocol_of

INFER = "/v2/models/late/infer"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = world(tmp_path_factory.mktemp("http"))
    made.record.put(
        Ref("route", "flights"),
        Route("flights", stable=STABLE, candidate=CANDIDATE, weight=0.5, salt="s").to_json(),
    )
    made.gateway.start()
    yield made
    made.gateway.stop()


@pytest.fixture(scope="module")
def client(served: World) -> Iterator[httpx.Client]:
    plane = gateway_app(served.gateway)
    with serving(plane, protocol_of(plane)) as url, httpx.Client(base_url=url) as made:
        yield made


def outputs(reply: httpx.Response) -> dict[str, list[Any]]:
    return {one["name"]: one["data"] for one in reply.json()["outputs"]}


def test_a_batch_over_http_says_everything_about_each_row(client: httpx.Client) -> None:
    sent = body(list(range(40)), origin=["EWR"] * 39 + ["LGA"]) | {"id": "mine"}
    reply = client.post(INFER, json=sent)
    assert reply.status_code == 200
    said = reply.json()
    assert (said["model_name"], said["id"]) == ("late", "mine")
    assert said["parameters"]["releases"][CANDIDATE]["model"] == "late@2"
    assert said["parameters"]["epoch"] == 1
    got = outputs(reply)
    assert set(got["release"]) == {STABLE, CANDIDATE}
    assert all(one["shape"] == [40] for one in said["outputs"])
    assert all(0 < score < 1 for score in got["score"])
    assert (got["reason"][0], got["reason"][39]) == ("live", "fallback")
    assert (got["fallbacks"][39], got["missing"][39]) == ("temp", "wind,rate")
    assert len(set(got["prediction_id"])) == 40
    assert "x-interlock-release" not in reply.headers  # two releases: no one header is true


def test_the_release_travels_by_header(client: httpx.Client) -> None:
    for digest in (STABLE, CANDIDATE):
        header = {"x-interlock-release": f"{digest};e=1"}
        reply = client.post(INFER, json=body([1, 2, 3]), headers=header)
        assert set(outputs(reply)["release"]) == {digest}
        assert reply.headers["x-interlock-release"] == f"{digest};e=1"
    by_version = client.post("/v2/models/late/versions/late@2/infer", json=body([1]))
    assert outputs(by_version)["release"] == [CANDIDATE]


def change(sent: Any, index: int, **fields: Any) -> Any:
    sent["inputs"][index].update(fields)
    return sent


def plus(sent: Any, **fields: Any) -> Any:
    sent["inputs"].append({**sent["inputs"][0], **fields})
    return sent


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"inputs": []}, "one tensor per column"),
        (change(body([1]), 0, data=["1"]), "'flight_id' says INT64 but holds a value of type str"),
        (change(body([1]), 0, data=[True]), "of type bool"),
        (change(body([1]), 0, datatype="FP64"), "'flight_id' is integer: send datatype INT64"),
        (change(body([1]), 0, datatype="COMPLEX"), "unknown datatype 'COMPLEX'"),
        (change(body([1]), 0, shape=[2]), "shape [2] but 1 values"),
        (change(body([1]), 1, data=["a", "b"], shape=[2]), "'carrier' has 2 rows, others have 1"),
        (change(body([1]), 3, name="distances"), "input 'distance' is missing"),
        (change(body([1]), 0, name="carrier"), "'carrier' was sent twice"),
        (plus(body([1]), name="x"), "unknown input 'x'; known: flight_id"),
        (body([1]) | {"parameters": {"at": "2013-04-01T12:00:00"}}, "no time zone"),
        (body([1]) | {"parameters": {"at": "noon"}}, "not an ISO 8601 instant"),
        (body([1]) | {"parameters": {}}, "replays recorded traffic"),
        ({"inputs": body([])["inputs"]}, "1 to 4096 rows"),
        ([], "must be a JSON object"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_with_words(client: httpx.Client, sent: Any, said: str) -> None:
    reply = client.post(INFER, json=sent)
    assert reply.status_code == 400
    assert said in reply.json()["error"]


def test_not_a_number_is_refused_and_null_is_missing(client: httpx.Client) -> None:
    text = b'{"inputs": [{"name": "distance", "shape": [1], "datatype": "FP64", "data": [NaN]}]}'
    reply = client.post(INFER, content=text)
    assert (reply.status_code, "not JSON" in reply.json()["error"]) == (400, True)
    null = client.post(INFER, json=change(body([1]), 3, data=[None]))
    assert outputs(null)["reason"] == ["live"]
    nobody = client.post(INFER, json=change(body([1]), 2, data=[None]))
    assert outputs(nobody)["missing"] == ["wind,rate"]
    far = client.post(INFER, content=b'{"inputs": ' + b" " * 9_000_000 + b"}")
    assert (far.status_code, far.headers["connection"]) == (413, "close")


def test_the_protocol_describes_itself(client: httpx.Client) -> None:
    assert client.get("/v2").json()["name"] == "interlock"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/late/ready").json()["ready"] is True
    said = client.get("/v2/models/late").json()
    assert said["versions"] == ["late@1", "late@2"]
    assert {one["name"]: one["datatype"] for one in said["inputs"]}["flight_id"] == "INT64"
    assert client.get("/v2/models/early").status_code == 404
    assert client.get("/v2/models/early").json()["error"] == "no model 'early' here; known: late"
    said = client.get("/v2/models/late/versions/7").json()["error"]
    assert said == "no model 'late' here in version '7'; known: late@1, late@2"
    assert client.post("/v2/models/early/infer", json=body([1])).status_code == 404
    status = client.get("/interlock/status").json()
    assert (status["epoch"], status["loaded"]) == (1, [STABLE, CANDIDATE])


def test_flags_agree_with_scoring(client: httpx.Client) -> None:
    scored = outputs(client.post(INFER, json=body(list(range(20)))))["release"]
    for flight, release in enumerate(scored):
        path = "/ofrep/v1/evaluate/flags/crew.release"
        said = client.post(path, json={"context": {"targetingKey": str(flight)}}).json()
        assert (said["value"], said["reason"]) == (release, "SPLIT")
        assert said["variant"] == ("candidate" if release == CANDIDATE else "stable")


def test_flags_in_bulk_are_cached_by_tag(client: httpx.Client) -> None:
    path, asked = "/ofrep/v1/evaluate/flags", {"context": {"targetingKey": "7"}}
    reply = client.post(path, json=asked)
    keys = [one["key"] for one in reply.json()["flags"]]
    assert keys == ["crew.candidate", "crew.release", "gates.candidate", "gates.release"]
    again = client.post(path, json=asked, headers={"if-none-match": reply.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("key", "sent", "status", "code"),
    [
        ("crew.colour", b'{"context": {"targetingKey": "7"}}', 404, "FLAG_NOT_FOUND"),
        ("crew.release", b'{"context": {}}', 400, "TARGETING_KEY_MISSING"),
        ("crew.release", b"{}", 400, "INVALID_CONTEXT"),
        ("crew.release", b"{", 400, "PARSE_ERROR"),
    ],
)
def test_flag_errors_are_the_protocols(
    client: httpx.Client, key: str, sent: bytes, status: int, code: str
) -> None:
    reply = client.post(f"/ofrep/v1/evaluate/flags/{key}", content=sent)
    assert (reply.status_code, reply.json()["errorCode"], reply.json()["key"]) == (
        status,
        code,
        key,
    )


def test_no_answer_at_all_is_503(tmp_path: Path) -> None:
    made = world(tmp_path)
    spec = made.release(STABLE, 1)
    made.artifacts.kept[spec.artifact] = b"damaged"
    made.route()
    transport = httpx.ASGITransport(gateway_app(made.gateway))

    async def ask() -> tuple[httpx.Response, httpx.Response]:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.post(INFER, json=body([1])), await client.get("/v2/health/ready")

    answered, ready = anyio.run(ask)
    assert (answered.status_code, ready.status_code) == (503, 503)
    assert "not what its digest says" in answered.json()["error"]
    assert made.rows()[0]["reason"] == "error"


def test_serving_starts_light() -> None:
    """A request-time process must not pay for planning, lineage or any engine it does not read."""
    script = (
        "import sys, interlock.web.gateway, interlock.app.serving\n"
        "heavy = ('duckdb', 'sqlglot', 'sqlalchemy', 'pandas', 'pyarrow', 'sklearn', 'scipy',\n"
        "         'lightgbm', 'fastapi', 'interlock.plan', 'interlock.impact',\n"
        "         'interlock.features', 'interlock.models', 'interlock.change')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v2/models/late/infer", 405, "POST"),
        ("OPTIONS", "/v2/models/late/versions/late@1/infer", 405, "POST"),
        ("DELETE", "/v2/models/late", 405, "GET, HEAD"),
        ("GET", "/v2/models", 404, None),
        ("GET", "/v2/", 404, None),
        ("POST", "/v2/models/late/versions/late@1/infer/more", 404, None),
        ("GET", "/interlock/nothing", 404, None),
    ],
)
def test_every_no_is_said_as_the_protocol_says_it(
    client: httpx.Client, method: str, path: str, status: int, allow: str | None
) -> None:
    reply = client.request(method, path, follow_redirects=False)
    ways = reply.headers.get("allow")
    assert (reply.status_code, ways and ", ".join(sorted(ways.split(", ")))) == (status, allow)
    assert reply.headers["content-type"] == "application/json"
    assert (ways or path) in reply.json()["error"]
