"""What decides which row of a view is the newest is part of what the view means."""

from __future__ import annotations

from typing import Any

import pytest
from shop_project import SPEND, SPEND_SQL, shop

from interlock.define.definitions import FeatureView
from interlock.impact.facts import learn

SQL = SPEND_SQL.replace(
    "placed_at AS ts,", "placed_at AS ts, placed_at + INTERVAL 1 DAY AS seen, id, note,"
).replace(
    "FROM wh.orders", "FROM (SELECT o.*, r.note FROM wh.orders o JOIN raw.orders r USING (id))"
)


def spend(**changes: Any) -> FeatureView:
    return SPEND.model_copy(update={"sql": SQL, **changes})


def held(name: str) -> FeatureView:
    kept = spend().features[name].model_copy(update={"last_known": True})
    return spend(features={**SPEND.features, name: kept})


def prints(view: FeatureView) -> tuple[str, str, str]:
    """Of the view, of a feature of it, and of the model that reads it."""
    facts, problems = learn(shop(view))
    assert not problems
    feature = facts.nodes["view:spend@1"].columns["spend_30d"].serving
    return facts.fingerprint("view:spend@1"), feature, facts.fingerprint("model:returns")


@pytest.mark.parametrize(
    "changed",
    [
        spend(available_at="seen"),
        spend(tie_break="id"),
        spend(available_at="seen", tie_break="id"),
        held("spend_30d"),
    ],
    ids=["available_at", "tie_break", "both", "last_known"],
)
def test_another_newest_row_is_another_view_feature_and_model(changed: FeatureView) -> None:
    for old, new in zip(prints(spend()), prints(changed), strict=True):
        assert old != new


def test_the_opt_out_of_availability_is_recorded_in_the_fingerprint() -> None:
    ignored = spend(available_at="seen", availability="ignored")
    assert len({prints(spend()), prints(spend(available_at="seen")), prints(ignored)}) == 3


def test_one_remembered_feature_leaves_the_other_as_it_is() -> None:
    def columns(view: FeatureView) -> dict[str, str]:
        found = learn(shop(view))[0].nodes["view:spend@1"].columns
        return {name: column.deep for name, column in found.items()}

    old, new = columns(spend()), columns(held("orders_30d"))
    assert old["orders_30d"] != new["orders_30d"]
    assert old["spend_30d"] == new["spend_30d"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"available_at": "sen"}, "available time sen is not selected"),
        ({"tie_break": "seq"}, "tie-break seq is not selected"),
        ({"available_at": "id"}, "available time id is a integer"),
        ({"tie_break": "note"}, "tie-break note is a string, which engines sort differently"),
    ],
)
def test_an_order_that_cannot_be_is_refused_before_anything_is_built(
    changes: dict[str, str], said: str
) -> None:
    problems = learn(shop(spend(**changes)))[1]
    assert [said in str(problem) for problem in problems] == [True]
