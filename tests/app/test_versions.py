"""A version from its listing to its end: one label everywhere, and never gone too early."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import app_world as world
import pytest
import versions_world as two

from interlock.app import decide
from interlock.app.build import Builder
from interlock.app.catalog import catalog
from interlock.app.changes import open_new
from interlock.app.deferred import propose_after
from interlock.app.labels import Label, labels
from interlock.app.propose import draft
from interlock.app.retire import retire
from interlock.app.traffic import Caller, request_columns, tensor
from interlock.app.versions import stable
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.errors import NotFound, Refused, Unusable
from interlock.features.compile import physical
from interlock.serve.spec import ServingSpec
from interlock.web.desk import RecordDesk

WINDOW = timedelta(days=7)
BROKEN = (
    "tables/wh_departures.sql",
    "r.dep_time IS NULL AS cancelled",
    "r.dep_time IS NOT NULL AS cancelled",
)
CHANGED = ("services/crew.yaml", "models/late.yaml", BROKEN[0])


@pytest.fixture(scope="module")
def both(small_flights: Path, life: Path) -> Path:
    """CR-1: @1 and @2 are live, each with a model."""
    folder = world.copied(small_flights, life / "both")
    two.two_versions(folder)
    two.release(folder, "Two versions")
    return folder


@pytest.fixture(scope="module")
def moved(both: Path, life: Path) -> Path:
    """CR-2 is committed: nothing reads @1 any more, and it may still be taken back."""
    folder = world.copied(both, life / "moved")
    two.end_the_first(folder)
    two.release(folder, "Everybody on the second")
    return folder


@pytest.fixture
def over(moved: Path, tmp_path: Path) -> Path:
    """The rollback window of CR-2 is over."""
    folder = world.copied(moved, tmp_path / "project")
    with world.opened(folder) as workspace:
        workspace.advance(workspace.now() + WINDOW)
    return folder


def ask(workspace: Workspace, model: str, url: str) -> Any:
    """One flight, as a service asks for it."""
    version = stable(workspace)
    assert version is not None
    entry = workspace.record.get(Ref("serving", version.release or ""))
    assert entry is not None
    spec = ServingSpec.from_json(entry.body)
    columns = request_columns(version.project.models[model], spec)
    row = workspace.warehouse.query(
        f"SELECT {', '.join(columns)} FROM wh.spine WHERE cutoff >= "
        f"TIMESTAMP '{workspace.now():%Y-%m-%d %H:%M:%S}' ORDER BY cutoff, flight_id LIMIT 1"
    ).to_pylist()[0]
    types = spec.models[model].columns
    inputs = [tensor(name, [value], types[name]) for name, value in row.items()]
    at = workspace.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {"inputs": inputs, "parameters": {"at": at, "service": "gates"}}
    return Caller(url).post(f"/v2/models/{model}/infer", said)


def answered_labels(answer: Any) -> dict[str, str]:
    (release,) = answer["parameters"]["releases"].values()
    found: dict[str, str] = release["labels"]
    return found


# R-A2
def test_one_label_in_catalog_store_training_set_and_answer(both: Path, tmp_path: Path) -> None:
    with world.opened(world.copied(both, tmp_path / "project")) as workspace:
        version = stable(workspace)
        assert version is not None
        for ref, model in ((two.ONE, "late"), (two.TWO, "late_c")):
            print_ = version.facts.fingerprint(ref)
            label, name = print_[:12], ref.removeprefix("view:")
            (listed,) = (row for row in catalog(workspace) if row.ref == ref)
            (shown,) = (row for row in RecordDesk(workspace).catalog().rows if row.ref == ref)
            assert (listed.label, listed.state) == (label, "live")
            assert shown.version == print_

            assert workspace.warehouse.has(f"il.{name.replace('@', '_')}__{label}")
            assert physical(name, print_).endswith(label)
            (row,) = workspace.online.read([(print_, "JFK")])
            assert row is not None

            sources = version.models[model].manifest["sources"]
            assert {s["ref"]: s["fingerprint"] for s in sources}[ref] == print_
            assert print_.startswith(label)

            with world.serving(workspace) as (_, url):
                answer = ask(workspace, model, url)
            assert answered_labels(answer)[name] == label
            # A reader of one version has nothing of the other.
            other = two.TWO if ref == two.ONE else two.ONE
            assert other.removeprefix("view:") not in answered_labels(answer)


# R-A3
def test_two_versions_are_trained_on_served_and_told_apart(both: Path, tmp_path: Path) -> None:
    with world.opened(world.copied(both, tmp_path / "project")) as workspace:
        with world.serving(workspace) as (_, url):
            answers = {model: ask(workspace, model, url) for model in two.PINS}
        scores = [a["outputs"][0]["data"][0] for a in answers.values()]
        assert all(0 < score < 1 for score in scores)
        one, other = labels(workspace, "view:origin_weather")
    assert [found.ref for found in (one, other)] == [two.ONE, two.TWO]
    assert one.rows == other.rows
    assert (list(one.datasets), list(other.datasets)) == (["late"], ["late_c"])
    assert one.readers == ("model:late", "service:crew", "service:rebooking")
    assert other.readers == ("model:late_c", "service:gates")
    assert [(a.model, a.services, a.answers) for a in other.answers] == [
        ("late_c", ("service:gates",), 1)
    ]


# R-A3
def test_what_is_read_is_not_retired_and_every_reader_is_named(both: Path, tmp_path: Path) -> None:
    with world.opened(world.copied(both, tmp_path / "project")) as workspace:
        with pytest.raises(Refused) as refused:
            retire(workspace, two.ONE, by="amina")
        said = "\n".join(refused.value.objections)
        assert "declared in the files here" in said
        assert "read by model:late, service:crew, service:rebooking" in said
        assert "stable in prod" in said
        assert "late_c" not in said
        assert whole(workspace, two.ONE)


def whole(workspace: Workspace, ref: str) -> bool:
    """Do its table, its online rows and its name stand?"""
    return gone(workspace, ref) == (False, False, False)


def gone(workspace: Workspace, ref: str) -> tuple[bool, bool, bool]:
    """Is its table gone, are its online rows, is its name?"""
    (found,) = labels(workspace, ref)
    (row,) = workspace.online.read([(found.label, "JFK")])
    named = workspace.warehouse.has(f"features.{ref.removeprefix('view:').replace('@', '_v')}")
    return found.rows is None, row is None, not named


def test_while_it_can_be_taken_back_nothing_is_retired(moved: Path, tmp_path: Path) -> None:
    with world.opened(world.copied(moved, tmp_path / "project")) as workspace:
        for early in (timedelta(0), WINDOW - timedelta(seconds=1)):
            workspace.advance(world.rollout(workspace, "CR-2").entered_at + early)
            with pytest.raises(Refused) as refused:
                retire(workspace, two.ONE, by="amina")
            said = "\n".join(refused.value.objections)
            assert "CR-2 can be taken back to it until" in said
            assert "model:late" in said
        assert whole(workspace, two.ONE)


def test_after_the_window_it_is_gone_and_the_other_stays(over: Path) -> None:
    with world.opened(over) as workspace:
        done = retire(workspace, two.ONE, by="amina")
        assert len(done.tables) == 1
        assert gone(workspace, two.ONE) == (True, True, True)
        assert whole(workspace, two.TWO)
        entry = workspace.record.get(Ref("retirement", done.labels[0]))
        assert entry is not None
        assert (entry.body["state"], entry.by) == ("done", "amina")
        with world.serving(workspace) as (_, url):
            answer = ask(workspace, "late", url)
        assert answer["outputs"][0]["data"][0] is not None
        # Again: nothing stands, nothing is written.
        assert retire(workspace, two.ONE, by="amina").tables == ()
        again = workspace.record.get(Ref("retirement", done.labels[0]))
        assert again is not None
        assert again.version == entry.version


def test_who_was_seen_to_ask_is_a_reader(over: Path) -> None:
    """An answer from the former release, pinned by a caller, a day ago."""
    with world.opened(over) as workspace:
        before = world.current(workspace, "CR-2").made_against
        lately = workspace.now() - timedelta(days=1)
        row = next(r for r in workspace.predictions.read({})[0] if r["model"] == "late")
        at = lately.strftime("%Y-%m-%dT%H:%M:%S+00:00")
        seen = {**row, "id": "pinned", "release": before, "at": at, "service": "rebooking"}
        workspace.predictions.append([seen])
        with pytest.raises(Refused) as refused:
            retire(workspace, two.ONE, by="amina")
        (said,) = refused.value.objections
        assert "service:rebooking got 1 answers of model:late made from it" in said
        assert f"{lately:%Y-%m-%d %H:%M}" in said
        workspace.advance(lately + WINDOW + timedelta(seconds=1))
        assert retire(workspace, two.ONE, by="amina").tables


def test_an_open_change_that_would_bring_it_back_is_a_reader(over: Path, both: Path) -> None:
    with world.opened(over) as workspace:
        (over / two.FIRST).write_text((both / two.FIRST).read_text())
        world.edit(over, "models/late.yaml", two.PINS["late_c"], two.PINS["late"])
        id = world.proposed(workspace, "Back to Fahrenheit").id
        (over / two.FIRST).unlink()
        world.edit(over, "models/late.yaml", two.PINS["late"], two.PINS["late_c"])
        workspace.reread()
        with pytest.raises(Refused) as refused:
            retire(workspace, two.ONE, by="amina")
        assert any(f"{id} leads to it" in said for said in refused.value.objections)


@pytest.mark.parametrize("state", ["DEFERRED", "EVIDENCE", "DRAFT"])
def test_a_change_that_has_no_release_yet_is_a_reader(over: Path, both: Path, state: str) -> None:
    with world.opened(over) as workspace:
        before = {file: (over / file).read_text() for file in CHANGED}
        if state == "DEFERRED":
            world.edit(over, "services/crew.yaml", "  margin: 0.05", "  margin: 0.06")
            first = world.proposed(workspace, "Another margin").id
        (over / two.FIRST).write_text((both / two.FIRST).read_text())
        world.edit(over, "models/late.yaml", two.PINS["late_c"], two.PINS["late"])
        workspace.reread()
        match state:
            case "DEFERRED":
                id = propose_after(workspace, world.asked("Back"), first).id
            case "EVIDENCE":
                world.edit(over, *BROKEN)
                id = world.proposed(workspace, "Back, with a table that is wrong").id
            case _:
                id = open_new(workspace, draft(workspace, world.asked("Back"))).change.id
        change = world.current(workspace, id)
        assert (change.state, change.release or "") == (state, "")
        (over / two.FIRST).unlink()
        for file, text in before.items():
            (over / file).write_text(text)
        workspace.reread()
        with pytest.raises(Refused) as refused:
            retire(workspace, two.ONE, by="amina")
        (said,) = (one for one in refused.value.objections if id in one)
        (label,) = labels(workspace, two.ONE)
        assert [(one.change, one.state) for one in label.waiting] == [(id, state)]
        if state == "DRAFT":
            assert f"what {id} reads is not known yet: it is DRAFT" in said
        else:
            assert "read by model:late, service:crew" in said
            assert f"in {id}, which is {state} and has no release yet" in said
        decide.withdraw(workspace, id, by="wei", reason="no need")
        if state == "DEFERRED":
            decide.withdraw(workspace, first, by="wei", reason="no need")
        assert retire(workspace, two.ONE, by="amina").tables


def test_only_a_table_or_view_of_one_version_is_retired(over: Path) -> None:
    with world.opened(over) as workspace:
        with pytest.raises(Unusable):
            retire(workspace, "model:late", by="amina")
        with pytest.raises(NotFound, match="did you mean"):
            retire(workspace, "view:origin_wether@1", by="amina")
        with pytest.raises(NotFound, match="names no single version"):
            retire(workspace, "view:origin_weather", by="amina")
        with pytest.raises(NotFound, match="has no single version"):
            retire(workspace, two.ONE, by="amina", label="ffffffff")


# --- killed in the middle ---------------------------------------------------------------------

# Where the process dies: at the first call that holds these words.
KILLS = {
    "before anything": ("interlock.adapters.lmdb.LmdbOnlineStore", "drop", ""),
    "before the name": ("interlock.adapters.duckdb.DuckDBWarehouse", "execute", "DROP VIEW"),
    "before the table": ("interlock.adapters.duckdb.DuckDBWarehouse", "drop", ""),
    "before it is noted": ("interlock.adapters.sqlrecord.SqlRecord", "write", "'done'"),
}
DYING = """
import os, signal, sys
from importlib import import_module
place, name, words = sys.argv[1:4]
module, _, kind = place.rpartition(".")
owner = getattr(import_module(module), kind)
whole = getattr(owner, name)
def until(*given, **named):
    if words in repr(given):
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*given, **named)
setattr(owner, name, until)
from interlock.cli.main import run
run(["retire", sys.argv[4], "-C", sys.argv[5], "--by", "amina"])
"""


@pytest.fixture(params=list(KILLS))
def killed(request: pytest.FixtureRequest, over: Path) -> Path:
    died = subprocess.run(
        [sys.executable, "-c", DYING, *KILLS[request.param], two.ONE, str(over)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr
    return over


def test_a_kill_in_the_middle_is_mended_by_asking_again(killed: Path) -> None:
    with world.opened(killed) as workspace:
        (found,) = labels(workspace, two.ONE)
        entry = workspace.record.get(Ref("retirement", found.label))
        assert entry is not None
        assert entry.body["state"] == "begun"
        retire(workspace, two.ONE, by="amina")
        assert gone(workspace, two.ONE) == (True, True, True)
        assert whole(workspace, two.TWO)
        assert states(workspace, found) == ["begun", "done"]


def states(workspace: Workspace, found: Label) -> list[str]:
    return [e.body["state"] for e in workspace.record.history(Ref("retirement", found.label))]


def test_what_was_retired_is_built_again_when_it_is_wanted(over: Path, both: Path) -> None:
    """A label names a meaning: the same rows come back under the same name."""
    with world.opened(over) as workspace:
        (before,) = labels(workspace, two.ONE)
        retire(workspace, two.ONE, by="amina")
    (over / two.FIRST).write_text((both / two.FIRST).read_text())
    with world.opened(over) as workspace:
        view = workspace.project.views["origin_weather@1"]
        Builder(workspace, workspace.project, workspace.facts).view(view)
        (after,) = labels(workspace, two.ONE)
        assert (after.label, after.rows) == (before.label, before.rows)
