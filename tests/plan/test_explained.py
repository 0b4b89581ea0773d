"""The plan explained from its own data: direct, indirect, merely reached; importance; why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from shop_project import (
    ORDERS,
    ORDERS_SQL,
    RAW_ORDERS,
    RETURNS,
    SPEND,
    SPEND_SQL,
    VISITS,
    shop,
    with_fallback,
    with_unit,
)

from interlock.define.refs import Ref
from interlock.errors import NotFound, Unusable
from interlock.impact.facts import learn
from interlock.impact.graph import GraphData, graph
from interlock.plan.comment import LONGEST, comment, marker
from interlock.plan.explain import explain
from interlock.plan.make import Side, Where, make_plan
from interlock.plan.plan import Plan
from interlock.plan.why import Why, why

NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)
GAINS = {"returns": {"spend@1:spend_30d": 0.34, "visits@1:last_pages": 0.004}}
COUNTED = SPEND.model_copy(update={"sql": SPEND_SQL.replace("30 DAYS", "20 DAYS")})
EVERY_OTHER = ORDERS.model_copy(update={"sql": ORDERS_SQL + " WHERE id % 2 = 0"})


def side(*changed: Any, **more: Any) -> Side:
    """With files, so that lines can be shown."""
    made = shop(*changed, **more)
    texts = {t.file: f"name: {t.name}\n{t.columns}\n{t.sql or ''}" for t in made.tables.values()}
    texts |= {v.file: f"/*\nview: {v.view}\n*/\n{v.sql}" for v in made.views.values()}
    texts |= {m.file: f"model: {m.model}\n{m.features}" for m in made.models.values()}
    project = made.model_copy(update={"texts": texts})
    return Side(project, learn(project)[0])


STABLE = Side(side().project, side().facts, "5" * 64)


def planned(wanted: Side, gains: Mapping[str, Mapping[str, float]] = GAINS) -> Plan:
    return make_plan(wanted, STABLE, Where("prod", NOON, importance=gains))


def asked(ref: str, *changed: Any) -> Why:
    wanted = side(*changed)
    return why(planned(wanted), wanted, STABLE, ref)


# --- direct, indirect, merely reached -------------------------------------------------


def test_what_was_edited_is_told_apart_from_what_changes_with_it() -> None:  # R-C2
    plan = planned(side(COUNTED))
    assert {str(ref) for ref in plan.direct} >= {"view:spend@1", "feature:spend@1:spend_30d"}
    assert {str(ref) for ref in plan.indirect} == {"model:returns", "service:desk"}
    assert plan.merely_reached == ()


def test_a_table_built_again_is_changed_indirectly() -> None:
    plan = planned(side(EVERY_OTHER))
    assert Ref("table", "wh.orders") in plan.direct
    assert {Ref("table", "wh.spine"), Ref("view", "spend", 1)} <= set(plan.indirect)
    assert "built again: table:wh.spine, view:spend@1" in explain(plan)


def test_who_is_only_reached_is_no_change() -> None:
    evaluation = RETURNS.evaluation.model_copy(update={"margin": 0.5})
    plan = planned(side(RETURNS.model_copy(update={"evaluation": evaluation})))
    assert [str(ref) for ref in plan.merely_reached] == ["service:desk"]
    assert plan.indirect == ()
    text = explain(plan)
    assert "only reached, no value moves:\n  service:desk reached because" in text
    assert "changes with them" not in text


def test_a_new_view_moves_nobody() -> None:
    beside = SPEND.model_copy(update={"version": 2})
    plan = planned(side(beside, EVERY_OTHER))
    assert "view:spend@2" in map(str, plan.direct)
    told = [*plan.reached, *plan.importance]
    assert not any("spend@2" in str(one) for one in told)
    assert not any("spend@2" in str(ref) for ref in (*plan.indirect, *plan.untouched))


def test_one_thing_can_be_edited_and_changed_by_another() -> None:
    seeded = RETURNS.model_copy(update={"features": RETURNS.features[:1]})
    plan = planned(side(seeded, COUNTED))
    assert Ref("model", "returns") in plan.direct
    assert Ref("service", "desk") in plan.indirect


def test_the_plan_as_data_says_the_classes_and_reads_itself_back() -> None:
    plan = planned(side(COUNTED, with_fallback(VISITS, "last_pages", 3.0)))
    body = plan.to_json()
    assert body["direct"] == [str(ref) for ref in plan.direct]
    assert body["indirect"] == [str(ref) for ref in plan.indirect]
    assert Plan.from_json(body) == plan
    old = {k: v for k, v in body.items() if k not in ("importance", "after", "direct")}
    assert Plan.from_json(old).importance == ()


# --- importance ------------------------------------------------------------------------


def test_importance_is_the_share_of_the_last_training() -> None:  # R-A5
    plan = planned(side(COUNTED, with_fallback(VISITS, "last_pages", 3.0)))
    shares = {(i.model.name, i.feature.part): i.share for i in plan.importance}
    assert shares["returns", "spend_30d"] == 0.34
    assert shares["returns", "last_pages"] == 0.004
    # The other model was never trained: that is not the same as unimportant.
    assert shares["browse", "last_pages"] is None
    text = explain(plan)
    assert (
        "34% of what model:returns learned rests on spend_30d (34%), last_pages (under 1%)" in text
    )
    assert "importance for model:browse unknown: last_pages" in text


def test_features_that_nobody_touches_have_no_importance_here() -> None:
    plan = planned(side(COUNTED))
    assert {str(i.feature) for i in plan.importance} == {"feature:spend@1:spend_30d"}


def test_another_importance_is_another_plan() -> None:
    lighter = planned(side(COUNTED), {"returns": {"spend@1:spend_30d": 0.1}})
    assert lighter.digest != planned(side(COUNTED)).digest


# --- why -------------------------------------------------------------------------------


def test_why_gives_the_path_the_lines_and_the_way_out() -> None:  # R-C2
    found = asked("service:desk", COUNTED)
    assert found.verdict == "moves"
    first = found.causes[0]
    assert first.path[0].reader == "service:desk"
    assert first.start in ("feature:spend@1:spend_30d", "view:spend@1")
    assert {(line.mark, "20 DAYS" in line.text) for line in first.edited} == {
        ("-", False), ("+", True),
    }  # fmt: skip
    assert "declare a new version beside view:spend@1" in found.otherwise[0]
    text = found.text()
    assert "edited features/spend.sql:" in text
    assert "model:returns reads feature:spend@1:spend_30d (value)" in text


def test_why_names_the_other_ways_too() -> None:
    found = asked("service:desk", with_unit(ORDERS, "amount", "cents"))
    first = found.causes[0]
    assert first.start == "column:wh.orders.amount"
    through = {hop.reader for hop in first.path} | set(first.also)
    # The feature, the spine column sent with the request, the label: all read the amount.
    assert through >= {"feature:spend@1:spend_30d", "column:wh.spine.amount"}
    assert not {hop.reader for hop in first.path} & set(first.also)
    assert "also through" in found.text()


def test_why_names_the_line_that_reads() -> None:
    found = asked("feature:spend@1:spend_30d", with_unit(ORDERS, "amount", "cents"))
    assert found.verdict == "breaks"
    (use,) = found.causes[0].uses
    assert (use.file, use.text) == (
        "features/spend.sql", "sum(amount) OVER w AS spend_30d, count(*) OVER w AS orders_30d",
    )  # fmt: skip
    assert use.number == 5  # below the header
    assert "mend its readers in the same plan" in found.otherwise[0]


def test_why_not_says_what_it_stands_on() -> None:
    found = asked("model:browse", COUNTED)
    assert found.verdict == "untouched"
    assert "table:raw.visits: customer, pages, seen_at" in found.stands_on
    assert "the plan changes view:spend@1, and it reads nothing of that which moves" in found.text()


def test_every_start_is_told_and_the_text_counts_the_rest() -> None:
    wide = VISITS.model_copy(update={"ttl": None})
    seed = RETURNS.training.model_copy(update={"seed": 7})
    other = RETURNS.model_copy(update={"training": seed})
    # The unit of a note reaches nobody, so it starts nothing.
    found = asked(
        "model:returns", COUNTED, wide, EVERY_OTHER, other, with_unit(RAW_ORDERS, "note", "w")
    )
    starts = [cause.start for cause in found.causes]
    assert sorted(starts) == [
        "feature:spend@1:spend_30d", "model:returns", "table:wh.orders", "view:visits@1",
    ]  # fmt: skip
    assert f"and from {len(starts) - 3} more starts" in found.text()
    assert len(found.to_json()["causes"]) == len(starts)


def test_a_view_is_asked_for_as_a_whole() -> None:
    found = asked("view:spend@1", with_unit(ORDERS, "amount", "cents"))
    assert found.verdict == "breaks"
    assert found.own == ()


def test_what_is_removed_or_new_says_so() -> None:
    services = {n: s for n, s in shop().services.items() if n != "shelf"}
    wanted = side(services=services)
    assert why(planned(wanted), wanted, STABLE, "service:shelf").verdict == "removed"
    first = make_plan(STABLE, None, Where("prod", NOON))
    found = why(first, STABLE, None, "view:spend@1")
    assert (found.verdict, found.causes) == ("new", ())


@pytest.mark.parametrize("text", ["view:spned@1", "column:wh.orders.amuont", "service:dseck"])
def test_an_address_nobody_declares_is_answered_with_the_nearest(text: str) -> None:
    with pytest.raises(NotFound, match="did you mean"):
        asked(text, COUNTED)
    with pytest.raises(Unusable):
        asked("spend", COUNTED)


# --- the comment -----------------------------------------------------------------------


def test_the_comment_has_one_marker_whatever_the_plan() -> None:  # R-C11
    some, other = planned(side(COUNTED)), planned(side(EVERY_OTHER))
    nothing = planned(side())
    firsts = {comment(plan).splitlines()[0] for plan in (some, other, nothing)}
    assert firsts == {marker(some)} == {"<!-- interlock plan shop prod -->"}
    assert comment(some) != comment(other)
    assert "nothing to do in prod" in comment(nothing)


def test_the_comment_says_verdicts_signers_and_what_blocks() -> None:
    plan = planned(side(with_unit(ORDERS, "amount", "cents")))
    text = comment(plan)
    assert f"**{sum(r.verdict == 'breaks' for r in plan.reached)} break**" in text
    assert "> This plan cannot be proposed:" in text
    assert "| `service:desk` | breaks |" in text
    assert "- [ ] service\\_owner of ops-desk (cy)" in text


def test_the_comment_cannot_be_broken_by_what_people_write() -> None:
    evil = "EUR|</details>`<!-- interlock plan x --> @team"
    text = comment(planned(side(with_unit(ORDERS, "amount", evil))))
    table = [line for line in text.splitlines() if line.startswith("| `")]
    assert table
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in table)
    outside = re.sub(r"```text.*?```", "", text, flags=re.S)
    assert "@team" not in outside
    assert outside.count("<details") == outside.count("</details>")
    assert outside.count("<!--") == 1


def test_the_comment_draws_what_is_touched_and_nothing_else() -> None:
    wanted = side(COUNTED)
    drawn: GraphData = graph(STABLE.facts, wanted.facts)
    text = comment(planned(wanted), drawn)
    picture = re.search(r"```mermaid\n(.*?)```", text, re.S)
    assert picture
    assert '"spend@1"]:::moves' in picture[1]
    assert "visits@1" not in picture[1]
    assert "mermaid" not in comment(planned(wanted))


def test_a_comment_is_never_too_long_and_stays_whole() -> None:
    views = {f"v{i}@1": SPEND.model_copy(update={"view": f"v{i}"}) for i in range(900)}
    many = side(views={**shop().views, **views})
    wanted = side(EVERY_OTHER, views={**shop().views, **views})
    plan = make_plan(wanted, Side(many.project, many.facts, "6" * 64), Where("prod", NOON))
    text = comment(plan)
    assert len(text) <= LONGEST
    assert len(text) > LONGEST / 2
    assert text.count("<details") == text.count("</details>")
    assert text.count("```") % 2 == 0
    assert "too long for a comment" in text
