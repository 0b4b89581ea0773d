"""A retraining that comes before its table's refresh is refused in the plan."""  # R-A13

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from shop_project import RAW_ORDERS, shop

from interlock.define.definitions import Trigger
from interlock.define.schedules import Schedule
from interlock.impact.facts import learn
from interlock.plan.make import Side, Where, make_plan
from interlock.plan.timing import tables_below

NOW = datetime(2024, 3, 1, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def objections(training: Any, refresh: Any, model: str = "browse") -> list[str]:
    """Of a plan in which one model is trained and one table refreshed by these schedules."""
    at = Schedule.model_validate(training)
    table = RAW_ORDERS.model_copy(update={"refresh": Schedule.model_validate(refresh)})
    plain = shop(table)
    held = plain.models[model]
    trained = held.model_copy(update={"triggers": (Trigger(metric="schedule", at=at),)})
    project = plain.model_copy(update={"models": {**plain.models, model: trained}})
    plan = make_plan(Side(project, learn(project)[0]), None, Where("prod", NOW))
    return [said for said in plan.objections if "is trained" in said]


def reader() -> str:
    """A model that is fed from the table."""
    facts = learn(shop(RAW_ORDERS))[0]
    models = [node.ref for node in facts.of_kind("model")]
    fed = [ref for ref in models if str(RAW_ORDERS.ref) in tables_below([str(ref)], facts)]
    assert fed, "no model of the shop reads raw orders"
    return fed[0].name


@pytest.mark.parametrize(
    ("training", "refresh", "refused"),
    [
        ({"daily": "05:00"}, {"daily": "06:00"}, True),
        ({"daily": "06:00"}, {"daily": "06:00"}, True),
        ({"daily": "07:00"}, {"daily": "06:00"}, False),
        ({"daily": "22:00"}, {"daily": "06:00"}, False),
        ({"daily": "05:00"}, "1h", False),
        ({"daily": "00:00"}, "1h", False),
        # Sunday's rows are there on Monday; on Sunday itself they come later.
        ({"rrule": "FREQ=WEEKLY;BYDAY=MO", "start": "2024-01-01T05:00:00"},
         {"rrule": "FREQ=WEEKLY;BYDAY=SU", "start": "2024-01-01T23:00:00"}, False),
        ({"rrule": "FREQ=WEEKLY;BYDAY=SU", "start": "2024-01-01T05:00:00"},
         {"rrule": "FREQ=WEEKLY;BYDAY=SU", "start": "2024-01-01T23:00:00"}, True),
        # 06:30 in Berlin is after 05:00 UTC in winter only: on 1 April it is 04:30.
        ({"daily": "06:30", "timezone": BERLIN}, {"daily": "05:00"}, True),
        ({"daily": "07:30", "timezone": BERLIN}, {"daily": "05:00"}, False),
    ],
)  # fmt: skip
def test_training_comes_after_the_refresh_of_its_day(
    training: Any, refresh: Any, refused: bool
) -> None:
    found = objections(training, refresh, reader())
    assert bool(found) is refused, found
    assert all(f"before {RAW_ORDERS.ref} is refreshed" in said for said in found)
    assert all("train after the refresh" in said for said in found)


def test_the_first_day_on_which_it_happens_is_named() -> None:
    (said,) = objections({"daily": "06:30", "timezone": BERLIN}, {"daily": "05:00"}, reader())
    assert "on 31 Mar 2024 at 04:30, with its rows at 05:00 UTC" in said
