"""A change from draft to committed: transitions that exist, and every objection at once."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.adapters.cedar import CedarPolicies
from interlock.change.change import (
    NEXT,
    Change,
    Planned,
    State,
    moved,
    next_id,
    planned,
    signed,
    with_evidence,
    with_waiver,
)
from interlock.change.conflicts import Booking
from interlock.change.evidence import Evidence, Waiver
from interlock.change.footprint import of_writes, phases
from interlock.change.policy import BACKWARD, principal
from interlock.change.ready import Standing, ready, waived
from interlock.change.signoff import Requirement, SignOff
from interlock.define.calendar import Calendar, Freeze
from interlock.define.environment import Owner, Stage
from interlock.define.refs import Ref
from interlock.errors import Refused, Stale
from interlock.ports import Json

NOON = datetime(2013, 5, 1, 12, tzinfo=UTC)
POLICY = Path(__file__).parents[2] / "examples" / "flights" / "policies" / "change.cedar"
ENGINE = CedarPolicies({"policies/change.cedar": POLICY.read_text()})
VIEW = "view:origin_weather@2"
STABLE, CANDIDATE, PLAN = "5" * 64, "c" * 64, "a" * 64
OWNERS = (
    Owner(name="data-eng", people={"amina": ("data_steward",), "tomas": ("data_steward",)}),
    Owner(name="ops-gates", people={"gina": ("service_owner",)}),
)
STATES = get_args(State)
REPLAY = Evidence("replay", {VIEW: "1" * 64}, "pass", "0 of 900 rows differ", NOON, n=900)


def _reviewed() -> Change:
    draft = Change(
        "CR-1", "Weather in Celsius", "amina", "prod", NOON,
        reason="one unit everywhere", rollback_criteria="log-loss worse by 2 %",
    )  # fmt: skip
    made = planned(draft, Planned({"steps": []}, PLAN, CANDIDATE, STABLE))
    return moved(with_evidence(made, [REPLAY]), "REVIEW")


def _signature(person: str, role: str, team: str, **more: Any) -> SignOff:
    return SignOff(person, role, team, **{"plan_digest": PLAN, "at": NOON, **more})


def _agreed() -> Change:
    change = signed(_reviewed(), _signature("tomas", "data_steward", "data-eng"), OWNERS)
    return signed(change, _signature("gina", "service_owner", "ops-gates"), OWNERS)


STANDING = Standing(
    now=NOON,
    current={VIEW: "1" * 64},
    stable=STABLE,
    required=("replay",),
    requirements=(
        Requirement("data_steward", "data-eng"), Requirement("service_owner", "ops-gates"),
    ),
    evidence=(REPLAY,),
    owners=OWNERS,
    writes=(Ref.parse(VIEW),),
    stages=(Stage(name="soak", weight=1, hold=timedelta(days=2)),),
    tiers=(1, 2),
)  # fmt: skip
CONTROLLER: Json = {"id": "controller", "roles": [], "teams": [], "clearance": "public"}


def _ready(change: Change, action: str = "start", **standing: Any) -> tuple[str, ...]:
    return ready(change, replace(STANDING, **standing), ENGINE, CONTROLLER, action)


def test_a_complete_change_may_start() -> None:  # R-C1
    assert _ready(_agreed()) == ()
    change = _agreed()
    for state in ("APPROVED", "SCHEDULED", "PREPARING", "SHADOW", "STEP", "STEP", "SOAKING"):
        change = moved(change, state)
    assert moved(change, "COMMITTED").state == "COMMITTED"


def test_everything_against_it_is_said_at_once() -> None:
    freeze = Freeze(
        name="may", start="2013-05-01T00:00:00", end="2013-05-02T00:00:00", timezone="UTC"
    )
    hour = phases(NOON, timedelta(hours=1), (), timedelta(0))
    held = Booking("CR-9", of_writes([VIEW]), hour)
    said = _ready(
        replace(_reviewed(), rollback_criteria=" "),
        evidence=(),
        stable="6" * 64,
        calendar=Calendar(freezes=(freeze,)),
        bookings=(held,),
        booking=replace(held, change="CR-1"),
        stages=(),
        cards_missing=("model:late",),
        blocked=(CANDIDATE,),
    )
    for word in (
        "stable release has moved", "rolled back before: change", "replay: no evidence yet",
        "waiting for data_steward of data-eng", "waiting for service_owner", "frozen by may",
        "CR-9 already holds", "[approved_by_another]", "[every_signature]", "[evidence_complete]",
        "[not_in_a_freeze]", "[rollback_criteria]", "[model_card]", "[tier_one_soaks]",
        "[stays_rolled_back]",
    ):  # fmt: skip
        assert any(word in sentence for sentence in said), word
    assert len(said) == len(set(said))


@pytest.mark.parametrize("action", sorted(BACKWARD))
def test_the_way_back_is_never_asked_anything(action: str) -> None:  # R-C6
    class Broken:
        def decide(self, principal: Json, action: str, change: Json) -> tuple[str, ...]:
            return ("policy could not decide",)

    assert ready(_reviewed(), STANDING, Broken(), CONTROLLER, action) == ()
    assert ready(_agreed(), STANDING, Broken(), CONTROLLER, "start") != ()


def test_evidence_that_the_change_does_not_hold_is_not_its_evidence() -> None:
    assert "replay: no evidence yet" in _ready(replace(_agreed(), evidence=()))


def test_a_plan_that_changed_needs_every_signature_again() -> None:  # R-C4
    again = planned(_agreed(), Planned({"steps": [1]}, "b" * 64, CANDIDATE, STABLE))
    said = _ready(again)
    assert sum("signed another plan" in sentence for sentence in said) == 2
    with pytest.raises(Stale):
        signed(moved(moved(again, "EVIDENCE"), "REVIEW"), _agreed().signoffs[0], OWNERS)


def test_a_waiver_lifts_a_check_is_shown_and_ends_with_the_plan() -> None:
    waiver = Waiver("replay", "gina", "service_owner", "arrivals begin in June", NOON)
    change = replace(_agreed(), evidence=())
    change = with_waiver(change, waiver, OWNERS)
    assert _ready(change) == ()
    assert waived(change) == (str(waiver),)
    same = planned(change, Planned({"steps": []}, PLAN, CANDIDATE, STABLE))
    other = planned(change, Planned({"steps": [1]}, "b" * 64, CANDIDATE, STABLE))
    assert (same.waivers, other.waivers) == ((waiver,), ())


@pytest.mark.parametrize(
    ("by", "role", "reason", "said"),
    [
        ("amina", "data_steward", "we are in a hurry", "is the author"),
        ("gina", "data_steward", "we are in a hurry", "does not hold the role"),
        ("gina", "service_owner", "hurry", "10 characters"),
    ],
)
def test_a_waiver_that_does_not_count(by: str, role: str, reason: str, said: str) -> None:
    waiver = Waiver("replay", by, role, reason, NOON)
    with pytest.raises(Refused) as caught:
        with_waiver(_reviewed(), waiver, OWNERS)
    assert said in str(caught.value)
    # Nor when it found another way into the record.
    smuggled = replace(_agreed(), evidence=(), waivers=(waiver,))
    assert any("replay: no evidence" in sentence for sentence in _ready(smuggled))


@pytest.mark.parametrize(
    ("signoff", "said"),
    [
        (_signature("amina", "data_steward", "data-eng"), "is the author"),
        (_signature("gina", "data_steward", "data-eng"), "is not data_steward of data-eng"),
        (_signature("gina", "service_owner", "ops-gates", decision="reject"), "needs a reason"),
    ],
)
def test_a_signature_that_does_not_count_is_refused(signoff: SignOff, said: str) -> None:
    with pytest.raises(Refused) as caught:
        signed(_reviewed(), signoff, OWNERS)
    assert said in str(caught.value)


def test_a_person_signs_once_per_role_and_team() -> None:
    no = _signature("gina", "service_owner", "ops-gates", decision="reject", reason="too early")
    change = signed(_agreed(), no, OWNERS)
    assert [s.decision for s in change.signoffs if s.person == "gina"] == ["reject"]
    assert any("rejected by gina" in sentence for sentence in _ready(change))


def test_nothing_is_signed_before_review() -> None:
    draft = replace(_reviewed(), state="EVIDENCE")
    with pytest.raises(Refused, match="not up for review"):
        signed(draft, _signature("gina", "service_owner", "ops-gates"), OWNERS)


@pytest.mark.parametrize("here", STATES)
@pytest.mark.parametrize("there", STATES)
def test_only_the_transitions_of_the_map_exist(here: State, there: State) -> None:
    change = replace(_reviewed(), state=here)
    if there in NEXT[here]:
        assert moved(change, there, "said").state == there
    else:
        with pytest.raises(Refused, match="cannot move"):
            moved(change, there)


def test_a_running_change_can_always_go_back_and_no_finished_one_moves() -> None:
    for state in STATES:
        change = replace(_reviewed(), state=state)
        if change.under_way:
            assert "ABORTING" in NEXT[state]
        if not change.open and state != "COMMITTED":
            assert NEXT[state] == ()


def test_a_refusal_lists_every_objection() -> None:
    with pytest.raises(Refused) as caught:
        moved(_reviewed(), "APPROVED", objections=["first", "second"])
    assert caught.value.objections == ("first", "second")


@settings(derandomize=True, max_examples=60)
@given(
    st.sampled_from(STATES),
    st.dictionaries(st.text(max_size=4), st.integers()),
    st.booleans(),
)
def test_a_change_survives_json(state: State, plan: dict[str, int], full: bool) -> None:
    change = replace(_agreed() if full else _reviewed(), state=state, plan=plan, because=plan)
    if full:
        waiver = Waiver("replay", "gina", "service_owner", "arrivals begin in June", NOON)
        change = replace(change, waivers=(waiver,))
    body = json.loads(json.dumps(change.to_json()))
    assert Change.from_json(body) == change
    assert Change.from_json({**body, "of_a_newer_writer": 1}) == change


def test_ids_count_on() -> None:
    assert next_id([]) == "CR-1"
    assert next_id(["CR-2", "CR-10", "note"]) == "CR-11"


def test_a_person_brings_their_roles_to_the_policies() -> None:
    found = principal(OWNERS, "gina")
    assert found == {
        "id": "gina", "roles": ["service_owner"], "teams": ["ops-gates"], "clearance": "public",
    }  # fmt: skip
    said = ready(_reviewed(), STANDING, ENGINE, principal(OWNERS, "amina"), "approve")
    assert [sentence.rpartition("[")[2] for sentence in said] == ["four_eyes]"]
