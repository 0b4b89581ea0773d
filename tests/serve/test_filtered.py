"""A stage that only some take part in: gateway, client, middleware and flags say the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx
import orjson
import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from serving_world import CANDIDATE, STABLE, World, body, world

from interlock.app.asked import Ask
from interlock.client import asgi, wsgi
from interlock.client.carry import current
from interlock.client.client import Client
from interlock.client.elapsed import elapsed
from interlock.client.openfeature import InterlockProvider
from interlock.serve.carried import Carried
from interlock.serve.published import Published
from interlock.web import oip
from interlock.web.gateway import gateway_app

FLIGHTS = list(range(60))
ORIGINS = [["EWR", "JFK", None][n % 3] for n in FLIGHTS]
ONLY = {"origin": ["JFK", "LGA"]}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    made.route(candidate=CANDIDATE, weight=0.5, filter=ONLY, mirror=True)
    made.gateway.start()
    yield made
    made.gateway.stop()
    made.log.close()
    made.store.close()


@pytest.fixture
def client(served: World) -> Client:
    made = Client(["http://127.0.0.1:9"])
    told = Published.from_json(served.gateway.live().published.to_json())
    made.take(told, elapsed())
    return made


def ask(upstream: str | None = None) -> Ask:
    sent = orjson.dumps(body(FLIGHTS, origin=ORIGINS))
    return oip.parse(oip.Door("late", upstream=upstream), sent).ask


def test_a_gateway_answers_and_logs_who_is_outside_apart(served: World) -> None:
    answered = served.gateway.answer(ask())
    rows = {row["key"]: row for row in served.rows()}
    for flight, origin, release in zip(FLIGHTS, ORIGINS, answered.releases(), strict=True):
        assert rows[flight]["release"] == release
        if origin != "JFK":
            assert (rows[flight]["arm"], release) == ("outside", STABLE)
    within = [rows[f]["arm"] for f, o in zip(FLIGHTS, ORIGINS, strict=True) if o == "JFK"]
    assert set(within) == {"stable", "candidate"}
    assert served.gateway.counts()["no_attribute"] == ORIGINS.count(None)
    mirrored = {rows[f]["id"] for f, o in zip(FLIGHTS, ORIGINS, strict=True) if o == "JFK"}
    assert set(served.mirrors()) == mirrored, "nobody asks what others would have been told"


def test_in_a_mirrored_stage_only_those_within_are_compared(served: World) -> None:
    served.route(candidate=CANDIDATE, weight=0.0, filter=ONLY, mirror=True)
    assert set(served.gateway.answer(ask()).releases()) == {STABLE}
    assert {row["arm"] for row in served.rows()} == {"stable", "outside"}
    assert len(served.mirrors()) == ORIGINS.count("JFK")


def test_a_gateway_that_lost_the_record_still_knows_who_was_outside(served: World) -> None:
    served.gateway.releases._seen = float("-inf")
    assert set(served.gateway.answer(ask()).releases()) == {STABLE}
    assert {row["arm"] for row in served.rows()} == {"stable", "outside"}


@pytest.mark.parametrize("release", [STABLE, CANDIDATE])
def test_what_upstream_decided_is_kept_and_who_is_outside_judges_nothing(
    served: World, release: str
) -> None:
    answered = served.gateway.answer(ask(Carried(release, 1).text))
    assert set(answered.releases()) == {release}
    arms = {row["key"]: row["arm"] for row in served.rows()}
    mine = "stable" if release == STABLE else "candidate"
    wanted = {f: mine if o == "JFK" else "outside" for f, o in zip(FLIGHTS, ORIGINS, strict=True)}
    assert arms == wanted


def _said(origin: str | None) -> dict[str, Any]:
    return {} if origin is None else {"origin": origin}


def test_every_door_names_the_release_that_scores_the_subject(
    served: World, client: Client
) -> None:
    scored = dict(zip(FLIGHTS, served.gateway.answer(ask()).releases(), strict=True))
    api.set_provider(InterlockProvider(client), "filtered")
    flags = api.get_client("filtered")
    for flight, origin in zip(FLIGHTS, ORIGINS, strict=True):
        about, subject = _said(origin), str(flight)
        assert client.assign(subject, about).release == scored[flight]
        context = EvaluationContext(targeting_key=subject, attributes=about)
        assert flags.get_string_value("crew.release", "", context) == scored[flight]
        mine = flags.get_boolean_value("crew.candidate", True, context)
        assert mine == (scored[flight] == CANDIDATE)
    assert client.counts["no_attribute"] == 3 * ORIGINS.count(None)
    assert client.accept(Carried(STABLE, 1)).arm == "stable"
    api.clear_providers()


def test_ofrep_reads_the_attributes_of_the_context(served: World) -> None:
    scored = dict(zip(FLIGHTS, served.gateway.answer(ask()).releases(), strict=True))
    before = served.gateway.counts()["no_attribute"]

    async def asked() -> list[tuple[str, str]]:
        transport = httpx.ASGITransport(gateway_app(served.gateway))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            found = []
            for flight, origin in zip(FLIGHTS, ORIGINS, strict=True):
                context = {"targetingKey": str(flight), **_said(origin)}
                url = "/ofrep/v1/evaluate/flags/crew.release"
                told = (await http.post(url, json={"context": context})).json()
                found.append((told["value"], told["reason"]))
            return found

    assert anyio.run(asked) == [(scored[flight], "SPLIT") for flight in FLIGHTS]
    assert served.gateway.counts()["no_attribute"] == before + ORIGINS.count(None)


def test_an_edge_says_what_it_knows_of_the_subject(client: Client) -> None:
    seen: list[str] = []

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        seen.append(str(current().release))  # type: ignore[union-attr]  # inside of a request
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def of_query(scope: Mapping[str, Any]) -> str:
        return str(scope["query_string"].decode().partition("&")[0])

    def about(scope: Mapping[str, Any]) -> dict[str, Any]:
        return _said(scope["query_string"].decode().partition("&")[2] or None)

    edge = asgi.OneRelease(app, client, of_query, about)

    async def asked() -> None:
        transport = httpx.ASGITransport(edge)
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as http:
            for flight, origin in zip(FLIGHTS, ORIGINS, strict=True):
                await http.get(f"/?{flight}&{origin or ''}")

    anyio.run(asked)
    wanted = [
        client.assign(str(f), _said(o)).release for f, o in zip(FLIGHTS, ORIGINS, strict=True)
    ]
    assert seen == wanted
    assert set(seen) == {STABLE, CANDIDATE}

    def old(environ: dict[str, Any], start: Any) -> list[bytes]:
        start("200 OK", [])
        return [current().release.encode()]  # type: ignore[union-attr]  # inside of a request

    behind = wsgi.OneRelease(
        old, client, lambda e: str(e["PATH_INFO"]), lambda e: _said(e["QUERY_STRING"] or None)
    )
    for flight, origin, release in zip(FLIGHTS, ORIGINS, wanted, strict=True):
        environ = {"PATH_INFO": str(flight), "QUERY_STRING": origin or ""}
        assert b"".join(behind(environ, lambda *_: None)) == release.encode()
