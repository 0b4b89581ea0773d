"""Batch scoring: one subject, one release, one score, by whichever door it is asked for."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from socket import gethostname
from typing import Any

import app_world as world
import pyarrow as pa
import pyarrow.parquet
import pytest
from scoring_world import INTO, asked_for, due, rows_due, same, scored, shown

from interlock.app import decide, spines
from interlock.app.scoring import Asked, score
from interlock.app.shown import Place, follow_route, ref_of, shares_of
from interlock.app.tick import tick
from interlock.app.workspace import Workspace
from interlock.define.release import Route
from interlock.errors import Conflict, NotFound, Refused
from interlock.rollout.cohort import arm, cohort

TABLE = "il.scores_ops_late_scores"


@pytest.fixture
def ramping(stages: Mapping[str, Path], tmp_path: Path) -> Iterator[Workspace]:
    """CR-2 answers a quarter of the flights."""
    with world.opened(world.copied(stages["STEP"], tmp_path / "project")) as workspace:
        tick(workspace)
        yield workspace


# R-B5
@pytest.mark.parametrize("state", ["SHADOW", "STEP", "COMMITTED"])
def test_one_subject_has_one_release_and_one_score_through_both_doors(
    stages: Mapping[str, Path], tmp_path: Path, state: str
) -> None:
    with world.opened(world.copied(stages[state], tmp_path / "project")) as workspace:
        tick(workspace)
        done = scored(workspace)
        assert len(done.releases) == 2, "what runs, and what may run or come back"
        assert set(done.releases.values()) == {done.rows}
        named = same(shown(workspace), asked_for(workspace, rows_due(workspace)))
        assert named == (2 if state == "STEP" else 1)


def test_rows_with_holes_are_answered_alike_through_both_doors(
    ramping: Workspace, tmp_path: Path
) -> None:
    """Unknown places and carriers, no tail number, nothing known of a route, no subject at all."""
    rows = rows_due(ramping, days=1).slice(0, 60)
    columns = {name: rows.column(name).to_pylist() for name in rows.column_names}
    for place, (name, value) in enumerate(
        [("origin", "XXX"), ("carrier", "Ö|\\"), ("tailnum", None), ("dest", None),
         ("distance", None), ("origin", None), ("flight", None), ("flight_id", None)]
    ):  # fmt: skip
        for row in range(place, 60 if name != "flight_id" else place + 1, 9):
            columns[name][row] = value
    harmed = pa.table(columns, schema=rows.schema)
    pa.parquet.write_table(harmed, tmp_path / "rows.parquet")
    score(ramping, Asked(world.MODEL, tmp_path / "rows.parquet", INTO, zone="UTC"))
    batch = shown(ramping)
    assert same(batch, asked_for(ramping, harmed)) == 2
    assert {row["reason"] for row in batch.values()} == {"live", "fallback"}
    assert batch[None]["arm"] == "stable"  # type: ignore[index]  # who is nobody
    assert batch[None]["cohort"] is None  # type: ignore[index]


def test_memory_follows_a_stretch_and_not_the_rows(
    ramping: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(ramping, days=2)
    whole = shown(ramping)
    for stretch in (97, len(whole) - 1):
        monkeypatch.setattr(spines, "STRETCH", stretch)
        scored(ramping, days=2)
        parts = shown(ramping)
        assert parts.keys() == whole.keys()
        for key, row in parts.items():
            assert (row["release"], row["score"]) == (whole[key]["release"], whole[key]["score"])
    left = "SELECT count(*) AS n FROM duckdb_tables() WHERE table_name LIKE 'asked%'"
    assert ramping.warehouse.query(left).to_pylist() == [{"n": 0}]


def test_every_row_says_its_cohort_and_arm_as_python_does(ramping: Workspace) -> None:
    scored(ramping)
    route = ramping.route()
    for key, row in shown(ramping).items():
        assert row["cohort"] == cohort(route.salt, str(key))
        assert row["arm"] == arm(route, str(key))
        assert row["release"] == row["assigned"]
        assert row["epoch"] == route.epoch


def test_going_forward_and_back_scores_nothing_again(ramping: Workspace) -> None:
    scored(ramping)
    before = shown(ramping)
    route = ramping.route()
    assert {row["arm"] for row in before.values()} == {"stable", "candidate"}
    world.go_on(ramping, "CR-2")
    soaking = shown(ramping)
    assert {row["release"] for row in soaking.values()} == {route.candidate}
    decide.rollback(ramping, "CR-2", by="sam", reason="the story goes back")
    tick(ramping)
    after = shown(ramping)
    assert {row["release"] for row in after.values()} == {route.stable}
    seen = [row for key, row in after.items() if before[key]["arm"] == "stable"]
    assert [row["id"] for row in seen] == [before[row["flight_id"]]["id"] for row in seen]
    assert same(after, asked_for(ramping, rows_due(ramping))) == 1
    assert follow_route(ramping) == ()


def test_a_committed_release_is_taken_back_without_scoring(
    stages: Mapping[str, Path], tmp_path: Path
) -> None:
    with world.opened(world.copied(stages["COMMITTED"], tmp_path / "project")) as workspace:
        tick(workspace)
        scored(workspace)
        new = workspace.route().stable
        assert {row["release"] for row in shown(workspace).values()} == {new}
        decide.rollback(workspace, "CR-2", by="sam", reason="the story goes back")
        tick(workspace)
        assert workspace.route().stable != new
        assert {row["release"] for row in shown(workspace).values()} == {workspace.route().stable}


def test_a_candidate_has_scored_before_anything_is_routed_to_it(
    stages: Mapping[str, Path], tmp_path: Path
) -> None:
    folder = world.copied(stages["PREPARING"], tmp_path / "project")
    with world.opened(folder) as workspace:
        assert len(scored(workspace, days=1).releases) == 1
        world.go_on(workspace, "CR-2")
        assert world.current(workspace, "CR-2").state == "SHADOW"
        entry = workspace.record.get(ref_of(workspace, INTO))
        assert entry
        assert set(entry.body["releases"]) == {
            workspace.route().stable, world.current(workspace, "CR-2").release
        }  # fmt: skip
        assert same(shown(workspace), asked_for(workspace, rows_due(workspace, days=1))) == 1


def test_what_is_scored_in_batch_is_counted_once_where_answers_are(ramping: Workspace) -> None:
    def units() -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], float] = {}
        for one in ramping.record.buckets("CR-2"):
            if one.metric in ("units", "slow") and one.stage == "quarter":
                found[one.metric, one.arm] = found.get((one.metric, one.arm), 0) + one.n
        return found

    before = units()
    done = scored(ramping)
    arms = {one["arm"]: one["n"] for one in done.shown}
    assert done.counted == done.rows
    for _ in range(2):
        tick(ramping)
        now = units()
        assert {a: now["units", a] - before["units", a] for a in arms} == arms
        # Nobody waited for them, so they say nothing of who waits long.
        assert {a: now["slow", a] for a in arms} == {a: before["slow", a] for a in arms}
        scored(ramping)  # the same flights: no other units


def test_history_scored_again_is_nobodys_decision(ramping: Workspace) -> None:
    before = ramping.now() - timedelta(days=9)
    sql = f"SELECT * FROM wh.spine WHERE cutoff < TIMESTAMP '{before:%Y-%m-%d}'"
    done = score(ramping, Asked(world.MODEL, sql, INTO))
    assert done.rows > 1000
    assert done.counted == 0


def test_every_objection_is_told_at_once_and_nothing_is_written(
    ramping: Workspace, tmp_path: Path
) -> None:
    rows = pa.table({"cutoff": ["soon"], "origin": [3], "carrier": ["UA"]})
    pa.parquet.write_table(rows, tmp_path / "rows.parquet")
    with pytest.raises(Refused) as caught:
        score(ramping, Asked(world.MODEL, tmp_path / "rows.parquet", INTO))
    said = "\n".join(caught.value.objections)
    for part in ("no column flight_id", "cutoff is VARCHAR", "origin is BIGINT", "no column dow"):
        assert part in said
    with pytest.raises(NotFound, match="no model later"):
        score(ramping, Asked("later", due(ramping), INTO))
    with pytest.raises(Conflict, match="there already"):
        scored(ramping, into="wh.spine")
    fraction = due(ramping).replace("flight_id,", "flight_id / 2.0 AS flight_id,")
    with pytest.raises(Refused) as caught:
        score(ramping, Asked(world.MODEL, fraction, INTO))
    assert any("cannot decide who sees" in one for one in caught.value.objections)
    assert not ramping.warehouse.has(INTO)
    assert ramping.record.list("scoring") == ()


def test_of_two_at_once_one_is_told_to_wait(ramping: Workspace) -> None:
    other = Workspace(ramping.folder)
    for name in ("record", "warehouse", "artifacts", "clock"):
        other.__dict__[name] = getattr(ramping, name)
    scored(ramping, days=1)
    told = world.at_once(lambda: scored(ramping, days=2).rows, lambda: scored(other, days=2).rows)
    assert sorted(told)[1] == "conflict" or told[0] == told[1]
    assert len(shown(ramping)) == len(rows_due(ramping, days=2))


def _killed_after(folder: Path, writes: int) -> int:
    """Score in a process that is killed when it has written so often; its id, 0: it got through."""
    child = os.fork()
    if not child:
        with world.opened(folder) as workspace:
            left = [writes]

            def counted(call: Callable[..., Any]) -> Callable[..., Any]:
                def done(*given: Any, **more: Any) -> Any:
                    result = call(*given, **more)
                    left[0] -= 1
                    if not left[0]:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return result

                return done

            for name in ("load", "build", "replace", "execute", "point"):
                setattr(workspace.warehouse, name, counted(getattr(workspace.warehouse, name)))
            workspace.record.__dict__["write"] = counted(workspace.record.write)
            scored(workspace, days=1)
            os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in (0, -signal.SIGKILL)
    return child if ended else 0


def test_a_kill_between_two_writes_shows_all_new_scores_or_all_old_ones(
    stages: Mapping[str, Path], tmp_path: Path
) -> None:
    start = world.copied(stages["STEP"], tmp_path / "start")
    with world.opened(start) as workspace:
        tick(workspace)
        rows = len(rows_due(workspace, days=1))
        scored(workspace, days=2)
    seen, killed = [], 1
    for writes in (3, 4, 5, 6, 7, 99):  # two loads, the swap, the view, the end of staging
        folder = world.copied(start, tmp_path / f"killed{writes}")
        killed = _killed_after(folder, writes)
        with world.opened(folder) as workspace:
            there = shown(workspace)
            assert all(row["release"] == row["assigned"] for row in there.values())
            seen.append(len(there))
            if writes == 5:  # whatever is left behind, the next one gets through
                # The dead hold their lease for a while: nobody waits for it here.
                workspace.record.release(f"scoring:prod:{INTO}", f"{gethostname()}:{killed}")
                scored(workspace, days=1)
                assert len(shown(workspace)) == rows
    assert not killed, "the last one was to get through"
    assert set(seen) == {rows, max(seen)}
    assert seen == sorted(seen, reverse=True), "once the new ones are seen, they stay"


def test_a_first_scoring_that_is_killed_shows_nothing(
    stages: Mapping[str, Path], tmp_path: Path
) -> None:
    for writes in (5, 6):  # the tables are there, empty; then full, and nobody has a name for them
        folder = world.copied(stages["STEP"], tmp_path / f"killed{writes}")
        killed = _killed_after(folder, writes)
        assert killed
        with world.opened(folder) as workspace:
            assert not workspace.warehouse.has(INTO)
            workspace.record.release(f"scoring:prod:{INTO}", f"{gethostname()}:{killed}")
            scored(workspace, days=1)
            assert shown(workspace)


PLACE = Place("ops.x", {})


def test_what_is_due_and_was_never_scored_is_stood_in_for_and_said() -> None:
    route = Route("prod", 7, "s", "c", 0.25, salt="CR-1", blocked=("b",))
    assert [s.release for s in shares_of(route, ["s", "c"], PLACE)] == ["c", "s"]
    assert [(s.release, s.behind) for s in shares_of(route, ["s"], PLACE)] == [
        ("s", True),
        ("s", False),
    ]
    assert [s.release for s in shares_of(route, ["old", "b"], PLACE)] == ["old", "old"]
    assert all(s.behind for s in shares_of(route, ["old", "b"], PLACE))
    assert shares_of(route, ["b"], PLACE) == ()
    by_hand = replace(route, weight=7.0)
    assert [s.release for s in shares_of(by_hand, ["s", "c"], PLACE)] == ["s"]
    assert shares_of(Route("prod"), ["s"], PLACE) == ()


def test_the_command_says_who_scored_and_what_is_seen(
    stages: Mapping[str, Path], tmp_path: Path
) -> None:
    folder = world.copied(stages["STEP"], tmp_path / "project")
    with world.opened(folder) as workspace:
        sql = due(workspace, days=1)
    done = world.command(folder, "score", "late", "--spine", sql, "--into", INTO)
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert len(said["releases"]) == 2
    assert {one["arm"] for one in said["shown"]} == {"stable", "candidate"}
    assert sum(one["n"] for one in said["shown"]) == said["rows"]
    refused = world.command(folder, "score", "late", "--spine", sql, "--into", "wh.spine")
    assert (refused.code, refused.error["error"]) == (4, "conflict")
