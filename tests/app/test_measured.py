"""What is counted when one subject asks often, when services act, and before a rollout begins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import app_world as world
import pytest

from interlock.app.counting import ARMS, BUCKET_S, Measuring
from interlock.app.ingest import LOG, MIRRORED
from interlock.app.judging import agreed, how_measured, noise_notes
from interlock.app.looking import measuring
from interlock.app.measure import buckets_of, calm
from interlock.app.versions import stored
from interlock.app.workspace import Workspace
from interlock.ports import Bucket
from interlock.rollout.metrics import Guardrail, registered_digest


@pytest.fixture
def soaking(stages: Mapping[str, Path], tmp_path: Path) -> Iterator[Workspace]:
    with world.opened(world.copied(stages["SOAKING"], tmp_path / "project")) as workspace:
        yield workspace


def how(workspace: Workspace) -> Measuring:
    change = world.current(workspace, "CR-2")
    return measuring(stored(workspace, change.release), change, workspace.now())


def rows(workspace: Workspace, wanted: str) -> list[dict[str, Any]]:
    mirrored = f"(SELECT id, score AS mirrored FROM {MIRRORED}) AS m"
    return workspace.warehouse.query(
        f"SELECT {wanted} FROM {LOG} LEFT JOIN {mirrored} USING (id) WHERE change = 'CR-2'"
    ).to_pylist()


def by_cell(found: list[Bucket], metric: str) -> dict[tuple[str, str, int], Bucket]:
    return {(b.stage, b.arm, b.at): b for b in found if b.metric == metric}


def test_one_subject_is_one_value_in_a_bucket_however_often_it_asks(soaking: Workspace) -> None:
    """One user flies many flights; whoever counted flights would count one coin many times."""
    soaking.warehouse.execute(
        f"UPDATE {LOG} SET subject = 'u' || (key % 6), fallback = key % 3 = 0"
    )
    found = buckets_of(soaking.warehouse, how(soaking))
    told: dict[tuple[str, str, int], dict[str, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows(soaking, "stage, arm, subject, fallback, epoch(asked_at)::BIGINT AS at"):
        if row["stage"] == "quarter":
            hour = row["at"] // BUCKET_S * BUCKET_S
            told["quarter", row["arm"], hour][row["subject"]].append(float(row["fallback"]))
            seen["quarter", row["arm"]].add(row["subject"])
    counted = {c: b for c, b in by_cell(found, "fallbacks").items() if c[0] == "quarter"}
    assert set(counted) == set(told)
    assert any(len(values) > 1 for users in told.values() for values in users.values())
    for cell, users in told.items():
        means = [sum(values) / len(values) for values in users.values()]
        assert (counted[cell].n, counted[cell].total) == (len(means), pytest.approx(sum(means)))
    units = by_cell(found, "units")
    for arm in ARMS:
        met = sum(
            b.n for (stage, which, _), b in units.items() if (stage, which) == ("quarter", arm)
        )
        assert met == len(seen["quarter", arm]), "a subject is split once in a stage"


def test_how_often_a_service_acts_is_compared_on_the_same_units(soaking: Workspace) -> None:
    it = replace(how(soaking), decisions={"rebooking": 0.3})
    acted = by_cell(buckets_of(soaking.warehouse, it), "decisions:rebooking")
    more = 0.0
    for row in rows(soaking, "arm, score, mirrored"):
        if row["score"] is not None and row["mirrored"] is not None:
            new, old = row["score"] >= 0.3, row["mirrored"] >= 0.3
            more += (new - old) if row["arm"] == "candidate" else (old - new)
    assert {arm for _, arm, _ in acted} == {"paired"}
    assert sum(b.total for b in acted.values()) == more
    assert sum(b.squares for b in acted.values()) > 0, "the two never differ: nothing is tested"


def test_what_came_of_each_arm_is_told_of_the_units_that_saw_it(soaking: Workspace) -> None:
    """Not what would have come of them: each flight counts once, under the score it was shown."""
    agreed_on = world.current(soaking, "CR-2").details["judge"]["guardrails"]
    seen = {g["name"]: g for g in agreed_on if g["name"].startswith("kpi_seen:")}
    assert list(seen) == ["kpi_seen:rebooking"], "crew and gates decide on more than a flight"
    guard = seen["kpi_seen:rebooking"]
    paired = next(g for g in agreed_on if g["name"] == "kpi:rebooking")
    assert (guard["form"], guard["gate"], guard["weight"]) == ("mean", [], paired["weight"])
    found = by_cell(buckets_of(soaking.warehouse, how(soaking)), "kpi:rebooking")
    label = "JOIN (SELECT flight_id, late, arr_delay IS NULL OR arr_delay > 60 AS severe "
    told = soaking.warehouse.query(
        f"SELECT l.arm, l.key, l.score, y.late, y.severe FROM {LOG} AS l {label} "
        "FROM wh.arrivals WHERE late IS NOT NULL) AS y ON y.flight_id = l.key "
        "WHERE l.change = 'CR-2' AND l.stage = 'quarter' AND l.score IS NOT NULL"
    ).to_pylist()
    for arm in ARMS:
        mine = {row["key"]: row for row in told if row["arm"] == arm}
        cost = sum(100 * _cost(row) for row in mine.values())
        kept = [b for (stage, which, _), b in found.items() if (stage, which) == ("quarter", arm)]
        assert sum(b.n for b in kept) == len(mine) > 0
        assert sum(b.total for b in kept) == pytest.approx(cost)
    assert {which for stage, which, _ in found if stage != "quarter"} == {"paired"}


def _cost(row: Mapping[str, Any]) -> float:
    if row["score"] >= 0.5:
        return 1.0 - row["late"]
    return 4.0 if row["severe"] else 0.5 if row["late"] else 0.0


def test_before_a_rollout_the_answers_of_one_release_are_halved(soaking: Workspace) -> None:
    change = world.current(soaking, "CR-2")
    version = stored(soaking, change.release)
    guardrails = [Guardrail.from_json(g) for g in change.details["judge"]["guardrails"]]
    it = how_measured(guardrails, version.project, "late", soaking.now())
    stable = soaking.route().stable
    assert stable is not None
    it = replace(it, release=stable)
    found = calm(soaking.warehouse, it, soaking.now() - timedelta(days=28))
    arms = {arm: sum(b.n for b in found if (b.metric, b.arm) == ("errors", arm)) for arm in ARMS}
    answered = soaking.warehouse.query(
        f"SELECT count(*) AS n FROM {LOG} WHERE release = '{stable}'"
    ).to_pylist()[0]["n"]
    assert sum(arms.values()) == answered
    assert abs(arms["stable"] - answered / 2) < 3 * (answered / 4) ** 0.5
    late = calm(soaking.warehouse, it, soaking.now())
    assert late == [], "what was answered before is left out"


def test_every_threshold_is_part_of_what_was_agreed(ready: Workspace) -> None:
    judging = world.current(ready, "CR-2").details["judge"]
    guardrails = [Guardrail.from_json(g) for g in judging["guardrails"]]
    by = {g.name: g for g in guardrails}
    assert (by["slow"].threshold, by["score_shift"].threshold) != (None, None)
    for name, other in (
        ("slow", {"threshold": 1.0}),
        ("kpi:crew", {"per": 2.0}),
        ("errors", {"bucket_s": 7200}),
        ("latency", {"ladder": {"quarter": 3.0}}),
    ):
        edited = [replace(g, **other) if g.name == name else g for g in guardrails]  # type: ignore[arg-type]
        assert registered_digest(edited, judging["alpha"], judging["beta"]) != judging["digest"]
    assert registered_digest(guardrails, judging["alpha"], judging["beta"]) == judging["digest"]


def test_lasting_noise_is_said_in_the_plan(ready: Workspace) -> None:
    said = noise_notes({"noise": {"errors": [7200, 0.05], "slow": [3600, 0.0], "x": [64, None]}})
    assert said == ["noise of errors lasts: judged in steps of 2 hours"]
    (loud,) = noise_notes({"noise": {"errors": [57600, 0.4]}})
    assert "steps of 16 hours are alike, 0.40" in loud
    version = stored(ready, world.current(ready, "CR-2").release)
    assert agreed(ready, version, {})["guardrails"] == []
