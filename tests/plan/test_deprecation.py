"""A version on its way out: told to its readers, closed to new ones after its day."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from shop_project import RETURNS, SPEND, SPEND_SQL, shop

from interlock.define.definitions import Deprecation, FeatureView, Model
from interlock.define.refs import Ref
from interlock.impact.facts import learn
from interlock.plan.make import Side, Where, make_plan
from interlock.plan.plan import Plan, wanted_release
from interlock.plan.steps import BuildView, RescoreModel

DAY = date(2024, 8, 31)
BEFORE = datetime(2024, 8, 31, 23, 59, tzinfo=UTC)
AFTER = datetime(2024, 9, 1, tzinfo=UTC)
NEW = SPEND.model_copy(update={"version": 2, "sql": SPEND_SQL.replace("30 DAYS", "20 DAYS")})
GOING = SPEND.model_copy(update={"deprecation": Deprecation(date=DAY, replacement="spend@2")})
LATER = RETURNS.model_copy(update={"model": "later", "file": "models/later.yaml"})
MOVED = RETURNS.model_copy(update={"features": ("spend@2:spend_30d", "visits@1:last_pages")})


def side(*changed: FeatureView | Model, **more: Any) -> Side:
    project = shop(NEW, *changed, **more)
    return Side(project, learn(project)[0])


def planned(wanted: Side, old: Side, at: datetime = BEFORE) -> Plan:
    return make_plan(wanted, Side(old.project, old.facts, "5" * 64), Where("prod", at))


def test_a_deprecated_version_is_still_that_version() -> None:  # R-A2
    plain, going = side(), side(GOING)
    for ref in ("view:spend@1", "model:returns", "service:desk"):
        assert going.facts.fingerprint(ref) == plain.facts.fingerprint(ref)


def test_a_deprecation_is_a_change_like_others_that_builds_nothing() -> None:  # R-A3
    plan = planned(side(GOING), side())
    assert [str(d.ref) for d in plan.differences] == ["view:spend@1"]
    assert plan.differences[0].settings == ("deprecation",)
    assert not any(isinstance(step, BuildView | RescoreModel) for step in plan.steps)
    assert plan.evidence == ()
    assert Ref("model", "returns") in plan.merely_reached
    # Who maintains it, and everybody who stands on it, signs.
    assert {(r.role, r.team) for r in plan.requirements} >= {
        ("data_steward", "eng"), ("model_validator", "science"), ("service_owner", "ops-desk"),
    }  # fmt: skip
    assert not plan.objections


def test_the_release_that_says_so_is_another_release() -> None:
    models = dict.fromkeys(["browse", "returns"], "a" * 64)
    plain, going = (wanted_release(side(*view).facts, models) for view in ((), (GOING,)))
    assert plain.digest != going.digest
    assert plain.components == {k: v for k, v in going.components.items() if "policy" not in k}
    assert "policy:deprecation" not in plain.components


def test_readers_are_warned_with_the_day_and_what_to_use() -> None:
    (note,) = (n for n in planned(side(GOING), side()).notes if "deprecated" in n)
    assert note == (
        "view:spend@1 is deprecated until 31 Aug 2024, use view:spend@2; "
        "read by model:returns, service:desk"
    )


def test_on_its_last_day_somebody_may_still_begin_and_the_day_after_nobody() -> None:
    old, wanted = side(GOING), side(GOING, LATER)
    assert not planned(wanted, old, BEFORE).objections
    (said,) = planned(wanted, old, AFTER).objections
    assert said == (
        "model:later begins to read view:spend@1, which was deprecated until 31 Aug 2024; "
        "use view:spend@2"
    )


def test_those_who_read_it_already_are_told_and_not_stopped() -> None:
    seeded = RETURNS.model_copy(
        update={"training": RETURNS.training.model_copy(update={"seed": 9})}
    )
    plan = planned(side(GOING, seeded), side(GOING), AFTER)
    assert not plan.objections
    assert any("was deprecated until 31 Aug 2024" in n and "still read by" in n for n in plan.notes)


def test_in_a_first_release_every_reader_is_new() -> None:
    wanted = side(GOING)
    plan = make_plan(wanted, None, Where("prod", AFTER))
    assert any(said.startswith("model:returns begins to read") for said in plan.objections)


def test_moving_to_the_replacement_is_never_stopped() -> None:
    plan = planned(side(GOING, MOVED), side(GOING), AFTER)
    assert not plan.objections
    assert not any("deprecated" in note for note in plan.notes)


def test_taking_it_out_before_its_day_is_said() -> None:
    wanted = side(MOVED)
    views = {name: view for name, view in wanted.project.views.items() if name != "spend@1"}
    gone = side(MOVED, views=views)
    notes = planned(gone, side(GOING), BEFORE).notes
    assert "view:spend@1 is taken out, and was promised until 31 Aug 2024" in notes
    assert not any("promised" in n for n in planned(gone, side(GOING), AFTER).notes)
