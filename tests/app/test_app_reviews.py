"""What a review asks for binds the next plan: on a real project, with a real warehouse."""

from __future__ import annotations

from dataclasses import replace

import app_world as world
import pytest

from interlock.app import decide, reviews
from interlock.app.planning import plan_now
from interlock.app.tick import tick
from interlock.app.versions import stored
from interlock.app.workspace import Workspace
from interlock.change.ready import evidence_lacks
from interlock.errors import Refused

QUERY = "SELECT 1 FROM wh.weather WHERE temp_f IS NOT NULL AND temp_f > {}"
ID = "CR-2"


@pytest.fixture
def went_back(ready: Workspace) -> Workspace:
    """CR-2 was taken back, so it has a review."""
    decide.apply(ready, ID, by="sam")
    decide.rollback(ready, ID, by="sam", reason="a doubt")
    tick(ready)
    assert world.current(ready, ID).state == "ABORTED"
    return ready


def test_an_action_of_a_review_is_asked_of_the_next_plan_and_proven(went_back: Workspace) -> None:
    looked = reviews.look_back(went_back, ID)
    assert set(looked.review.teams) == {"ops-crew", "ops-gates", "ops-rebooking"}
    assert {row.verdict for row in looked.compared} == {"not measured"}
    world.edit(went_back.folder, "models/late.yaml", "  seed: 1\n", "  seed: 3\n")
    went_back.reread()
    before = plan_now(went_back)
    reviews.add_action(
        went_back, ID, "no weather hotter than an oven", by="rita", check="no_oven",
        sql=QUERY.format(500),
    )  # fmt: skip
    reviews.add_action(
        went_back, ID, "no weather at all", by="rita", check="no_weather", sql=QUERY.format(-500)
    )
    plan = plan_now(went_back)
    assert set(plan.evidence) - set(before.evidence) == {"action:no_oven", "action:no_weather"}
    assert plan.digest != before.digest

    version = stored(went_back, went_back.route().stable or "")
    with version.builder(went_back).masks.quiet():
        oven, weather = (
            reviews.prove_action(version.builder(went_back), f"action:{name}")
            for name in ("no_oven", "no_weather")
        )
    assert (oven.verdict, oven.value) == ("pass", 0.0)
    assert weather.verdict == "fail"
    assert (weather.value or 0) > 1000
    assert set(oven.subjects) == {"table:wh.weather"}


def test_a_query_that_could_never_be_made_is_refused(went_back: Workspace) -> None:
    for sql, said in (
        ("SELECT FROM WHERE", "cannot be a check"),
        ("SELECT 1 FROM wh.wether", "no table wh.wether"),
        ("SELECT 1", "it reads no table"),
    ):
        with pytest.raises(Refused, match=said):
            reviews.add_action(went_back, ID, "x", by="rita", check="c", sql=sql)
    reviews.add_action(went_back, ID, "x", by="rita", check="c", sql=QUERY.format(1))
    with pytest.raises(Refused, match="already"):
        reviews.add_action(went_back, ID, "x", by="rita", check="c", sql=QUERY.format(1))


def test_what_a_query_cannot_answer_blocks(went_back: Workspace) -> None:
    sql = "SELECT 1 FROM wh.weather WHERE nobody_knows_this_column > 1"
    reviews.add_action(went_back, ID, "x", by="rita", check="broken", sql=sql)
    version = stored(went_back, went_back.route().stable or "")
    piece = reviews.prove_action(version.builder(went_back), "action:broken")
    assert piece.verdict == "inconclusive"
    assert piece.value is None


def test_the_gate_waits_for_an_action_until_it_is_done(ready: Workspace) -> None:
    """CR-3 was planned before; what a later review asks is asked of the next plan, not of it."""
    standing = decide.standing(ready, world.current(ready, "CR-3"))
    asked = (*standing.required, "action:no_oven")
    change = world.current(ready, "CR-3")
    lacking = evidence_lacks(change, replace(standing, required=asked))
    assert "action:no_oven: no evidence yet" in lacking
