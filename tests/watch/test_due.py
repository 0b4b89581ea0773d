"""Retraining is due when labels say so; the weeks are those of the flights year."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from interlock.define.definitions import Evaluation, Label, Model, Training, Trigger
from interlock.define.schedules import Schedule
from interlock.errors import Refused
from interlock.models.metrics import BINS
from interlock.retrain.due import Due, Facts, consider, due, propose
from interlock.watch.calibration import DayCells

TRIGGER = Trigger(metric="ece", over=0.07, min_rows=1000)
MONDAY = date(2013, 6, 24)

# Monday, flights, share late, mean score, largest feature PSI: measured once on the flights
# year with a model trained on January to March. Scores err in one direction within a week,
# so that the gap of the means is the calibration error.
CALM = [
    (date(2013, 5, 27), 6523, 0.200, 0.191, 7.81),
    (date(2013, 8, 19), 6628, 0.174, 0.172, 8.28),
    (date(2013, 9, 2), 6365, 0.140, 0.147, 8.28),
    (date(2013, 9, 23), 6517, 0.103, 0.116, 7.74),
    (date(2013, 9, 30), 6527, 0.104, 0.132, 8.28),
    (date(2013, 11, 11), 6515, 0.172, 0.168, 3.54),
]
BROKEN = [
    (date(2013, 4, 22), 6560, 0.406, 0.248, 4.95),
    (date(2013, 6, 24), 6701, 0.499, 0.309, 8.28),
    (date(2013, 7, 22), 6740, 0.412, 0.280, 8.28),
    (date(2013, 8, 5), 6733, 0.336, 0.231, 8.28),
]


def week(monday: date, n: int, late: float, predicted: float) -> tuple[DayCells, ...]:
    """Seven equal days with every score in three bins around `predicted`."""
    return tuple(_day(monday + timedelta(days=d), n // 7, late, predicted) for d in range(7))


def _day(day: date, n: int, late: float, predicted: float) -> DayCells:
    rows, scores, labels = [0] * BINS, [0.0] * BINS, [0.0] * BINS
    for at, factor in enumerate((0.6, 1.0, 1.4)):
        rows[at], scores[at] = n // 3, n // 3 * predicted * factor
        labels[at] = n // 3 * late * factor
    return DayCells(day, tuple(rows), tuple(scores), tuple(labels))


def facts(cells: tuple[DayCells, ...], **more: Any) -> Facts:
    known = {"model": "model:late", "trained_until": date(2013, 4, 1)}
    return Facts(**{**known, "live_since": date(2013, 4, 1), "cells": cells, **more})


def after(monday: date) -> datetime:
    return datetime.combine(monday + timedelta(days=7), time(5), UTC)


STORM = facts(week(MONDAY, 6701, 0.499, 0.309))


@pytest.mark.parametrize(("monday", "n", "late", "predicted", "psi"), CALM)
def test_calm_weeks_with_a_high_psi_do_not_fire(
    monday: date, n: int, late: float, predicted: float, psi: float
) -> None:  # R-B6
    known = facts(week(monday, n, late, predicted), psi={"wx_temp_f": psi}, new_rows=10**6)
    assert psi > 1
    assert due(known, [TRIGGER], after(monday)) is None


@pytest.mark.parametrize(("monday", "n", "late", "predicted", "psi"), BROKEN)
def test_weeks_of_broken_calibration_fire(
    monday: date, n: int, late: float, predicted: float, psi: float
) -> None:  # R-B6
    known = facts(week(monday, n, late, predicted), psi={"wx_temp_f": psi})
    found = due(known, [TRIGGER], after(monday))
    assert found is not None
    assert "is over 0.07" in found.sentence
    assert found.facts["drifting"] == [{"feature": "wx_temp_f", "psi": psi}]


def test_the_week_of_24_june_says_why() -> None:
    found = due(STORM, [TRIGGER], after(MONDAY))
    assert found is not None
    assert found.sentence == (
        "calibration error 0.190 over 7d is over 0.07: predicted 0.309, true 0.499 on 6699 rows"
    )
    assert found.facts["triggers"][0]["days"] == 7


def test_few_rows_do_not_fire() -> None:
    few = facts(week(MONDAY, 140, 0.499, 0.309))
    assert due(few, [TRIGGER], after(MONDAY)) is None
    assert due(facts(()), [TRIGGER], after(MONDAY)) is None


def test_labels_of_the_predecessor_do_not_count() -> None:
    known = facts(STORM.cells, live_since=MONDAY + timedelta(days=7))
    assert due(known, [TRIGGER], after(MONDAY)) is None


def test_old_labels_do_not_count() -> None:
    assert due(STORM, [TRIGGER], after(MONDAY) + timedelta(days=30)) is None


def test_a_cool_down_holds_and_says_until_when() -> None:  # R-B6
    known = facts(STORM.cells, last_run=after(MONDAY) - timedelta(days=13))
    held = consider(known, [TRIGGER], after(MONDAY))
    assert held.due is None
    assert held.held[0].endswith("cooling down until 2013-07-02T05:00+00:00")
    assert due(known, [TRIGGER], after(MONDAY) + timedelta(days=1)) is not None


def test_over_budget_makes_none_and_says_so() -> None:  # R-B6
    held = consider(facts(STORM.cells, spent=4, budget=4), [TRIGGER], after(MONDAY))
    assert held.due is None
    assert held.held[0].endswith("the budget of 4 runs is spent")


def test_a_storm_makes_one_run() -> None:  # R-B6
    age = Trigger(metric="age", over=30, min_rows=1000)
    known = facts(STORM.cells, new_rows=80_000)
    found = due(known, [TRIGGER, TRIGGER.model_copy(update={"over": 0.1}), age], after(MONDAY))
    assert found is not None
    assert len(found.facts["triggers"]) == 3
    running = facts(STORM.cells, running=True)
    assert consider(running, [TRIGGER], after(MONDAY)).held == (
        "model:late is already being retrained",
    )


def test_age_needs_new_rows() -> None:
    age = Trigger(metric="age", over=30, min_rows=1000)
    assert due(facts((), new_rows=999), [age], after(MONDAY)) is None
    found = due(facts((), new_rows=1000), [age], after(MONDAY))
    assert found is not None
    assert found.sentence.startswith("training rows end 91 days ago")


MODEL = Model(
    model="late",
    owner="ds",
    spine="wh.spine",
    key="flight_id",
    time="cutoff",
    features=(),
    label=Label(sql="SELECT 1", column="late"),
    training=Training(entry="late.py:train", start=date(2013, 1, 8), end=date(2013, 4, 1)),
    evaluation=Evaluation(start=date(2013, 4, 1), end=date(2013, 7, 1)),
)
BECAUSE = Due("model:late", "a reason", {})


def test_a_proposal_expands_and_holds_out_the_newest_days() -> None:
    found = propose(MODEL, BECAUSE, date(2013, 7, 1))
    assert (found.train_start, found.train_end) == (date(2013, 1, 8), date(2013, 6, 17))
    assert (found.evaluate_start, found.evaluate_end) == (date(2013, 6, 17), date(2013, 7, 1))
    assert found.known_by == datetime(2013, 6, 17, tzinfo=UTC)
    assert found.key == propose(MODEL, Due("model:late", "another", {}), date(2013, 7, 1)).key
    assert found.key != propose(MODEL, BECAUSE, date(2013, 7, 2)).key


@pytest.mark.parametrize("days", range(14, 60, 5))
def test_a_challenger_always_sees_new_days_and_is_judged_on_days_nobody_saw(days: int) -> None:
    found = propose(MODEL, BECAUSE, MODEL.training.end + timedelta(days=days))
    assert MODEL.training.end < found.train_end <= found.evaluate_start
    assert found.evaluate_end - found.evaluate_start >= timedelta(days=7)


def test_too_few_new_days_are_refused() -> None:
    with pytest.raises(Refused, match="13 new days"):
        propose(MODEL, BECAUSE, date(2013, 4, 14))


# --- by schedule -----------------------------------------------------------------------

SUNDAYS = Trigger(
    metric="schedule",
    at=Schedule(rrule="FREQ=WEEKLY;BYDAY=SU", start="2013-01-06T04:00:00"),
    min_rows=100,
    cooldown=timedelta(days=14),
)


@pytest.mark.parametrize(
    ("now", "last_run", "due_"),
    [
        (datetime(2013, 6, 23, 3, 59, tzinfo=UTC), datetime(2013, 6, 16, 5, tzinfo=UTC), False),
        # Every week, whatever the cool-down says: the times are the cool-down.
        (datetime(2013, 6, 23, 4, 0, tzinfo=UTC), datetime(2013, 6, 16, 5, tzinfo=UTC), True),
        (datetime(2013, 6, 25, 4, 0, tzinfo=UTC), datetime(2013, 6, 23, 5, tzinfo=UTC), False),
        (datetime(2013, 6, 25, 4, 0, tzinfo=UTC), None, True),
    ],
)
def test_a_time_that_has_come_is_due_once(
    now: datetime, last_run: datetime | None, due_: bool
) -> None:
    told = facts((), last_run=last_run, new_rows=100)
    found = due(told, (SUNDAYS,), now)
    assert bool(found) is due_
    if found:
        assert "scheduled by FREQ=WEEKLY;BYDAY=SU UTC: 23 Jun 2013 04:00 UTC" in found.sentence


def test_a_time_before_this_model_went_live_is_none_of_its_own() -> None:
    now = datetime(2013, 6, 25, tzinfo=UTC)
    young = facts((), live_since=date(2013, 6, 24), new_rows=100)
    assert due(young, (SUNDAYS,), now) is None
    assert due(facts((), new_rows=99), (SUNDAYS,), now) is None


def test_a_schedule_has_its_times_and_nothing_else_has() -> None:
    for wrong in ({"metric": "schedule"}, {"metric": "age", "at": "1d"}):
        with pytest.raises(ValueError, match="no other"):
            Trigger.model_validate(wrong)
