"""The way back is tried on a copy: what comes back is what was, or it is said what is not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import app_world as world
import pytest

from interlock.app.changes import held
from interlock.app.drill import ASKED, SCORED, drill_rollback, drills
from interlock.app.versions import stored
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.errors import Refused
from interlock.features.compile import physical


@pytest.fixture
def played(stages: Mapping[str, Path], tmp_path: Path) -> Iterator[Workspace]:
    """CR-2 answers a quarter of the flights; two days of requests are in the log."""
    with world.opened(world.copied(stages["STEP"], tmp_path / "project")) as workspace:
        yield workspace


# R-A14
def test_a_running_rollout_is_taken_back_on_a_copy_and_goes_on_here(played: Workspace) -> None:
    before, route = held(played.record, "CR-2"), played.route()
    found = drill_rollback(played, by="ann")
    assert (found.id, found.change, found.back_to) == ("D-1", "CR-2", route.stable)
    assert found.passed, found
    counts = {part.name: part.count for part in found.parts}
    assert counts["artifacts"] >= 2
    assert counts["tables and views"] > 12
    assert counts["online rows"] == 12
    assert counts[ASKED] > 10
    assert counts[SCORED] > 100
    assert 0 < found.seconds["route"] < found.seconds["everything"] < found.seconds["gateway"]
    # Here nothing has moved, and the copy is gone; that somebody drilled is on record.
    assert (held(played.record, "CR-2"), played.route()) == (before, route)
    assert not list(played.state.glob("drill-*"))
    assert [one["id"] for one in drills(played)] == ["D-1"]
    kept = played.record.get(Ref("drill", "D-1"))
    assert kept is not None
    assert kept.by == "ann"


def test_a_committed_change_is_taken_back_and_a_damaged_part_is_named(
    stages: Mapping[str, Path], tmp_path: Path
) -> None:
    folder = world.copied(stages["COMMITTED"], tmp_path / "project")
    with world.opened(folder) as workspace:
        change = held(workspace.record, "CR-2").change
        assert change.made_against is not None
        version = stored(workspace, change.made_against)
        view = next(iter(version.project.views.values()))
        name = physical(f"{view.view}@{view.version}", version.facts.fingerprint(view.ref))
        model = version.models["late"].artifact
        (damaged,) = (workspace.state / "artifacts").rglob(f"*{model[8:]}*")
        damaged.write_bytes(b"another model")
        workspace.warehouse.execute(f"DROP TABLE {name} CASCADE")
    done = world.command(folder, "drill", "rollback", "--by", "ann")
    assert done.code == 3, done
    assert done.out, done.err
    said = json.loads(done.out)
    wrong = {part["name"]: part["wrong"] for part in said["parts"] if part["wrong"]}
    assert any(str(view.ref) in one and "not there" in one for one in wrong["tables and views"])
    assert any("model:late" in one for one in wrong["artifacts"])


def test_what_cannot_be_taken_back_or_copied_is_refused_at_once(
    released: Path, tmp_path: Path
) -> None:
    folder = world.copied(released, tmp_path / "project")
    with world.opened(folder) as workspace:
        with pytest.raises(Refused, match="nothing in prod can be taken back now"):
            drill_rollback(workspace, by="ann")
        with pytest.raises(Refused, match="CR-1"):
            drill_rollback(workspace, "CR-1", by="ann")
    assert not list((folder / ".interlock").glob("drill-*"))
