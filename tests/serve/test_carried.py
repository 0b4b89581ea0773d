"""The release in a header and in baggage: one form, nothing breaks out, nothing is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.define.release import Route
from interlock.errors import Corrupt, Unusable
from interlock.serve.carried import (
    BAGGAGE,
    HEADER,
    NOTHING,
    Carried,
    carried,
    read_header,
    with_release,
)
from interlock.serve.flags import flag_of, keys_of
from interlock.serve.published import Published

A, B = "a" * 64, "b" * 64
digests = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(digests, st.integers(0, 10**15 - 1), st.lists(st.text(max_size=80), max_size=8))
def test_what_is_written_is_read_whatever_else_stood_there(
    digest: str, epoch: int, baggage: list[str]
) -> None:
    said = with_release(Carried(digest, epoch), baggage)
    assert carried([said[HEADER]]) == (digest, epoch)
    assert carried([], [said[BAGGAGE]]) == (digest, epoch)
    assert all(char == "\t" or " " <= char <= "~" for text in said.values() for char in text)


@pytest.mark.parametrize(
    "text",
    [
        "", "latest", A[:63], A + "0", A.upper(), f"{A};e=", f"{A};e=-1", f"{A};e=1;e=2",
        f"{A};e=1\r\nset-cookie: x=1", f"{A}\n", f"{A}, {A}", f"{A};e={'9' * 16}", f"{A};e=\u0661",
    ],
)  # fmt: skip
def test_what_is_not_in_the_one_form_names_no_release(text: str) -> None:
    assert read_header(text) == NOTHING
    assert carried([text]) == NOTHING


def test_said_twice_and_differently_it_is_nothing() -> None:
    assert carried([f"{A};e=1", f"{A};e=1"]) == (A, 1)
    assert carried([f"{A};e=1", f"{B};e=1"]) == NOTHING
    assert carried([], [f"interlock-release={A};e=1", f"interlock-release={B};e=1"]) == NOTHING
    # A tracer may have kept baggage of an earlier request.
    assert carried([f"{A};e=1"], [f"interlock-release={B};e=1"]) == (A, 1)
    assert carried([], ["user=7"]) is None
    assert carried([]) is None


def test_baggage_of_others_goes_on_and_former_releases_do_not() -> None:
    came = ["user=7;ttl=3, interlock-release=" + B, "bad\r\nx-admin: 1, k = v%20w"]
    said = with_release(Carried(A, 3), came)
    assert said == {
        HEADER: f"{A};e=3",
        BAGGAGE: f"user=7;ttl=3,k = v%20w,interlock-release={A};e=3",
    }
    assert with_release(Carried(A, 3), ["x=" + "y" * 9000])[BAGGAGE] == f"interlock-release={A};e=3"
    many = ",".join(f"k{n}=v" for n in range(64))
    assert with_release(Carried(A, 3), [many])[BAGGAGE].count(",") == 63


def test_only_a_digest_is_ever_sent() -> None:
    for wrong in ("", "x\r\ny: z", A + "\n"):
        with pytest.raises(Unusable, match="not the digest"):
            with_release(Carried(wrong, 1))


# --- what a gateway tells services ------------------------------------------------------------

ROUTE = Route("prod", 4, A, B, 0.25, salt="CR-2")


def test_what_is_told_is_read_again() -> None:
    told = Published(ROUTE, (A, B), ("crew",))
    assert Published.from_json(told.to_json()) == told


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"weight": 1.5}, "its weight is not between 0 and 1"),
        ({"weight": float("nan")}, "its weight is not between 0 and 1"),
        ({"weight": "0.5"}, "its weight is not between 0 and 1"),
        ({"weight": True}, "its weight is not between 0 and 1"),
        ({"candidate": None}, "a weight stands there without a candidate"),
        ({"candidate": ""}, "not named by text"),
        ({"stable": 7}, "not named by text"),
        ({"stable": None}, "names no stable release"),
        ({"salt": None}, "its salt is not text"),
        ({"blocked": [B]}, "its candidate is blocked"),
        ({"shares": [1, 2]}, "this is no Route"),
        ({"blocked": B}, "its blocked releases are"),
        ({"blocked": [7]}, "not named by text"),
    ],
)
def test_a_route_that_nobody_wrote_by_the_rules_is_refused(edit: object, said: str) -> None:
    body = Published(ROUTE).to_json()
    body["route"] |= edit
    with pytest.raises(Corrupt, match=said):
        Published.from_json(body)


@pytest.mark.parametrize("body", [[], {}, {"route": {}}, {"route": ROUTE.to_json(), "known": 1}])
def test_what_is_not_told_in_full_is_refused(body: object) -> None:
    with pytest.raises(Corrupt):
        Published.from_json(body)  # type: ignore[arg-type]  # that is the point


def test_every_service_has_two_flags() -> None:
    assert keys_of(["gates", "crew"]) == [
        "crew.candidate", "crew.release", "gates.candidate", "gates.release",
    ]  # fmt: skip
    assert flag_of("crew.release", ROUTE, 4, B, "candidate")[:4] == (
        "crew.release", B, "SPLIT", "candidate",
    )  # fmt: skip
    assert flag_of("crew.candidate", ROUTE, 4, A, "stable").value is False
    whole = Route("prod", 4, A, B, 1.0)
    assert flag_of("crew.candidate", whole, 4, B, "candidate")[1:3] == (True, "STATIC")
