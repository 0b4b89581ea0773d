"""The plan says what each gate needs, and refuses the one that its stage is too short for."""

from __future__ import annotations

from pathlib import Path

import app_world as world
import numpy as np
import pytest
import trips_world

from interlock.app.changes import all_changes
from interlock.app.modelchecks import on_history
from interlock.app.planning import plan_now
from interlock.app.workspace import Workspace
from interlock.define.definitions import Kpi
from interlock.errors import Refused
from interlock.models.kpi import KpiRows, compare_kpi
from interlock.models.metrics import Floats
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


def test_a_kpi_that_was_the_same_throughout_history_is_watched_and_not_waited_for(
    tmp_path: Path,
) -> None:
    folder = trips_world.write_trips(tmp_path / "trips")
    file = folder / "services/rebooking.yaml"
    value = file.read_text().split("      CASE")[1].split("\n")[0]
    file.write_text(file.read_text().replace(f"CASE{value}", "1.0 AS value"))
    with world.opened(folder) as workspace:
        change = world.proposed(workspace, "First release")
    (kpi,) = [g for g in change.details["judge"]["guardrails"] if g["name"] == "kpi:rebooking"]
    assert kpi["gate"] == [], "seven days cannot show it, however calm it is"
    (said,) = [note for note in (change.plan or {})["notes"] if "watched for harm only" in note]
    assert "kpi:rebooking" in said


def test_few_days_that_are_alike_by_luck_do_not_hide_how_much_units_differ() -> None:
    day, one = np.repeat(["1", "2", "3"], 40), np.ones(120)
    declared = Kpi(name="cost", better="lower", margin=0.05, sql="-")

    def variance(new: Floats) -> float:
        old, rows = (KpiRows(np.arange(120), day, values) for values in (one, new))
        return on_history(compare_kpi(old, rows, declared), old, rows).difference_variance

    assert variance(one) == pytest.approx(3 / 120), "one in forty may differ, and was not seen"
    swapped = one + np.tile([1.0, -1.0], 60)
    assert variance(swapped) > 1, "each day's sum is the same"
    stormy = one + np.repeat([1.0, 0.0, 0.0], 40)
    assert variance(stormy) == pytest.approx(np.var([40.0, 0.0, 0.0], ddof=1) / 40), "a day is one"
