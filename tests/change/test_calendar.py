"""Bookings: refused with a name and an hour, or moved to where it is free; in any order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from booking_world import HOUR, MONDAY, at, booking, phases, world
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.change.calendar import (
    STOPS,
    Agenda,
    booked_at,
    conflicts,
    forbids,
    next_free_slot,
    reserved,
)
from interlock.change.conflicts import Booking, World
from interlock.change.footprint import Crew, Footprint, Measure, Need, Phases
from interlock.define.calendar import Absence, Allow, Calendar, Freeze, Resource
from interlock.errors import Refused

DAY = timedelta(days=1)
WEEKEND = Freeze(
    name="weekend",
    start="2013-03-01T18:00:00",
    end="2013-03-04T08:00:00",
    timezone="America/New_York",
    rrule="FREQ=WEEKLY;BYDAY=FR",
)


def test_a_booking_is_refused_with_every_reason_and_the_next_slot() -> None:  # R-A1
    held = booking("CR-1", 96, writes="service:gates")
    wanted = booking("CR-2", 99, 1, 20, 1, 1, writes="service:gates")
    with pytest.raises(Refused) as caught:
        booked_at(Agenda([held]), wanted, world(calendar=Calendar(freezes=(WEEKEND,))))
    said = str(caught.value)
    assert "CR-1 already holds service:gates until 08 Mar 2013 04:00 UTC [X1]" in said
    assert "frozen by weekend until 11 Mar 2013 12:00 UTC [X7]" in said  # over the clock change
    assert "the next free slot begins at 11 Mar 2013 12:00 UTC" in said
    assert "make them one change" in said
    free = replace(wanted, phases=wanted.phases.at(at(180)))
    assert booked_at(Agenda([held]), free, world()) == free


def test_notice_is_kept() -> None:
    calendar = Calendar(notice=2 * DAY)
    wanted, soon = booking("CR-1", 47, writes="table:a"), booking("CR-1", 48, writes="table:a")
    with pytest.raises(Refused, match="notice: not before 06 Mar 2013 00:00"):
        booked_at(Agenda([]), wanted, world(0, calendar))
    assert booked_at(Agenda([]), soon, world(0, calendar)) == soon
    hurry = replace(wanted, emergency=True)
    assert booked_at(Agenda([]), hurry, world(0, calendar)) == hurry
    assert forbids([], wanted, world(0, calendar), at(48)) == (
        "the calendar asks for notice: not before 06 Mar 2013 00:00 UTC",
    )
    assert forbids([], wanted, world(48, calendar), at(48)) == ()


def test_no_slot_at_all_is_said() -> None:
    always = Freeze(
        name="always", start="2013-01-01T00:00:00", end="2013-01-02T00:00:00", timezone="UTC",
        rrule="FREQ=DAILY",
    )  # fmt: skip
    wanted = booking("CR-1", writes="table:a")
    with pytest.raises(Refused, match="no free slot"):
        next_free_slot(Agenda([]), wanted, world(calendar=Calendar(freezes=(always,))), at(0))
    over = Allow(
        name="spring", start="2012-03-01T00:00:00", end="2012-03-02T00:00:00", timezone="UTC"
    )
    with pytest.raises(Refused) as caught:
        next_free_slot(Agenda([]), wanted, world(calendar=Calendar(allows=(over,))), at(0))
    assert "or for spring to be open when it is free" in str(caught.value)


def test_what_only_takes_its_turn_is_moved() -> None:  # X4
    held = booking("CR-1", writes="table:a", measures="split")
    wanted = booking("CR-2", 1, writes="table:b", measures="split")
    moved, found = reserved(Agenda([held]), wanted, world())
    assert moved.phases == wanted.phases.at(at(4))
    assert [one.rule for one in found] == []


def test_what_people_have_to_decide_is_not_moved_silently() -> None:  # X1
    held = booking("CR-1", writes="table:a", measures="split")
    wanted = booking("CR-2", 1, writes="table:a", measures="split")
    with pytest.raises(Refused, match="cannot be booked then") as caught:
        reserved(Agenda([held]), wanted, world())
    assert len(caught.value.objections) == 2
    assert "next free slot begins at 04 Mar 2013 04:00" in caught.value.help


def test_who_builds_on_what_may_go_back_is_written_down() -> None:  # X5
    held = booking("CR-1", writes="table:a")
    moved, found = reserved(Agenda([held]), booking("CR-2", 4, writes="table:a"), world())
    assert moved.group == ("CR-1",)
    assert [one.rule for one in found] == ["X5"]


def test_a_freeze_that_begins_later_stops_no_start() -> None:
    calendar = Calendar(freezes=(WEEKEND,))
    wanted = booking("CR-1", 117, writes="table:a")
    assert [c.rule for c in conflicts(Agenda([]), wanted, world(calendar=calendar))] == ["X7"]
    assert forbids([], wanted, world(117, calendar)) == ()
    (said,) = forbids([], wanted, world(120, calendar))
    assert said.startswith("frozen by weekend")


def test_a_footprint_and_its_times_survive_the_record() -> None:
    kept = Footprint(
        frozenset({"table:a"}), loads=frozenset({"table:b"}),
        measures=(Measure("split", 0.0, 0.5),),
        needs=(Need("gpu", "prepare"),), crews=(Crew("the author", ("ana",)),), exposed=0.25,
    )  # fmt: skip
    assert Footprint.from_json(kept.to_json()) == kept
    assert Footprint.from_json({}) == Footprint()
    assert Phases.from_json(phases(3).to_json()) == phases(3)


# --- laws ------------------------------------------------------------------------------

NAMES = ["table:a", "table:b", "service:gates"]
some = st.frozensets(st.sampled_from(NAMES), max_size=2)
footprints = st.builds(
    lambda writes, breaks, reads, impact, evidence, split, gpu: Footprint(
        writes=writes,
        breaking=writes if breaks else frozenset(),
        reads=reads - writes,
        impact=impact,
        evidence=evidence,
        retires=writes if breaks and split else frozenset(),
        measures=(Measure("split"),) if split else (),
        needs=(Need("gpu", "prepare"),) if gpu else (),
        crews=(Crew("the author", ("ana",)),),
    ),
    some, st.booleans(), some, some, some, st.booleans(), st.booleans(),
)  # fmt: skip


def _bookings(spread: int) -> st.SearchStrategy[Booking]:
    return st.builds(
        lambda n, held, start, lengths: Booking(f"CR-{n}", held, phases(start, *lengths)),
        st.integers(1, 99),
        footprints,
        st.integers(0, spread),
        st.tuples(*[st.integers(0, 9)] * 4).filter(lambda hours: sum(hours[:3]) > 0),
    )


def _unique(found: list[Booking]) -> list[Booking]:
    return list({one.change: one for one in found}.values())


CALENDAR = Calendar(
    freezes=(WEEKEND,),
    allows=(
        Allow(
            name="day", start="2013-03-01T06:00:00", end="2013-03-01T22:00:00",
            timezone="America/New_York", rrule="FREQ=DAILY",
        ),
    ),
    resources=(Resource(name="gpu", capacity=1),),
    absences=(
        Absence(
            person="ana", start="2013-03-05T00:00:00", end="2013-03-05T12:00:00",
            timezone="America/New_York",
        ),
    ),
    people="block",
)  # fmt: skip
WORLD = World(MONDAY - DAY, CALENDAR, budgets={"service:gates": 0.9})


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(_bookings(60), max_size=8).map(_unique), _bookings(60), st.randoms())
def test_admission_never_depends_on_the_order_of_bookings(
    held: list[Booking], wanted: Booking, chance: object
) -> None:
    shuffled = list(held)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random of Hypothesis
    assert conflicts(Agenda(held), wanted, WORLD) == conflicts(Agenda(shuffled), wanted, WORLD)
    first, second = (_free(Agenda(one), wanted) for one in (held, shuffled))
    assert first == second


def _free(agenda: Agenda, wanted: Booking) -> Booking | None:
    try:
        return reserved(agenda, wanted, WORLD)[0]
    except Refused:
        return None


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(_bookings(60), max_size=8).map(_unique))
def test_whatever_was_admitted_is_pairwise_free_of_conflicts(asked: list[Booking]) -> None:
    admitted: list[Booking] = []
    for wanted in asked:
        booked = _free(Agenda(admitted), wanted)
        if booked is not None:
            admitted.append(booked)
    for one in admitted:
        found = conflicts(Agenda(admitted), one, WORLD)
        assert [said for said in found if said.action in STOPS] == []


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.lists(_bookings(200), max_size=6).map(_unique), _bookings(60), st.integers(0, 170))
def test_the_next_free_slot_is_free_and_there_is_none_before(
    held: list[Booking], wanted: Booking, after: int
) -> None:
    """Against asking about every hour, from a week before the clocks change to after it."""
    agenda = Agenda(held)

    def stopped(hours: float) -> bool:
        there = replace(wanted, phases=wanted.phases.at(at(hours)))
        found = conflicts(agenda, there, WORLD)
        return any(one.action in STOPS and one.rule != "X10" for one in found)

    slot = next_free_slot(agenda, wanted, WORLD, at(after))
    hours = (slot.phases.start - MONDAY) / HOUR
    assert hours >= after
    assert slot.phases.active.length == wanted.phases.active.length
    assert not stopped(hours)
    assert all(stopped(earlier) for earlier in range(after, int(hours)))
