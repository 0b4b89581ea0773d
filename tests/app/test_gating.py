"""The plan says what each gate needs, and refuses the one that its stage is too short for."""

from __future__ import annotations

import app_world as world
import pytest

from interlock.app.changes import all_changes
from interlock.app.planning import plan_now
from interlock.app.workspace import Workspace
from interlock.errors import Refused
from interlock.plan.explain import explain
from interlock.plan.plan import Plan

SEED = ("models/late.yaml", "  seed: 1\n", "  seed: 2\n")
QUARTER = "{name: quarter, weight: 0.25, hold: 2d}"


def test_a_plan_says_samples_and_days_of_every_gate(live: Workspace) -> None:
    world.edit(live.folder, *SEED)
    live.reread()
    plan = plan_now(live)
    assert plan.objections == ()
    assert {gate.stage for gate in plan.gates} == {"mirror", "quarter", "soak"}
    text = explain(plan)
    assert "  quarter: " in text
    assert "errors" in text.split("gates, median run:")[1].split("  quarter: ")[1].splitlines()[0]
    assert any("by what CR-1 was judged by" in note for note in plan.notes)
    assert Plan.from_json(plan.to_json()) == plan


def test_what_splitting_by_the_common_unit_would_cost_is_in_the_plan(ready: Workspace) -> None:
    change = world.current(ready, "CR-2")
    (said,) = [note for note in (change.plan or {})["notes"] if note.startswith("split by")]
    units = change.details["judge"]["units"]
    assert units["subject"]["columns"] == ["flight_id"]
    assert units["common"]["columns"] == ["origin", "local_date"], "what crew and gates share"
    flights, desks = (
        ready.warehouse.query(
            f"SELECT count(*) AS n FROM (SELECT DISTINCT {columns} FROM wh.spine WHERE "
            "cutoff >= TIMESTAMP '2013-02-05' AND cutoff < TIMESTAMP '2013-02-26')"
        ).to_pylist()[0]["n"]
        / 21
        for columns in ("flight_id, cutoff::DATE", "origin, local_date, cutoff::DATE")
    )
    assert units["subject"]["per_day"] == pytest.approx(flights)
    assert units["common"]["per_day"] == pytest.approx(desks)
    assert units["common"]["days"] > 5 * units["subject"]["days"]
    assert "split by the common unit of the services, (origin, local_date)" in said


def test_a_gate_that_cannot_pass_in_its_stage_is_refused_before_anything_is_trained(
    live: Workspace,
) -> None:
    world.edit(live.folder, *SEED)
    short = QUARTER.replace("hold: 2d", "hold: 2h, deadline: 3h")
    world.edit(live.folder, "interlock.yaml", QUARTER, short)
    live.reread()
    assert any("past its deadline of 3h" in said for said in plan_now(live).objections)
    with pytest.raises(Refused) as caught:
        world.proposed(live, "Too short")
    assert any("quarter" in s and "give the stage a deadline" in s for s in caught.value.objections)
    assert [change.id for change in all_changes(live)] == ["CR-1"]


def test_what_only_measuring_shows_is_refused_then_and_the_change_is_closed(
    live: Workspace,
) -> None:
    world.edit(live.folder, *SEED)
    mirror = "{name: mirror, weight: 0, hold: 2d}"
    world.edit(live.folder, "interlock.yaml", mirror, mirror.replace("}", ", deadline: 60d}"))
    acts = "decision: {over: 0.3, margin: 0.0001}\nslo:"
    world.edit(live.folder, "services/rebooking.yaml", "slo:", acts)
    live.reread()
    assert plan_now(live).objections == ()
    with pytest.raises(Refused) as caught:
        world.waived(live, world.proposed(live, "Too fine").id)
    (said,) = caught.value.objections
    assert said.startswith("decisions:rebooking in mirror needs about")
    assert world.current(live, "CR-2").state == "WITHDRAWN"
