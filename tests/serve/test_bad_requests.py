"""Whatever comes over the wire is answered by contract or by nobody, and never stops the others."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import orjson
import pytest
from client_world import serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_world import CANDIDATE, NOW, STABLE, WEATHER, World, body, world

from interlock.errors import InterlockError
from interlock.ports import OnlineRow
from interlock.web import gateway as door
from interlock.web import oip, tensors
from interlock.web.gateway import gateway_app
from interlock.web.wire import protocol_of

INFER = "/v2/models/late/infer"
HEADER = tensors.HEADER.decode()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = world(tmp_path_factory.mktemp("bad"))
    made.route(candidate=CANDIDATE, weight=0.5)
    yield made
    made.gateway.stop()


@pytest.fixture(scope="module", params=["uvicorn's", "ours"])
def port(served: World, request: pytest.FixtureRequest) -> Iterator[int]:
    plane = gateway_app(served.gateway)
    with serving(plane, protocol_of(plane) if request.param == "ours" else "httptools") as url:
        yield int(url.rpartition(":")[2])


def head(length: int, extra: str = "") -> bytes:
    return f"POST {INFER} HTTP/1.1\r\nhost: x\r\n{extra}content-length: {length}\r\n\r\n".encode()


def heard(link: socket.socket) -> bytes:
    """Everything until the other side closes."""
    said = b""
    while part := link.recv(1 << 16):
        said += part
    return said


def asked(port: int) -> int:
    """Others are answered meanwhile: the status of a good request."""
    return httpx.post(f"http://127.0.0.1:{port}{INFER}", json=body([1]), timeout=60).status_code


def ended(port: int) -> dict[str, float]:
    lines = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
    found = (line.rsplit(" ", 1) for line in lines if line.startswith("interlock_responses"))
    return {name: float(value) for name, value in found}


def until(true: Callable[[], bool]) -> None:
    for _ in range(6000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


def test_who_hangs_up_in_the_middle_of_a_request_is_neither_answered_nor_logged(
    served: World, port: int
) -> None:
    sent, gone = orjson.dumps(body([1])), 'interlock_responses_total{status="499"}'
    rows, before = len(served.rows()), ended(port).get(gone, 0)
    with socket.create_connection(("127.0.0.1", port)) as link:
        # All of a valid JSON text came, and less than was announced.
        link.sendall(head(len(sent) + 10) + sent)
        assert asked(port) == 200
    until(lambda: ended(port).get(gone, 0) == before + 1)
    assert len(served.rows()) == rows + 1


def test_who_stops_sending_is_told_so_and_costs_nobody_anything(
    served: World, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "SLOWEST_BODY", 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
        link.sendall(head(100) + b'{"inputs"')
        assert asked(port) == 200
        said = heard(link)
    assert said.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in said.lower()
    assert b"the body did not come" in said


def test_a_half_closed_connection_ends(served: World, port: int) -> None:
    sent = orjson.dumps(body([1]))
    with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
        link.sendall(head(len(sent)) + sent)
        link.shutdown(socket.SHUT_WR)
        said = heard(link)  # ends: the answer, or nothing
    assert said == b"" or said.startswith(b"HTTP/1.1 200")
    assert asked(port) == 200


def test_many_half_requests_leave_room_for_whole_ones(served: World, port: int) -> None:
    links = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
    try:
        for link in links:
            link.sendall(head(50) + b"{")
        assert asked(port) == 200
    finally:
        for link in links:
            link.close()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x00\xff\xfe not http\r\n\r\n", b"400"),
        (head(9_000_000) + b"{" + b" " * 8_999_999, b"413"),
        (head(2) + b"[]", b"400"),
        (head(4) + b"\xff\xfe\xfd\xfc", b"400"),
        (head(2, "content-encoding: gzip\r\n") + b"{}", b"400"),
        (head(2, f"{HEADER}: 99\r\n") + b"{}", b"400"),
        (head(2, f"{HEADER}: -1\r\n") + b"{}", b"400"),
        (head(2, f"{HEADER}: \xc2\xb2\r\n") + b"{}", b"400"),
    ],
)
def test_what_is_no_request_is_refused_and_others_are_answered(
    port: int, sent: bytes, status: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
        try:
            link.sendall(sent)
            said = link.recv(1 << 16)
        except ConnectionError:
            said = b""
    assert said == b"" or said.split(b" ", 2)[1] == status
    assert asked(port) == 200


KINDS = (
    "INT64",
    "INT32",
    "UINT8",
    "FP64",
    "FP32",
    "BOOL",
    "BYTES",
    "FP16",
    "COMPLEX",
    7,
    None,
    [],
    {},
)
NAMES = ("flight_id", "carrier", "origin", "distance", "sched_dep", "nobody", "", 3)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
)  # fmt: skip
GOOD = {
    "flight_id": ("INT64", st.integers(-(2**63), 2**63 - 1)),
    "carrier": ("BYTES", st.text(max_size=8)),
    "origin": ("BYTES", st.sampled_from(["EWR", "LGA", "|", "\x00", "\u2603"])),
    "distance": ("FP64", st.floats()),
}


@st.composite
def requests(draw: Any) -> tuple[bytes, str | None]:
    """A body and the length of its JSON part: nearly right, or wrong in one or many ways."""
    count = draw(st.integers(1, 4))
    inputs, tail = [], b""
    for name, (kind, values) in GOOD.items():
        data = draw(st.lists(values, min_size=count, max_size=count))
        one: dict[str, Any] = {"name": name, "shape": [count], "datatype": kind}
        if draw(st.booleans()):
            packed = tensors.pack(kind, data)
            one["parameters"] = {"binary_data_size": len(packed)}
            tail += packed
        else:
            one["data"] = [v if v == v and abs_ok(v) else None for v in data]
        inputs.append(one)
    for _ in range(draw(st.integers(0, 3))):
        harm(draw, draw(st.sampled_from(inputs)))
    if draw(st.integers(0, 4)) == 0:
        tail = tail[: draw(st.integers(0, len(tail)))] + draw(st.binary(max_size=9))
    parameters: Any = {"at": "2013-04-01T12:00:00Z"}
    if draw(st.integers(0, 9)) == 0:
        parameters = draw(VALUES.filter(fits))
    text = orjson.dumps(
        {"inputs": inputs, "parameters": parameters}, option=orjson.OPT_NON_STR_KEYS
    )
    length = len(text) + (draw(st.integers(-3, 3)) if draw(st.integers(0, 9)) == 0 else 0)
    return text + tail, str(length)


def abs_ok(value: Any) -> bool:
    return not isinstance(value, float) or abs(value) != float("inf")


def harm(draw: Any, one: dict[str, Any]) -> None:
    wrong: dict[str, Any] = {
        "name": st.sampled_from(NAMES), "datatype": st.sampled_from(KINDS),
        "shape": st.lists(st.integers(-2, 5), max_size=3),
        "data": st.one_of(st.lists(VALUES.filter(fits), max_size=5), VALUES.filter(fits)),
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-5, 99)}),
    }  # fmt: skip
    field = draw(st.sampled_from(sorted(wrong)))
    if draw(st.booleans()):
        one.pop(field, None)
    else:
        one[field] = draw(wrong[field])


def fits(value: Any) -> bool:
    """What can stand in JSON at all."""
    try:
        orjson.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests())
def test_every_request_is_answered_or_refused_in_words(
    served: World, request_: tuple[bytes, str | None]
) -> None:
    sent, length = request_
    try:
        inquiry = oip.parse(oip.Door("late", None, None, None, length), sent)
        answered = served.gateway.answer(inquiry.ask)
    except InterlockError:
        return  # in words, as every refusal
    said, _ = oip.reply(inquiry, answered)
    assert b"NaN" not in said
    assert set(answered.releases()) <= {STABLE, CANDIDATE}
    for value, reason in zip(answered.column("values"), answered.column("reasons"), strict=True):
        assert (value is None) == (reason == "error")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"flight_id": [2**63]}, "larger than 9223372036854775807"),
        ({"flight_id": [1, 2**64 - 1, None]}, "larger than 9223372036854775807"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "no instant"),
        ({"at": "9999-12-31T23:59:59-01:00"}, "no instant"),
    ],
)
def test_what_could_be_answered_and_never_counted_is_refused(
    served: World, edit: dict[str, Any], said: str
) -> None:
    flights = edit.get("flight_id", [1])
    sent = body(flights)
    sent["parameters"] |= {name: text for name, text in edit.items() if name == "at"}
    good = oip.parse(oip.Door("late"), orjson.dumps(body([2**63 - 1, None]))).ask  # type: ignore[list-item]
    if "at" in edit:
        with pytest.raises(InterlockError, match=said):
            oip.parse(oip.Door("late"), orjson.dumps(sent))
        return
    ask = oip.parse(oip.Door("late"), orjson.dumps(sent)).ask
    wrong, right = served.gateway.answers([ask, good])
    assert isinstance(wrong, InterlockError)
    assert said in wrong.message
    assert not isinstance(right, InterlockError)


def test_a_clock_that_was_set_back_uses_no_row_of_the_future(served: World) -> None:
    """For a clock that jumps back an hour, rows written a minute ago lie ahead."""
    late = WEATHER.fingerprint
    served.store.write(late, [("SWF", OnlineRow(NOW + 3540, (99.0, 99.0)))])
    inquiry = oip.parse(oip.Door("late"), orjson.dumps(body([1], origin=["SWF"])))
    answer = served.gateway.answer(inquiry.ask).answer(0)
    assert (answer.reason, answer.fallbacks) == ("fallback", ("temp",))
    assert 99.0 not in served.rows()[-1]["inputs"]


def test_many_wrong_ones_at_once_leave_the_right_ones_right(served: World) -> None:
    transport = httpx.ASGITransport(gateway_app(served.gateway))

    async def crowd() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            wrong = [client.post(INFER, content=b"\x00" * n) for n in range(20)]
            right = [client.post(INFER, json=body([n])) for n in range(20)]
            return await asyncio.gather(
                *(one for pair in zip(wrong, right, strict=True) for one in pair)
            )

    replies = asyncio.run(crowd())
    assert [reply.status_code for reply in replies] == [400, 200] * 20
