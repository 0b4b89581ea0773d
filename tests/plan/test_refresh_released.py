"""A schedule of refresh is released like any other word, and moves nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from shop_project import RAW_ORDERS, shop

from interlock.define.definitions import Table
from interlock.define.schedules import Schedule
from interlock.impact.facts import learn
from interlock.plan.make import Side, Where, make_plan
from interlock.plan.plan import wanted_release
from interlock.plan.steps import BuildTable

FILE = RAW_ORDERS
HOURLY = FILE.model_copy(update={"refresh": Schedule.model_validate("1h")})
NEVER = FILE.model_copy(update={"refresh": Schedule.model_validate("never")})
MODELS = dict.fromkeys(["browse", "returns"], "a" * 64)


def side(table: Table) -> Side:
    project = shop(table)
    return Side(project, learn(project)[0])


def test_a_schedule_is_another_release_of_the_same_versions() -> None:
    plain, hourly = side(FILE), side(HOURLY)
    at = Where("prod", datetime(2024, 8, 1, tzinfo=UTC))
    plan = make_plan(hourly, Side(plain.project, plain.facts, "5" * 64), at)
    assert [(str(d.ref), d.settings) for d in plan.differences] == [(str(FILE.ref), ("refresh",))]
    assert not any(isinstance(step, BuildTable) for step in plan.steps)
    assert hourly.facts.fingerprint(FILE.ref) == plain.facts.fingerprint(FILE.ref)
    releases = {wanted_release(one.facts, MODELS).digest for one in (plain, hourly)}
    assert len(releases) == 2


def test_to_say_that_it_never_is_says_nothing_new() -> None:
    assert side(NEVER).facts.nodes == side(FILE).facts.nodes
