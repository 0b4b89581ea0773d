"""Plans follow from the impact: steps, signatures, evidence, objections; nothing after apply."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shop_project import (
    DESK,
    ORDERS,
    ORDERS_SQL,
    OWNERS,
    PROD,
    RAW_ORDERS,
    RETURNS,
    SHELF,
    SPEND,
    SPEND_SQL,
    VISITS,
    shop,
    table,
    with_fallback,
    with_unit,
)

from interlock.define.definitions import Service
from interlock.define.environment import Environment, MixedDecision, OneByOne, Owner
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.errors import NotFound, Refused, Unusable
from interlock.impact.facts import learn
from interlock.plan.explain import explain
from interlock.plan.make import Side, Where, make_plan
from interlock.plan.plan import Plan, Slot, wanted_release, with_artifacts, with_slot
from interlock.plan.require import common_unit
from interlock.plan.steps import (
    BuildTable,
    BuildView,
    LoadRelease,
    RescoreModel,
    Retire,
    RouteTo,
    TrainModel,
    sentence,
    step_from_json,
    step_to_json,
)

NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)
WHERE = Where("prod", NOON)


def side(project: Project, digest: str | None = None) -> Side:
    return Side(project, learn(project)[0], digest)


STABLE = side(shop(), "5" * 64)


def planned(*changed: Any, **more: Any) -> Plan:
    return make_plan(side(shop(*changed, **more)), STABLE, WHERE)


def kinds(plan: Plan) -> list[str]:
    return [type(step).__name__ for step in plan.steps]


SEEDED = RETURNS.model_copy(update={"training": RETURNS.training.model_copy(update={"seed": 7})})
COUNTED = SPEND.model_copy(update={"sql": SPEND_SQL.replace("30 DAYS", "20 DAYS")})


def test_the_first_release_builds_everything_and_routes_at_once() -> None:
    plan = make_plan(STABLE, None, WHERE)
    assert plan.kind == "first"
    assert plan.made_against is None
    assert kinds(plan).count("BuildTable") == 4
    assert plan.trains == ("browse", "returns")
    assert [s.weight for s in plan.steps if isinstance(s, RouteTo)] == [1.0]
    # With nothing running there is nothing to compare with.
    assert not any(
        check.startswith(("values", "model_comparison", "kpi")) for check in plan.evidence
    )


def test_tables_are_built_before_those_that_read_them() -> None:
    plan = make_plan(STABLE, None, WHERE)
    built = [step.ref.name for step in plan.steps if isinstance(step, BuildTable)]
    assert built.index("raw.orders") < built.index("wh.orders") < built.index("wh.spine")


def test_another_seed_trains_and_routes_through_every_stage() -> None:
    plan = planned(SEEDED)
    assert kinds(plan) == ["TrainModel", "LoadRelease", "RouteTo", "RouteTo", "RouteTo"]
    assert plan.made_against == "5" * 64
    assert plan.estimate.least_s == timedelta(days=4).total_seconds()
    assert plan.evidence == ("model_comparison:returns", "null_rehearsal:returns", "kpi:desk")
    assert not plan.objections


def test_a_fallback_rescores_and_trains_nothing() -> None:
    plan = planned(with_fallback(VISITS, "last_pages", 3.0))
    assert plan.trains == ()
    assert plan.rescores == ("browse", "returns")
    assert "values:visits@1" in plan.evidence


def test_another_margin_is_released_without_training() -> None:
    evaluation = RETURNS.evaluation.model_copy(update={"margin": 0.5})
    plan = planned(RETURNS.model_copy(update={"evaluation": evaluation}))
    assert plan.trains == ()
    assert plan.rescores == ("returns",)


def test_who_must_sign_follows_from_what_is_reached() -> None:  # R-C4
    signing = {(r.role, r.team): r for r in planned(COUNTED).requirements}
    assert set(signing) == {
        ("change_sponsor", "product"), ("data_steward", "eng"),
        ("model_validator", "science"), ("service_owner", "ops-desk"),
    }  # fmt: skip
    assert signing["service_owner", "ops-desk"].people == ("cy",)
    # The view's own team has no steward: the one who can be asked is, and it says so.
    assert "science has no data_steward" in signing["data_steward", "eng"].why


def test_who_answers_for_what_is_built_again_signs_too() -> None:  # R-A5
    steward = Owner(name="lab", people={"li": ("data_steward",)})
    spend = SPEND.model_copy(update={"owner": "lab"})
    owners = (*OWNERS, steward)
    before = side(shop(spend, owners=owners), "5" * 64)
    fewer = ORDERS.model_copy(update={"sql": ORDERS_SQL + " WHERE cents > 0"})
    plan = make_plan(side(shop(spend, fewer, owners=owners)), before, WHERE)
    why = {r.team: r.why for r in plan.requirements if r.role == "data_steward"}
    assert why == {
        "eng": "table:wh.orders is changed",
        "lab": "view:spend@1 is built again with other rows or values",
    }


def without_service_owner() -> tuple[Owner, ...]:
    rest = tuple(owner for owner in OWNERS if owner.name not in ("ops-desk", "ops-shelf"))
    return (*rest, Owner(name="ops-desk", people={}))


def test_nobody_to_sign_is_an_objection() -> None:
    nobody = without_service_owner()
    before = side(shop(owners=nobody), "5" * 64)
    plan = make_plan(side(shop(SEEDED, owners=nobody)), before, WHERE)
    assert any("nobody holds service_owner" in said for said in plan.objections)


def test_a_change_relieves_nobody_of_signing_it() -> None:  # R-C4
    """Whoever answers for what runs signs, whatever the change says of owners."""
    now, before = (planned(SEEDED, **more) for more in ({"owners": without_service_owner()}, {}))
    assert now.requirements == before.requirements
    assert ("service_owner", "ops-desk") in {(r.role, r.team) for r in now.requirements}


def test_a_break_is_an_objection_that_names_the_nearest_reader() -> None:
    plan = planned(with_unit(ORDERS, "amount", "cents"))
    assert any(
        said.startswith("feature:spend@1:spend_30d breaks because it reads column:wh.orders.amount")
        for said in plan.objections
    )
    assert not any(said.startswith("service:desk breaks because model") for said in plan.objections)


def test_a_break_mended_in_the_same_plan_is_none() -> None:
    labels = RETURNS.label.model_copy(
        update={"sql": RETURNS.label.sql.replace("amount AS lost", "amount / 100 AS lost")}
    )
    mended = SPEND.model_copy(update={"sql": SPEND_SQL.replace("sum(amount)", "sum(amount / 100)")})
    returns = RETURNS.model_copy(update={"label": labels, "request": ()})
    spine = table(
        "wh.spine", {"order_id": "integer", "customer": "integer", "cutoff": "timestamp"},
        "SELECT id AS order_id, customer, placed_at AS cutoff FROM wh.orders",
    )  # fmt: skip
    broken = planned(with_unit(ORDERS, "amount", "cents"), mended)
    plan = planned(with_unit(ORDERS, "amount", "cents"), mended, returns, spine)
    assert len(plan.objections) < len(broken.objections)
    assert not any("feature:spend@1" in said for said in plan.objections)


def test_what_is_removed_is_retired_later() -> None:
    project = shop()
    services = {n: s for n, s in project.services.items() if n != "shelf"}
    models = {n: m for n, m in project.models.items() if n != "browse"}
    plan = make_plan(side(shop(services=services, models=models)), STABLE, WHERE)
    retired = [step for step in plan.steps if isinstance(step, Retire)]
    assert [str(step.ref) for step in retired] == ["model:browse", "service:shelf"]
    assert plan.steps[-2:] == tuple(retired)
    assert all(step.after_s == timedelta(days=7).total_seconds() for step in retired)
    # Who owned it is asked, though the wanted project no longer knows it.
    assert ("service_owner", "ops-shelf") in {(r.role, r.team) for r in plan.requirements}


# --- decision units ------------------------------------------------------------------

BY_DAY = DESK.model_copy(update={"decision_unit": ("customer",)})


def test_mixing_releases_inside_one_decision_is_refused() -> None:  # R-C5
    (said,) = planned(BY_DAY).objections
    assert "service:desk decides per (customer), coarser than subject (order_id)" in said
    assert "make the subject (customer)" in said


def test_a_stage_that_divides_the_rows_of_one_decision_is_refused() -> None:
    def said(column: str, *unit: str) -> tuple[str, ...]:
        stages = tuple(
            stage.model_copy(update={"only": {column: ("x",)} if stage.weight < 1 else {}})
            for stage in PROD.stages
        )
        prod = PROD.model_copy(update={"stages": stages, "subject": ("customer",)})
        desk = DESK.model_copy(update={"decision_unit": unit})
        plan = planned(desk, environments={"prod": prod})
        return tuple(one for one in plan.objections if "`only`" in one)

    route = RouteTo("half", 0.5, 3600.0, "only amount x")
    assert sentence(route) == "route   half: 50% of subjects (only amount x), at least 1h"
    assert step_from_json(step_to_json(route)) == route
    assert "only" not in step_to_json(RouteTo("half", 0.5, 3600.0))
    (refused,) = said("amount", "customer")
    assert "decides per (customer), and `only` asks for amount" in refused
    assert said("customer", "customer") == ()
    assert said("amount", "order_id") == (), "one row, one decision"


@pytest.mark.parametrize("strategy", ["shadow", "blue_green"])
def test_where_everybody_changes_at_once_no_decision_is_mixed(strategy: str) -> None:
    plan = planned(BY_DAY, environments={"prod": PROD.model_copy(update={"strategy": strategy})})
    assert plan.objections == ()
    assert not [note for note in plan.notes if "decides per" in note]


def test_a_written_exception_becomes_a_note_with_its_cost() -> None:
    mixed = MixedDecision(service="desk", reason="judged on mirrored scores only", by="cy")
    prod = PROD.model_copy(update={"mixed_decisions": (mixed,)})
    plan = planned(BY_DAY, environments={"prod": prod})
    assert not plan.objections
    note, rules = plan.notes
    assert rules.startswith("environments decide about changes")
    assert "mixed for at least 2d of ramp, allowed by cy: judged on mirrored scores only" in note


def test_an_exception_counts_through_its_last_day() -> None:
    def said(until: date) -> tuple[str, ...]:
        why = "judged on mirrored scores only"
        mixed = MixedDecision(service="desk", reason=why, by="cy", until=until)
        prod = PROD.model_copy(update={"mixed_decisions": (mixed,)})
        plan = planned(BY_DAY, environments={"prod": prod})
        return plan.objections or plan.notes[:1]

    today = WHERE.now.date()
    assert f"allowed by cy until {today}" in said(today)[0]
    (over,) = said(today - timedelta(days=1))
    assert "would mix two releases; make the subject (customer), or renew what cy " in over
    assert f"allowed until {today - timedelta(days=1)} under mixed_decisions" in over


def test_three_services_with_nothing_in_common_are_refused_with_what_is_left() -> None:
    """By a row each, by (customer, day) and by amount: no subject suits the last two."""
    by_amount = DESK.model_copy(update={"service": "money", "decision_unit": ("amount",)})
    by_day = DESK.model_copy(update={"service": "day", "decision_unit": ("customer", "day")})
    objections = planned(DESK, by_day, by_amount).objections
    assert len(objections) == 2, "whoever decides by the row is not mixed"
    for objection in objections:
        assert "no column is common to what day and money decide on" in objection
        assert "walk `shadow` or `blue_green`, or write down why" in objection
    assert common_unit(shop(DESK, by_day, by_amount), PROD) == ()
    common = planned(DESK, by_day, BY_DAY).objections
    assert all("make the subject (customer), or write down why" in one for one in common)


def test_who_accepts_that_names_move_one_by_one_is_named_in_the_plan() -> None:
    accepted = OneByOne(reason="readers wait for the notes", by="cy")
    prod = PROD.model_copy(update={"pointers_one_by_one": accepted})
    note = planned(environments={"prod": prod}).notes[0]
    assert "may meet two releases, accepted by cy: readers wait for the notes" in note


def test_the_common_unit_is_the_finest_that_mixes_no_decision() -> None:
    def common(*services: Service) -> tuple[str, ...]:
        return common_unit(shop(*services), PROD)

    by_both = DESK.model_copy(update={"decision_unit": ("customer", "amount")})
    assert common(DESK) == ("order_id",), "nobody decides on more than an order"
    assert common(BY_DAY) == ("customer",)
    assert common(by_both) == ("customer", "amount")


def test_a_subject_inside_the_decision_unit_is_fine() -> None:
    prod = Environment(subject=("customer",), stages=PROD.stages)
    unit = DESK.model_copy(update={"decision_unit": ("customer", "amount")})
    assert not planned(unit, environments={"prod": prod}).objections


# --- nothing to do -------------------------------------------------------------------

CHANGES = [
    SEEDED, COUNTED, BY_DAY, with_unit(RAW_ORDERS, "note", "words"),
    with_fallback(VISITS, "last_pages", 3.0),
    ORDERS.model_copy(update={"sql": ORDERS_SQL + " WHERE cents > 0"}),
    SHELF.model_copy(update={"tier": 1}),
]  # fmt: skip


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.sets(st.integers(0, len(CHANGES) - 1)))
def test_applying_a_plan_leaves_nothing_to_plan(some: set[int]) -> None:
    wanted = side(shop(*(CHANGES[at] for at in sorted(some))))
    plan = make_plan(wanted, STABLE, WHERE)
    assert plan.empty == (not some)
    names = [node.ref.name for node in wanted.facts.of_kind("model")]
    release = wanted_release(wanted.facts, dict.fromkeys(names, "a" * 64))
    after = make_plan(wanted, Side(wanted.project, wanted.facts, release.digest), WHERE)
    assert after.empty
    assert not after.steps
    assert not after.requirements
    assert "nothing to do" in explain(after)


def test_only_other_words_are_nothing_to_do_but_said() -> None:
    told = ORDERS.model_copy(update={"description": "orders, as paid"})
    plan = planned(told)
    assert plan.empty
    assert plan.notes == ("the files differ, but not in meaning (owner, description, formatting)",)


# --- identity ------------------------------------------------------------------------


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change.ref))
def test_a_plan_survives_json(change: Any) -> None:
    plan = planned(change)
    again = Plan.from_json(plan.to_json())
    assert again.digest == plan.digest
    assert again == plan
    assert planned(change).digest == plan.digest


def test_another_slot_or_artifact_is_another_plan() -> None:  # R-C4
    plan = planned(SEEDED)
    slot = Slot(NOON + timedelta(days=1), NOON + timedelta(days=5))
    assert with_slot(plan, slot).digest != plan.digest
    trained = with_artifacts(plan, {"returns": "a" * 64})
    assert trained.digest != plan.digest
    assert Plan.from_json(with_slot(trained, slot).to_json()) == with_slot(trained, slot)
    with pytest.raises(NotFound, match="trains no model browse"):
        with_artifacts(plan, {"browse": "a" * 64})


def test_a_slot_that_is_over_is_an_objection() -> None:
    slot = Slot(NOON - timedelta(days=1), NOON)
    plan = make_plan(side(shop(SEEDED)), STABLE, Where("prod", NOON, slot))
    assert any("which is over" in said for said in plan.objections)


def test_a_release_needs_every_artifact() -> None:
    with pytest.raises(Refused) as refused:
        wanted_release(STABLE.facts, {"browse": "a" * 64})
    assert refused.value.objections == ("model:returns has no artifact",)


def test_a_release_changes_with_an_artifact_and_names_every_component() -> None:
    one = wanted_release(STABLE.facts, {"browse": "a" * 64, "returns": "b" * 64})
    two = wanted_release(STABLE.facts, {"browse": "a" * 64, "returns": "c" * 64})
    assert one.digest != two.digest
    assert set(one.components) == set(STABLE.facts.nodes)
    assert one.components["view:spend@1"] == STABLE.facts.fingerprint("view:spend@1")


def test_a_step_nobody_knows_is_refused() -> None:
    with pytest.raises(Unusable, match="no step 'Reboot'"):
        step_from_json({"do": "Reboot"})


def test_an_environment_nobody_declared() -> None:
    with pytest.raises(NotFound, match="no environment qa"):
        make_plan(STABLE, None, Where("qa", NOON))


def test_what_a_change_holds_in_the_calendar() -> None:
    assert planned(COUNTED).writes == (Ref("view", "spend", 1),)


# --- for people ----------------------------------------------------------------------


def test_explain_says_what_why_who_and_how_long() -> None:  # R-C8
    rows = {"view:spend@1": 12_345}
    text = explain(make_plan(side(shop(COUNTED)), STABLE, Where("prod", NOON, None, rows)))
    for part in (
        "~ view:spend@1", "spend_30d: changed", "service:desk moves because",
        "1. build   view:spend@1", "2. rescore model:returns", "shadow: mirror, show nothing",
        "half: 50% of subjects, at least 2d", "service_owner of ops-desk (cy)",
        "values: spend@1", "1 view, 1 rescoring of about 12,345 rows; 3 stages, 4d at least",
        "not scheduled",
    ):  # fmt: skip
        assert part in text


def test_explain_puts_what_blocks_first() -> None:
    text = explain(planned(with_unit(ORDERS, "amount", "cents")))
    assert text.index("blocked:") < text.index("changes:") < text.index("steps:")


def test_every_step_can_be_said() -> None:
    ref = Ref("model", "m")
    steps = (
        BuildTable(ref, "f" * 64), BuildView(ref, "f" * 64), TrainModel(ref, "t"),
        RescoreModel(ref), LoadRelease((ref,)), RouteTo("s", 0.5, 60.0), Retire(ref, 60.0),
    )  # fmt: skip
    plan = Plan("p", "prod", None, "d", "change", steps=steps)
    assert Plan.from_json(plan.to_json()) == plan
    assert explain(plan).count("\n  ") >= len(steps)


def test_an_edited_feature_is_measured_with_the_model_and_does_not_train_it() -> None:
    """Under the same version it claims to be the same value; a new meaning is a new version."""
    assert planned(COUNTED).trains == ()
    assert planned(COUNTED).rescores == ("returns",)
