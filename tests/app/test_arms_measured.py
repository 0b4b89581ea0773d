"""Several candidates at once: what each is judged by, from gateways and from batch scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import app_world as world
import pytest
from scoring_world import asked_for, rows_due, same, scored, shown

from interlock.app.changes import describe
from interlock.app.counting import Measuring
from interlock.app.feed import live_lookups
from interlock.app.ingest import LOG, MIRRORED
from interlock.app.labels import needed_releases
from interlock.app.looking import measuring
from interlock.app.measure import buckets_of, settled, unsound
from interlock.app.predictions import find
from interlock.app.shown import follow_route
from interlock.app.tick import tick
from interlock.app.versions import stored
from interlock.app.workspace import Workspace
from interlock.cli import views
from interlock.define.refs import Ref
from interlock.define.release import Arm, Route
from interlock.ports import Bucket, Put
from interlock.rollout.cohort import seen
from interlock.rollout.routes import given_up
from interlock.web.desk import RecordDesk

OTHER = "e" * 64


@pytest.fixture
def soaking(stages: Mapping[str, Path], tmp_path: Path) -> Iterator[Workspace]:
    with world.opened(world.copied(stages["SOAKING"], tmp_path / "project")) as workspace:
        yield workspace


@pytest.fixture
def ramping(stages: Mapping[str, Path], tmp_path: Path) -> Iterator[Workspace]:
    with world.opened(world.copied(stages["STEP"], tmp_path / "project")) as workspace:
        tick(workspace)
        yield workspace


def how(workspace: Workspace) -> Measuring:
    change = world.current(workspace, "CR-2")
    return measuring(stored(workspace, change.release), change, workspace.now())


def of_the_other(it: Measuring, experiment: str) -> Measuring:
    return replace(it, change="CR-9", release=OTHER, experiment=experiment)


def units(found: list[Bucket], stage: str) -> dict[str, float]:
    mine = [b for b in found if (b.metric, b.stage) == ("units", stage)]
    return {arm: sum(b.n for b in mine if b.arm == arm) for arm in ("stable", "candidate")}


def beside_another(workspace: Workspace) -> None:
    """The rollout of CR-2 so far, as if CR-9 had been compared beside it under CR-8's name."""
    change = workspace.warehouse.execute
    change(f"UPDATE {LOG} SET change = 'CR-8' WHERE change = 'CR-2' AND stage <> 'soak'")
    mine = f"FROM {LOG} WHERE change = 'CR-8'"
    change(
        f"INSERT INTO {MIRRORED} SELECT id, '{OTHER}', 0.001, false, true, 9e9 {mine} "
        "AND arm = 'stable'"
    )
    more = f"id || 'x' AS id, key + 1000000000 AS key, '{OTHER}' AS release, true AS error"
    change(f"INSERT INTO {LOG} SELECT * REPLACE ({more}) {mine} AND arm = 'candidate'")
    outside = "id || 'o' AS id, key + 2000000000 AS key, 'outside' AS arm"
    change(f"INSERT INTO {LOG} SELECT * REPLACE ({outside}) {mine} AND arm = 'stable'")


def test_what_stands_beside_a_candidate_leaves_no_trace_in_its_evidence(
    soaking: Workspace,
) -> None:
    it = how(soaking)
    before = buckets_of(soaking.warehouse, it)
    beside_another(soaking)
    after = buckets_of(soaking.warehouse, replace(it, experiment="CR-8"))
    assert set(settled(before, after)) == set(before)
    alone = buckets_of(soaking.warehouse, it)
    assert {b.stage for b in alone} < {b.stage for b in before}, "the name it was logged under"


def test_another_candidate_is_measured_against_the_same_control(soaking: Workspace) -> None:
    it = how(soaking)
    before = buckets_of(soaking.warehouse, it)
    beside_another(soaking)
    other = of_the_other(it, "CR-8")
    found = buckets_of(soaking.warehouse, other)
    assert units(found, "quarter") == units(before, "quarter")
    assert {b.stage for b in found} == {"mirror", "quarter"}, "what came later was CR-2's alone"
    errors = [b for b in found if (b.metric, b.arm) == ("errors", "candidate")]
    assert {b.stage: b.total / b.n for b in errors} == {"mirror": 0.0, "quarter": 1.0}
    shifted = [
        b for b in found if (b.metric, b.stage, b.arm) == ("score_shift", "mirror", "candidate")
    ]
    assert sum(b.n for b in shifted) > 100
    assert sum(b.total for b in shifted) == 0, "its own mirrored scores, and no other's"
    assert unsound(found, "mirror") == ""
    soaking.warehouse.execute(f"DELETE FROM {MIRRORED} WHERE release = '{OTHER}'")
    assert "no mirrored score" in unsound(buckets_of(soaking.warehouse, other), "mirror")
    mine = replace(it, experiment="CR-8")
    assert unsound(buckets_of(soaking.warehouse, mine), "mirror") == ""


def three(workspace: Workspace) -> Route:
    """A Route with CR-2's release, an empty place, and the same release under another name."""
    first = workspace.route()
    assert first.candidate is not None
    for kind in ("release", "serving"):
        entry = workspace.record.get(Ref(kind, first.candidate))
        assert entry is not None
        body = {**entry.body, **({"release": OTHER} if kind == "serving" else {})}
        put = Put(Ref(kind, OTHER), body, 0)
        workspace.record.write([put], by="ada", at=workspace.now())
    arms = (Arm(first.candidate, "CR-2"), None, Arm(OTHER, "CR-9"))
    return routed(workspace, replace(first, candidate=None, weight=0.75, arms=arms))


def test_whoever_asks_is_told_of_each_candidate_with_its_share(ramping: Workspace) -> None:
    route = three(ramping)
    told = " ".join(views.status(describe(ramping, None)).split())
    for one in route.candidates:
        assert f"{one.release[:12]}: 25% of subjects ({one.change}, quarter)" in told
    desk = RecordDesk(ramping)
    assert [(a.change, a.share) for a in desk.overview().route.arms] == [
        ("CR-2", 0.25), ("CR-9", 0.25)
    ]  # fmt: skip
    assert desk.overview().route.weight == 0.5, "the empty place is answered by stable"
    page = desk.change("CR-2")
    assert page is not None
    assert (page.weight, page.beside) == (0.25, 0.25)
    assert {one.release for one in needed_releases(ramping)} >= set(route.releases)
    read = live_lookups(ramping)
    routed(ramping, given_up(ramping.route(), unblocked=[OTHER]))
    assert live_lookups(ramping) == read


def beside(workspace: Workspace) -> None:
    """CR-9 in the record, as the change that brought the other release."""
    first = world.current(workspace, "CR-2")
    plan = {**(first.plan or {}), "beside": "CR-2"}
    change = replace(first, id="CR-9", release=OTHER, plan=plan)
    put = Put(change.ref, change.to_json(), 0)
    workspace.record.write([put], by="ada", at=workspace.now())


def routed(workspace: Workspace, route: Route) -> Route:
    put = Put(workspace.route_ref, route.to_json(), workspace.route().epoch)
    workspace.record.write([put], by="ada", at=workspace.now())
    return workspace.route()


def test_batch_scores_of_several_candidates_are_shown_and_counted_as_answers_are(
    ramping: Workspace,
) -> None:
    route, it = three(ramping), how(ramping)
    done = scored(ramping)
    assert set(done.releases) == set(route.releases)
    found = shown(ramping)
    assert {key: (row["arm"], row["release"]) for key, row in found.items()} == {
        key: seen(route, str(key)) for key in found
    }
    assert same(found, asked_for(ramping, rows_due(ramping))) == 3
    assert done.counted == done.rows == len(found)
    beside(ramping)
    answers = [row for row in ramping.predictions.read({})[0] if row["epoch"] == route.epoch]
    told = {(row["release"], find(ramping, row["id"]).change) for row in answers[::9]}
    assert told == {(OTHER, "CR-9"), *((one, "CR-2") for one in route.releases if one != OTHER)}
    sides: dict[str, set[str]] = {}
    for row in ramping.warehouse.query(f"SELECT id, release FROM {MIRRORED}").to_pylist():
        sides.setdefault(row["id"], set()).add(row["release"])
    others = {"stable": set(route.releases[1:]), "candidate": {route.stable}, "outside": set()}
    for row in found.values():
        assert sides.get(row["id"], set()) == others[row["arm"]]
    counted = units(buckets_of(ramping.warehouse, of_the_other(it, "CR-2")), "quarter")
    assert counted["candidate"] == sum(row["release"] == OTHER for row in found.values()) > 0
    left = routed(ramping, given_up(route, blocked=[OTHER]))
    follow_route(ramping)
    for key, row in shown(ramping).items():
        assert (row["arm"], row["release"]) == seen(left, str(key))
        moved = found[key]["release"] == OTHER
        assert (row["arm"] == "outside") == (moved or found[key]["arm"] == "outside")
