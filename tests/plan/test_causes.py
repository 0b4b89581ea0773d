"""Every start of a change that reaches a thing, each with its own path."""

from __future__ import annotations

from shop_project import ORDERS, ORDERS_SQL, RETURNS, SPEND, SPEND_SQL, VISITS, shop, with_unit

from interlock.define.definitions import FeatureView, Model, Table
from interlock.impact.facts import Facts, learn
from interlock.impact.graph import causes, reach


def facts(*changed: Table | FeatureView | Model) -> Facts:
    return learn(shop(*changed))[0]


COUNTED = SPEND.model_copy(update={"sql": SPEND_SQL.replace("30 DAYS", "20 DAYS")})
OTHER = ORDERS.model_copy(update={"sql": ORDERS_SQL.replace("/ 100.0", "/ 10.0")})
LATER = VISITS.model_copy(update={"ttl": None})


def test_each_start_is_told_by_itself() -> None:
    new = facts(COUNTED, OTHER, LATER)
    found = causes(facts(), new, "model:returns")
    starts = {one.cause for one in found}
    assert starts >= {"column:wh.orders.amount", "feature:spend@1:spend_30d", "view:visits@1"}
    assert all(one.path[0].reader == "model:returns" for one in found)
    assert all(one.path[-1].source == one.cause for one in found)


def test_the_first_cause_is_the_one_that_reach_tells() -> None:
    for changed in ((COUNTED,), (OTHER,), (with_unit(ORDERS, "amount", "cents"),), (LATER, OTHER)):
        new = facts(*changed)
        for one in reach(facts(), new):
            first = causes(facts(), new, str(one.ref))[0]
            assert (first.verdict, len(first.path)) == (one.verdict, len(one.path))


def test_a_thing_changed_itself_is_its_own_cause() -> None:
    seeded = RETURNS.model_copy(
        update={"training": RETURNS.training.model_copy(update={"seed": 7})}
    )
    (one,) = causes(facts(), facts(seeded), "model:returns")
    assert one.path == ()
    assert one.why == "training seed changed"


def test_what_nothing_reaches_has_no_cause() -> None:
    assert causes(facts(), facts(COUNTED), "model:browse") == ()
    assert causes(facts(), facts(), "model:returns") == ()
