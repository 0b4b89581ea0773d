"""Whom a stage lets in: one meaning in Python and SQL, and nobody who is not known is in."""

from __future__ import annotations

import duckdb
import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rollout_story import HOUR, NEW, STAGES, Story, started

from interlock.app import shown
from interlock.define.environment import Environment, Stage
from interlock.define.keys import key_part
from interlock.define.release import Filter, Route, said_of
from interlock.errors import Corrupt, Invalid
from interlock.features.dialect import DUCKDB
from interlock.rollout.cohort import BITS, arm, inside, inside_sql, ranges, unknown
from interlock.rollout.defaults import Planned, default_guardrails
from interlock.rollout.planner import needs
from interlock.rollout.state import shares_of, stages_of
from interlock.serve.published import Published, only_stable
from interlock.web.api.shapes import shapes

ENGINE = duckdb.connect()
JFK: Filter = (("origin", ("JFK",)),)
VALUES = st.sampled_from(["JFK", "EWR", "a|b", "a", "b||origin=JFK", "\\", "|", "", "it's", None])
WHOLE = st.one_of(st.none(), st.integers(-3, 3))
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "origin": st.lists(VALUES.filter(bool), min_size=1, max_size=3, unique=True),
        "hour": st.lists(st.integers(-3, 3), min_size=1, max_size=2, unique=True),
    },
)


def filter_of(said: dict[str, list[object]]) -> Filter:
    return tuple((c, tuple(str(key_part(v)) for v in said[c])) for c in sorted(said))


@settings(deadline=None, max_examples=60)
@given(FILTERS, VALUES, WHOLE)
@example({"origin": ["a"]}, "a|b", 0)
@example({"origin": ["b||origin=JFK"]}, "JFK", 0)
@example({"origin": ["|"]}, "\\", 0)
def test_every_door_lets_in_the_same_rows(
    said: dict[str, list[object]], origin: str | None, hour: int | None
) -> None:
    """A request's row, a row in SQL, and a row of a table of batch scores."""
    filter, about = filter_of(said), {"origin": origin, "hour": hour}
    wanted = inside(filter, about)
    assert wanted == all(about[c] is not None and about[c] in said[c] for c in said)
    types = {"origin": ("s.origin", "VARCHAR"), "hour": ("s.hour", "INTEGER")}
    row = "CREATE OR REPLACE TABLE s AS SELECT ?::VARCHAR AS origin, ?::INTEGER AS hour"
    ENGINE.execute(row, [origin, hour])
    found = ENGINE.execute(f"SELECT {inside_sql(DUCKDB, types, filter)} FROM s").fetchall()
    assert found == [(wanted,)]
    assert (_arm_in_batch(ENGINE, filter) != "outside") == wanted


def _arm_in_batch(engine: duckdb.DuckDBPyConnection, filter: Filter) -> str:
    """What the view of batch scores says of the one row, that has no subject."""
    place = shown.Place("ops.x", {"origin": "VARCHAR", "hour": "INTEGER"}, ("hour", "origin"))
    route = Route("prod", 1, "s" * 64, "c" * 64, 0.5, salt="x", filter=filter)
    shares = shown.shares_of(route, ["s" * 64, "c" * 64], place)
    rows = " UNION ALL ".join(shown._share_rows(place, DUCKDB, route, shares))
    engine.execute("CREATE SCHEMA IF NOT EXISTS il")
    engine.execute(f"CREATE OR REPLACE TABLE {place.shares} AS {rows}")
    rest = ("subject", "cohort", "salt", "version", "score", "reason", "stale", "oldest_s",
            "fallbacks", "error", "inputs", "id", "scored_at")  # fmt: skip
    empty = ", ".join(f"NULL AS {name}" for name in rest if name != "salt")
    engine.execute(
        f"CREATE OR REPLACE TABLE {place.scores} AS SELECT s.*, 'x' AS salt, r.release, {empty} "
        f"FROM s CROSS JOIN (SELECT unnest(['{'s' * 64}', '{'c' * 64}']) AS release) AS r"
    )
    found = engine.execute(f"SELECT arm FROM ({shown.shown_sql(DUCKDB, place)}) AS v").fetchall()
    assert len(found) == 1, "one release for each row"
    return str(found[0][0])


def test_who_is_not_known_is_outside_and_told_apart_from_who_is_somebody_else() -> None:
    route = Route("prod", stable="s", candidate="c", salt="x", weight=1.0, filter=JFK)
    assert arm(route, "7", {"origin": "JFK"}) == "candidate"
    assert arm(route, None, {"origin": "JFK"}) == "stable"
    for about in ({}, {"origin": None}, {"origin": "EWR"}, {"origin": 1.5}, {"origin": []}):
        assert arm(route, "7", about) == "outside"
    asked = [{}, {"origin": 1.5}, {"origin": "EWR"}]
    assert [unknown(JFK, about) for about in asked] == [True, True, False]
    assert [inside((("hour", ("7",)),), {"hour": seven}) for seven in (7, "7", 8)] == [
        True, True, False
    ]  # fmt: skip


def test_the_ranges_of_a_filtered_route_have_a_place_for_who_is_outside() -> None:
    found = ranges(Route("prod", stable="s", candidate="c", salt="x", weight=0.5, filter=JFK))
    assert [(one.arm, one.release) for one in found] == [
        ("candidate", "c"), ("stable", "s"), ("outside", "s")
    ]  # fmt: skip
    assert (found[-1].low, found[-1].high) == (2**BITS, 2**BITS)


def test_a_route_says_its_filter_and_who_does_not_know_the_word_gets_no_candidate() -> None:
    route = Route("prod", 3, "s", "c", 0.5, salt="x", change="CR-1", filter=JFK)
    body = route.to_json()
    assert body["filter"] == {"origin": ["JFK"]}
    assert Route.from_json(body) == route
    assert "filter" not in Route("prod", 3, "s", "c", 0.5).to_json(), "older readers go on"
    assert only_stable(route).filter == ()
    assert Published.from_json(Published(route).to_json()).route == route
    for told in (route, only_stable(route)):
        jsonschema.validate(told.to_json(), shapes()["Route"])
    for wrong in ({"origin": "JFK"}, {"origin": [7]}, ["origin"], "JFK", None, {"origin": None}):
        with pytest.raises(Corrupt):
            Route.from_json({**body, "filter": wrong})
    assert Route("prod", 1, "s", filter=JFK).flaws() == (
        "a filter stands there without a candidate",
    )
    empty = Route.from_json({**body, "filter": {"origin": []}})
    assert empty.flaws() == ("its filter names a column without values",)


def stages(*told: tuple[float, tuple[str, ...]]) -> tuple[Stage, ...]:
    return tuple(
        Stage(name=f"s{i}", weight=weight, hold=HOUR, only={"origin": only} if only else {})
        for i, (weight, only) in enumerate(told)
    )


def test_a_rollout_widens_and_its_commit_and_its_end_know_no_filter() -> None:
    walk = stages((0, ("JFK",)), (0.5, ("JFK",)), (0.5, ("EWR", "JFK")), (1, ()))
    found = Story(state=started(walk)).tick().when_hours_pass(len(walk) + 1)
    assert [said_of(route.filter) for route in found.routes] == [
        "only origin JFK", "only origin JFK", "only origin EWR or JFK", "", ""
    ]  # fmt: skip
    assert (found.route.stable, found.route.filter) == (NEW, ())
    back = Story(state=started(walk)).tick().when_hours_pass(1).when_requests_fail_at(0.3)
    back.when_hours_pass(1)
    assert (back.route.candidate, back.route.filter) == (None, ())


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([(0.1, ("EWR", "JFK")), (0.5, ("JFK",)), (1, ())], "s1 sends subjects of s0 back"),
        ([(0.1, ()), (0.5, ("JFK",)), (1, ())], "s1 sends subjects of s0 back"),
        ([(0.1, ("JFK",)), (1, ("JFK",))], "leaves somebody out until then"),
    ],
)
def test_nobody_is_sent_back_and_everybody_is_seen_before_the_commit(
    told: list[tuple[float, tuple[str, ...]]], said: str
) -> None:
    with pytest.raises(Invalid) as refused:
        stages_of(Environment(subject=("id",), stages=stages(*told)))
    assert any(said in one for one in refused.value.objections)


def test_who_mirrors_for_some_may_go_on_with_others() -> None:
    walk = stages((0, ("JFK",)), (0.5, ("EWR",)), (1, ()))
    assert stages_of(Environment(subject=("id",), stages=walk)) == walk


def test_a_stage_of_few_takes_as_much_longer() -> None:
    guardrails = default_guardrails(Planned(50, shares_of(STAGES)))
    every = {(n.stage, n.guardrail): n for n in needs(guardrails, STAGES[:1], 5000.0)}
    few = needs(guardrails, STAGES[:1], 5000.0, {STAGES[0].name: 0.1})
    for need in few:
        whole = every[need.stage, need.guardrail]
        one = next(g for g in guardrails if g.name == need.guardrail)
        # What the noise takes is as many units; hours there must be eight, however few they hold.
        hours = 0.0 if one.form == "split" else 8 / 24
        least = hours + one.labels * one.maturity_s / 86400
        assert need.days - least == pytest.approx(10 * (whole.days - least))
