"""A release whose warehouse is Spark: proposed, proven, walked, scored in batch, taken back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import app_world as world
import pytest
import scoring_world as doors
from trips_world import write_trips

from interlock.app import decide
from interlock.app.changes import evidence_of
from interlock.app.tick import tick
from interlock.app.workspace import Workspace
from interlock.errors import Refused
from interlock.plan.plan import Plan
from interlock.testing.killed import leases_run_out

if TYPE_CHECKING:
    from interlock.adapters.spark import SparkWarehouse

SPARK = '    warehouse: "spark:local[2]"\n'
ACCEPTED = "    pointers_one_by_one: {reason: readers wait for the release notes, by: ada}\n"
SCHEMAS = ("wh", "features", "il", "ops")
NULLS = ("tables/wh_trips.yaml", "data/trips.csv}", "data/trips.csv, nulls: [NA]}")


@pytest.fixture(scope="module")
def folder(
    spark_warehouse: SparkWarehouse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    yield write_trips(tmp_path_factory.mktemp("trips") / "project", SPARK)
    for schema in SCHEMAS:  # other projects of these tests have tables of these names
        spark_warehouse.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def opened(folder: Path, warehouse: SparkWarehouse) -> Workspace:
    """With the session there is: a process has one."""
    workspace = Workspace(folder)
    workspace.__dict__["warehouse"] = warehouse
    return workspace


class Dying:
    """A session whose process is killed when it is to move its second name."""

    def __init__(self, spark: Any) -> None:
        self.spark, self.moved = spark, 0

    def sql(self, text: str) -> Any:
        self.moved += " VIEW " in text and " AS SELECT * FROM " in text
        if self.moved == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.spark.sql(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.spark, name)


def killed_between_two_names(folder: Path, warehouse: SparkWarehouse) -> int:
    """A controller looks, commits, and is killed when one of its names has moved; its id."""
    child = os.fork()
    if not child:
        warehouse._pieces.__dict__["_spark"] = Dying(warehouse._spark)
        tick(opened(folder, warehouse))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    return child


def behind(warehouse: SparkWarehouse) -> list[str]:
    """The tables that the names show now."""
    found = []
    for name in ("wh.trips", "features.place_delay_v1"):
        (said,) = warehouse.query(f"SHOW CREATE TABLE {name}").to_pylist()
        found.append(str(said["createtab_stmt"]).split("FROM")[-1].strip())
    return found


@pytest.mark.slow
def test_a_release_walks_to_its_commit_and_back_on_spark(
    folder: Path, spark_warehouse: SparkWarehouse
) -> None:
    workspace = opened(folder, spark_warehouse)
    with pytest.raises(Refused, match="cannot be released on spark") as refused:
        world.proposed(workspace, "Nobody accepted it")
    assert len(refused.value.objections) == 1
    assert "under pointers_one_by_one of prod" in refused.value.objections[0]
    world.edit(folder, "interlock.yaml", SPARK, SPARK + ACCEPTED)

    change = world.proposed(workspace, "First release")
    notes = Plan.from_json(change.plan or {}).notes
    assert any("accepted by ada: readers wait" in note for note in notes)
    seen = {one.check: one for one in evidence_of(workspace.record, change)}
    checked = {check.partition(":")[0] for check in seen}
    assert checked >= {"contract", "replay", "missingness", "model_comparison", "kpi"}
    assert {one.verdict for check, one in seen.items() if not check.startswith("null")} == {"pass"}
    world.signed(workspace, "CR-1")
    decide.apply(workspace, "CR-1", by="sam")
    tick(workspace)
    assert world.current(workspace, "CR-1").state == "COMMITTED"
    first, names = workspace.route().stable, behind(spark_warehouse)

    world.edit(folder, *NULLS)
    world.proposed(workspace, "Another way to say nothing")
    world.signed(workspace, "CR-2")
    decide.apply(workspace, "CR-2", by="sam")
    for state, days in world.HOLDS.items():
        world.go_on(workspace, "CR-2")
        assert world.current(workspace, "CR-2").state == state
        world.play(workspace, timedelta(days=days))
        if state == "STEP":
            tick(workspace)
            done = doors.scored(workspace, days=1)
            assert len(done.releases) == 2
            assert done.counted == done.rows
            rows = doors.rows_due(workspace, days=1)
            assert doors.same(doors.shown(workspace), doors.asked_for(workspace, rows)) == 2
    decide.promote(workspace, "CR-2", by="sam", reason="made-up data is too little to show it")
    dead = killed_between_two_names(folder, spark_warehouse)
    now = behind(spark_warehouse)
    assert sum(one != other for one, other in zip(now, names, strict=True)) == 1
    leases_run_out(folder, dead)
    tick(workspace)
    assert world.current(workspace, "CR-2").state == "COMMITTED"
    new = behind(spark_warehouse)
    assert all(one != other for one, other in zip(new, names, strict=True))
    counted = {bucket.metric for bucket in workspace.record.buckets("CR-2")}
    assert {"errors", "units", "log_loss", "log_loss_paired", "score_shift"} <= counted
    assert "kpi:rebooking" in counted
    assert {row["release"] for row in doors.shown(workspace).values()} == {workspace.route().stable}

    decide.rollback(workspace, "CR-2", by="sam", reason="the story goes back")
    tick(workspace)
    assert workspace.route().stable == first
    assert behind(spark_warehouse) == names
    assert {row["release"] for row in doors.shown(workspace).values()} == {first}
