"""A kill at every write of a change's life: asked again, each step ends where it would have.

Every step is done once unharmed. Then, for each of its writes, in a copy, a process of its own
does it and is killed there; another one does it again. Both must leave the same record.
A change that is made or carried over builds, trains and checks: that is slow, so one copy is
killed at its first write, then asked again and killed at the next, until it is made.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import app_world as world
import pytest
from forks import forks

from interlock.app import decide, reviews
from interlock.app.booking import book
from interlock.app.changes import all_changes, held, save
from interlock.app.rebase import rebase
from interlock.app.tick import tick
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.plan.plan import Plan, Required
from interlock.testing.killed import Step, leases_run_out, moves, run_step, standing

SEED, MARGIN = "CR-2", "CR-3"
CREW = {"by": "carlos", "role": "service_owner", "team": "ops-crew"}


def mine(workspace: Workspace) -> str:
    return world.current(workspace, SEED).state


# --- the steps, each of them safe to ask for again -------------------------------------


def waiving(workspace: Workspace) -> None:
    """The last waiver approves, books and schedules, as the last signature does."""
    if mine(workspace) != "SCHEDULED":
        world.waived(workspace, SEED)


def signing(workspace: Workspace) -> None:
    """The last signature approves, books the time and schedules."""
    for need in Plan.from_json(world.current(workspace, MARGIN).plan or {}).requirements:
        person = next(one for one in need.people if one != world.AUTHOR)
        there = world.current(workspace, MARGIN)
        if there.state != "SCHEDULED" and (last(need, there) or not has_signed(person, there)):
            decide.sign(workspace, MARGIN, by=person, role=need.role, team=need.team)


def has_signed(person: str, change: Change) -> bool:
    return any(one.person == person for one in change.signoffs)


def last(need: Required, change: Change) -> bool:
    """Asked again, whoever was last signs once more: that is how it goes on from APPROVED."""
    return need == Plan.from_json(change.plan or {}).requirements[-1]


def rejecting(workspace: Workspace) -> None:
    decide.sign(workspace, SEED, **CREW, reject="not in this week")


def unsigning(workspace: Workspace) -> None:
    if any(s.person == "carlos" and s.agrees for s in world.current(workspace, SEED).signoffs):
        decide.unsign(workspace, SEED, **CREW, reason="on second thoughts")


def booking(workspace: Workspace) -> None:
    book(workspace, SEED, by="wei", at=workspace.now() + timedelta(days=2))


def withdrawing(workspace: Workspace) -> None:
    if mine(workspace) != "WITHDRAWN":
        decide.withdraw(workspace, SEED, by="wei", reason="no need")


def starting(workspace: Workspace) -> None:
    decide.apply(workspace, SEED, by="sam")


def going_on(workspace: Workspace, out_of: str) -> None:
    """The next stage, at the word of somebody; only out of the state that it is about."""
    if mine(workspace) == out_of:
        world.go_on(workspace, SEED)


def going_back(workspace: Workspace) -> None:
    """The route first; then the controller's last word, with the review that it opens."""
    if mine(workspace) not in ("ABORTING", "REVERTING", "ABORTED"):
        decide.rollback(workspace, SEED, by="rita", reason="passengers complain")
    tick(workspace)


def frozen(workspace: Workspace) -> None:
    """A freeze comes while it runs, and is over: it holds and goes on by itself."""
    for moment in (world.FREEZE[0] + timedelta(hours=1), world.FREEZE[1] + timedelta(hours=1)):
        workspace.advance(moment)
        tick(workspace)


def reviewing(workspace: Workspace) -> None:
    if not reviews.look_back(workspace, SEED).review.actions:
        reviews.add_action(workspace, SEED, "ask before, next time", by="rita")
    if not reviews.look_back(workspace, SEED).review.feedback:
        reviews.give_feedback(workspace, SEED, "we were told in time", by="carlos")


STEPS: Mapping[str, tuple[str, Step]] = {
    "waive": ("unwaived", waiving),
    "sign, approve and book": ("signed", signing),
    "reject": ("signed", rejecting),
    "unsign": ("signed", unsigning),
    "book another time": ("signed", booking),
    "withdraw": ("signed", withdrawing),
    "start": ("signed", starting),
    "prepare and mirror": ("PREPARING", partial(going_on, out_of="PREPARING")),
    "first step": ("SHADOW", partial(going_on, out_of="SHADOW")),
    "soak": ("STEP", partial(going_on, out_of="STEP")),
    "commit": ("SOAKING", partial(going_on, out_of="SOAKING")),
    "a freeze": ("SHADOW", frozen),
    "take back a step": ("STEP", going_back),
    "take back a commit": ("COMMITTED", going_back),
    "review": ("taken back", reviewing),
}


@pytest.fixture(scope="module")
def bases(signed: Path, stages: Mapping[str, Path], life: Path) -> Mapping[str, Path]:
    """By name, a project to do a step in."""
    own = {
        name: world.copied(base, life / f"killed-{name}")
        for name, base in {"unwaived": signed, "taken back": stages["STEP"]}.items()
    }  # fmt: skip
    with world.opened(own["unwaived"]) as workspace:
        before = held(workspace.record, SEED)
        asked = replace(before.change, waivers=(), state="REVIEW")
        save(workspace, before, asked, by="a test")
    with world.opened(own["taken back"]) as workspace:
        going_back(workspace)
    return {**stages, "signed": signed, **own}


def done(folder: Path, step: Step, at: int = 0) -> int:
    """`step` in a process of its own: how many writes it made, or the signal that ended it."""
    process = forks().Process(target=run_step, args=(folder, step, at))
    process.start()
    process.join()
    code = process.exitcode
    assert code is not None
    leases_run_out(folder, process.pid or 0)
    return code


@pytest.mark.parametrize("name", STEPS)
def test_a_step_killed_at_any_write_and_asked_again_ends_where_it_would_have(
    bases: Mapping[str, Path], tmp_path: Path, name: str
) -> None:
    base, step = STEPS[name]
    whole = world.copied(bases[base], tmp_path / "whole")
    writes = done(whole, step)
    assert writes > 0
    wanted, path = standing(whole), moves(whole)

    def killed(at: int) -> None:
        folder = world.copied(bases[base], tmp_path / f"killed-{at}")
        assert done(folder, step, at) == -signal.SIGKILL
        assert done(folder, step) >= 0
        assert standing(folder) == wanted, f"killed before write {at}"
        assert moves(folder) == path
        shutil.rmtree(folder)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(killed, range(1, writes + 1)))


# --- making a change -------------------------------------------------------------------


def proposing(workspace: Workspace) -> None:
    """Another seed: a model is trained, and the proof stops at what made-up data cannot show."""
    found = [one for one in all_changes(workspace) if one.title == "Another seed"]
    if not found or found[0].state != "EVIDENCE":
        world.proposed(workspace, "Another seed")


def rebasing(workspace: Workspace) -> None:
    """Onto what CR-2 has brought meanwhile."""
    there = held(workspace.record, MARGIN)
    if (there.change.made_against, there.change.state) != (workspace.route().stable, "REVIEW"):
        rebase(workspace, there)


@pytest.fixture
def making(released: Path, stages: Mapping[str, Path], tmp_path: Path) -> Mapping[str, Path]:
    """By step, a project to do it in."""
    edited = world.copied(released, tmp_path / "edited")
    world.edit(edited, "models/late.yaml", "  seed: 1\n", "  seed: 2\n")
    return {"propose": edited, "rebase": stages["COMMITTED"]}


@pytest.mark.parametrize(("name", "step"), [("propose", proposing), ("rebase", rebasing)])
def test_a_change_killed_at_each_write_of_its_making_is_the_one_it_would_have_been(
    making: Mapping[str, Path], tmp_path: Path, name: str, step: Step
) -> None:
    whole = world.copied(making[name], tmp_path / "whole")
    folder = world.copied(making[name], tmp_path / "killed")
    with ThreadPoolExecutor(1) as pool:
        unharmed = pool.submit(done, whole, step)
        at = 1
        while done(folder, step, at) == -signal.SIGKILL:
            at += 1
        assert at > unharmed.result() > 2
    assert standing(folder) == standing(whole)
    assert planned_once(moves(folder)) == planned_once(moves(whole))


def planned_once(moves: Mapping[str, list[str]]) -> Mapping[str, str]:
    """What was cut off with its evidence is planned again: other things may run by now."""
    again = "PLANNED EVIDENCE " * 2
    found = {}
    for id, states in moves.items():
        text = f"{' '.join(states)} "
        while again in text:
            text = text.replace(again, "PLANNED EVIDENCE ")
        found[id] = text
    return found
