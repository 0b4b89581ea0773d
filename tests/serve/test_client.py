"""The client inside a service: the gateway's own answer, for as long as it may be trusted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from serving_world import CANDIDATE, STABLE, THIRD, World, world

from interlock.client.client import Client
from interlock.client.elapsed import elapsed
from interlock.client.follow import Pace
from interlock.define.release import Route
from interlock.errors import NotFound, Unavailable, Unusable
from interlock.serve.carried import NOTHING, Carried
from interlock.serve.published import Published

NOWHERE = ["http://127.0.0.1:9"]
ROUTE = Route("prod", 5, STABLE, CANDIDATE, 0.4, salt="s")


def told(route: Route = ROUTE, known: tuple[str, ...] = (STABLE, CANDIDATE)) -> Published:
    return Published(route, known, ("crew", "gates"))


@pytest.fixture
def client() -> Client:
    made = Client(NOWHERE)
    made.take(told(), elapsed())
    return made


@pytest.fixture
def served(tmp_path: Path) -> World:
    return world(tmp_path)


def test_it_is_the_gateways_own_answer_for_every_subject(served: World) -> None:
    served.route(candidate=CANDIDATE, weight=0.4)
    live = served.gateway.live()
    client = Client(NOWHERE)
    client.take(Published.from_json(live.published.to_json()), elapsed())
    subjects = [str(n) for n in range(2000)] + ["", "a|b", "é", "7\n"]
    mine = [(client.assign(s).arm, client.assign(s).release) for s in subjects]
    assert mine == [(arm, one.spec.release) for arm, one in map(live.assign, subjects)]
    assert {arm for arm, _ in mine} == {"stable", "candidate"}
    assert client.assign("7").epoch == live.epoch == 1


def test_a_gateway_tells_only_what_it_can_answer(served: World) -> None:
    spec = served.release(THIRD, 3)
    served.artifacts.kept[spec.artifact] = b"damaged"
    served.route(candidate=THIRD, weight=1.0)
    said = served.gateway.live().published
    assert (said.route.candidate, said.route.weight) == (None, 0.0)
    assert said.known == (STABLE,)
    assert said.services == ("crew", "gates")


def test_after_its_lease_only_the_stable_release_is_named(client: Client) -> None:
    mine = next(s for s in map(str, range(99)) if client.assign(s).release == CANDIDATE)
    lease = client.pace.lease
    late = Client(NOWHERE)
    late.take(told(), elapsed() - lease - 0.001)
    assert not late.leased
    assert late.assign(mine) == (STABLE, 5, "stable")
    assert late.accept(Carried(CANDIDATE, 5)) == (STABLE, 5, "stable")
    assert late.accept(Carried(STABLE, 5)) == (STABLE, 5, "stable")
    assert late.counts["lease_over"] == 2
    late.take(told(), elapsed())  # seen again: it goes on
    assert late.assign(mine).release == CANDIDATE


def test_what_was_said_late_never_shortens_or_lengthens_a_lease(client: Client) -> None:
    before = client._held
    assert before is not None
    assert client.take(told(), elapsed() - 1.0) is False
    assert client._held == before
    # Buffered on the way: it is what was true then, not now.
    behind = Route("prod", 4, STABLE, CANDIDATE, 1.0, salt="s")
    assert client.take(told(behind), elapsed()) is False
    assert client.epoch == 5


def test_an_older_epoch_counts_once_nobody_confirms_the_newer_one(client: Client) -> None:
    held = client._held
    assert held is not None
    client._held = held._replace(until=elapsed() - 0.001)
    assert client.take(told(Route("prod", 2, THIRD)), elapsed())
    assert client.assign("1") == (THIRD, 2, "stable")


def test_upstream_decides_and_what_it_cannot_have_meant_is_stable_and_counted(
    client: Client,
) -> None:
    assert client.accept(Carried(CANDIDATE, 5)) == (CANDIDATE, 5, "candidate")
    assert client.accept(None).release == STABLE
    assert client.accept(NOTHING).release == STABLE
    assert client.accept(Carried(THIRD, 5)).release == STABLE
    assert client.counts == {"no_release": 1, "unknown_release": 2}
    client.take(told(Route("prod", 6, CANDIDATE), (CANDIDATE, STABLE)), elapsed())
    # Committed: who began before is answered from the release that they began with.
    assert client.accept(Carried(STABLE, 5)) == (STABLE, 6, "pinned")
    client.take(
        told(Route("prod", 7, STABLE, blocked=(CANDIDATE,)), (STABLE, CANDIDATE)), elapsed()
    )
    assert client.accept(Carried(CANDIDATE, 6)) == (STABLE, 7, "stable")


def test_a_later_epoch_is_waited_for_now_and_then_a_forged_one_does_not_hold_everybody(
    client: Client,
) -> None:
    assert not client.behind(None)
    assert not client.behind(Carried(CANDIDATE, 99))  # known: nothing to wait for
    assert not client.behind(Carried(THIRD, 5))  # not later than ours
    assert client.behind(Carried(THIRD, 6))
    assert not client.behind(Carried(THIRD, 6))


def test_flags_are_those_of_the_gateway(client: Client) -> None:
    mine = next(s for s in map(str, range(99)) if client.assign(s).release == CANDIDATE)
    assert client.flag("crew.release", mine).value == CANDIDATE
    assert client.flag("crew.candidate", mine).to_json() == {
        "key": "crew.candidate", "value": True, "reason": "SPLIT", "variant": "candidate",
        "metadata": {"epoch": 5, "release": CANDIDATE},
    }  # fmt: skip
    assert client.flag("gates.release").value == STABLE
    given = client.accept(Carried(CANDIDATE, 5))
    assert client.flag("gates.release", given=given).value == CANDIDATE
    with pytest.raises(NotFound, match=r"known flags: crew\.candidate, crew\.release"):
        client.flag("crew.colour", mine)


def test_before_any_route_nothing_is_guessed() -> None:
    client = Client(NOWHERE, Pace(poll=0.01, patience=0.2))
    with pytest.raises(Unavailable, match="no gateway has told the Route yet"):
        client.assign("1")
    with pytest.raises(Unavailable):
        client.accept(Carried(STABLE, 1))
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        client.start(within=0.2)
    for wrong in ([], ["gateway:8210"], ["ftp://x"]):
        with pytest.raises(Unusable):
            Client(wrong)


@pytest.mark.parametrize(
    "module", ["interlock.client.client", "interlock.client.asgi", "interlock.client.wsgi"]
)
def test_a_service_pays_for_nothing_that_it_does_not_need(module: str) -> None:
    script = (
        f"import sys, {module}\n"
        "mine = {'errors', 'define', 'rollout', 'serve', 'client'}\n"
        "print(sorted(n for n in sys.modules if n.startswith('interlock.') and\n"
        "             n.split('.')[1] not in mine))\n"
        "packages = {n.split('.')[0] for n in sys.modules}\n"
        "print(sorted(packages & {'numpy', 'pydantic', 'starlette', 'uvicorn', 'orjson',\n"
        "  'duckdb', 'sqlglot', 'sqlalchemy', 'pyarrow', 'lightgbm', 'yaml', 'redis', 'lmdb'}))\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n[]\n"
