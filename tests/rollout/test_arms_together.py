"""Candidates beside each other: backward alone and at once, forward together, and one goes on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_story import HOUR, NOON, OLD

from interlock.define.environment import Stage
from interlock.define.release import Route
from interlock.ports import Bucket
from interlock.rollout.candidates import Candidate, decided, loss_of, route_of
from interlock.rollout.judge import Judgement, Verdict
from interlock.rollout.machine import Abort, Advance, Decision, Facts, GiveWay, Request, after
from interlock.rollout.machine import advance as alone
from interlock.rollout.state import UNDER_WAY, HoldReason, RolloutState, State

STAGES = (
    Stage(name="mirror", weight=0, hold=HOUR),
    Stage(name="ab", weight=0.6, hold=HOUR),
    Stage(name="soak", weight=1, hold=HOUR),
)
PLACES = 3


def started(number: int) -> RolloutState:
    return RolloutState(
        f"CR-{number}", f"{number}" * 64, OLD, STAGES, 7 * 24 * HOUR, NOON,
        experiment="CR-5", places=PLACES,
    )  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What is seen of one candidate at one look."""

    verdict: Verdict = "safe"
    kind: Literal["", "hold", "promote", "rollback", "retry", "choose"] = ""
    loss: float | None = 0.0
    facts: Facts = field(default_factory=Facts)

    def arm(self, state: RolloutState, now: datetime) -> Candidate:
        asked = Request(self.kind, "ada", "because") if self.kind else None
        judged = Judgement(self.verdict, (), 1.0, 100, False, f"all is {self.verdict}")
        facts = replace(self.facts, request=asked)
        return Candidate(state, alone(state, judged, facts, now), self.loss, asked)


class Experiment:
    """Changes CR-5, CR-6, ... under one Route; an hour passes at every look."""

    def __init__(self, many: int) -> None:
        self.states = [started(5 + at) for at in range(many)]
        self.route, self.now = Route("prod", 4, OLD), NOON

    def look(self, *seen: Seen) -> dict[str, Decision]:
        """One look; `seen` is of those under way, and of who is not told it is all well."""
        self.now += HOUR
        going = [state for state in self.states if state.state in UNDER_WAY]
        what = [*seen, *[Seen()] * len(going)]
        arms = [one.arm(state, self.now) for one, state in zip(what, going, strict=False)]
        decisions = decided(arms)
        self.route = route_of(self.route, arms, decisions)
        after_ = {
            a.change: after(a.state, d, self.now) for a, d in zip(arms, decisions, strict=True)
        }
        self.states = [after_.get(state.change, state) for state in self.states]
        return {arm.change: one for arm, one in zip(arms, decisions, strict=True)}

    def at(self, change: str) -> RolloutState:
        return next(state for state in self.states if state.change == change)

    def walked(self, looks: int) -> Experiment:
        for _ in range(looks):
            self.look()
        return self


seen = st.builds(
    Seen,
    st.sampled_from(["safe", "safe", "safe", "needs_data", "harm"]),
    st.sampled_from(["", "", "", "", "hold", "promote", "rollback", "retry", "choose"]),
    st.one_of(st.none(), st.floats(-1, 1)),
    st.builds(Facts, freeze=st.sampled_from(["", "", "", "a freeze"])),
)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.integers(1, PLACES), st.lists(st.lists(seen, min_size=3, max_size=3), max_size=14))
def test_laws_of_walking_together(many: int, looks: list[list[Seen]]) -> None:
    it = Experiment(many)
    for what in looks:
        before = {state.change: state for state in it.states}
        going = [state for state in it.states if state.state in UNDER_WAY]
        was = it.route
        found = it.look(*what)
        for one, state in zip(what, going, strict=False):
            harmed = one.verdict == "harm" or one.kind == "rollback"
            assert isinstance(found[state.change], Abort) == harmed, "backward never waits"
        _nobody_is_ahead(it)
        _only_what_is_under_way_is_routed(it)
        left = [c for c, d in found.items() if isinstance(d, GiveWay)]
        if left:
            (on,) = [c for c, d in found.items() if isinstance(d, Advance)]
            assert it.route.candidates[0].change == on, "exactly one goes on"
            assert it.at(on).state is State.SOAKING
            assert not {before[c].release for c in left} & set(it.route.blocked)
        assert it.route.epoch - was.epoch <= 1, "one look is one move of the Route"
        assert it.route.stable == OLD or it.at(_winner(it)).state is State.COMMITTED


def _nobody_is_ahead(it: Experiment) -> None:
    going = {(s.state, s.index) for s in it.states if s.state in UNDER_WAY}
    assert len(going) <= 1, "nobody advances alone"
    beyond = [s for s in it.states if s.state in (State.SOAKING, State.COMMITTED)]
    assert len(beyond) <= 1


def _only_what_is_under_way_is_routed(it: Experiment) -> None:
    under_way = {s.release for s in it.states if s.state in UNDER_WAY}
    assert {one.release for one in it.route.candidates} <= under_way
    assert not it.route.flaws()


def _winner(it: Experiment) -> str:
    return next(s.change for s in it.states if s.release == it.route.stable)


def test_three_begin_one_harms_two_pass_and_the_better_one_goes_on() -> None:
    it = Experiment(3).walked(2)
    assert (it.route.stage, it.route.weight, it.route.change) == ("ab", 0.6, "CR-5")
    assert [one and one.change for one in it.route.arms] == ["CR-5", "CR-6", "CR-7"]
    it.look(Seen("harm"))
    assert [one and one.change for one in it.route.arms] == [None, "CR-6", "CR-7"]
    assert it.route.blocked == ("5" * 64,)
    found = it.look(Seen(loss=0.01), Seen(loss=-0.02))
    assert isinstance(found["CR-6"], GiveWay)
    said = "log loss against stable per unit: CR-7 -0.02, CR-6 +0.01"
    assert said in found["CR-6"].sentence
    assert said in found["CR-7"].sentence
    assert (it.route.candidate, it.route.change, it.route.arms) == ("7" * 64, "CR-7", ())
    it.walked(1)
    assert it.route == Route("prod", it.route.epoch, "7" * 64, blocked=("5" * 64,))


def test_not_chosen_is_over_and_blocks_nothing() -> None:
    it = Experiment(2).walked(2)
    it.look(Seen(loss=0.1), Seen(loss=0.2))
    left = it.at("CR-6")
    assert (left.state, it.route.blocked) == (State.UNCHOSEN, ())
    assert left.said.startswith("not chosen: CR-5 was chosen: log loss against stable per unit")
    assert alone(left, None, Facts(), it.now).sentence == f"CR-6 has ended: {left.said}"


def test_who_is_ready_says_for_whom_it_waits() -> None:
    it = Experiment(2).walked(1)
    found = it.look(Seen(), Seen("needs_data"))
    assert found["CR-5"].sentence == "ready to leave mirror; waits for CR-6: all is needs_data"
    found = it.look(Seen(kind="hold"), Seen())
    assert it.at("CR-5").hold is HoldReason.MANUAL
    assert "waits for CR-5: held by ada" in found["CR-6"].sentence


def test_where_labels_never_came_a_person_chooses() -> None:
    it = Experiment(2).walked(2)
    waived = Seen("needs_data", "promote", None)
    found = it.look(waived, waived)
    assert {it.at(change).hold for change in found} == {HoldReason.CHOICE}
    assert "log loss is not known of CR-5, CR-6" in found["CR-5"].sentence
    assert "interlock promote CR-n" in found["CR-5"].sentence
    it.look(waived, replace(waived, kind="choose"))
    assert it.route.change == "CR-6"
    assert "ada chose it: because" in it.at("CR-6").history[-1].sentence
    assert it.at("CR-5").state is State.UNCHOSEN


def test_one_that_is_left_goes_on_when_it_passes() -> None:
    it = Experiment(2).walked(2)
    it.look(Seen(), Seen(kind="rollback"))
    found = it.look(Seen("needs_data", loss=None))
    assert it.route.stage == "ab"
    found = it.look(Seen(loss=None))
    assert isinstance(found["CR-5"], Advance)
    assert (it.route.candidate, it.route.stage) == ("5" * 64, "soak")


def test_the_best_one_held_by_a_hook_is_waited_for_and_nobody_goes_on_in_its_place() -> None:
    it = Experiment(2).walked(2)
    route = it.route
    it.look(Seen(loss=0.2), Seen(loss=0.1, facts=Facts(hook="the desk is closed")))
    assert it.at("CR-6").hold is HoldReason.HOOK
    assert it.at("CR-5").said == "ready to leave ab; waits for CR-6: the desk is closed"
    assert it.route == route
    it.look(Seen(loss=0.2), Seen(loss=0.1))
    assert (it.route.change, it.at("CR-5").state) == ("CR-6", State.UNCHOSEN)


def test_two_that_harm_go_back_in_one_move_of_the_route() -> None:
    it = Experiment(3).walked(2)
    before = it.route
    it.look(Seen("harm"), Seen(), Seen("harm"))
    assert it.route.epoch == before.epoch + 1
    assert [one and one.change for one in it.route.arms] == [None, "CR-6", None]
    assert it.route.blocked == ("5" * 64, "7" * 64)


def test_a_freeze_holds_all_of_them_where_they_are() -> None:
    it = Experiment(3).walked(1)
    it.look(Seen(), Seen(facts=Facts(freeze="stocktaking")))
    assert {state.index for state in it.states} == {0}
    assert it.at("CR-6").hold is HoldReason.FREEZE


def test_the_loss_is_that_of_everybody_in_the_stage() -> None:
    def pair(stage: str, total: float, slice: str = "") -> Bucket:
        return Bucket(stage, "log_loss_paired", "paired", 0, 10, total, 1.0, slice)

    assert loss_of([pair("mirror", 9.0), pair("ab", 2.0), pair("ab", 4.0)], "ab") == pytest.approx(
        0.3
    )
    assert loss_of([pair("mirror", 9.0), pair("ab", 2.0, "place=a")], "ab") is None
