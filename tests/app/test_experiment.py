"""Three candidates under one Route and real traffic: one harms, two pass, one goes on.

Each test begins where a copy stands: all approved, or at the stage that divides with two days of
requests behind it.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import app_world as world
import experiment_world as three
import pytest
from experiment_world import copy, held_places, onward, states
from test_killed_steps import done

from interlock.app import decide
from interlock.app.inbox import inbox
from interlock.app.ingest import LOG, MIRRORED, ingest
from interlock.app.tick import tick
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.rollout.state import HoldReason
from interlock.testing.killed import Step, moves, standing

SEED, HARMS, LONGER = three.EVERY
Places = Mapping[str, Path]


def test_one_harms_two_pass_and_the_better_one_is_committed(
    experiment: Places, tmp_path: Path
) -> None:
    with copy(experiment["divided"], tmp_path) as live:
        assert held_places(live) == [SEED, HARMS, LONGER]
        logged = live.warehouse.query(f"SELECT DISTINCT arm, release FROM {LOG} AS p")
        assert logged.num_rows
        assert "harm seen at ab: log_loss_paired is worse" in tick(live)
        assert states(live) == ["STEP", "ABORTING", "STEP"]
        assert held_places(live) == [SEED, None, LONGER]
        assert live.route().blocked == (world.current(live, HARMS).release,)
        said = onward(live)
        assert states(live) == ["UNCHOSEN", "ABORTED", "SOAKING"]
        assert f"{LONGER} was chosen: log loss against stable per unit: {LONGER} " in said
        route = live.route()
        assert (route.candidate, route.change, route.arms, route.weight) == (
            world.current(live, LONGER).release, LONGER, (), 1.0,
        )  # fmt: skip
        world.play(live, timedelta(days=3))
        world.go_on(live, LONGER)
        assert states(live) == ["UNCHOSEN", "ABORTED", "COMMITTED"]
        assert live.route().stable == world.current(live, LONGER).release
        _without_blame(live)


def _without_blame(live: Workspace) -> None:
    """No review is due of who was not chosen, its time is given back, and it may come again."""
    reviewed = {entry.ref.name for entry in live.record.list("review")}
    assert HARMS in reviewed
    assert SEED not in reviewed
    booked = live.record.get(Ref("booking", SEED))
    assert booked is not None
    assert booked.body["standing"] == "cancelled"
    again = three.candidate(live, "Another seed")
    world.waived(live, again.id)
    assert world.current(live, again.id).release == world.current(live, SEED).release


def test_a_person_takes_one_back_and_chooses_where_no_number_can(
    experiment: Places, tmp_path: Path
) -> None:
    with copy(experiment["divided"], tmp_path) as live:
        decide.rollback(live, HARMS, by="bo", reason="its curve looks odd")
        assert held_places(live) == [SEED, None, LONGER]
        ingest(live)
        divided = f"SELECT id FROM {LOG} AS p WHERE stage = 'ab'"
        live.warehouse.execute(f"DELETE FROM {MIRRORED} WHERE id IN ({divided})")
        said = onward(live)
        assert f"log loss is not known of {SEED}, {LONGER}" in said
        for id in (SEED, LONGER):
            assert world.rollout(live, id).hold is HoldReason.CHOICE
        asked = [item for item in inbox(live, "bo").waiting if item.what == "decide, or wait"]
        assert {item.change for item in asked} == {SEED, LONGER}
        goes_on, back = asked[0].choices
        assert goes_on.leads_to == "it goes on, and who runs beside it ends"
        assert back.leads_to.endswith("at once; who runs beside it goes on")
        told = decide.promote(live, SEED, by="sam", reason="it is the simpler one")
        assert "goes on alone" in told
        tick(live)
        assert states(live) == ["SOAKING", "ABORTED", "UNCHOSEN"]
        assert "sam chose it: it is the simpler one" in world.current(live, LONGER).said
        notes = world.done("notes", LONGER, "-C", str(live.folder)).out
        assert "not chosen: " in notes


def test_one_that_is_held_holds_the_others_where_they_are(
    experiment: Places, tmp_path: Path
) -> None:
    with copy(experiment["two left"], tmp_path) as live:
        decide.hold(live, SEED, by="bo", reason="somebody looks at it")
        decide.promote(live, LONGER, by="sam", reason="made-up data is too little")
        tick(live)
        assert (
            f"ready to leave ab; waits for {SEED}: held by bo" in world.current(live, LONGER).said
        )
        assert states(live)[::2] == ["STEP", "STEP"]
        began = world.rollout(live, SEED).entered_at
        decide.retry(live, SEED, by="sam", reason="labels come tomorrow")
        world.at(live.now() + timedelta(hours=1), live)
        tick(live)
        assert world.rollout(live, SEED).entered_at > began
        assert world.rollout(live, LONGER).entered_at == began


def test_the_first_goes_back_and_the_others_are_looked_after_in_the_same_moment(
    experiment: Places, tmp_path: Path
) -> None:
    with copy(experiment["two left"], tmp_path) as live:
        decide.rollback(live, SEED, by="bo", reason="its curve looks odd")
        said = tick(live)
        assert f"{SEED} aborted: " in said
        assert f"{LONGER} ab: " in said
        assert (live.route().change, held_places(live)) == (SEED, [None, None, LONGER])


def starting(workspace: Workspace) -> None:
    decide.apply(workspace, SEED, by="sam")


def harming(workspace: Workspace) -> None:
    if world.current(workspace, HARMS).under_way:
        tick(workspace)


def choosing(workspace: Workspace) -> None:
    onward(workspace)
    tick(workspace)  # what is seen of the soak at once is written too


@pytest.mark.parametrize(
    ("base", "step"), [("signed", starting), ("divided", harming), ("two left", choosing)]
)
def test_killed_at_any_write_of_a_look_at_all_of_them_it_ends_the_same(
    experiment: Places, tmp_path: Path, base: str, step: Step
) -> None:
    whole = world.copied(experiment[base], tmp_path / "whole")
    writes = done(whole, step)
    assert writes > 0
    wanted, path = standing(whole), moves(whole)

    def killed(at: int) -> None:
        folder = world.copied(experiment[base], tmp_path / f"killed-{at}")
        assert done(folder, step, at) == -signal.SIGKILL
        with world.opened(folder) as workspace:
            _nobody_is_ahead(workspace)
        assert done(folder, step) >= 0
        assert standing(folder) == wanted, f"killed before write {at} of {writes}"
        assert moves(folder) == path

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(killed, range(1, writes + 1)))


def _nobody_is_ahead(workspace: Workspace) -> None:
    """What is on the Route is under way, and all of it at one stage."""
    changes = [world.current(workspace, id) for id in three.EVERY]
    going = {change.release: change for change in changes if change.under_way}
    assert {one.release for one in workspace.route().candidates} <= set(going)
    assert len({change.state for change in going.values()}) <= 1
