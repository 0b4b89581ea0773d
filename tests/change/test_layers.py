"""Layers of proof in their order: what stands on unproven data is not agreed to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from interlock.change.accountable import LayerStanding, layers, refuse_early
from interlock.change.change import Change, Planned, planned
from interlock.change.evidence import Evidence
from interlock.change.layers import layer_of
from interlock.change.ready import Standing
from interlock.change.signoff import Requirement, SignOff
from interlock.define.environment import Owner
from interlock.errors import Refused

NOON = datetime(2013, 5, 1, 12, tzinfo=UTC)
VIEW = "view:origin_weather@2"
CHECKS = ("contract:wh.weather", "replay:origin_weather@2", "model_comparison:late", "kpi:crew")
OWNERS = (
    Owner(name="data-eng", people={"amina": ("data_steward",), "tomas": ("data_steward",)}),
    Owner(name="ops-crew", people={"carlos": ("service_owner",)}),
    Owner(name="product-ops", people={"priya": ("change_sponsor",)}),
)
NEEDS = (
    Requirement("data_steward", "data-eng"), Requirement("service_owner", "ops-crew"),
    Requirement("change_sponsor", "product-ops"),
)  # fmt: skip


def proven(*checks: str) -> tuple[Change, Standing]:
    made = tuple(Evidence(c, {VIEW: "1" * 64}, "pass", "well", NOON, n=9) for c in checks)
    draft = Change("CR-1", "Celsius", "amina", "prod", NOON)
    change = planned(draft, Planned({}, "a" * 64, "c" * 64, "5" * 64))
    change = replace(change, state="REVIEW", evidence=tuple(e.digest for e in made))
    there = Standing(
        NOON, {VIEW: "1" * 64}, "5" * 64, required=CHECKS, requirements=NEEDS, evidence=made,
        owners=OWNERS,
    )  # fmt: skip
    return change, there


def test_each_check_proves_one_layer_and_an_unknown_one_the_services() -> None:
    assert [layer_of(check) for check in CHECKS] == ["data", "feature", "model", "integration"]
    assert layer_of("drill:fire") == "integration"


def test_a_layer_says_who_answers_for_it_and_who_signed() -> None:  # R-C1
    change, there = proven(*CHECKS)
    signed = SignOff("carlos", "service_owner", "ops-crew", "a" * 64, NOON)
    found = {one.layer: one for one in layers(replace(change, signoffs=(signed,)), there)}
    assert all(one.passed for one in found.values())
    assert found["data"].accountable == ("tomas",), "not the author"
    assert (found["integration"].signed, found["data"].signed) == (("carlos",), ())
    again = [LayerStanding.from_json(one.to_json()) for one in found.values()]
    assert again == list(found.values())


@pytest.mark.parametrize("lacking", range(4))
def test_what_stands_on_data_and_features_is_not_agreed_to_before_they_pass(lacking: int) -> None:
    change, there = proven(*(check for n, check in enumerate(CHECKS) if n != lacking))
    refuse_early("data_steward", change, there)  # who answers for the data may always agree
    for role in ("model_validator", "service_owner", "change_sponsor", "emergency_approver"):
        if lacking < 2:
            with pytest.raises(Refused) as caught:
                refuse_early(role, change, there)
            assert f"{CHECKS[lacking]}: no evidence yet" in caught.value.objections[0]
        else:
            refuse_early(role, change, there)
    later = layers(change, there)[lacking + 1 :]
    assert all(one.waits_for == layers(change, there)[lacking].layer for one in later)
