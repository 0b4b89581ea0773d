"""Changes of contracts in a plan: what is wider, what breaks, and only those who read it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from shop_project import DESK, RAW_ORDERS, SHELF, shop, with_unit

from interlock.define.definitions import Service, Table
from interlock.define.project import Project
from interlock.impact.difference import Difference, differences
from interlock.impact.facts import learn
from interlock.impact.graph import Touch, reach
from interlock.plan.make import Side, Where, make_plan
from interlock.plan.plan import Plan


def cents(**said: Any) -> Table:
    """raw.orders with other words about its column `cents`."""
    column = RAW_ORDERS.columns["cents"].model_copy(update=said)
    return RAW_ORDERS.model_copy(update={"columns": {**RAW_ORDERS.columns, "cents": column}})


def touched(old: Project, new: Project) -> dict[str, Touch]:
    return {str(one.ref): one.verdict for one in reach(learn(old)[0], learn(new)[0])}


def plan(old: Project, new: Project) -> Plan:
    now = datetime(2024, 7, 1, tzinfo=UTC)
    before = Side(old, learn(old)[0], "1" * 64)
    return make_plan(Side(new, learn(new)[0]), before, Where("prod", now))


@pytest.mark.parametrize(
    ("was", "now", "verdict"),
    [
        ({"physical": "INTEGER"}, {"physical": "BIGINT"}, "moves"),
        ({"physical": "BIGINT"}, {"physical": "INTEGER"}, "breaks"),
        ({"physical": "INTEGER"}, {"physical": "DOUBLE", "type": "double"}, "moves"),
        ({"physical": "BIGINT"}, {"physical": "DOUBLE", "type": "double"}, "breaks"),
        ({}, {"type": "double"}, "breaks"),
        ({"type": "date"}, {"type": "timestamp"}, "moves"),
        ({"type": "timestamp"}, {"type": "date"}, "breaks"),
        ({"physical": "ROW(a INT)"}, {"physical": "ROW(a BIGINT)"}, "breaks"),
        ({}, {"physical": "INTEGER"}, "reached"),  # said more exactly, and nothing less
        ({"physical": "INTEGER"}, {}, "moves"),
        ({"nullable": False}, {"nullable": True}, "moves"),
        ({"nullable": True}, {"nullable": False}, "reached"),
        ({"unique": True}, {"unique": False}, "moves"),
        ({"unique": False}, {"unique": True}, "reached"),
        ({"unit": "ct"}, {"unit": "eur"}, "breaks"),
        ({"description": "a"}, {"description": "b"}, None),
    ],
)
def test_a_column_of_a_contract_changes(
    was: dict[str, Any], now: dict[str, Any], verdict: Touch | None
) -> None:
    said = touched(shop(cents(**was)), shop(cents(**now)))
    assert said.get("feature:spend@1:spend_30d") == verdict
    assert said.get("model:returns") == verdict
    assert said.get("feature:visits@1:last_pages") is None


def test_a_promise_that_changed_is_another_version() -> None:
    old, new = (learn(shop(cents(**said)))[0] for said in ({}, {"physical": "INTEGER"}))
    assert old.fingerprint("table:raw.orders") != new.fingerprint("table:raw.orders")
    (found,) = differences(old, new)
    assert found.settings == ("promise of cents",)


def without(name: str) -> Project:
    columns = {n: c for n, c in RAW_ORDERS.columns.items() if n != name}
    return shop(RAW_ORDERS.model_copy(update={"columns": columns}))


def test_a_removed_column_that_nobody_reads_breaks_nobody() -> None:
    assert touched(shop(), without("note")) == {}
    assert learn(without("note"))[1] == ()


def test_a_removed_column_is_missed_by_its_readers_and_by_nobody_else() -> None:
    said = touched(shop(), without("cents"))
    assert {"feature:spend@1:spend_30d", "model:returns", "service:desk"} <= set(said)
    assert "feature:visits@1:last_pages" not in said
    (problem,) = learn(without("cents"))[1]
    assert (problem.file, "cents" in problem.message) == ("tables/wh.orders.yaml", True)


def test_another_unit_is_an_objection() -> None:
    made = plan(
        shop(with_unit(RAW_ORDERS, "cents", "ct")), shop(with_unit(RAW_ORDERS, "cents", "eur"))
    )
    assert any("unit ct became eur" in said for said in made.objections)


ANSWER: dict[str, Any] = {
    "type": "object", "required": ["score"],
    "properties": {"score": {"type": "number"}, "reason": {"enum": ["live", "fallback", "error"]}},
}  # fmt: skip


def desk(**properties: Any) -> Service:
    held = {k: v for k, v in {**ANSWER["properties"], **properties}.items() if v is not None}
    return DESK.model_copy(update={"contract": {"response": {**ANSWER, "properties": held}}})


def test_a_field_taken_from_an_answer_breaks_the_service() -> None:
    made = plan(shop(desk()), shop(desk(reason=None)))
    (one,) = made.differences
    assert (str(one.ref), one.broken) == ("service:desk", ("response.reason is gone",))
    assert one.breaking
    assert Difference.from_json(one.to_json()) == one
    assert {str(r.ref): r.verdict for r in made.reached} == {"service:desk": "breaks"}
    assert any("response.reason is gone" in said for said in made.objections)


def test_a_narrower_field_breaks_it_and_a_new_one_does_not() -> None:
    narrower = plan(shop(desk()), shop(desk(score={"type": ["number", "null"]})))
    assert any("response.score may now be null" in said for said in narrower.objections)
    wider = plan(shop(desk()), shop(desk(release={"type": "string"})))
    assert not wider.empty
    assert wider.objections == ()
    assert {str(r.ref): r.verdict for r in wider.reached} == {"service:desk": "reached"}


def test_a_field_that_was_deprecated_may_go() -> None:
    old = desk(reason={"enum": ["live", "fallback", "error"], "deprecated": True})
    assert plan(shop(old), shop(desk(reason=None))).objections == ()


def test_the_contract_of_one_service_is_nothing_to_another() -> None:
    said = touched(shop(desk()), shop(desk(reason=None)))
    assert str(SHELF.ref) not in said
