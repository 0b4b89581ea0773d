"""A release whose warehouse is a Postgres server: from the proposal to its commit, and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import app_world as world
import pytest
import scoring_world as doors

from interlock.app import decide
from interlock.app.changes import evidence_of
from interlock.app.reproduce import reproduce
from interlock.app.tick import tick
from interlock.app.tracing import trace
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.serve.spec import ServingSpec

MPH = "THEN wind_speed END AS wind_mph"
KPH = "THEN wind_speed * 1.609344 END AS wind_mph"


@pytest.fixture(scope="module")
def folder(
    small_flights: Path, postgres_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    folder = world.copied(small_flights, tmp_path_factory.mktemp("server") / "project")
    world.configure(folder)
    world.edit(
        folder, "interlock.yaml", "  prod:\n", '  prod:\n    warehouse: "${FLIGHTS_WAREHOUSE}"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLIGHTS_WAREHOUSE", postgres_database)
        yield folder


@pytest.fixture(scope="module")
def released(folder: Path) -> Path:
    """CR-1 is live, on the server."""
    with world.opened(folder) as workspace:
        assert workspace.warehouse.abilities.dialect == "postgres"
        world.proposed(workspace, "First release")
        world.signed(workspace, "CR-1")
        decide.apply(workspace, "CR-1", by="sam")
        tick(workspace)
        assert world.current(workspace, "CR-1").state == "COMMITTED"
    return folder


def verdicts(workspace: Workspace, id: str) -> dict[str, str]:
    change = world.current(workspace, id)
    return {one.check: one.verdict for one in evidence_of(workspace.record, change)}


def test_every_check_of_a_first_release_is_made_on_the_server(released: Path) -> None:
    with world.opened(released) as workspace:
        seen = verdicts(workspace, "CR-1")
        live = workspace.warehouse.query("SELECT count(*) AS n FROM features.origin_weather_v1")
    checked = {check.partition(":")[0] for check in seen}
    assert checked >= {"contract", "replay", "missingness", "model_comparison", "kpi"}
    data = {check: said for check, said in seen.items() if not check.startswith(("kpi", "null"))}
    assert set(data.values()) == {"pass"}
    assert live.to_pylist()[0]["n"] > 1000
    assert not (released / ".interlock" / "warehouse.duckdb").exists()


def test_another_unit_is_named_and_blocked_on_the_server(released: Path) -> None:
    """The change that a metric cannot see: miles per hour become kilometres per hour."""
    world.edit(released, "tables/wh_weather.sql", MPH, KPH)
    try:
        with world.opened(released) as workspace:
            change = world.proposed(workspace, "Wind in another unit")
            found = {one.check: one for one in evidence_of(workspace.record, change)}
            moved = found["values:origin_weather@1"]
            assert moved.verdict == "fail"
            assert "wx_wind_mph" in moved.sentence
            assert "mph -> km/h" in moved.sentence
            said = world.refused(workspace, change.id)
            assert any("values:origin_weather@1" in one for one in said)
            decide.withdraw(workspace, change.id, by=world.AUTHOR, reason="the unit was wrong")
    finally:
        world.edit(released, "tables/wh_weather.sql", KPH, MPH)


def test_a_change_walks_to_its_commit_and_back_on_the_server(
    released: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world.edit(released, "models/late.yaml", "  seed: 1\n", "  seed: 2\n")
    with world.opened(released) as workspace:
        id = world.proposed(workspace, "Another seed").id
        world.signed(workspace, id)
    world.walk(released, id, tmp_path_factory.mktemp("walk"))
    with world.opened(released) as workspace:
        counted = {b.metric for b in workspace.record.buckets(id)}
        assert {"errors", "units", "log_loss", "log_loss_paired", "score_shift"} <= counted
        assert any(metric.startswith("kpi:") for metric in counted)
        answers = workspace.warehouse.query("SELECT count(*) AS n FROM il.predictions")
        assert answers.to_pylist()[0]["n"] > 300
        stable = workspace.route().stable
        entry = workspace.record.get(Ref("serving", stable or ""))
        assert entry
        assert ServingSpec.from_json(entry.body).models
        done = doors.scored(workspace)
        assert set(done.releases.values()) == {done.rows}
        before = doors.shown(workspace)
        assert doors.same(before, doors.asked_for(workspace, doors.rows_due(workspace))) == 1
        answered = [row["id"] for row in workspace.predictions.read({})[0]]
        for one in (*answered[:2], *answered[-2:], before[min(before)]["id"]):
            found = reproduce(workspace, one)
            assert (found.same, found.compared, found.moved) == (True, 16, ())
            assert len(trace(workspace, one).of("lookup")) == 12
        decide.rollback(workspace, id, by="sam", reason="the story goes back")
        tick(workspace)
        assert workspace.route().stable != stable
        after = doors.shown(workspace)
        assert {row["release"] for row in after.values()} == {workspace.route().stable}
        assert any(after[key]["score"] != row["score"] for key, row in before.items())
        assert doors.same(after, doors.asked_for(workspace, doors.rows_due(workspace))) == 1
