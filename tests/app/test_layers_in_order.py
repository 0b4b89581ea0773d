"""Data, feature, model, integration: what stands on a layer that failed is not run before that."""

from __future__ import annotations

import app_world as world
import pytest

from interlock.app import decide
from interlock.app.changes import describe, evidence_of
from interlock.app.outdated import prove_again
from interlock.app.planning import plan_now
from interlock.app.tick import tick
from interlock.app.versions import stored
from interlock.app.workspace import Workspace
from interlock.cli import views
from interlock.define.refs import Ref
from interlock.errors import Refused
from interlock.features.compile import column_names
from interlock.plan.explain import explain
from interlock.plan.plan import Plan

CONTRACT, VALUES = "contract:wh.weather", "values:origin_weather@1"
WAIVER = {"by": "dana", "role": "model_validator", "reason": "known and accepted for the test"}


def found(workspace: Workspace, id: str) -> dict[str, str]:
    """By check, what was found; for what was not run, the layer that it waits for."""
    pieces = evidence_of(workspace.record, world.current(workspace, id))
    return {p.check: f"waits for {p.not_run}" if p.not_run else p.verdict for p in pieces}


def layers(workspace: Workspace, id: str) -> dict[str, str]:
    return {one.layer: one.word for one in describe(workspace, id).layers}


# R-C1
def test_a_layer_is_run_once_the_one_before_it_passed_or_is_waived(live: Workspace) -> None:
    world.edit(live.folder, "tables/wh_weather.sql", "temp AS temp_f", "temp + 500 AS temp_f")
    told: list[str] = []
    id = world.proposed(live, "Weather of another planet").id
    change = world.current(live, id)
    # The data is wrong: nothing was compared, replayed, trained or scored on it.
    first = found(live, id)
    assert first.pop(CONTRACT) == "fail"
    assert first.keys() >= {VALUES, "replay:origin_weather@1", "null_rehearsal:late", "kpi:crew"}
    assert set(first.values()) == {"waits for data"}
    assert (change.state, change.release) == ("EVIDENCE", "")
    assert len(live.record.list("release")) == 1, "nothing was trained"
    assert change.said.startswith("data layer failed: contract:wh.weather; ")
    assert layers(live, id)["feature"] == "waits for data"
    lacks = describe(live, id).objections
    assert any(f"{VALUES}: not run: data layer failed ({CONTRACT})" in said for said in lacks)
    assert "answers for it" in (shown := views.status(describe(live, id)))
    assert f"interlock prove {id}" in shown
    with pytest.raises(Refused, match="cannot sign"):
        decide.sign(live, id, by="amina", role="data_steward", team="data-eng")
    with pytest.raises(Refused):
        decide.apply(live, id, by="sam")
    # Asked again with nothing mended, nothing more is run, and nothing is made twice.
    made = len(change.evidence)
    prove_again(live, id, told.append)
    assert (len(world.current(live, id).evidence), found(live, id)[CONTRACT]) == (made, "fail")
    assert "proven further" not in tick(live), "a controller does not go on by itself"
    # Taken upon himself by somebody: the controller goes on, up to the next layer that fails.
    decide.waive(live, id, CONTRACT, **WAIVER)
    assert f"{id} is proven further: feature layer failed: {VALUES}" in tick(live)
    second = found(live, id)
    assert (second[CONTRACT], second[VALUES]) == ("fail", "fail")
    assert second["null_rehearsal:late"] == second["kpi:crew"] == "waits for feature"
    assert world.current(live, id).waivers, "the waiver stays as long as what it lifted"
    decide.waive(live, id, VALUES, **WAIVER)
    world.waived(live, id)
    last = world.current(live, id)
    assert (last.state, bool(last.release)) == ("REVIEW", True)
    assert not [word for word in found(live, id).values() if word.startswith("waits")]
    assert live.record.get(Ref("release", last.release)) is not None
    assert "stopped" not in last.details


def test_what_is_mended_is_proven_further(live: Workspace) -> None:
    """The same title by the same author is the same change, and its sound layers are not redone."""
    world.edit(live.folder, "tables/wh_weather.sql", "temp AS temp_f", "temp + 500 AS temp_f")
    id = world.proposed(live, "Weather").id
    world.edit(live.folder, "tables/wh_weather.sql", "temp + 500 AS temp_f", "temp + 0 AS temp_f")
    assert world.proposed(live, "Weather").id == id
    assert found(live, id)[CONTRACT] == "pass"


# R-A5
def test_editors_of_a_table_see_how_much_it_matters_and_both_sides_sign(live: Workspace) -> None:
    """The flights, from the edit of a column to its approval: engineers and scientists agree."""
    world.edit(live.folder, "tables/wh_weather.sql", "visib AS visib_mi", "visib + 0 AS visib_mi")
    live.reread()
    plan = plan_now(live)
    # The engineer sees which model reads the column, and how much of it stands on that.
    shares = {str(one.feature): one.share for one in plan.importance if one.model.name == "late"}
    touched = [name for name in shares if name.startswith("feature:origin_weather@1:")]
    assert touched
    version = stored(live, live.route().stable or "")
    trained = version.models["late"].importance
    columns = column_names(version.project.models["late"].features)
    for name in touched:
        text = name.removeprefix("feature:")
        if text in columns:
            assert shares[name] == pytest.approx(trained[columns[text]])
    shown = explain(plan)
    assert "model:late" in shown
    assert any(f"{share:.0%}" in shown for share in shares.values() if share)
    # Nothing goes with one side alone, whichever it is.
    id = world.proposed(live, "Visibility, said otherwise").id
    world.waived(live, id)
    needs = Plan.from_json(world.current(live, id).plan or {}).requirements
    sides = {need.role: need for need in needs}
    assert {"data_steward", "model_validator"} <= set(sides)
    assert (sides["data_steward"].team, sides["model_validator"].team) == (
        "data-eng", "data-science",
    )  # fmt: skip
    for need in (one for one in needs if one.role != "model_validator"):
        person = next(one for one in need.people if one != world.AUTHOR)
        decide.sign(live, id, by=person, role=need.role, team=need.team)
    assert world.current(live, id).state == "REVIEW"
    found = world.refused(live, id)
    assert any(said.startswith("waiting for model_validator of data-science") for said in found)
    steward = next(one for one in sides["data_steward"].people if one != world.AUTHOR)
    why = {"role": "data_steward", "team": "data-eng"}
    decide.unsign(live, id, by=steward, **why, reason="to see that the other side is not enough")
    decide.sign(live, id, by="dana", role="model_validator", team="data-science")
    found = world.refused(live, id)
    assert any(said.startswith("waiting for data_steward of data-eng") for said in found)
    decide.sign(live, id, by=steward, **why)
    assert world.current(live, id).state == "SCHEDULED"
