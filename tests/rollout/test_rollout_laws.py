"""Laws of the rollout that hold whatever happens."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rollout_story import ALPHA, BETA, ERRORS, NEW, NOON, OLD, STAGES, idle_route, started

from interlock.define.environment import Environment, Stage
from interlock.define.release import Route
from interlock.errors import Invalid
from interlock.features.dialect import DUCKDB
from interlock.ports import Bucket
from interlock.rollout.cohort import BITS, arm, cohort, cohort_sql, ranges
from interlock.rollout.judge import Judgement, judge
from interlock.rollout.machine import Abort, Advance, Facts, Hold, Request, advance, after, ahead
from interlock.rollout.routes import route_after
from interlock.rollout.state import HoldReason, RolloutState, State, stages_of
from interlock.rollout.strata import matured

calm = settings(derandomize=True, max_examples=60, deadline=None)

SAFE = Judgement("safe", (), 1.0, 100.0, False, "safe", started().registered)
HARM = replace(SAFE, verdict="harm")
OPEN = replace(SAFE, verdict="needs_data")
NOTHING = replace(SAFE, verdict="needs_data", measured=0.0)
ROLLBACK = Facts(request=Request("rollback", "ada", "law"))

facts = st.builds(
    Facts,
    prepared=st.booleans(),
    freeze=st.sampled_from(["", "frozen"]),
    approvals=st.sampled_from(["", "expired"]),
    late_data=st.sampled_from(["", "late"]),
    fallback=st.sampled_from(["", "down"]),
    hook=st.sampled_from(["", "the hook says no"]),
    series=st.sampled_from(["", "queues are longer"]),
    labels_matured=st.booleans(),
    request=st.sampled_from(
        [None, Request("hold", "a", "b"), Request("promote", "a", "b"), ROLLBACK.request]
    ),
)
judgements = st.sampled_from([None, SAFE, HARM, OPEN, NOTHING])
nights = st.lists(st.tuples(judgements, facts, st.integers(0, 30)), max_size=25)
Night = list[tuple[Judgement | None, Facts, int]]


def walk(night: Night) -> list[tuple[RolloutState, Route]]:
    state, route, now = started(), idle_route(), NOON
    seen = [(state, route)]
    for judgement, fact, hours in night:
        now += timedelta(hours=hours)
        decision = advance(state, judgement, fact, now)
        state, route = after(state, decision, now), route_after(route, decision)
        seen.append((state, route))
    return seen


@calm
@given(nights)
def test_rollback_after_any_prefix_restores_the_former_route(night: Night) -> None:
    state, route = walk(night)[-1]
    if state.state in (State.RETIRED, State.ABORTED, State.ABORTING, State.REVERTING):
        return
    decision = advance(state, None, ROLLBACK, state.entered_at)
    assert isinstance(decision, Abort)
    back = route_after(route, decision)
    assert replace(back, epoch=0, blocked=()) == replace(idle_route(), epoch=0, blocked=())
    assert set(back.blocked) == {"worse", NEW}


@calm
@given(nights, judgements, facts, st.integers(0, 30))
def test_a_hook_can_hold_what_would_move_forward_and_nothing_else(
    night: Night, judgement: Judgement | None, fact: Facts, hours: int
) -> None:
    state, _ = walk(night)[-1]
    now = state.entered_at + timedelta(hours=hours)
    fact = replace(fact, series="")
    yes = advance(state, judgement, replace(fact, hook=""), now)
    no = advance(state, judgement, replace(fact, hook="the hook says no"), now)
    promoted = fact.request is not None and fact.request.kind == "promote"
    if ahead(yes) and not promoted:
        assert no == Hold(HoldReason.HOOK, "the hook says no")
    elif ahead(yes):
        assert isinstance(no, Advance)
        assert "WAIVED by a" in no.sentence
        assert "the hook says no" in no.sentence
    else:
        assert no == yes


@calm
@given(nights, judgements, facts, st.integers(0, 30))
def test_what_is_monitored_can_hold_and_neither_takes_back_nor_promotes(
    night: Night, judgement: Judgement | None, fact: Facts, hours: int
) -> None:
    state, _ = walk(night)[-1]
    now = state.entered_at + timedelta(hours=hours)
    fine = advance(state, judgement, replace(fact, series=""), now)
    worse = advance(state, judgement, replace(fact, series="queues are longer"), now)
    if ahead(fine) and not (fact.request and fact.request.kind == "promote"):
        assert worse == Hold(HoldReason.SERIES, "queues are longer")
    elif ahead(fine):
        assert isinstance(worse, Advance)
        assert "WAIVED by a" in worse.sentence
        assert "queues are longer" in worse.sentence
    elif isinstance(fine, Hold) and fine.reason is HoldReason.HOOK:
        assert worse == Hold(HoldReason.SERIES, "queues are longer")
    else:
        assert worse == fine


def test_every_stage_waits_for_its_hook_and_begins_when_it_says_yes() -> None:
    state, now, begun = started(), NOON, []
    while state.state is not State.COMMITTED:
        now += timedelta(days=1)
        no = advance(state, SAFE, Facts(hook="the hook says no"), now)
        assert no == Hold(HoldReason.HOOK, "the hook says no")
        held = after(state, no, now)
        assert (held.state, held.hold) == (state.state, HoldReason.HOOK)
        yes = advance(held, SAFE, Facts(), now)
        begun.append(ahead(yes))
        state = after(held, yes, now)
        assert state.hold is None
    assert begun == [*(stage.name for stage in STAGES), "commit"]


@calm
@given(nights)
def test_the_epoch_only_grows_and_by_one_for_every_change_of_the_route(night: Night) -> None:
    routes = [route for _, route in walk(night)]
    for old, new in pairwise(routes):
        assert new.epoch == old.epoch + (new != old)


@calm
@given(nights)
def test_until_commit_the_stable_release_is_not_touched(night: Night) -> None:
    for state, route in walk(night):
        if state.state not in (State.COMMITTED, State.RETIRED):
            assert route.stable == OLD
        assert (route.candidate is not None) == (state.stage is not None)


@calm
@given(nights)
def test_no_stage_is_left_forward_without_a_measurement(night: Night) -> None:  # R-C7
    mute = [(j if j is None else replace(NOTHING, verdict=j.verdict), f, h) for j, f, h in night]
    harmless = [(j if j is None or j.verdict != "harm" else NOTHING, f, h) for j, f, h in mute]
    assert all(state.index <= 0 for state, _ in walk(harmless))


@calm
@given(nights)
def test_a_state_survives_the_process(night: Night) -> None:
    for state, route in walk(night):
        assert RolloutState.from_json(state.to_json()) == state
        assert Route.from_json(route.to_json()) == route


@calm
@given(nights)
def test_deciding_twice_decides_the_same(night: Night) -> None:
    state, _ = walk(night)[-1]
    decisions = {repr(advance(state, SAFE, Facts(), NOON + timedelta(days=3))) for _ in range(2)}
    assert len(decisions) == 1


def test_every_advance_is_one_line_of_history() -> None:
    state, now = started(), NOON
    for _ in range(6):
        now += timedelta(hours=2)
        decision = advance(state, SAFE, Facts(), now)
        assert isinstance(decision, Advance) or state.state is State.COMMITTED
        state = after(state, decision, now)
    stages = [line.stage for line in state.history]
    assert stages == ["shadow", "tenth", "half", "soak", "soak"]


counts = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["stable", "candidate"]),
              st.integers(0, 60), st.integers(0, 4)),
    min_size=1, max_size=40,
)  # fmt: skip


def as_buckets(rows: list[tuple[int, str, int, int]]) -> list[Bucket]:
    return [
        Bucket("tenth", "errors", which, at, n, min(events, n), min(events, n))
        for at, which, n, events in rows
    ]


@calm
@given(counts, st.randoms(use_true_random=False))
def test_the_judge_does_not_care_in_which_order_replicas_report(
    rows: list[tuple[int, str, int, int]], shuffle: random.Random
) -> None:
    there = as_buckets(rows)
    back = list(there)
    shuffle.shuffle(back)
    assert judge([ERRORS], there, ALPHA, BETA) == judge([ERRORS], back, ALPHA, BETA)


@calm
@given(counts)
def test_the_judge_does_not_care_in_how_many_parts_counts_come(
    rows: list[tuple[int, str, int, int]],
) -> None:
    whole: dict[tuple[int, str], list[int]] = {}
    for bucket in as_buckets(rows):
        sums = whole.setdefault((bucket.at, bucket.arm), [0, 0])
        sums[0] += int(bucket.n)
        sums[1] += int(bucket.total)
    merged = [Bucket("tenth", "errors", a, at, n, e, e) for (at, a), (n, e) in whole.items()]
    assert judge([ERRORS], as_buckets(rows), ALPHA, BETA) == judge([ERRORS], merged, ALPHA, BETA)


labels = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["stable", "candidate"]), st.booleans(),
              st.integers(0, 9)),
    min_size=1, max_size=40,
)  # fmt: skip


@calm
@given(labels, st.integers(0, 9))
def test_late_labels_are_judged_as_if_they_had_come_at_once(
    rows: list[tuple[int, str, bool, int]], looked: int
) -> None:
    """A look in between, at what had come by then, leaves nothing behind."""
    it = replace(ERRORS, labels=True, maturity_s=2)

    def kept(by: int) -> list[Bucket]:
        counted: dict[tuple[int, str], list[int]] = {}
        for at, which, event, came in rows:
            if came <= by:
                sums = counted.setdefault((at, which), [0, 0])
                sums[0] += 1
                sums[1] += event
        return [Bucket("tenth", "errors", a, at, n, e, e) for (at, a), (n, e) in counted.items()]

    record = {(b.at, b.arm): b for b in kept(looked)}
    judge([it], matured([it], record.values(), looked), ALPHA, BETA)
    record |= {(b.at, b.arm): b for b in kept(9)}  # the same addresses, counted again
    late = judge([it], matured([it], record.values(), 9), ALPHA, BETA)
    assert late == judge([it], matured([it], kept(9), 9), ALPHA, BETA)


@given(st.text(max_size=8), st.text(max_size=12))
@calm
def test_a_cohort_is_52_bits_and_a_wider_canary_keeps_its_subjects(salt: str, subject: str) -> None:
    assert 0 <= cohort(salt, subject) < 2**BITS
    arms = [
        arm(Route("prod", candidate="c", salt=salt, weight=w), subject) for w in (0, 0.1, 0.5, 1)
    ]
    assert arms == sorted(arms, reverse=True)  # stable..., then candidate...
    assert (arms[0], arms[-1]) == ("stable", "candidate")
    assert arm(Route("prod", salt=salt, weight=1), subject) == "stable"


@given(st.text(max_size=8), st.floats(0, 1), st.booleans())
@example("CR-1", 5e-324, True)
@example("CR-1", 1 - 2**-53, True)
@calm
def test_the_ranges_of_a_route_say_what_its_arms_say(salt: str, weight: float, on: bool) -> None:
    route = Route("prod", stable="s", candidate="c" if on else None, salt=salt, weight=weight)
    found = ranges(route)
    assert [found[0].low, *(one.high for one in found)] == [
        *(one.low for one in found), 2**BITS
    ]  # fmt: skip
    for number in range(40):
        said = [one for one in found if one.low <= cohort(salt, str(number)) < one.high]
        assert [one.arm for one in said] == [arm(route, str(number))]
    assert {one.arm: one.release for one in found}.items() <= {
        "stable": "s", "candidate": "c"
    }.items()  # fmt: skip
    assert ranges(Route("prod")) == ()


def test_the_request_path_pays_only_for_a_hash() -> None:
    heavy = "{'numpy', 'scipy', 'pydantic'} & set(sys.modules)"
    code = f"import sys, interlock.rollout.cohort; sys.exit(len({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cohorts_follow_the_weight() -> None:
    route = Route("prod", candidate="c", salt="CR-1", weight=0.1)
    share = sum(arm(route, str(i)) == "candidate" for i in range(20_000)) / 20_000
    assert share == pytest.approx(0.1, abs=3 * (0.09 / 20_000) ** 0.5)


@pytest.mark.parametrize("salt", ["", "CR-1", "o'hare"])
def test_sql_and_python_see_the_same_cohort(salt: str) -> None:
    subjects = ["", "a|b", "2013-06-24", "Zürich", "1"]
    ask = f"SELECT {cohort_sql(DUCKDB, DUCKDB.text(salt), 's')} FROM (SELECT unnest(?) AS s)"
    found = duckdb.execute(ask, [subjects]).fetchall()
    assert [row[0] for row in found] == [cohort(salt, s) for s in subjects]


def test_a_ramp_ends_in_a_soak_and_never_goes_down() -> None:
    def environment(*stages: Stage) -> Environment:
        return Environment(subject=("flight_id",), stages=stages)

    assert [s.weight for s in stages_of(environment(*STAGES[:2]))] == [0, 0.1, 1]
    assert stages_of(environment(*STAGES)) == STAGES
    with pytest.raises(Invalid, match="weights must not fall"):
        stages_of(environment(STAGES[2], STAGES[1]))
