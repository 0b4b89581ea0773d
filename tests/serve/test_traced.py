"""One journey from the edge to the log: traces are taken as they come, or begun."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from serving_world import World, body, world

from interlock.client.carry import carry, carrying, outgoing_headers
from interlock.client.client import Assignment
from interlock.serve.traced import HEADER, NOISE, RESPONSE, STATE, Trace, entered
from interlock.web.gateway import gateway_app

CAME = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
JOURNEY, ASKER = CAME.split("-")[1:3]
INFER = "/v2/models/late/infer"
CALM = settings(derandomize=True, max_examples=300, deadline=None)


@CALM
@given(
    st.binary(min_size=NOISE, max_size=NOISE).filter(lambda noise: any(noise[16:24])), st.booleans()
)
def test_what_one_step_tells_the_next_one_reads(noise: bytes, sampled: bool) -> None:
    came = CAME if sampled else CAME[:-1] + "0"
    first = entered([came], noise)
    assert first == Trace(JOURNEY, noise[16:24].hex(), ASKER, sampled)
    second = entered([first.text], noise)
    assert (second.trace, second.parent, second.sampled) == (JOURNEY, first.span, sampled)


@CALM
@given(st.text(max_size=60))
@example("")
@example(CAME + "-more")  # version 00 ends here
@example(CAME.replace("00-", "ff-", 1))
@example(CAME.upper())
@example("00-" + "0" * 32 + CAME[35:])
@example(CAME[:36] + "0" * 16 + "-01")
@example(CAME[:-1])
@example(CAME + "\n" + CAME)
def test_what_breaks_the_rules_begins_a_journey_of_its_own(line: str) -> None:
    noise = bytes(range(NOISE))
    begun = Trace(noise[:16].hex(), noise[16:24].hex(), "", noise[24] % 16 == 0)
    assert entered([line], noise) == begun
    assert entered([], noise) == begun
    assert entered([CAME, CAME], noise) == begun  # which of the two?


def test_a_later_version_of_the_standard_may_say_more() -> None:
    assert entered([CAME.replace("00-", "cc-", 1) + "-what-will-be"], bytes(NOISE)).trace == JOURNEY


@pytest.fixture
def served(tmp_path: Path) -> World:
    made = world(tmp_path)
    made.route()
    return made


def asked(served: World, headers: dict[str, str]) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(gateway_app(served.gateway))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            return await http.post(INFER, json=body([1, 2]), headers=headers)

    return anyio.run(ask)


def test_the_log_and_the_answer_say_which_journey_it_was(served: World) -> None:
    answer = asked(served, {HEADER: CAME})
    assert answer.status_code == 200
    rows = served.rows()
    version, trace, span, flags = answer.headers[RESPONSE].split("-")
    assert (version, trace, flags) == ("00", JOURNEY, "01")
    assert {row["trace"] for row in rows} == {answer.headers[RESPONSE]}
    assert {row["parent"] for row in rows} == {ASKER}
    assert span != ASKER
    assert all(len(row["took_us"]) == 2 and min(row["took_us"]) >= 0 for row in rows)


def test_who_is_not_looked_at_closely_is_not_timed_and_a_journey_can_begin_here(
    served: World,
) -> None:
    asked(served, {HEADER: CAME[:-1] + "0"})
    asked(served, {HEADER: "garbage"})
    quiet, begun = served.rows()[0], served.rows()[2]
    assert "took_us" not in quiet
    assert quiet["trace"].split("-")[1] == JOURNEY
    assert "parent" not in begun
    assert begun["trace"].split("-")[1] != JOURNEY
    refused = asked(served, {HEADER: CAME, "content-encoding": "gzip"})
    assert refused.status_code == 400


def test_a_service_tells_whom_it_calls_that_it_asks() -> None:
    with carrying(Assignment("a" * 64, 3, "stable"), (), (CAME,)):
        told = outgoing_headers()[HEADER].split("-")
        assert told[1] == JOURNEY
        assert told[2] != ASKER
        mine = carry(httpx.Request("GET", "http://crew", headers={"Traceparent": CAME}))
        assert mine.headers[HEADER] == CAME  # a tracer knows better which step asks
        assert carry(httpx.Request("GET", "http://crew")).headers[HEADER].split("-")[1] == JOURNEY
    with carrying(Assignment("a" * 64, 3, "stable")):
        assert len(outgoing_headers()[HEADER]) == len(CAME)
    assert outgoing_headers() == {}


@pytest.mark.parametrize(
    ("states", "passed"),
    [
        (["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"], "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        (["a=1", " b@x-y/z=2 ;3\t", "", ", ,c=~"], "a=1,b@x-y/z=2 ;3,c=~"),
        (["A=1"], ""),
        (["a=1,b"], ""),
        (["a=1=2"], ""),
        (["a="], ""),
        (["a=\u00e4"], ""),
        (["a=1\r\nx: y"], ""),
        ([",".join(f"k{n}=1" for n in range(32))], ",".join(f"k{n}=1" for n in range(32))),
        ([",".join(f"k{n}=1" for n in range(33))], ""),
        (["a=" + "x" * 250, "b=" + "x" * 250, "c=" + "x" * 250],
         "a=" + "x" * 250 + ",b=" + "x" * 250),
    ],
)  # fmt: skip
def test_what_tracers_told_each_other_goes_on_with_the_journey(
    states: list[str], passed: str
) -> None:
    one = Assignment("a" * 64, 3, "stable")
    with carrying(one, (), (CAME,), tuple(states)):
        assert outgoing_headers().get(STATE, "") == passed
        mine = carry(httpx.Request("GET", "http://crew", headers={"Traceparent": CAME}))
        assert STATE not in mine.headers
    for begun in ((), ("garbage",), (CAME, CAME)):
        with carrying(one, (), begun, tuple(states)):
            assert STATE not in outgoing_headers()
