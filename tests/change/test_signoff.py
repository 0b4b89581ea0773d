"""Sign-offs: bound to the exact plan, by those who hold the role, never by the author."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.change.signoff import Requirement, SignOff, waiting
from interlock.define.digest import canonical, digest_bytes
from interlock.define.environment import Owner

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
PLAN, OTHER = "a" * 64, "b" * 64
OWNERS = (
    Owner(name="data-eng", people={"amina": ("data_steward",), "tomas": ("data_steward",)}),
    Owner(name="data-science", people={"dana": ("model_validator",), "amina": ("data_steward",)}),
    Owner(name="ops-gates", people={"gina": ("service_owner",)}),
)
STEWARD = Requirement("data_steward", "data-eng", "table:wh.flights changes")
GATES = Requirement("service_owner", "ops-gates", "service:gates reads model:late")


def _sign(person: str, need: Requirement, **more: Any) -> SignOff:
    known: dict[str, Any] = {"plan_digest": PLAN, "at": NOON, **more}
    return SignOff(person, need.role, need.team, **known)


def _waiting(*signoffs: SignOff, author: str = "dana") -> tuple[str, ...]:
    return waiting([STEWARD, GATES], signoffs, OWNERS, PLAN, author)


def test_all_who_must_sign_are_named_with_the_reason() -> None:
    assert _waiting() == (
        "waiting for data_steward of data-eng to sign: amina or tomas (table:wh.flights changes)",
        "waiting for service_owner of ops-gates to sign: gina (service:gates reads model:late)",
    )


def test_both_sides_sign_and_nothing_is_waited_for() -> None:  # R-A5
    assert _waiting(_sign("tomas", STEWARD), _sign("gina", GATES)) == ()


def test_another_plan_makes_a_signature_void() -> None:  # R-C4
    said = _waiting(_sign("tomas", STEWARD, plan_digest=OTHER), _sign("gina", GATES))
    assert len(said) == 1
    assert "tomas signed another plan" in said[0]


@pytest.mark.parametrize("person", ["gina", "stranger", "dana"])
def test_only_those_who_hold_the_role_in_the_team_count(person: str) -> None:
    assert len(_waiting(_sign(person, STEWARD), _sign("gina", GATES))) == 1


def test_a_role_in_another_team_is_another_role() -> None:
    elsewhere = Requirement("data_steward", "data-science")
    assert len(_waiting(_sign("amina", elsewhere), _sign("gina", GATES))) == 1
    both = [STEWARD, elsewhere]
    signed = [_sign("amina", STEWARD), _sign("amina", elsewhere)]
    assert waiting(both, signed[:1], OWNERS, PLAN, "dana") != ()
    assert waiting(both, signed, OWNERS, PLAN, "dana") == ()


def test_an_author_does_not_approve() -> None:  # R-C4
    said = _waiting(_sign("amina", STEWARD), _sign("gina", GATES), author="amina")
    assert said == (
        "waiting for data_steward of data-eng to sign: tomas (table:wh.flights changes)",
    )
    said = _waiting(_sign("tomas", STEWARD), _sign("gina", GATES), author="gina")
    assert "only gina, the author" in said[0]


def test_a_rejection_blocks_even_beside_an_approval_and_gives_its_reason() -> None:
    no = _sign("amina", STEWARD, decision="reject", reason="the backfill is not done")
    said = _waiting(_sign("tomas", STEWARD), _sign("gina", GATES), no)
    assert said == ("rejected by amina (data_steward of data-eng): the backfill is not done",)
    # The last word of a person counts; a rejected plan that changed is another plan.
    later = _sign("amina", STEWARD, at=NOON + timedelta(hours=1))
    assert _waiting(_sign("gina", GATES), later, no) == ()


def test_a_team_without_anybody_says_so() -> None:
    need = Requirement("model_validator", "ops-gates", "it reads a model")
    (said,) = waiting([need], [], OWNERS, PLAN, "dana")
    assert said.startswith("nobody of ops-gates holds the role model_validator")


def test_one_sentence_for_one_signature_asked_twice() -> None:
    twice = [STEWARD, Requirement("data_steward", "data-eng", "view:origin_weather@2 is new")]
    (said,) = waiting(twice, [], OWNERS, PLAN, "dana")
    assert "table:wh.flights changes; view:origin_weather@2 is new" in said


signoffs = st.lists(
    st.builds(
        SignOff,
        person=st.sampled_from(["amina", "tomas", "dana", "gina", "stranger"]),
        role=st.sampled_from(["data_steward", "service_owner", "model_validator"]),
        team=st.sampled_from(["data-eng", "data-science", "ops-gates"]),
        plan_digest=st.sampled_from([PLAN, OTHER]),
        at=st.just(NOON),
    ),
    max_size=8,
)


@settings(derandomize=True, max_examples=100)
@given(signoffs, st.sampled_from(["amina", "gina", "dana"]))
def test_what_was_signed_for_one_plan_counts_for_no_other(
    found: list[SignOff], author: str
) -> None:
    assert waiting([STEWARD, GATES], found, OWNERS, "c" * 64, author) != ()
    if not waiting([STEWARD, GATES], found, OWNERS, PLAN, author):
        assert {s.person for s in found if s.plan_digest == PLAN} - {author}


# --- any byte of what was signed -------------------------------------------------------------


PLANS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(derandomize=True, max_examples=200)
@given(PLANS, st.data())
def test_any_byte_of_a_plan_voids_its_signatures(plan: Any, data: st.DataObject) -> None:  # R-C4
    """The slot is a part of the plan: it stands among the bytes that are flipped."""
    body = canonical({"plan": plan, "slot": ["2013-05-01T12:00:00+00:00"]})
    at = data.draw(st.integers(0, len(body) - 1))
    mask = data.draw(st.integers(1, 255))
    other = body[:at] + bytes([body[at] ^ mask]) + body[at + 1 :]
    made = digest_bytes(body)
    signed = [_sign("tomas", STEWARD, plan_digest=made)]
    assert waiting([STEWARD], signed, OWNERS, made, "amina") == ()
    assert waiting([STEWARD], signed, OWNERS, digest_bytes(other), "amina") != ()
