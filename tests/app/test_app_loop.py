"""Watching opens one change per storm; what was counted once is counted the same again."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import app_world as world
import orjson
import pytest

from interlock.app import decide
from interlock.app.accuracy import days_of, keep_days
from interlock.app.adopt import adopt
from interlock.app.changes import all_changes, open_new
from interlock.app.counting import BUCKET_S, Measuring
from interlock.app.ingest import CURSOR, LOG, MIRRORED, ingest
from interlock.app.looking import measuring
from interlock.app.loop import look_after
from interlock.app.measure import buckets_of, unsound
from interlock.app.tick import tick
from interlock.app.versions import stable, stored
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.define.refs import Ref
from interlock.errors import Refused
from interlock.ports import Bucket, Replacement

Stages = Mapping[str, Path]
Cell = tuple[str, str, str, int]


# --- one change per storm -----------------------------------------------------------


@pytest.fixture(scope="module")
def due(stages: Stages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CR-2 runs, its labels have arrived, both triggers are true: CR-4 was opened for it."""
    folder = world.copied(stages["COMMITTED"], tmp_path_factory.mktemp("due") / "project")
    with world.opened(folder) as workspace:
        seen = look_after(workspace, act=True)
        assert seen.seen[0].change == "CR-4", seen.sentences
    return folder


def opened_by_triggers(workspace: Workspace) -> list[Change]:
    return [change for change in all_changes(workspace) if change.because]


def test_a_model_that_is_due_gets_a_change_with_its_facts(due: Path, tmp_path: Path) -> None:
    with world.opened(world.copied(due, tmp_path / "project")) as workspace:
        (change,) = opened_by_triggers(workspace)
        assert (change.id, change.author, change.open) == ("CR-4", "retraining", True)
        (trigger,) = workspace.record.list("trigger")
        assert change.because is not None
        assert change.because["trigger"] == str(trigger.ref)
        assert trigger.body["change"] == "CR-4"
        assert (trigger.body["environment"], trigger.body["teams"]) == ("prod", ["data-science"])
        facts = trigger.body["facts"]
        assert [one["metric"] for one in facts["triggers"]] == ["age", "ece"]
        days = (workspace.now().date() - datetime(2013, 2, 5).date()).days
        assert facts["triggers"][0]["age_days"] == days
        assert f"training rows end {days} days ago" in change.reason
        challenger = stored(workspace, change.release).project.models[world.MODEL]
        assert challenger.training.end == challenger.evaluation.start
        assert challenger.training.end > datetime(2013, 2, 5).date()


def test_only_looking_opens_nothing(stages: Stages, tmp_path: Path) -> None:
    with world.opened(world.copied(stages["COMMITTED"], tmp_path / "project")) as workspace:
        seen = look_after(workspace)
        assert seen.seen[0].ruling.due is not None
        assert any("late is due: training rows end" in said for said in seen.sentences)
        assert opened_by_triggers(workspace) == []
        assert workspace.record.list("trigger") == ()


def test_a_storm_of_looks_opens_one_change(due: Path, tmp_path: Path) -> None:
    with world.opened(world.copied(due, tmp_path / "project")) as workspace:
        for hours in range(0, 72, 12):
            world.at(world.START + timedelta(days=8, hours=hours), workspace)
            seen = look_after(workspace, act=True)
            assert seen.seen[0].change is None
            assert "late is already being retrained" in seen.sentences
        assert [change.id for change in opened_by_triggers(workspace)] == ["CR-4"]
        assert len(workspace.record.list("trigger")) == 1


def test_two_watchers_at_once_open_one_change(stages: Stages, tmp_path: Path) -> None:
    folder = world.copied(stages["COMMITTED"], tmp_path / "project")
    with world.opened(folder) as one, world.opened(folder) as other:
        look_after(one)
        told = world.at_once(
            lambda: look_after(one, act=True).seen[0].change,
            lambda: look_after(other, act=True).seen[0].change,
        )
        assert "CR-4" in told
        assert [change.id for change in opened_by_triggers(one)] == ["CR-4"], told


def test_what_the_trigger_proposed_and_was_taken_back_is_not_proposed_again(
    due: Path, tmp_path: Path
) -> None:
    with world.opened(world.copied(due, tmp_path / "project")) as workspace:
        world.signed(workspace, "CR-4")
        decide.apply(workspace, "CR-4", by="sam")
        tick(workspace)
        decide.rollback(workspace, "CR-4", by="gina", reason="gates lose")
        tick(workspace)
        known = [change.id for change in all_changes(workspace)]
        release = world.current(workspace, "CR-4").release
        assert release in workspace.route().blocked
        for _ in range(2):
            look_after(workspace, act=True)
        assert [change.id for change in all_changes(workspace)] == known
        assert release == world.current(workspace, "CR-4").release
        # Nor by people who take over its files.
        adopt(workspace, "CR-4", force=True)
        with pytest.raises(Refused, match=f"{release[:12]} was rolled back and is blocked"):
            world.proposed(workspace, "The challenger, by hand")


def test_a_challenger_that_was_cut_off_is_withdrawn_and_asked_for_again(
    stages: Stages, tmp_path: Path
) -> None:
    """What a kill in the middle of a retraining leaves: a draft that nobody goes on with."""
    with world.opened(world.copied(stages["COMMITTED"], tmp_path / "project")) as workspace:
        because = {"model": world.MODEL, "trigger": "trigger:late-cut"}
        draft = Change(
            "", "Retrain late until then", "retraining", "prod", workspace.now(), because=because
        )
        cut_off = open_new(workspace, draft).change.id
        assert "late is already being retrained" in look_after(workspace, act=True).sentences
        decide.withdraw(workspace, cut_off, by="dana", reason="its process was killed")
        assert look_after(workspace, act=True).seen[0].change == "CR-5"


def test_after_one_challenger_is_closed_new_facts_may_open_another(
    due: Path, tmp_path: Path
) -> None:
    with world.opened(world.copied(due, tmp_path / "project")) as workspace:
        decide.withdraw(workspace, "CR-4", by="dana", reason="not now")
        world.at(workspace.now() + timedelta(days=1), workspace)
        assert look_after(workspace, act=True).seen[0].change == "CR-5"
        assert len(workspace.record.list("trigger")) == 2


# --- the same numbers ---------------------------------------------------------------


@pytest.fixture
def soaking(stages: Stages, tmp_path: Path) -> Any:
    with world.opened(world.copied(stages["SOAKING"], tmp_path / "project")) as workspace:
        yield workspace


def how(workspace: Workspace, now: datetime | None = None) -> Measuring:
    change = world.current(workspace, "CR-2")
    return measuring(stored(workspace, change.release), change, now or workspace.now())


def cell(bucket: Bucket) -> Cell:
    return bucket.stage, bucket.metric, bucket.arm, bucket.at


def assert_same(found: Sequence[Bucket], wanted: Mapping[Cell, Sequence[float]]) -> None:
    assert {cell(b) for b in found} == set(wanted)
    for bucket in found:
        values = wanted[cell(bucket)]
        assert bucket.n == len(values), bucket
        assert math.isclose(bucket.total, math.fsum(values), rel_tol=1e-9, abs_tol=1e-9), bucket
        squares = math.fsum(v * v for v in values)
        assert math.isclose(bucket.squares, squares, rel_tol=1e-9, abs_tol=1e-12), bucket


OTHER = {"mirror": "candidate", "soak": "stable"}  # where nobody sees one arm


def shown(workspace: Workspace) -> list[dict[str, Any]]:
    """Every answer of the rollout by arm, read without the product's reader.

    Where everybody sees one arm, the other side of an answer is what was not shown.
    """
    found = []
    mirrored = {row["id"]: row for row in lines(workspace.state / "mirrored")}
    for row in lines(workspace.state / "predictions"):
        if row["change"] != "CR-2":
            continue
        both = {"at": int(datetime.fromisoformat(row["at"]).timestamp()), "row": row}
        found.append({**both, "arm": row["arm"], "side": row, "shown": True})
        if row["stage"] in OTHER and row["id"] in mirrored:
            side = {"arm": OTHER[row["stage"]], "side": mirrored[row["id"]], "shown": False}
            found.append({**both, **side})
    return found


def lines(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.glob("*.jsonl")):
        yield from map(orjson.loads, file.read_bytes().splitlines())


def by_hand(
    answers: Sequence[Mapping[str, Any]], measures: Mapping[str, Callable[[Any], float | None]]
) -> dict[Cell, list[float]]:
    cells: dict[Cell, list[float]] = defaultdict(list)
    for answer in answers:
        hour = answer["at"] // BUCKET_S * BUCKET_S
        for metric, measure in measures.items():
            value = measure(answer)
            if value is not None:
                cells[answer["row"]["stage"], metric, answer["arm"], hour].append(value)
    return cells


def test_buckets_are_what_the_log_says_counted_by_hand(soaking: Workspace) -> None:
    it, answers = how(soaking), shown(soaking)
    assert {a["row"]["stage"] for a in answers} == {"mirror", "quarter", "soak"}
    assert {a["arm"] for a in answers} == {"stable", "candidate"}
    label = it.model.label
    known = {
        row["flight_id"]: row[label.column]
        for row in soaking.warehouse.query(
            f"SELECT * FROM ({label.sql}) WHERE {label.column} IS NOT NULL "
            f"AND {label.available_at} <= TIMESTAMP '{it.now:%Y-%m-%d %H:%M:%S}'"
        ).to_pylist()
    }
    ripe = it.now.timestamp() - it.maturity_s

    def loss(answer: Any) -> float | None:
        p, y = answer["side"]["score"], known.get(int(answer["row"]["key"]))
        if p is None or y is None or answer["at"] >= ripe:
            return None
        p = min(max(p, 1e-4), 1 - 1e-4)
        return -math.log(p) if y == 1 else -math.log(1 - p)

    def over(answer: Any) -> float | None:
        score = answer["side"]["score"]
        return None if score is None else float(score > it.score_threshold)

    def missing(answer: Any) -> float | None:
        key = int(answer["row"]["key"])
        return float(key not in known) if answer["at"] < ripe else None

    def slow(answer: Any) -> float | None:
        if answer["row"]["stage"] == "soak" and not answer["shown"]:
            return None  # a mirrored score is no answer that somebody waited for
        return float(answer["side"]["latency_us"] > it.slow_us)

    measures: dict[str, Callable[[Any], float | None]] = {
        "errors": lambda a: float(a["side"]["error"] is not None),
        "slow": slow,
        "log_latency": lambda a: (
            math.log(a["side"]["latency_us"]) if a["row"]["stage"] == "quarter" else None
        ),
        "fallbacks": lambda a: float(bool(a["side"].get("fallback") or a["side"].get("fallbacks"))),
        "units": lambda a: 1.0,
        "score_shift": over,
        "log_loss": loss,
        "label_missing": missing,
    }
    found = [b for b in buckets_of(soaking.warehouse, it) if b.metric in measures]
    assert_same(found, by_hand(answers, measures))
    assert sum(b.n for b in found if b.metric == "log_loss") > 500


def test_answers_of_a_mirrored_stage_without_their_other_side_are_counted(
    soaking: Workspace,
) -> None:
    it, metric = how(soaking), "mirror_missing"
    found = buckets_of(soaking.warehouse, it)
    assert {b.stage for b in found if b.metric == metric} == {"mirror", "soak"}
    assert sum(b.n for b in found if b.metric == metric) > 100
    assert unsound(found, "mirror") == ""
    nothing = f"SELECT * FROM {MIRRORED} WHERE false"
    soaking.warehouse.replace([Replacement(MIRRORED, "score > 0.2", nothing)])
    fewer = buckets_of(soaking.warehouse, it)
    assert "have no mirrored score" in unsound(fewer, "mirror")
    assert unsound(fewer, "quarter") == ""

    def units(buckets: Sequence[Bucket]) -> dict[str, float]:
        arms = [b for b in buckets if b.metric == "units" and b.stage == "mirror"]
        return {arm: sum(b.n for b in arms if b.arm == arm) for arm in ("stable", "candidate")}

    # Missing is neither a success nor an error: it is not there.
    assert units(fewer)["stable"] == units(found)["stable"] > units(fewer)["candidate"] > 0


def test_old_logs_are_packed_at_a_look_and_read_as_before(soaking: Workspace) -> None:
    logs = (soaking.predictions, soaking.mirrored)
    before = [log.read({}) for log in logs]
    folders = [soaking.state / name for name in ("predictions", "mirrored")]
    for folder in folders:
        for path in folder.glob("*.jsonl"):
            os.utime(path, (0, 0))
    tick(soaking)
    assert all(list(folder.glob("*.parquet")) for folder in folders)
    assert [log.read({}) for log in logs] == before
    assert [log.read(cursor)[0] for log, (_, cursor) in zip(logs, before, strict=True)] == [[], []]


def assert_alike(one: Sequence[Bucket], other: Sequence[Bucket]) -> None:
    assert sorted(map(cell, one)) == sorted(map(cell, other))
    before = {cell(b): b for b in one}
    for bucket in other:
        same = before[cell(bucket)]
        assert bucket.n == same.n
        for a, b in ((bucket.total, same.total), (bucket.squares, same.squares)):
            assert math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9), (bucket, same)


def test_a_log_read_again_from_its_start_gives_the_same_buckets(soaking: Workspace) -> None:
    before = buckets_of(soaking.warehouse, how(soaking))
    assert_alike(before, soaking.record.buckets("CR-2"))
    rows = soaking.warehouse.query(f"SELECT count(*) AS n FROM {LOG}").to_pylist()[0]["n"]
    assert ingest(soaking) == 0, "nothing is new"
    soaking.warehouse.execute(f"DROP TABLE {LOG}; DROP TABLE {CURSOR}")
    assert ingest(soaking) == rows
    assert_alike(before, buckets_of(soaking.warehouse, how(soaking)))


def test_a_late_label_finds_the_hour_of_its_answer(soaking: Workspace) -> None:
    late = ("log_loss", "log_loss_paired", "label_missing", "kpi:")
    middle = world.START + timedelta(days=3)
    # Judged as soon as they come, or no label would be late.
    looks = [replace(how(soaking, *when), maturity_s=0.0) for when in ((middle,), ())]
    then, now = ({cell(b): b for b in buckets_of(soaking.warehouse, it)} for it in looks)
    assert set(then) < set(now)
    grown = {c for c in then if now[c].n > then[c].n}
    assert grown
    assert {metric for _, metric, _, _ in grown} == {"log_loss", "log_loss_paired"}
    for c in then:
        if not c[1].startswith(late):
            assert_alike([then[c]], [now[c]])  # when it is asked changes nothing of it


def test_an_answer_that_was_asked_for_again_counts_once(soaking: Workspace) -> None:
    before = buckets_of(soaking.warehouse, how(soaking))
    soaking.warehouse.execute(
        f"INSERT INTO {LOG} SELECT * REPLACE (id || '-again' AS id, served_at + 1 AS served_at, "
        f"0.99 AS score, true AS error) FROM {LOG}"
    )
    assert_alike(before, buckets_of(soaking.warehouse, how(soaking)))


def test_each_day_is_told_by_the_release_that_answered_most_of_it(
    stages: Stages, tmp_path: Path
) -> None:
    """A controller counts it on its way: nobody has to ask `watch`."""
    with world.opened(world.copied(stages["COMMITTED"], tmp_path / "project")) as workspace:
        version, note = stable(workspace), Ref("note", f"calibration-{world.MODEL}")
        kept = workspace.record.get(note)
        assert version
        assert kept
        before = {row["day"]: row["release"] for row in kept.body["days"]}
        assert version.release not in before.values()
        model = version.project.models[world.MODEL]
        days = days_of(workspace, version, model, workspace.now())
        keep_days(workspace, version, model, workspace.now())
        again = workspace.record.get(note)
        assert again
        after = {row["day"]: row for row in again.body["days"]}
        shared = [cell for cell in days if str(cell.day) in before]
        assert any(after[str(cell.day)]["release"] != version.release for cell in shared)
        for cell in days:
            row, n = after[str(cell.day)], int(sum(cell.n))
            mine = row["release"] == version.release
            assert row["n"] == n if mine else row["n"] > n
        assert {row["release"] for row in after.values()} == {*before.values(), version.release}


def test_a_trigger_record_names_its_change_for_good(due: Path, tmp_path: Path) -> None:
    with world.opened(world.copied(due, tmp_path / "project")) as workspace:
        (trigger,) = workspace.record.list("trigger")
        history = workspace.record.history(trigger.ref)
        assert [entry.body["change"] for entry in history] == [None, "CR-4"]
        assert workspace.record.get(Ref("change", "CR-4")) is not None
