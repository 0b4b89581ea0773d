"""Changes beside each other: who may join, who starts with whom, and when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import app_world as world
import experiment_world as three
import pytest
from faces_world import alike, two_sides
from trips_world import FILES

from interlock.app import decide
from interlock.app.booking import all_booked, book
from interlock.app.changes import describe
from interlock.app.deferred import replan
from interlock.app.planning import look
from interlock.app.propose import propose
from interlock.app.tick import tick
from interlock.app.workspace import Workspace
from interlock.errors import Refused, Unusable
from interlock.plan.plan import Plan

FIRST, SECOND, THIRD = "CR-2", "CR-3", "CR-4"


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CR-2 is approved, in an environment with three places."""
    folder = three.started(tmp_path_factory.mktemp("beside") / "project")
    with world.opened(folder) as workspace:
        three.candidate(workspace, "Another seed")
        world.signed(workspace, FIRST)
    return folder


@pytest.fixture(scope="module")
def two(one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CR-3 was proposed beside it, and nobody has signed that one."""
    folder = world.copied(one, tmp_path_factory.mktemp("beside") / "project")
    with world.opened(folder) as workspace:
        three.candidate(workspace, "Longer", FIRST)
        world.waived(workspace, SECOND)
    return folder


@pytest.fixture
def alone(one: Path, tmp_path: Path) -> Iterator[Workspace]:
    with world.opened(world.copied(one, tmp_path / "project")) as workspace:
        yield workspace


@pytest.fixture
def both(two: Path, tmp_path: Path) -> Iterator[Workspace]:
    with world.opened(world.copied(two, tmp_path / "project")) as workspace:
        yield workspace


def refused(workspace: Workspace, title: str, beside: str) -> str:
    with pytest.raises(Refused) as caught:
        three.candidate(workspace, title, beside)
    return "; ".join(caught.value.objections)


def test_the_plan_says_beside_whom_and_so_does_everything_that_is_read(both: Workspace) -> None:
    plan = Plan.from_json(world.current(both, SECOND).plan or {})
    assert (plan.beside, plan.to_json()["beside"]) == (FIRST, FIRST)
    assert "beside" not in Plan.from_json(world.current(both, FIRST).plan or {}).to_json()
    assert "one of 3 arms: shown to 20% in ab, beside 40% of stable" in "; ".join(plan.notes)
    assert world.current(both, SECOND).details["judge"]["alpha"] == pytest.approx(0.05 / 3)
    shown = world.done("status", SECOND, "-C", str(both.folder)).out
    assert f"{FIRST} (SCHEDULED)" in shown
    assert f"{SECOND} (REVIEW)" in world.done("status", FIRST, "-C", str(both.folder)).out
    notes = world.done("notes", SECOND, "-C", str(both.folder)).out
    assert f"in one experiment with {FIRST}" in notes


def test_nothing_that_was_signed_moves_when_another_joins(one: Path, two: Path) -> None:
    with world.opened(one) as before, world.opened(two) as after:
        assert world.current(before, FIRST) == world.current(after, FIRST)


def test_their_bookings_meet_and_are_no_conflict(both: Workspace) -> None:
    world.signed(both, SECOND)
    found = {entry.booking.change: entry for entry in all_booked(both)}
    assert {found[id].standing for id in (FIRST, SECOND)} == {"held"}
    times = {found[id].booking.phases.start for id in (FIRST, SECOND)}
    assert len(times) == 1
    # A change of its own does not fit between them.
    world.edit(both.folder, *three.EDITS["The opposite"])
    outside = world.proposed(both, "Nobody's sibling")
    assert (
        Plan.from_json(outside.plan or {}).slot
        != Plan.from_json(world.current(both, FIRST).plan or {}).slot
    )


def test_all_that_stands_against_joining_is_said_at_once(alone: Workspace) -> None:
    yaml = ("interlock.yaml", "weight: 0.6, hold: 2d}", "weight: 0.5, hold: 2d}")
    world.edit(alone.folder, *yaml)
    world.edit(alone.folder, "interlock.yaml", "    arms: 3\n", "    arms: 1\n")
    said = refused(alone, "Longer", FIRST)
    assert "prod has one place for a candidate" in said
    assert f"prod is declared otherwise than for {FIRST} (stages, arms)" in said
    world.edit(alone.folder, yaml[0], yaml[2], yaml[1])
    world.edit(alone.folder, "interlock.yaml", "    arms: 1\n", "    arms: 3\n")
    assert f"the files are those of {FIRST}" in refused(alone, "Another seed", FIRST)
    assert "CR-1 is COMMITTED: there is nothing to run beside" in refused(alone, "Longer", "CR-1")
    assert len(list(alone.record.list("change"))) == 2


def test_who_runs_beside_another_is_not_the_one_to_name_and_places_are_counted(
    both: Workspace,
) -> None:
    assert f"give --beside {FIRST}" in refused(both, "The opposite", SECOND)
    three.candidate(both, "The opposite", FIRST)
    world.edit(both.folder, three.MODEL, three.SEED, "  seed: 9\n")
    both.reread()
    full = f"all 3 places are taken ({FIRST}, {SECOND}, {THIRD})"
    with pytest.raises(Refused) as caught:
        propose(both, world.asked("One too many"), beside=FIRST)
    assert full in "; ".join(caught.value.objections)
    decide.withdraw(both, SECOND, by="bo", reason="not now")
    assert propose(both, world.asked("One too many"), beside=FIRST).experiment == FIRST


def test_two_that_answer_alike_compare_nothing(alone: Workspace) -> None:
    world.edit(alone.folder, three.MODEL, three.SEED, "  seed: 2\n# said otherwise\n")
    alone.reread()
    with pytest.raises(Refused, match="both lead to release"):
        propose(alone, world.asked("The same"), beside=FIRST)
    assert world.current(alone, SECOND).state == "WITHDRAWN"
    with pytest.raises(Unusable, match="--after or --beside"):
        look(alone, FIRST, FIRST)


def test_the_start_waits_until_everybody_beside_it_may_start(both: Workspace) -> None:
    assert f"{FIRST} was to start, and waits: {SECOND}" in tick(both)
    waits = describe(both, FIRST).objections
    assert any(one.startswith(f"{SECOND}, which runs beside it: ") for one in waits)
    with pytest.raises(Refused) as caught:
        decide.apply(both, FIRST, by="sam")
    assert any(f"{SECOND}, which runs beside it" in said for said in caught.value.objections)
    world.signed(both, SECOND)
    later = both.now() + timedelta(hours=2)
    book(both, SECOND, by=world.AUTHOR, at=later)
    world.signed(both, SECOND)
    assert "being prepared" not in tick(both), "they begin together, at the latest of their times"
    world.at(later, both)
    assert f"{FIRST}, {SECOND} are being prepared" in tick(both)
    assert {world.current(both, id).state for id in (FIRST, SECOND)} == {"PREPARING"}


def test_one_that_is_withdrawn_is_not_waited_for(both: Workspace) -> None:
    decide.withdraw(both, SECOND, by="bo", reason="not now")
    assert f"{FIRST} is being prepared" in tick(both)
    tick(both)
    route = both.route()
    assert [arm and arm.change for arm in route.arms] == [FIRST, None, None]
    assert f"{FIRST} is under way already" in refused(both, "The opposite", FIRST)


def test_without_its_first_the_others_keep_its_name(both: Workspace) -> None:
    world.signed(both, SECOND)
    decide.withdraw(both, FIRST, by="bo", reason="not now")
    assert f"{SECOND} is being prepared" in tick(both)
    tick(both)
    route = both.route()
    assert (route.change, route.salt) == (FIRST, FIRST)
    assert [arm and arm.change for arm in route.arms] == [SECOND, None, None]


def test_carried_over_to_another_release_they_are_still_together(both: Workspace) -> None:
    text = FILES["policies/all.cedar"]
    world.edit(both.folder, "policies/all.cedar", text, f"// read by people\n{text}")
    decide.sign(
        both, FIRST, by="bo", role="change_sponsor", team="data-eng", reject="the rules first"
    )
    rules = world.proposed(both, "A word about the rules")
    world.signed(both, rules.id)
    decide.apply(both, rules.id, by="sam")
    tick(both)
    assert world.current(both, rules.id).state == "COMMITTED"
    for id in (SECOND, FIRST):
        replan(both, id)
        world.signed(both, id)
    assert world.current(both, SECOND).experiment == FIRST
    assert f"{FIRST}, {SECOND} are being prepared" in decide.apply(both, SECOND, by="sam")


def test_proposed_over_a_server_it_is_the_same(one: Path, tmp_path: Path) -> None:
    with two_sides(one, tmp_path) as sides:
        for side in sides:
            world.edit(side.folder, *three.EDITS["Longer"])
        asked = ("propose", "--title", "Longer", "--rollback-when", "any harm", "--as")
        alike(*(side.run("wei", "plan", "--beside", "CR-1") for side in sides))
        told = [side.run(world.AUTHOR, *asked, "--beside", FIRST) for side in sides]
        alike(*told)
        assert json.loads(told[1].out)["change"]["plan"]["beside"] == FIRST
        both = ("--beside", FIRST, "--after", FIRST)
        alike(*(side.run(world.AUTHOR, *asked, *both) for side in sides))
