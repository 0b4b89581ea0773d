"""Each rule of the calendar: one case that it finds, and one near to it that it lets be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from booking_world import at, booking, world

from interlock.change.calendar import Agenda, conflicts
from interlock.change.conflicts import PAIRS, RULES, Booking, joint_exposure
from interlock.change.footprint import Crew, Measure
from interlock.define.calendar import Absence, Allow, Calendar, Freeze, Resource

FREEZE = Freeze(
    name="audit", start="2013-03-04T02:00:00", end="2013-03-04T06:00:00", timezone="UTC",
    scope=("table:a", "service:gates"),
)  # fmt: skip
OFFICE = Allow(
    name="office", start="2013-03-04T00:00:00", end="2013-03-04T02:00:00", timezone="UTC",
    rrule="FREQ=DAILY", scope=("table:a",),
)  # fmt: skip
GPUS = Calendar(resources=(Resource(name="gpu", capacity=2),))
AWAY = Absence(person="ana", start="2013-03-04T00:00:00", end="2013-03-06T00:00:00", timezone="UTC")
MIA = AWAY.model_copy(update={"person": "mia"})
CREW = (Crew("service_owner of gates", ("ana", "mia")),)
LOW, HIGH = (Measure("split", 0.0, 0.5),), (Measure("split", 0.5, 1.0),)


@dataclass(frozen=True)
class Case:
    """`mine` beside `theirs`; `action` is "" for a near miss."""

    rule: str
    name: str
    mine: dict[str, Any]
    theirs: dict[str, Any]
    action: str = ""
    said: str = ""
    around: dict[str, Any] = field(default_factory=dict)


def _case(
    rule: str, name: str, mine: Any, theirs: Any, action: str = "", said: str = "", **around: Any
) -> Any:
    case = Case(rule, name, mine, theirs, action, said, around)
    return pytest.param(case, id=f"{rule}-{name}")


A, B = {"writes": "table:a"}, {"writes": "table:b"}
SPLIT = {"measures": "split"}
CASES = [
    _case("X1", "both write one table", A, A, "block",
          "CR-2 already holds table:a until 04 Mar 2013 04:00 UTC"),
    _case("X1", "one begins as the other commits", A, {**A, "start": 4}),
    _case("X2", "reads what is broken", {"reads": "table:a"}, {**A, "breaking": "table:a"},
          "block", "CR-2 changes table:a, which this reads"),
    _case("X2", "breaks what is read", {**A, "breaking": "table:a"}, {"reads": "table:a"},
          "block", "CR-2 reads table:a, which this changes"),
    _case("X2", "proven compatible", {"reads": "table:a"}, A),
    _case("X3", "writes what evidence stood on", {"evidence": "table:a"}, A, "rerun",
          "CR-2 writes table:a, on which evidence of this stood"),
    _case("X3", "the other's evidence", A, {"evidence": "table:a"}, "rerun", "evidence of CR-2"),
    _case("X3", "its own writes are X1's", {**A, "evidence": "table:a"}, A),
    _case("X4", "the same subjects", SPLIT, SPLIT, "defer", "measured on the same subjects"),
    _case("X4", "disjoint cohorts", {"measures": LOW}, {"measures": HIGH}),
    _case("X4", "another population", SPLIT, {"measures": "other"}),
    _case("X4", "in its rollback window", {**SPLIT, "start": 5}, SPLIT),
    _case("X5", "builds on what may go back", {**A, "start": 5}, A, "warn",
          "this builds on table:a, which CR-2 may take back until 04 Mar 2013 08:00 UTC"),
    _case("X5", "the window is over", {**A, "start": 8}, A),
    _case("X6", "retires what the other still reads then", {"retires": "view:v@1"},
          {"reads": "view:v@1", "start": 5}, "block",
          "this retires view:v@1, which CR-2 holds until 04 Mar"),
    _case("X6", "the other may retire it first", {"reads": "view:v@1", "start": 5},
          {"retires": "view:v@1"}, "block", "CR-2 retires view:v@1, which this holds"),
    _case("X6", "the other cannot go back any more by then", {"retires": "view:v@1", "start": 1},
          {"reads": "view:v@1"}),
    _case("X7", "a freeze on what is written", A, B, "block", "frozen by audit until",
          calendar=Calendar(freezes=(FREEZE,))),
    _case("X7", "a freeze on what matters most", {**B, "high": "service:gates"}, {}, "block",
          "frozen by audit", calendar=Calendar(freezes=(FREEZE,))),
    _case("X7", "an emergency passes", {**A, "emergency": True}, B, "warn", "frozen by audit",
          calendar=Calendar(freezes=(FREEZE,))),
    _case("X7", "low impact only", {**B, "impact": "service:gates"}, {},
          calendar=Calendar(freezes=(FREEZE,))),
    _case("X7", "it commits as the freeze begins", {**A, "start": -2}, B,
          calendar=Calendar(freezes=(FREEZE,))),
    _case("X8", "outside of the window", {**A, "start": 3}, B, "block",
          "outside of office: the next opens at 05 Mar 2013 00:00 UTC",
          calendar=Calendar(allows=(OFFICE,))),
    _case("X8", "inside", {**A, "start": 1}, B, calendar=Calendar(allows=(OFFICE,))),
    _case("X8", "no window applies", {**B, "start": 3}, {}, calendar=Calendar(allows=(OFFICE,))),
    _case("X9", "all of it is taken", {"needs": "gpu"}, {"needs": "gpu"}, "block",
          "CR-2 have gpu (1) until 04 Mar 2013 01:00 UTC",
          calendar=Calendar(resources=(Resource(name="gpu"),))),
    _case("X9", "by policy it only warns", {"needs": "gpu"}, {"needs": "gpu"}, "warn", "gpu",
          calendar=Calendar(resources=(Resource(name="gpu", action="warn"),))),
    _case("X9", "one is left", {"needs": "gpu"}, {"needs": "gpu"}, calendar=GPUS),
    _case("X9", "another phase", {"needs": "gpu", "start": 1}, {"needs": "gpu"},
          calendar=Calendar(resources=(Resource(name="gpu"),))),
    _case("X9", "nobody is there", {"crews": CREW}, {}, "warn",
          "service_owner of gates (ana, mia) is away from 04 Mar 2013 00:00",
          calendar=Calendar(absences=(AWAY, MIA))),
    _case("X9", "nobody is there, and that blocks", {"crews": CREW}, {}, "block", "is away",
          calendar=Calendar(absences=(AWAY, MIA), people="block")),
    _case("X9", "one of two is there", {"crews": CREW}, {}, calendar=Calendar(absences=(AWAY,))),
    _case("X10", "each breaks what the other reads",
          {**A, "breaking": "table:a", "reads": "table:b"},
          {**B, "breaking": "table:b", "reads": "table:a"}, "block",
          "CR-1 after CR-2 after CR-1: none of them can be first"),
    _case("X10", "each builds on the other", {**A, "after": "CR-2"},
          {**B, "after": "CR-1", "start": 9}, "block", "none of them can be first"),
    _case("X10", "one way only", {**A, "reads": "table:b"},
          {**B, "breaking": "table:b", "reads": "table:c"}),
    _case("X11", "one service through two things", {**A, "impact": "service:gates"},
          {**B, "impact": "service:gates"}, "warn",
          "CR-2 reaches service:gates too until 04 Mar 2013 04:00 UTC; together they are shown "
          "to 100% of requests"),
    _case("X11", "over the error budget", {**A, "impact": "service:gates", "exposed": 0.2},
          {**B, "impact": "service:gates", "exposed": 0.1}, "block", "shown to 28% of requests",
          budgets={"service:gates": 0.27}),
    _case("X11", "within the error budget", {**A, "impact": "service:gates", "exposed": 0.2},
          {**B, "impact": "service:gates", "exposed": 0.1}, "warn", "28%",
          budgets={"service:gates": 0.29}),
    _case("X11", "only models are shared", {**A, "impact": "model:late"},
          {**B, "impact": "model:late"}),
    _case("X12", "traffic moves while a load is late", {"loads": "table:a"}, {}, "hold",
          "table:a is late", now=2, late={"table:a": "table:a is late"}),
    _case("X12", "it is only prepared", {"loads": "table:a"}, {}, now=0.5,
          late={"table:a": "table:a is late"}),
    _case("X12", "another table is late", {"loads": "table:b"}, {}, now=2,
          late={"table:a": "table:a is late"}),
]  # fmt: skip


def _booked(change: str, said: dict[str, Any]) -> Booking:
    held = dict(said)
    measures = held.pop("measures", "")
    if isinstance(measures, str):
        return booking(change, held.pop("start", 0), measures=measures, **held)
    made = booking(change, held.pop("start", 0), **held)
    object.__setattr__(made.footprint, "measures", measures)
    return made


@pytest.mark.parametrize("case", CASES)
def test_the_rule_holds_or_lets_it_be(case: Case) -> None:  # R-C3
    mine, theirs = _booked("CR-1", case.mine), _booked("CR-2", case.theirs)
    found = conflicts(Agenda([theirs]), mine, world(**case.around))
    held = [one for one in found if one.rule == case.rule]
    if not case.action:
        assert held == []
        return
    assert {one.action for one in held} == {case.action}
    assert any(case.said in one.sentence for one in held), held
    assert all(one.help == RULES[case.rule].help for one in held)


def test_every_rule_has_both_a_case_and_a_near_miss() -> None:
    cases: list[Case] = [param.values[0] for param in CASES]
    assert {case.rule for case in cases if case.action} == set(RULES)
    assert {case.rule for case in cases if not case.action} == set(RULES)
    assert list(RULES) == [f"X{n}" for n in range(1, 13)]
    assert {pair.rule for pair in PAIRS} <= set(RULES)


def test_a_change_never_conflicts_with_itself() -> None:
    mine = booking("CR-1", writes="table:a", measures="split")
    assert conflicts(Agenda([mine]), mine, world()) == ()


def test_a_longer_ring_is_found_whoever_asks() -> None:  # X10
    ring = [
        booking(f"CR-{i}", reads=f"table:{i}", writes=f"table:{(i + 1) % 4}",
                breaking=f"table:{(i + 1) % 4}")
        for i in range(4)
    ]  # fmt: skip
    for mine in ring:
        found = conflicts(Agenda(ring), mine, world())
        (said,) = [one for one in found if one.rule == "X10"]
        assert said.sentence.count(" after ") == 4
        assert conflicts(Agenda(ring[1:3]), ring[2], world())[0].rule != "X10"


def test_joint_exposure_is_the_share_that_meets_either() -> None:
    mine, theirs = booking("CR-1", exposed=0.5), booking("CR-2", exposed=0.5)
    assert joint_exposure(mine.footprint, theirs.footprint) == 0.75


def test_a_reader_that_was_proposed_after_the_writer_only_waits() -> None:  # X2
    mine = booking("CR-1", reads="table:a", after="CR-2")
    theirs = booking("CR-2", writes="table:a", breaking="table:a")
    (said,) = conflicts(Agenda([theirs]), mine, world())
    assert (said.rule, said.action) == ("X2", "defer")
    assert mine.phases.start == at(0)
