"""Several candidates on one Route: who sees which, and that nobody moves when one of them goes."""

from __future__ import annotations

import duckdb
import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from interlock.app import shown
from interlock.client.client import Client
from interlock.define.release import Arm, Filter, Route
from interlock.errors import Corrupt, Refused
from interlock.features.dialect import DUCKDB
from interlock.rollout.cohort import BITS, arm, cohort, cohort_sql, edges, inside, ranges, seen
from interlock.rollout.machine import Abort, Advance, RouteMove
from interlock.rollout.routes import alone, given_up, route_after, together
from interlock.rollout.state import State
from interlock.serve.published import Published, only_stable
from interlock.web.api.shapes import shapes

calm = settings(derandomize=True, max_examples=60, deadline=None)
A, B, C = (Arm(letter * 64, f"CR-{at}") for at, letter in enumerate("abc", 5))
STABLE = "5" * 64
ONLY: Filter = (("origin", ("JFK",)),)
PLACES = st.lists(st.booleans(), min_size=1, max_size=4).filter(any)
WEIGHTS = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 5e-324, 0.1, 0.3, 1 - 2**-53, 1.0]))
SUBJECTS = [None, *map(str, range(40))]


def route(held: list[bool], weight: float, only: bool = False) -> Route:
    arms = tuple(Arm(f"{at}" * 64, f"CR-{at + 1}") if one else None for at, one in enumerate(held))
    return Route("prod", 3, STABLE, weight=weight, mirror=True, salt="CR-1", change="CR-1",
                 stage="ab", filter=ONLY if only else (), arms=arms)  # fmt: skip


def abc(weight: float = 0.6) -> Route:
    return Route("prod", 3, STABLE, weight=weight, mirror=True, salt="CR-5", change="CR-5",
                 stage="ab", arms=(A, B, C))  # fmt: skip


@settings(calm, max_examples=25)
@given(PLACES, WEIGHTS, st.booleans(), st.booleans())
@example([True, False, True], 1.0, True, True)
def test_a_request_a_service_a_table_and_sql_say_the_same(
    held: list[bool], weight: float, only: bool, known: bool
) -> None:
    asked = route(held, weight, only)
    about = {"origin": "JFK" if known else "EWR"}
    client = Client(["http://nobody"])
    client.take(Published(asked), float("inf"))
    said = {subject: seen(asked, subject, about) for subject in SUBJECTS}
    for subject, (name, release) in said.items():
        assert name == arm(asked, subject, about)
        if subject is not None:
            told = client.assign(subject, about)
            assert (told.arm, told.release) == (name, release)
            assert (name, release) == _of_range(asked, cohort(asked.salt, subject), known)
    assert _in_sql(asked, about["origin"]) == said


def _of_range(asked: Route, at: int, known: bool) -> tuple[str, str]:
    if asked.filter and not known:
        return ranges(asked)[-1][:2]
    (found,) = (one for one in ranges(asked) if one.low <= at < one.high)
    return found.arm, found.release


def _in_sql(asked: Route, origin: str) -> dict[str | None, tuple[str, str]]:
    """What the view of batch scores shows of the same subjects, in DuckDB."""
    place = shown.Place("ops.arms", {"id": "VARCHAR", "origin": "VARCHAR"}, ("origin",))
    scored = list(asked.releases)
    rows = " UNION ALL ".join(
        shown._share_rows(place, DUCKDB, asked, shown.shares_of(asked, scored, place))
    )
    with duckdb.connect() as engine:
        engine.execute("CREATE SCHEMA il")
        engine.execute(f"CREATE TABLE {place.shares} AS {rows}")
        bucket = cohort_sql(DUCKDB, DUCKDB.text(asked.salt), "s.id")
        rest = ("version", "score", "reason", "stale", "oldest_s", "fallbacks", "error",
                "inputs", "scored_at")  # fmt: skip
        engine.execute(
            f"CREATE TABLE {place.scores} AS SELECT s.id, ?::VARCHAR AS origin, s.id AS subject, "
            f"{bucket} AS cohort, ? AS salt, r.release, '' AS made, "
            f"{', '.join(f'NULL AS {name}' for name in rest)} "
            "FROM (SELECT unnest(?::VARCHAR[]) AS id) AS s "
            "CROSS JOIN (SELECT unnest(?) AS release) AS r",
            [origin, asked.salt, SUBJECTS, scored],
        )
        found = engine.execute(
            f"SELECT subject, arm, release FROM ({shown.shown_sql(DUCKDB, place)}) AS v"
        ).fetchall()
    assert len(found) == len(SUBJECTS), "each row once"
    return {subject: (name, release) for subject, name, release in found}


@calm
@given(PLACES, st.tuples(WEIGHTS, WEIGHTS), st.integers(0, 3))
def test_to_widen_takes_from_the_control_and_to_give_up_moves_nobody_else(
    held: list[bool], weights: tuple[float, float], gone: int
) -> None:
    small, wide = (route(held, weight) for weight in sorted(weights))
    dropped = given_up(wide, unblocked=[f"{gone}" * 64])
    for subject in SUBJECTS:
        before, after, now = (seen(one, subject) for one in (small, wide, dropped))
        assert before[0] == "stable" or before == after
        if after == ("candidate", f"{gone}" * 64):
            assert now == ("outside" if any(dropped.arms) else "stable", STABLE)
        else:
            assert now == after or not any(dropped.arms)


@calm
@given(WEIGHTS)
def test_one_place_is_the_lone_candidate_and_every_place_has_its_part(weight: float) -> None:
    lone = Route("prod", 3, STABLE, A.release, weight, salt="x")
    assert ranges(Route("prod", 3, STABLE, weight=weight, salt="x", arms=(A,))) == ranges(lone)
    ends = edges(weight, 3)
    assert sum(high - low for low, high in zip(ends[::2], ends[1::2], strict=True)) == (
        pytest.approx(weight * 2**BITS, abs=3)
    )
    assert [seen(lone, str(n))[0] for n in range(9)] == [arm(lone, str(n)) for n in range(9)]


def test_a_share_of_subjects_is_the_weight_by_the_places() -> None:
    found = [seen(abc(), str(number)) for number in range(9000)]
    for one in (A, B, C):
        share = found.count(("candidate", one.release)) / 9000
        assert share == pytest.approx(0.2, abs=4 * (0.16 / 9000) ** 0.5)
    assert found.count(("stable", STABLE)) / 9000 == pytest.approx(0.4, abs=0.021)


def test_a_route_says_its_arms_and_who_does_not_know_the_word_gets_no_candidate() -> None:
    both = given_up(abc(), blocked=[B.release])
    body = both.to_json()
    assert body["arms"] == [{"release": A.release, "change": "CR-5"}, None,
                            {"release": C.release, "change": "CR-7"}]  # fmt: skip
    assert body["candidate"] is None
    assert Route.from_json(body) == both
    assert "arms" not in Route("prod", 3, STABLE, A.release, 0.5).to_json(), "older readers go on"
    assert both.candidates == (A, C)
    assert both.releases == (STABLE, A.release, C.release)
    lone = Route("prod", 3, STABLE, A.release, change="CR-5")
    assert (lone.candidates, lone.releases) == ((A,), (STABLE, A.release))
    assert only_stable(both).candidates == ()
    for told in (both, only_stable(both)):
        jsonschema.validate(told.to_json(), shapes()["Route"])
    for wrong in ({"a": 1}, "abc", [7], [{"release": "a"}], [{"release": "a", "change": None}],
                  [{"release": "a", "change": "b", "weight": 1}], [[]]):  # fmt: skip
        with pytest.raises(Corrupt):
            Route.from_json({**body, "arms": wrong})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"candidate": "c"}, "arms stand there beside a candidate"),
        ({"arms": [None, None]}, "each of them is empty"),
        ({"arms": [None], "weight": 0.5}, "a weight stands there without a candidate"),
        ({"blocked": [B.release]}, "its candidate is blocked"),
        ({"arms": [A.__dict__, A.__dict__]}, "one release or one change"),
        ({"arms": [A.__dict__, {**B.__dict__, "change": "CR-5"}]}, "one release or one change"),
    ],
)
def test_what_no_machine_writes_is_found(wrong: dict[str, object], said: str) -> None:
    assert abc().flaws() == ()
    flaws = Route.from_json({**abc().to_json(), **wrong}).flaws()
    assert any(said in flaw for flaw in flaws)


def moves(stage: str = "ab", weight: float = 0.6) -> list[RouteMove | None]:
    return [RouteMove(one.release, one.change, stage, weight) for one in (A, B, C)]


def idle() -> Route:
    return Route("prod", 4, STABLE, blocked=("worse",))


def test_an_experiment_walks_together_loses_one_and_ends_with_one() -> None:
    first = together(idle(), "CR-5", moves("shadow", 0.0))
    assert (first.epoch, first.stage, first.salt, first.mirror) == (5, "shadow", "CR-5", True)
    back = Abort(State.ABORTING, "harm", A.release, STABLE)
    left = route_after(together(first, "CR-5", moves()), back)
    assert (left.arms, left.change, left.weight) == ((None, B, C), "CR-5", 0.6)
    assert left.blocked == ("worse", A.release)
    on = together(left, "CR-5", [None, *moves("wider", 0.9)[1:]])
    assert (on.arms, on.weight, on.change) == ((None, B, C), 0.9, "CR-5")
    (move,) = (one for one in moves("soak", 1.0) if one and one.change == "CR-6")
    won = alone(on, move)
    assert (won.candidate, won.arms, won.change, won.salt) == (B.release, (), "CR-6", "CR-6")
    assert (won.weight, won.blocked, won.epoch) == (1.0, left.blocked, on.epoch + 1)
    assert won.flaws() == ()
    done = alone(on, RouteMove(B.release, "CR-6", None, 0.0, commit=True))
    assert (done.stable, done.releases, done.weight) == (B.release, (B.release,), 0.0)


def test_the_last_arm_ends_the_experiment_and_what_is_no_news_is_the_same_value() -> None:
    one = given_up(abc(), blocked=[A.release], unblocked=[C.release])
    assert (one.arms, one.blocked, one.epoch) == ((None, B, None), (A.release,), 4)
    assert given_up(one, [A.release], [C.release]) is one
    assert given_up(one, unblocked=[B.release]) == Route("prod", 5, STABLE, blocked=(A.release,))
    assert given_up(idle(), unblocked=[A.release]) == idle()
    away = Abort(State.REVERTING, "harm", "another", STABLE)
    assert route_after(abc(), away).arms == (A, B, C), "somebody else's way back takes nothing"


def test_one_of_several_cannot_go_on_as_if_it_were_alone() -> None:
    on = Advance(State.STEP, 1, "safe", moves()[0])
    with pytest.raises(Refused):
        route_after(abc(), on)
    with pytest.raises(Refused):
        alone(abc(), RouteMove("d" * 64, "CR-8", "soak", 1.0))
    with pytest.raises(Refused):
        alone(Route("prod", 3, STABLE, A.release, change="CR-5"), moves()[0] or _none())


def _none() -> RouteMove:
    raise AssertionError("there are three")


def test_everything_that_stands_against_a_stage_is_told() -> None:
    first, second, third = moves()
    assert first
    assert third
    with pytest.raises(Refused) as refused:
        together(given_up(abc(), [B.release]), "CR-5", [first, second, moves("soak", 1.0)[2]])
    assert refused.value.objections == (
        "they are not at one stage",
        f"release {B.release[:12]} was rolled back and is blocked",
        "the places are not held by those that hold them on the Route",
    )
    for at, wrong in (
        (idle(), [None, None]),
        (idle(), [first, first]),
        (idle(), [RouteMove(A.release, "CR-5", None, 0.0, commit=True)]),
        (Route("prod", 4, STABLE, "d" * 64, change="CR-1"), moves()),
        (abc(), [third, second, first]),
        (Route("prod", 4, STABLE, arms=(A, B, C), change="CR-1"), moves()),
    ):
        with pytest.raises(Refused):
            together(at, "CR-5", wrong)


def test_the_filter_is_asked_before_the_place() -> None:
    asked = route([True, False], 1.0, only=True)
    assert inside(ONLY, {"origin": "JFK"})
    names = {seen(asked, str(n), {"origin": "JFK"}) for n in range(50)}
    assert names == {("candidate", "0" * 64), ("outside", STABLE)}
    assert {seen(asked, str(n), {}) for n in range(50)} == {("outside", STABLE)}
    assert seen(asked, None, {"origin": "JFK"}) == ("stable", STABLE)
