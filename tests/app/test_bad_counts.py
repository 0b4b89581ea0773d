"""What nobody can judge by is held by its name and left out: it is neither harm nor success."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import isfinite
from pathlib import Path

import app_world as world
import pytest

from interlock.app.counting import Counting, Measuring
from interlock.app.ingest import LOG
from interlock.app.looking import measuring, seen
from interlock.app.measure import bucket_of, news, settled, silent, unsound
from interlock.app.versions import stored
from interlock.app.workspace import Workspace
from interlock.ports import Bucket
from interlock.rollout.judge import judge
from interlock.rollout.metrics import Guardrail
from interlock.rollout.state import RolloutState
from interlock.rollout.strata import matured


@pytest.fixture
def soaking(stages: Mapping[str, Path], tmp_path: Path) -> Iterator[Workspace]:
    with world.opened(world.copied(stages["SOAKING"], tmp_path / "project")) as workspace:
        yield workspace


def how(workspace: Workspace, labels: str = "SELECT * FROM {sql} AS y") -> Measuring:
    """How CR-2 is measured, with other labels where `labels` says which."""
    change = world.current(workspace, "CR-2")
    it = measuring(stored(workspace, change.release), change, workspace.now())
    sql = labels.format(sql=f"({it.model.label.sql})")
    label = it.model.label.model_copy(update={"sql": sql})
    return replace(it, model=it.model.model_copy(update={"label": label}))


def buckets(workspace: Workspace, *asked: str) -> list[Bucket]:
    found = [bucket_of(row) for sql in asked for row in workspace.warehouse.query(sql).to_pylist()]
    return sorted(found, key=lambda b: (b.metric, b.stage, b.arm, b.at))


def labelled(workspace: Workspace, labels: str = "SELECT * FROM {sql} AS y") -> list[Bucket]:
    """What is counted from labels, and one service's KPI."""
    it = how(workspace, labels)
    asked = Counting(it)
    service = next(one for one in it.services if one.service == "rebooking")
    return buckets(workspace, asked.labels, asked.kpi(service, ["late", "severe", "arr_delay"]))


def cells(found: list[Bucket], *but: str) -> dict[tuple[str, ...], tuple[float, ...]]:
    return {
        (b.metric, b.stage, b.arm, str(b.at)): (b.n, round(b.total, 6), round(b.squares, 6))
        for b in found
        if b.metric not in but
    }


NINTH = "flight_id % 9 = 0"
TURNED = f"CASE WHEN {NINTH} THEN {{new}} ELSE late END AS late"
ODD = {
    "twice": "SELECT * FROM {sql} AS y UNION ALL "
    f"SELECT * REPLACE (1 - late AS late) FROM {{sql}} AS z WHERE {NINTH}",
    "two": f"SELECT * REPLACE ({TURNED.format(new='2')}) FROM {{sql}} AS y",
}
OTHER = f"SELECT * REPLACE ({TURNED.format(new='1 - late')}) FROM {{sql}} AS y"
FEWER = f"SELECT * FROM {{sql}} AS y WHERE NOT ({NINTH})"


def test_labels_that_are_no_clear_answer_hold_and_are_judged_by_nobody(
    soaking: Workspace,
) -> None:
    sound, without = labelled(soaking), labelled(soaking, FEWER)
    assert unsound(sound, "quarter") == ""
    assert cells(sound) != cells(without)
    for labels in ODD.values():
        odd = labelled(soaking, labels)
        said = unsound(odd, "quarter")
        assert "two labels, or one that is neither 0 nor 1" in said
        assert "one row per key" in said
        assert cells(odd, "label_wrong") == cells(without), "as if they had never come"


def test_a_label_that_was_mended_is_judged_as_it_is_now(soaking: Workspace) -> None:
    before, after = labelled(soaking), labelled(soaking, OTHER)
    assert cells(settled(before, after)) == cells(after)
    loss = [{c: v[0] for c, v in cells(found).items() if c[0] == "log_loss"}
            for found in (before, after)]  # fmt: skip
    assert loss[0] == loss[1], "as many units"
    assert cells(before) != cells(after)


def test_answers_of_which_nobody_knows_whose_they_are_hold_the_stage(soaking: Workspace) -> None:
    it = how(soaking)
    asked = Counting(it)
    fair = buckets(soaking, asked.answers, asked.astray)
    assert unsound(fair, "quarter") == ""
    soaking.warehouse.execute(
        f"UPDATE {LOG} SET arm = 'stable', error = true WHERE release = '{it.release}' "
        "AND stage = 'quarter' AND key % 9 = 0"
    )
    found = buckets(soaking, asked.answers, asked.astray)
    stable = [
        {c: v for c, v in cells(which).items() if (c[0], c[2]) == ("errors", "stable")}
        for which in (fair, found)
    ]
    assert stable[0] == stable[1], "the candidate's errors are not the stable release's"
    assert "logged as the stable release's" in unsound(found, "quarter")
    soaking.warehouse.execute(f"UPDATE {LOG} SET subject = 'u' || (key % 7)")
    both = buckets(soaking, asked.astray)
    assert "7 of 7 subjects in quarter were answered by both arms" in unsound(both, "quarter")
    assert "both arms" not in unsound(both, "mirror"), "there everybody is told both"


def test_a_unit_is_judged_by_its_label_when_its_horizon_is_over(soaking: Workspace) -> None:
    """Not when the hour it was asked in began: labels come at a speed that depends on them."""
    it = how(soaking)
    young = it.now - timedelta(seconds=it.maturity_s)
    ripe = soaking.warehouse.query(
        f"SELECT count(*) AS n FROM {LOG} AS l JOIN wh.arrivals AS a ON a.flight_id = l.key "
        "WHERE l.change = 'CR-2' AND l.stage = 'quarter' AND l.score IS NOT NULL "
        f"AND a.late IS NOT NULL AND a.available_at <= TIMESTAMP '{it.now:%Y-%m-%d %H:%M:%S}' "
        f"AND l.asked_at < TIMESTAMP '{young:%Y-%m-%d %H:%M:%S}'"
    ).to_pylist()[0]["n"]
    counted = buckets(soaking, Counting(it).labels)
    told = sum(b.n for b in counted if (b.metric, b.stage) == ("log_loss", "quarter"))
    assert told == ripe > 0


@pytest.mark.parametrize("value", ["'nan'", "'inf'", "1e200"])
def test_a_business_number_that_is_none_is_refused_by_name_and_stops_no_look(
    soaking: Workspace, value: str
) -> None:
    """The way back must not wait for somebody's division by zero."""
    it, change = how(soaking), world.current(soaking, "CR-2")
    service = next(one for one in it.services if one.service == "rebooking")
    other = f"CAST({value} AS DOUBLE) * (random() - 0.5) AS value"
    sql = f"SELECT k.* REPLACE ({other}) FROM ({service.kpi.sql}) AS k"
    odd = service.model_copy(update={"kpi": service.kpi.model_copy(update={"sql": sql})})
    found = buckets(soaking, Counting(it).kpi(odd, ["late", "severe", "arr_delay"]))
    assert found
    assert not any(isfinite(b.squares) for b in found)
    agreed = [Guardrail.from_json(g) for g in change.details["judge"]["guardrails"]]
    kpi = [one for one in agreed if one.name == "kpi:rebooking"]
    judgement = judge(kpi, found, 0.05, 0.05, "soak", "soak")
    assert judgement.verdict == "error"
    assert "not a finite number" in judgement.sentence
    assert news((), found) == []
    sound = replace(found[0], total=1.0, squares=2.0)
    kept = news((), [*found, sound])
    soaking.record.write([], by="look", at=soaking.now(), buckets={"CR-2": kept})
    assert sound in soaking.record.buckets("CR-2")


def test_a_stage_whose_answers_stopped_is_not_left_by_what_was_seen_before(
    soaking: Workspace,
) -> None:
    """The log of the gateways does not come any more: what it said first is no news."""
    change, route = world.current(soaking, "CR-2"), soaking.route()
    state = RolloutState.from_json(change.details["rollout"])
    soaking.advance(soaking.now() + timedelta(days=9))
    said = seen(soaking, change, state, route).facts.unsound
    assert "nothing was measured in soak since 2013-03-0" in said
    assert "see whether gateways still log" in said


def test_a_night_without_traffic_is_no_silence() -> None:
    began = datetime(2026, 3, 2, tzinfo=UTC)
    last = began + timedelta(hours=16)
    found = [Bucket("half", "errors", "stable", int(last.timestamp()), 9, 0, 0)]
    for hours, is_silent in ((18, False), (30, False), (36, True)):
        said = silent(found, "half", began, began + timedelta(hours=hours))
        assert bool(said) is is_silent
    assert silent([], "half", began, last) == silent(found, "other", began, last) == ""


def test_a_clock_that_runs_ahead_has_measured_nothing_yet() -> None:
    ahead = [Bucket("half", "errors", arm, 7200, 50, 1, 1) for arm in ("stable", "candidate")]
    assert matured([], ahead, 7199.0) == ()
    assert matured([], ahead, 7200.0) == tuple(ahead)
