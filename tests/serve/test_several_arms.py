"""Several candidates at once: gateways, services and mirrors, and what the loss of one costs."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from pathlib import Path
from subprocess import Popen
from typing import Any

import anyio
import httpx
import orjson
import pytest
from client_world import gateway_at, until
from gateway_process import started
from mirror_processes import DIES
from serving_world import CANDIDATE, FOURTH, STABLE, THIRD, World, body, mirrors, world

from interlock.adapters.predictions import JsonLinesLog
from interlock.app.asked import Ask
from interlock.client import asgi
from interlock.client.carry import current
from interlock.client.client import Client
from interlock.define.release import Arm, Route
from interlock.rollout.cohort import cohort, ranges
from interlock.rollout.routes import given_up
from interlock.serve.carried import Carried
from interlock.web import oip

ARMS = (Arm(CANDIDATE, "CR-5"), Arm(THIRD, "CR-6"), Arm(FOURTH, "CR-7"))
ROUTE = Route("flights", 1, STABLE, weight=0.6, mirror=True, salt="s", change="CR-5", stage="ab",
              arms=ARMS)  # fmt: skip
FLIGHTS = list(range(80))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    made.release(THIRD, 3)
    made.release(FOURTH, 4)
    follow(made, ROUTE)
    yield made
    made.gateway.stop()
    made.log.close()
    made.store.close()


def follow(made: World, route: Route) -> None:
    made.route(**route.to_json())


def ask(flights: list[int], upstream: str | None = None, **said: Any) -> Ask:
    columns = {name: [one] * len(flights) for name, one in said.items()}
    sent = orjson.dumps(body(flights, **columns))
    return oip.parse(oip.Door("late", upstream=upstream), sent).ask


def of(route: Route, flight: int) -> tuple[str, str]:
    """What a table would say: by the ranges, and by no other door's code."""
    at = cohort(route.salt, str(flight))
    (found,) = (one for one in ranges(route) if one.low <= at < one.high)
    return found.arm, found.release


def logged(made: World) -> dict[int, tuple[str, str]]:
    return {row["key"]: (row["arm"], row["release"]) for row in made.rows()}


def mirrored(made: World) -> dict[str, list[str]]:
    """By which releases each answer was scored too."""
    found: dict[str, list[str]] = {}
    for row in made.mirrored.read({})[0]:
        found.setdefault(row["id"], []).append(row["release"])
    return {id: sorted(releases) for id, releases in found.items()}


def test_each_answer_is_of_the_release_that_the_ranges_say(served: World) -> None:
    served.gateway.start()
    answered = served.gateway.answer(ask(FLIGHTS))
    wanted = {flight: of(ROUTE, flight) for flight in FLIGHTS}
    assert set(wanted.values()) == {
        ("stable", STABLE), *(("candidate", one.release) for one in ARMS)
    }  # fmt: skip
    assert answered.releases() == [release for _, release in wanted.values()]
    assert logged(served) == wanted
    assert {row["change"] for row in served.rows()} == {"CR-5"}
    assert {row["subject"]: row["score"] for row in served.rows()} == dict(
        zip(map(str, FLIGHTS), answered.column("values"), strict=True)
    )
    others = sorted(one.release for one in ARMS)
    assert mirrored(served) == {
        id: others if release == STABLE else [STABLE]
        for id, release in zip(answered.ids, answered.releases(), strict=True)
    }
    assert served.gateway.status()["candidates"] == [one.release for one in ARMS]


def test_the_process_that_mirrors_stays_when_an_arm_goes_and_not_when_one_comes(
    served: World,
) -> None:
    found = served.gateway.mirrors
    assert found is not None

    def worker(arms: tuple[Arm | None, ...]) -> object:
        assert found is not None
        follow(served, replace(ROUTE, arms=arms))
        found.look(served.gateway.live())
        return found._worker

    first = worker((ARMS[0], None, ARMS[2]))
    assert first is not None
    assert worker((None, None, ARMS[2])) is first
    assert worker(ARMS) not in (first, None)
    found.stop()


def test_without_room_no_arm_loses_more_than_the_others(served: World) -> None:
    gateway = served.gateway
    gateway.replay_clock = False
    gateway.start()
    wide = replace(ask([control()], carrier="x" * 20_000), at=None)
    assert until(lambda: gateway.answer(wide) and gateway.counts().get("mirrored"), 60)
    assert gateway.mirrors is not None
    worker = gateway.mirrors._worker
    assert worker is not None
    os.kill(worker.process.pid, signal.SIGSTOP)
    for _ in range(60):
        gateway.answer(wide)
    assert gateway.counts()["mirror_drops"] > 0
    os.kill(worker.process.pid, signal.SIGCONT)
    found = gateway.mirrors
    assert until(lambda: found.waiting == 0, 60)
    gateway.stop()
    assert set(map(tuple, mirrored(served).values())) == {
        tuple(sorted(one.release for one in ARMS))
    }


def control() -> int:
    return next(flight for flight in FLIGHTS if of(ROUTE, flight)[0] == "stable")


def test_an_arm_that_does_not_load_costs_its_own_place(served: World) -> None:
    broken = served.release(THIRD, 5)
    served.artifacts.kept[broken.artifact] = b"damaged"
    served.gateway.releases._warm.clear()
    follow(served, ROUTE)
    served.gateway.answer(ask(FLIGHTS))
    left = given_up(ROUTE, unblocked=[THIRD])
    assert logged(served) == {flight: of(left, flight) for flight in FLIGHTS}
    assert ("outside", STABLE) in logged(served).values()
    live = served.gateway.live()
    assert [one.release for one in live.published.route.candidates] == [CANDIDATE, FOURTH]
    assert "not what its digest says" in served.gateway.status()["candidate_error"]


def test_without_a_lease_no_arm_answers_and_the_control_stays_what_it_was(served: World) -> None:
    served.gateway.releases._seen = float("-inf")
    answered = served.gateway.answer(ask(FLIGHTS))
    assert set(answered.releases()) == {STABLE}
    assert logged(served) == {
        flight: ("stable" if of(ROUTE, flight)[0] == "stable" else "outside", STABLE)
        for flight in FLIGHTS
    }
    assert served.gateway.live().published.route.candidates == ()
    assert mirrored(served) == {}


def test_what_upstream_decided_is_kept_and_an_empty_place_is_no_control(served: World) -> None:
    follow(served, given_up(ROUTE, unblocked=[FOURTH]))
    for release in (STABLE, CANDIDATE, THIRD):
        answered = served.gateway.answer(ask(FLIGHTS, Carried(release, 1).text))
        assert set(answered.releases()) == {release}
        mine = "stable" if release == STABLE else "candidate"
        empty = {flight for flight in FLIGHTS if of(ROUTE, flight)[1] == FOURTH}
        said = {row["key"]: row["arm"] for row in served.rows() if row["release"] == release}
        assert said == {f: "outside" if f in empty else mine for f in FLIGHTS}
    assert served.gateway.counts().get("unknown_release", 0) == 0


def test_services_flags_and_the_middleware_follow_every_arm(served: World) -> None:
    with gateway_at(served) as url, httpx.Client(base_url=url) as http:
        client = Client([url]).start()
        for flight in FLIGHTS:
            name, release = of(ROUTE, flight)
            assert client.assign(str(flight))[::2] == (release, name)
            flag = client.flag("crew.candidate", str(flight))
            assert (flag.value, flag.reason) == (name == "candidate", "SPLIT")
            said = http.post(
                "/ofrep/v1/evaluate/flags/crew.release",
                json={"context": {"targetingKey": str(flight)}},
            ).json()
            assert (said["value"], said["variant"]) == (release, name)
        assert client.status()["candidates"] == [one.release for one in ARMS]
        every = [STABLE, CANDIDATE, THIRD, FOURTH]
        carried = [Carried(one, 1).text for one in (*every, "e" * 64)]
        assert behind(client, *carried) == [*every, STABLE]
        follow(served, given_up(ROUTE, blocked=[THIRD]))
        assert until(lambda: client.epoch == 2)
        assert behind(client, *carried) == [STABLE, CANDIDATE, STABLE, FOURTH, STABLE]
        client.stop()


def behind(client: Client, *headers: str) -> list[str]:
    """The releases from which a service behind the middleware answers these headers."""

    async def service(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        mine = current()
        assert mine is not None
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": mine.release.encode()})

    async def asked() -> list[str]:
        transport = httpx.ASGITransport(asgi.OneRelease(service, client))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
            return [
                (await http.get("/", headers={"x-interlock-release": one})).text for one in headers
            ]

    return anyio.run(asked)


def test_an_arm_that_breaks_the_mirror_answers_for_that_alone(
    served: World, tmp_path: Path
) -> None:
    """Every candidate dies on such a row here: each message names the one that did."""
    script = str(Path(__file__).parent / "mirror_processes.py")
    gateway = served.gateway
    gateway.mirrors = mirrors(tmp_path, served.artifacts, (sys.executable, script, "5"))
    gateway.start()
    answered = gateway.answer(ask([control()], distance=DIES))
    rows = [row for row in served.mirrored.read({})[0] if row["id"] == answered.ids[0]]
    assert [row["release"] for row in rows] == [CANDIDATE]
    assert "ended with -" in rows[0]["error"]
    assert gateway.counts()["mirror_drops"] == 2


@dataclass
class Load:
    """Somebody who asks for every flight again and again; `told` is what each was answered from."""

    port: int
    told: list[tuple[int, int, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        link = HTTPConnection("127.0.0.1", self.port, timeout=60)
        at = 0
        while not self.stop.is_set():
            at += 1
            flight = FLIGHTS[at % len(FLIGHTS)]
            link.request("POST", "/v2/models/late/infer",
                         orjson.dumps({"inputs": body([flight])["inputs"]}))  # fmt: skip
            reply = link.getresponse()
            said = orjson.loads(reply.read())
            if reply.status != 200:
                self.wrong.append(str(said))
                continue
            release, _, epoch = reply.headers["x-interlock-release"].partition(";e=")
            self.told.append((flight, int(epoch), release))

    @property
    def epoch(self) -> int:
        return self.told[-1][1] if self.told else 0


def tell(process: Popen[str], route: Route) -> None:
    assert process.stdin is not None
    process.stdin.write(orjson.dumps(route.to_json()).decode() + "\n")
    process.stdin.flush()


def test_an_arm_that_goes_back_under_load_moves_nobody_else(tmp_path: Path) -> None:
    """A gateway that is a process of its own, and three callers at once."""
    routes = {2: ROUTE, 3: given_up(ROUTE, blocked=[CANDIDATE])}
    with started(tmp_path) as (process, port):
        tell(process, routes[2])
        loads = [Load(port) for _ in range(3)]
        threads = [threading.Thread(target=one.run) for one in loads]
        for thread in threads:
            thread.start()
        log = JsonLinesLog(tmp_path / "mirrored", "reader")
        scored: dict[str, set[str]] = {}
        read: Any = {}

        def seen() -> dict[str, set[str]]:
            nonlocal read
            rows, read = log.read(read)
            for row in rows:
                scored.setdefault(row["release"], set()).add(row["id"])
            return scored

        assert until(lambda: {STABLE, CANDIDATE, THIRD, FOURTH} <= set(seen()), 60)
        before = len(scored[THIRD])
        tell(process, routes[3])
        assert until(lambda: all(one.epoch == 3 for one in loads))
        assert until(lambda: len(seen()[THIRD]) > before + 50, 60), "the others are still mirrored"
        time.sleep(0.1)
        for one in loads:
            one.stop.set()
        for thread in threads:
            thread.join()
        rows = [row for row in JsonLinesLog(tmp_path / "predictions", "reader").read({})[0]
                if row["epoch"] in routes]  # fmt: skip
        control = {row["id"] for row in rows if row["arm"] == "stable" and row["epoch"] == 3}

        def dropped() -> int:
            status = httpx.get(f"http://127.0.0.1:{port}/interlock/status").json()
            return int(status["counts"].get("mirror_drops", 0))

        # What was handed on last is still being scored.
        assert until(lambda: len(control - seen()[THIRD]) <= dropped())
        assert until(lambda: len(control - seen()[FOURTH]) <= dropped())
    assert [one.wrong for one in loads] == [[], [], []]
    told = [said for one in loads for said in one.told if said[1] in routes]
    assert {epoch for _, epoch, _ in told} == {2, 3}
    assert [said for said in told if of(routes[said[1]], said[0])[1] != said[2]] == []
    assert {(row["key"], row["epoch"]): (row["arm"], row["release"]) for row in rows} == {
        (row["key"], row["epoch"]): of(routes[row["epoch"]], row["key"]) for row in rows
    }
    moved = {f for f in FLIGHTS if of(routes[2], f) != of(routes[3], f)}
    assert moved == {f for f in FLIGHTS if of(routes[2], f)[1] == CANDIDATE}
    assert not control & scored[CANDIDATE]
