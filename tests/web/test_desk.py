"""The desk over a real record: what people read, who must act, and that reading stays light."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from desk_world import (
    AUTHOR,
    copied,
    first_proposed,
    held,
    opened,
    played,
    second_proposed,
    start,
    waived,
)
from starlette.testclient import TestClient

from interlock.app import decide
from interlock.app.inbox import inbox
from interlock.app.loop import look_after
from interlock.app.tick import tick
from interlock.app.weighing import layers_of, objections
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.errors import NotFound, Refused, Stale, Unusable
from interlock.ports import Put
from interlock.watch.reliability import PERIOD, Reliability, Spent
from interlock.web import desk_standing
from interlock.web.desk import RecordDesk
from interlock.web.figures import Graph
from interlock.web.inbox_views import Seen
from interlock.web.pages import pages_app

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def proposed(small_flights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CR-1 in review."""
    folder = copied(small_flights, tmp_path_factory.mktemp("desk") / "proposed")
    first_proposed(folder)
    return folder


@pytest.fixture(scope="session")
def released(proposed: Path) -> Path:
    """CR-1 committed, CR-2 in review."""
    folder = copied(proposed, proposed.parent / "released")
    with opened(folder) as workspace:
        start(workspace, "CR-1")
    second_proposed(folder)
    return folder


@pytest.fixture(scope="session")
def mirroring(released: Path) -> Path:
    """CR-2 mirrors real requests."""
    folder = copied(released, released.parent / "mirroring")
    played(folder)
    return folder


@pytest.fixture
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RecordDesk]:
    """The desk of a copy of the folder named by the test's parameter."""
    folder = request.getfixturevalue(request.param)
    with opened(copied(folder, tmp_path / "copy")) as workspace:
        yield RecordDesk(workspace)


def at(state: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("desk", [state], indirect=True)


@at("proposed")
def test_a_change_in_review_says_what_blocks_it_and_who_must_sign(desk: RecordDesk) -> None:
    # R-C7
    page = desk.change("CR-1")
    assert page is not None
    assert page.state == "Blocked by evidence"
    assert page.next == "null_rehearsal:late must pass or be waived"
    row = desk.overview().open[0]
    assert "dana (model validator of data-science)" in row.waits_for
    assert not any(AUTHOR in who for who in row.waits_for)
    assert {dot.state for dot in page.stages} == {"ahead"}
    assert (page.weight, page.actions, page.charts, page.judged) == (0.0, (), (), ())


@at("proposed")
def test_the_page_objects_to_what_apply_objects_to(desk: RecordDesk) -> None:
    page = desk.change("CR-1")
    assert page is not None
    told = objections(desk.workspace, held(desk.workspace, "CR-1"))
    # Policies are asked on the page once nothing else is missing; apply always asks them.
    assert page.objections == tuple(said for said in told if not said.endswith("]"))


@at("released")
def test_policies_are_heard_when_nothing_else_is_missing(desk: RecordDesk) -> None:
    start_without_applying(desk.workspace, "CR-2")
    page = desk.change("CR-2")
    assert page is not None
    assert (page.state, page.objections) == ("Scheduled", ())
    assert page.next.startswith("the controller starts it, planned for ")
    unwritten = replace(held(desk.workspace, "CR-2"), rollback_criteria="")
    (said,) = desk_standing.lacks(desk.ledger, unwritten).all
    assert said.endswith("[rollback_criteria]")


def start_without_applying(workspace: Workspace, id: str) -> None:
    """Everything but the start: the start of CR-2 on the same day is nobody's to refuse."""
    waived(workspace, id)
    change = held(workspace, id)
    for required in (change.plan or {})["requirements"]:
        signer = next(person for person in required["people"] if person != AUTHOR)
        decide.sign(workspace, id, by=signer, role=required["role"], team=required["team"])


@at("proposed")
def test_signing_on_the_page_signs_in_the_record(desk: RecordDesk) -> None:
    before = desk.version("CR-1")
    seen = Seen("model_validator", "data-science", held(desk.workspace, "CR-1").plan_digest)
    with pytest.raises(Stale, match="changed since you looked"):
        desk.approve("CR-1", replace(seen, plan="0" * 64), "dana")
    assert desk.version("CR-1") == before
    desk.approve("CR-1", seen, "dana")
    page = desk.change("CR-1")
    assert page is not None
    signed = [row for row in page.signoffs if row.person == "dana"]
    assert [(row.role, row.decision) for row in signed] == [("model_validator", "approved")]
    assert page.timeline[0].after == "Signed as model validator of data-science"
    assert desk.version("CR-1") != before
    with pytest.raises(Refused, match=AUTHOR):
        desk.approve("CR-1", seen, AUTHOR)


@at("proposed")
def test_the_inbox_and_the_layers_say_what_the_commands_say(desk: RecordDesk) -> None:
    # R-C1
    page, told = desk.inbox("dana"), inbox(desk.workspace, "dana")
    assert [row.what for row in page.waiting] == [item.what for item in told.waiting] != []
    assert page.waiting[0].plan == held(desk.workspace, "CR-1").plan_digest
    change = desk.change("CR-1")
    assert change is not None
    found = layers_of(desk.workspace, held(desk.workspace, "CR-1"))
    assert [(row.layer, row.state) for row in change.layers] == [(o.layer, o.word) for o in found]
    assert "dana" in next(row for row in change.layers if row.layer == "model").accountable
    (mine,) = desk.inbox(AUTHOR).opened
    assert [one.act for one in mine.options] == ["withdraw"]
    desk.withdraw("CR-1", AUTHOR, "another way was found")
    assert desk.inbox(AUTHOR).opened == ()


@at("proposed")
def test_what_does_not_pass_is_shown_first_and_a_waiver_stays_visible(desk: RecordDesk) -> None:
    page = desk.change("CR-1")
    assert page is not None
    assert [row.verdict for row in page.evidence[:2]] == ["fail", "inconclusive"]
    decide.waive(
        desk.workspace, "CR-1", "null_rehearsal:late", by="dana", role="model_validator",
        reason="accepted for the first release",
    )  # fmt: skip
    page = desk.change("CR-1")
    assert page is not None
    row = next(row for row in page.evidence if row.check == "null rehearsal")
    assert row.verdict == "waived"
    assert "accepted for the first release" in row.sentence
    assert page.state == "Needs sign-off"


@at("mirroring")
def test_what_a_change_reaches_is_kept_once_and_a_lost_drawing_hides_no_page(
    desk: RecordDesk,
) -> None:
    change, graph, listed = held(desk.workspace, "CR-2"), _graph(desk), desk.catalog()
    assert [node.ref for node in graph.nodes if node.mark == "changed"] == ["model:late"]
    file = desk.workspace.state / "artifacts" / change.drawing[:2] / change.drawing
    drawn = json.loads(file.read_bytes())
    for id in ("CR-1", "CR-2"):  # as changes were written before: each holds its own drawing
        _holding(desk.workspace, id, drawn)
        assert not held(desk.workspace, id).drawing
    assert (_graph(desk), desk.catalog()) == (graph, listed)
    _holding(desk.workspace, "CR-2", change.drawing)
    assert _graph(desk) == graph
    file.unlink()
    html = TestClient(pages_app(desk)).get("/changes/CR-2").text
    assert "was drawn and cannot be shown: no artifact" in html
    assert "Roll back" in html


def _graph(desk: RecordDesk) -> Graph:
    page = desk.change("CR-2")
    assert page is not None
    assert page.graph is not None
    return page.graph


def _holding(workspace: Workspace, id: str, drawn: str | dict[str, Any]) -> None:
    before = decide.held(workspace.record, id)
    body = before.change.to_json()
    again = {**body, "details": {**body["details"], "graph": drawn}}
    put = Put(before.change.ref, again, before.version)
    workspace.record.write([put], by=AUTHOR, at=workspace.now())


@at("released")
def test_the_catalog_is_what_runs(desk: RecordDesk) -> None:
    page = desk.catalog()
    lanes = [row.lane for row in page.rows]
    assert [lanes.count(lane) for lane in ("Tables", "Views", "Models", "Services")] == [
        10, 12, 1, 3,
    ]  # fmt: skip
    model = next(row for row in page.rows if row.ref == "model:late")
    assert model.fields[0].description.endswith("% of the gain")
    assert "view:origin_weather@1" in model.reads
    stable = desk.workspace.route().stable
    assert page.release == stable
    assert model.version == (desk.ledger.release(stable or "") or {})["components"]["model:late"]


@at("released")
def test_the_catalog_shows_what_runs_and_not_what_the_files_say(desk: RecordDesk) -> None:
    file = desk.workspace.folder / "models" / "late.yaml"
    file.write_text("this: [is not")
    assert len(desk.catalog().rows) == 26
    assert desk.overview().services[0].owner == "ops-crew"


@at("released")
def test_services_carry_the_number_they_were_released_with(desk: RecordDesk) -> None:
    page = desk.overview()
    assert [row.name for row in page.services] == ["crew", "gates", "rebooking"]
    assert all(row.value is not None and row.health == "as released" for row in page.services)
    assert [row.state for row in page.recent if row.id == "CR-1"] == ["Committed"]
    assert [row.id for row in page.open] == ["CR-2"]


# R-C12
def test_a_service_shows_its_data_its_models_and_its_answers(
    mirroring: Path, tmp_path: Path
) -> None:
    with opened(copied(mirroring, tmp_path / "project")) as workspace:
        look_after(workspace)
        page = RecordDesk(workspace).service("rebooking")
        assert page is not None
        assert page.counted is not None
        logged = [row for row in workspace.predictions.read({})[0] if "inputs" in row]
        names = {chart.metric for chart in page.answers}
        assert names == {"troubles", "answers"}
        (answers,) = (chart for chart in page.answers if chart.metric == "answers")
        counted = sum(point.value or 0 for point in answers.lines[0].points)
        assert 0 < counted <= len(logged)
        assert page.data
        assert {chart.span for chart in (*page.answers, *page.data)} == {answers.span}
        assert all(point.value for point in page.data[0].lines[0].points[-3:])
        assert "of its error budget is left" in page.budget
        assert "CR-1 committed" in [mark.label for mark in page.marks]
        assert RecordDesk(workspace).service("nobody") is None


@at("released")
def test_what_is_left_of_error_budgets_is_shown_where_it_was_measured(desk: RecordDesk) -> None:
    assert {(one.service, one.left) for one in desk.overview().budgets} == {
        ("crew", None), ("gates", None), ("rebooking", None),
    }  # fmt: skip
    spent = (Spent("crew", 0.75, 1000, 125), Spent("gates", 0.99, 0, 0))
    found = Reliability(desk.workspace.now(), spent)
    ref = Ref("note", f"budgets-{desk.workspace.environment}")
    before = desk.workspace.record.get(ref)
    put = Put(ref, found.to_json(), before.version if before else 0)
    desk.workspace.record.write([put], by="watch", at=found.at)
    crew, gates, rebooking = desk.overview().budgets
    assert (crew.left, crew.bad, crew.answers, crew.at) == (0.5, 125, 1000, found.at)
    assert crew.since == found.at - PERIOD
    assert (gates.left, gates.at, rebooking.at) == (None, found.at, None)
    page = desk.change("CR-2")
    assert page is not None
    assert page.budgets == desk.overview().budgets  # it reaches all of them


@at("released")
def test_every_evidence_record_has_a_page(desk: RecordDesk) -> None:
    page = desk.change("CR-2")
    assert page is not None
    for row in page.evidence:
        found = desk.evidence(row.digest)
        assert found is not None
        assert found.change == "CR-2"
        assert found.inputs
    comparison = next(row for row in page.evidence if row.check == "model comparison")
    assert {one.verdict for one in comparison.slices} <= {"pass", "fail", "inconclusive", "too few"}
    assert desk.evidence("no such digest") is None


@at("mirroring")
def test_a_rollout_is_told_from_its_measurements(desk: RecordDesk) -> None:
    page = desk.change("CR-2")
    assert page is not None
    assert page.state == "Mirroring"
    assert [dot.state for dot in page.stages[:3]] == ["done", "now", "ahead"]
    assert [action.label for action in page.actions] == ["Hold", "Roll back", "Promote to 5\u00a0%"]
    metrics = {chart.metric for chart in page.charts}
    assert {"log loss paired", "errors", "score shift", "units"} <= metrics
    errors = next(row for row in page.judged if row.name == "errors")
    assert errors.n_candidate == errors.n_stable == 240
    assert page.judged_at is not None
    assert [step.state for step in page.steps if step.text.startswith("Route")][:2] == [
        "now", "ahead",
    ]  # fmt: skip
    assert page.next.startswith("shadow lasts at least until ")
    assert all(row.health == "being judged" for row in desk.overview().services)


@at("mirroring")
def test_a_hold_is_seen_at_once_and_ended_by_a_promotion(desk: RecordDesk) -> None:
    # R-D6
    desk.hold("CR-2", "rita", "the desk is short of people")
    page = desk.change("CR-2")
    assert page is not None
    assert "rita" in page.hold
    assert page.actions[0].refused == "rita holds it"
    tick(desk.workspace)
    page = desk.change("CR-2")
    assert page is not None
    assert page.hold == "Held by rita: the desk is short of people"
    assert "On hold" in [move.after for move in page.timeline]
    assert desk.overview().alerts[0].title == "A rollout is on hold"
    desk.promote("CR-2", "rita", "")
    tick(desk.workspace)
    page = desk.change("CR-2")
    assert page is not None
    assert page.hold == ""
    with pytest.raises(Unusable, match="reason"):
        desk.promote("CR-2", "rita", " ")


@at("mirroring")
def test_a_rollback_on_the_page_takes_everybody_back(desk: RecordDesk) -> None:
    # R-R1
    desk.rollback("CR-2", "rita", "passengers complain")
    page = desk.change("CR-2")
    assert page is not None
    assert page.state in ("Rolling back", "Rolled back")
    assert "passengers complain" in page.outcome
    assert (page.weight, page.actions) == (0.0, ())
    assert "failed" in {dot.state for dot in page.stages}
    assert desk.workspace.route().candidate is None
    assert desk.overview().alerts[0].tone == "bad"


@at("mirroring")
def test_a_timeline_read_on_is_the_timeline_read_anew(desk: RecordDesk) -> None:
    desk.ledger.timeline("CR-2")
    desk.hold("CR-2", "rita", "wait for the night shift")
    tick(desk.workspace)
    told = desk.ledger.timeline("CR-2")
    assert told == RecordDesk(desk.workspace).ledger.timeline("CR-2")
    assert [move.after for move in told[:2]] == ["On hold", "Asked to hold"]
    assert told[-1].after == "Draft"


@at("mirroring")
def test_many_threads_read_one_page(desk: RecordDesk) -> None:
    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(desk.change, ["CR-2"] * 24))
    assert all(page == pages[0] for page in pages)


@pytest.mark.parametrize("desk", ["proposed", "released", "mirroring"], indirect=True)
def test_every_page_is_served_from_the_record(desk: RecordDesk) -> None:
    client = TestClient(pages_app(desk), base_url="http://pages.test")
    paths = ["/", "/calendar", "/catalog", *(f"/changes/{r.id}" for r in desk.overview().recent)]
    for path in paths:
        assert client.get(path).status_code == 200, path
        assert client.get(f"{path}.json").status_code == 200, path
    assert client.get("/changes/CR-99").status_code == 404
    with pytest.raises(NotFound):
        desk.version("CR-99")


@at("mirroring")
def test_an_answer_has_a_page_from_the_log_and_the_record(desk: RecordDesk) -> None:
    row = next(r for r in reversed(desk.workspace.predictions.read({})[0]) if "inputs" in r)
    client = TestClient(pages_app(desk))
    asked = client.get(f"/predictions?id=prediction:{row['id']}", follow_redirects=False)
    assert (asked.status_code, asked.headers["location"]) == (303, f"/predictions/{row['id']}")
    said = client.get(f"/predictions/{row['id']}.json").json()
    assert said["score"] == row["score"]
    assert (said["release"], said["change"]) == (row["release"], "CR-2")
    assert [one["stage"] for one in said["stages"]] == ["inference", "service"]
    assert "interlock trace" in said["unknown"]
    shown = client.get(asked.headers["location"])
    assert shown.status_code == 200
    assert str(row["score"]) in shown.text
    assert client.get("/predictions/" + "0" * 32).status_code == 404
    assert 'action="/predictions"' in client.get("/changes/CR-2").text


def test_reading_loads_no_engine(mirroring: Path) -> None:
    """A page in the process that answers predictions must not pay for planning."""
    code = (
        "import json, sys; from pathlib import Path\n"
        "from interlock.app.workspace import Workspace\n"
        "from interlock.web.desk import RecordDesk\n"
        f"desk = RecordDesk(Workspace(Path({str(mirroring)!r})))\n"
        "desk.overview(), desk.calendar(), desk.catalog(), desk.version('CR-2')\n"
        "desk.notes('CR-2'), desk.notes('model:late'), desk.scorecard('')\n"
        "desk.prediction(desk.workspace.predictions.read({})[0][-1]['id'])\n"
        "page = desk.change('CR-2'); desk.evidence(page.evidence[0].digest)\n"
        "print(json.dumps([m for m in ('duckdb', 'sqlglot', 'lightgbm') if m in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
