"""The edge decides once; everybody behind it, over ASGI or WSGI, answers from that release."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs
from urllib.request import Request, urlopen

import anyio
import httpx
import orjson
import pytest
import requests
from client_world import serving
from serving_world import CANDIDATE, STABLE, THIRD

from interlock.client import asgi, wsgi
from interlock.client.carry import (
    agree,
    attempts,
    carry,
    carry_async,
    carrying,
    current,
    outgoing_headers,
)
from interlock.client.client import Client
from interlock.client.elapsed import elapsed
from interlock.define.release import Route
from interlock.errors import Stale
from interlock.rollout.cohort import arm
from interlock.serve.published import Published

ROUTE = Route("prod", 5, STABLE, CANDIDATE, 0.5, salt="s")
NAME = "x-interlock-release"
SUBJECTS = [str(n) for n in range(40)]


def told(route: Route = ROUTE) -> Client:
    made = Client(["http://127.0.0.1:9"])
    made.take(Published(route, (STABLE, CANDIDATE), ("crew",)), elapsed())
    return made


@pytest.fixture
def client() -> Client:
    return told()


def wanted(subject: str) -> str:
    return str(ROUTE.candidate if arm(ROUTE, subject) == "candidate" else ROUTE.stable)


def of_query(scope: asgi.Scope) -> str | None:
    return next(iter(parse_qs(scope["query_string"].decode()).get("subject", [])), None)


def passed_on() -> dict[str, str]:
    """What goes on of the release; of journeys `test_traced` speaks."""
    journeys = ("traceparent", "tracestate")
    return {name: said for name, said in outgoing_headers().items() if name not in journeys}


async def answer(send: asgi.Send, status: int, body: Any, *more: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(more)})
    await send({"type": "http.response.body", "body": orjson.dumps(body)})


async def echo(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    """Which release this service acts on, by what it was handed and what it would pass on."""
    mine = current()
    assert mine is not None
    headers = [(k.decode(), v.decode()) for k, v in scope["headers"]]
    sent = [v for k, v in headers if k == NAME]
    await answer(send, 200, {"mine": mine.release, "header": sent, "next": passed_on()})


def asked(app: Any, *asks: tuple[str, Any]) -> list[httpx.Response]:
    """Answers to GETs of (path, headers), in order."""

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
            return [await http.get(path, headers=headers) for path, headers in asks]

    return anyio.run(ask)


# --- the edge -----------------------------------------------------------------------------


def test_the_edge_assigns_by_the_subject_and_believes_nobody(client: Client) -> None:
    edge = asgi.OneRelease(echo, client, of_query)
    forged = {NAME: f"{CANDIDATE};e=5", "baggage": f"user=7,interlock-release={CANDIDATE};e=5"}
    found = asked(edge, *((f"/?subject={s}", forged) for s in SUBJECTS))
    for subject, reply in zip(SUBJECTS, found, strict=True):
        said = f"{wanted(subject)};e=5"
        assert reply.headers[NAME] == said
        assert reply.json() == {
            "mine": wanted(subject),
            "header": [said],
            "next": {NAME: said, "baggage": f"user=7,interlock-release={said}"},
        }
    assert {reply.json()["mine"] for reply in found} == {STABLE, CANDIDATE}
    (nobody,) = asked(edge, ("/", {}))
    assert (nobody.json()["mine"], client.counts["no_subject"]) == (STABLE, 1)


def test_before_a_route_is_known_nothing_is_answered() -> None:
    edge = asgi.OneRelease(echo, Client(["http://127.0.0.1:9"]), of_query)
    (reply,) = asked(edge, ("/?subject=1", {}))
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
    assert "no gateway has told the Route yet" in reply.json()["error"]


# --- behind it ----------------------------------------------------------------------------


def test_behind_the_edge_nobody_splits(client: Client) -> None:
    behind = asgi.OneRelease(echo, client)
    carried = [{NAME: f"{digest};e=5"} for digest in (STABLE, CANDIDATE)]
    by_baggage = {"baggage": f"interlock-release={CANDIDATE};e=5"}
    strange: list[Any] = [{}, {NAME: f"{THIRD};e=5"}, {NAME: "candidate"}]
    strange.append([(NAME, f"{CANDIDATE};e=5"), (NAME, f"{STABLE};e=5")])
    asks = [*carried, by_baggage, *strange]
    found = asked(behind, *((f"/?subject={n}", sent) for n, sent in enumerate(asks)))
    assert [one.json()["mine"] for one in found] == [STABLE, CANDIDATE, CANDIDATE] + [STABLE] * 4
    assert client.counts == {"no_release": 1, "unknown_release": 3}


def test_a_service_that_lags_waits_for_the_epoch_that_upstream_saw() -> None:
    client = told(Route("prod", 4, STABLE))
    client._held = client._held._replace(by_release={})  # type: ignore[union-attr]  # it is there
    behind = asgi.OneRelease(echo, client)
    later = Published(ROUTE, (STABLE, CANDIDATE), ("crew",))
    timer = threading.Timer(0.05, lambda: client.take(later, elapsed()))
    timer.start()
    (reply,) = asked(behind, ("/", {NAME: f"{CANDIDATE};e=5"}))
    assert reply.json()["mine"] == CANDIDATE
    timer.join()


def test_two_services_behind_an_edge_agree_at_every_moment_of_a_ramp() -> None:
    """Each service follows the Route on its own, and is at another epoch than its neighbours."""
    routes = [
        ROUTE,
        Route("prod", 6, STABLE, CANDIDATE, 0.9, salt="s"),
        Route("prod", 7, CANDIDATE),
    ]
    edge, first, second = map(told, routes)
    third = asgi.OneRelease(echo, second)

    async def middle(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        hooks = {"request": [carry_async]}
        transport = httpx.ASGITransport(third)
        async with httpx.AsyncClient(transport=transport, event_hooks=hooks) as http:
            reply = await http.get("http://third/")
        agree(reply.headers)
        mine = current()
        assert mine is not None
        await answer(send, 200, [mine.release, reply.json()["mine"]])

    chain = asgi.OneRelease(asgi.OneRelease(middle, first), edge, of_query)
    found = asked(chain, *((f"/?subject={s}", {}) for s in SUBJECTS))
    assert [one.json() for one in found] == [[wanted(s)] * 2 for s in SUBJECTS]
    assert first.counts == second.counts == {}


def test_a_decision_that_was_answered_by_two_releases_is_made_again() -> None:
    edge = told(Route("prod", 5, STABLE, CANDIDATE, 1.0, salt="s"))
    behind = asgi.OneRelease(echo, told(Route("prod", 6, STABLE, blocked=(CANDIDATE,))))

    def deciding(tries: Callable[[], Iterable[Any]]) -> asgi.OneRelease:
        async def decide(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
            for mine in tries():
                transport = httpx.ASGITransport(behind)
                async with httpx.AsyncClient(transport=transport) as http:
                    reply = await http.get("http://behind/", headers=outgoing_headers())
                try:
                    agree(reply.headers)
                except Stale:
                    continue
                await answer(send, 200, [mine.release, reply.json()["mine"]])
                return
            raise Stale("nobody agreed")

        return asgi.OneRelease(decide, edge, of_query)

    (reply,) = asked(deciding(lambda: attempts(edge)), ("/?subject=1", {}))
    assert (reply.json(), reply.headers[NAME]) == ([STABLE, STABLE], f"{STABLE};e=5")
    assert edge.counts["decided_again"] == 1
    (mixed,) = asked(deciding(lambda: list(attempts(edge))[:0]), ("/?subject=1", {}))
    assert (mixed.status_code, mixed.json()["error"]) == (409, "nobody agreed")


def test_requests_under_way_together_do_not_see_each_others_release(client: Client) -> None:
    async def slow(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        before = current()
        await asyncio.sleep(0.005)
        in_thread = await asyncio.to_thread(current)
        assert before == in_thread == current()
        await echo(scope, receive, send)

    app = asgi.OneRelease(slow, client, of_query)

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
            return await asyncio.gather(*(http.get(f"/?subject={s}") for s in SUBJECTS))

    found = asyncio.run(ask())
    assert [one.json()["mine"] for one in found] == [wanted(s) for s in SUBJECTS]
    assert current() is None
    assert outgoing_headers() == {}


def test_a_websocket_names_its_release_and_is_closed_when_it_is_stale(client: Client) -> None:
    async def talk(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "websocket.accept", "headers": [(NAME.encode(), b"mine")]})
        raise Stale("the Route moved")

    said: list[asgi.Message] = []

    async def ask() -> None:
        scope = {"type": "websocket", "query_string": b"subject=7", "headers": []}
        await asgi.OneRelease(talk, client, of_query)(scope, lambda: asyncio.sleep(0), hear)  # type: ignore[arg-type]

    async def hear(message: asgi.Message) -> None:
        said.append(message)

    asyncio.run(ask())
    assert said[0]["headers"] == [(NAME.encode(), f"{wanted('7')};e=5".encode())]
    assert (said[1]["type"], said[1]["code"]) == ("websocket.close", 1013)


# --- WSGI ---------------------------------------------------------------------------------


def plain(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    """A generator: it runs after the call has returned, and must still know its release."""
    start("200 OK", [("content-type", "application/json"), (NAME, "mine")])
    mine = current()
    assert mine is not None
    yield orjson.dumps([mine.release, environ["HTTP_X_INTERLOCK_RELEASE"], passed_on()])


def test_the_same_over_wsgi(client: Client) -> None:
    edge = wsgi.OneRelease(plain, client, lambda environ: environ["QUERY_STRING"] or None)
    behind = wsgi.OneRelease(plain, client)
    with httpx.Client(transport=httpx.WSGITransport(edge), base_url="http://edge") as http:
        for subject in SUBJECTS:
            reply = http.get(f"/?{subject}", headers={NAME: f"{CANDIDATE};e=5", "baggage": "k=v"})
            said = f"{wanted(subject)};e=5"
            passed = {NAME: said, "baggage": f"k=v,interlock-release={said}"}
            assert reply.headers.get_list(NAME) == [said]
            assert reply.json() == [wanted(subject), said, passed]
    with httpx.Client(transport=httpx.WSGITransport(behind), base_url="http://behind") as http:
        assert http.get("/", headers={NAME: f"{CANDIDATE};e=5"}).json()[0] == CANDIDATE
        assert http.get("/", headers={NAME: f"{THIRD};e=5"}).json()[0] == STABLE
        assert http.get("/").json()[0] == STABLE
    assert client.counts == {"no_release": 1, "unknown_release": 1}
    assert current() is None


def test_an_answer_that_another_thread_goes_on_with_stays_inside_of_its_request(
    client: Client,
) -> None:
    def parts(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        start("200 OK", [])
        for _ in range(3):
            yield str(current()).encode()

    app = wsgi.OneRelease(parts, client, lambda environ: "7")
    bodies = [app({}, lambda *_: None) for _ in range(2)]
    assert current() is None  # though nobody has closed anything
    heard: list[bytes] = []
    thread = threading.Thread(target=lambda: heard.extend(b"".join(one) for one in bodies))
    thread.start()
    thread.join()
    assert heard == [str(client.assign("7")).encode() * 3] * 2


def test_wsgi_refuses_as_asgi_does(client: Client) -> None:
    def stale(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        raise Stale("the Route moved")

    for app, status in (
        (wsgi.OneRelease(stale, client), 409),
        (wsgi.OneRelease(plain, Client(["http://127.0.0.1:9"])), 503),
    ):
        with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://s") as http:
            reply = http.get("/")
            assert (reply.status_code, reply.headers["retry-after"]) == (status, "1")
    assert current() is None


# --- calls that go on ---------------------------------------------------------------------


def test_every_way_to_call_carries_the_release(client: Client) -> None:
    async def heard(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        said = {k.decode(): v.decode() for k, v in scope["headers"]}
        await answer(send, 200, [said.get(NAME), said.get("baggage")])

    with serving(heard) as url, carrying(client.accept(None), ("user=7",)):
        text = f"{STABLE};e=5"
        carried = [text, f"user=7,interlock-release={text}"]
        with httpx.Client(event_hooks={"request": [carry]}) as http:
            assert http.get(url).json() == carried
            own = http.get(url, headers={"Baggage": "mine=1"}).json()
            assert own == [text, f"mine=1,interlock-release={text}"]
        assert requests.get(url, auth=carry, timeout=10).json() == carried
        with urlopen(carry(Request(url)), timeout=10) as reply:
            assert orjson.loads(reply.read()) == carried
