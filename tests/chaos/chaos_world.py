"""A flights project that a whole rollout fits into, and the people who sign for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from interlock.app import decide
from interlock.app.changes import evidence_of, held
from interlock.app.outdated import prove_again
from interlock.app.propose import propose
from interlock.app.templates import init
from interlock.app.tick import tick
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.change.request import Request
from interlock.plan.plan import Plan
from interlock.rollout.state import RolloutState

DAYS, FLIGHTS_PER_DAY, SEED = 75, 900, 1
FEW = 300  # flights per day where nothing is judged by them
# Calm days, so that high scores are not rare in the traffic, which begins where they end.
EVALUATION = ("2013-02-20", "2013-02-25")
LAST_DAY = "2013-03-16"
STAGES = ("shadow", "step_20", "step_50", "soak")
# With wide margins: what is tried is not how long evidence takes.
RAMP = """\
      - {name: shadow, weight: 0, hold: 12h, margins: 6}
      - {name: step_20, weight: 0.2, hold: 6h, margins: 6}
      - {name: step_50, weight: 0.5, hold: 6h, margins: 6}
      - {name: soak, weight: 1, hold: 24h, margins: 6}
"""
# Straight to real subjects, so that harm is met where it hurts.
STRAIGHT = """\
      - {name: step_25, weight: 0.25, hold: 6h}
      - {name: step_50, weight: 0.5, hold: 6h}
      - {name: soak, weight: 1, hold: 24h}
"""
# Three beside each other, straight to real subjects; one of them goes on to the soak.
BESIDE = """\
      - {name: ab, weight: 0.6, hold: 6h, margins: 6}
      - {name: soak, weight: 1, hold: 24h, margins: 6}
"""
PLACES = "    strategy: ab\n    arms: 3\n"
ENDS = ("COMMITTED", "ABORTED", "UNCHOSEN")
# The candidate's copy of one feature is this much higher, so every logged input says
# which version of the feature it was read from.
LIFT = 500.0
LIFTED = "origin_dep_delay_24h"


def new_project(folder: Path, flights: int = FLIGHTS_PER_DAY) -> None:
    """The flights project on made-up days, with a short ramp; nothing is released yet."""
    init("flights", folder, generated_days=DAYS, flights_per_day=flights, seed=SEED)
    set_stages(folder, RAMP)
    start, end = EVALUATION
    model = folder / "models/late.yaml"
    text = model.read_text(encoding="utf-8")
    text = re.sub(r"(?ms)^(training:.*?^  end: )\S+", rf"\g<1>{start}", text)
    text = re.sub(r"(evaluation:\n  start: )\S+\n  end: \S+", rf"\g<1>{start}\n  end: {end}", text)
    model.write_text(text.replace("num_trees: 150", "num_trees: 40"), encoding="utf-8")


def set_engines(folder: Path) -> None:
    """The record and the online store are servers, whose addresses the processes are given."""
    edit(
        folder / "interlock.yaml",
        "    clock: replay\n",
        '    clock: replay\n    record: "${CHAOS_RECORD}"\n    online: ["${CHAOS_ONLINE}"]\n',
    )


def set_stages(folder: Path, stages: str) -> None:
    """The declared ramp, replaced."""
    settings = folder / "interlock.yaml"
    text = settings.read_text(encoding="utf-8")
    text = re.sub(r"(?ms)^    stages:\n.*?(?=^    rollback_window)", f"    stages:\n{stages}", text)
    settings.write_text(text, encoding="utf-8")


def edit(file: Path, old: str, new: str) -> None:
    """One replacement that must find its place."""
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {file.name}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def places_of(workspace: Workspace, changes: Sequence[str]) -> set[str]:
    """Where each of `changes` is that has not ended; empty when all have."""
    found = (place_of(held(workspace.record, id).change) for id in changes)
    return {place for place in found if place not in ENDS}


def place_of(change: Change) -> str:
    """The stage that a change is in; outside of one its state."""
    if change.state not in ("SHADOW", "STEP", "SOAKING"):
        return change.state
    state = RolloutState.from_json(change.details["rollout"])
    assert state.stage is not None
    return state.stage.name


def stand_still_in(folder: Path, places: Sequence[str]) -> None:
    """The controller goes on from none of `places`: it is to be killed there."""
    aside = folder / "stand-still.new"
    aside.write_text(" ".join(places), encoding="utf-8")
    aside.replace(folder / "stand-still")


def where_to_stand_still(folder: Path) -> list[str]:
    """As `stand_still_in` said."""
    return (folder / "stand-still").read_text(encoding="utf-8").split()


def edit_good(folder: Path) -> None:
    """A change of a feature and of the model at once: the two must never be seen apart."""
    edit(
        folder / f"features/{LIFTED}.sql",
        "sum(sum(dep_delay)) OVER recent / sum(count(dep_delay)) OVER recent",
        f"sum(sum(dep_delay)) OVER recent / sum(count(dep_delay)) OVER recent + {LIFT}",
    )
    edit(folder / "models/late.yaml", "  seed: 1\n", "  seed: 2\n")


def edit_seed(folder: Path) -> None:
    """Another model of the same kind."""
    edit(folder / "models/late.yaml", "  seed: 1\n", "  seed: 3\n")


def edit_harmful(folder: Path) -> None:
    """A model that has learnt nothing."""
    edit(
        folder / "models/late.yaml",
        "    num_trees: 40\n",
        "    num_trees: 40\n    shuffle_labels: true\n",
    )


def edit_opposite(folder: Path) -> None:
    """A model that has learnt the opposite: harm is seen as soon as labels come."""
    edit(folder / "models/late.py", "        X, y, weight", "        X, 1 - y, weight")


def ask_for(title: str) -> Request:
    """What wei writes when opening a change."""
    return Request(title, "wei", "a drill", "nothing gets worse", "harm seen", "none known")


def propose_and_sign(workspace: Workspace, title: str, beside: str = "") -> Change:
    """Proposed by wei, everything that does not pass waived, signed by everybody needed."""
    change = propose(workspace, ask_for(title), beside=beside)
    sign(workspace, change.id)
    return held(workspace.record, change.id).change


def sign(workspace: Workspace, id: str) -> None:
    """Waive what made-up data cannot show, then every signature the plan asks for."""
    while True:
        change = held(workspace.record, id).change
        plan = Plan.from_json(change.plan or {})
        for piece in evidence_of(workspace.record, change):
            if piece.verdict != "pass" and piece.check in plan.evidence and not piece.not_run:
                decide.waive(
                    workspace, id, piece.check, by="dana", role="model_validator",
                    reason="made-up data cannot show this",
                )  # fmt: skip
        if change.state != "EVIDENCE":
            break
        prove_again(workspace, id, lambda _: None)
    for need in plan.requirements:
        person = next(one for one in need.people if one != "wei")
        decide.sign(workspace, id, by=person, role=need.role, team=need.team)


def propose_first(folder: Path) -> None:
    """CR-1: everything that is declared, proposed and signed."""
    workspace = Workspace(folder)
    propose_and_sign(workspace, "First release")
    workspace.close()


def release_first(folder: Path) -> None:
    """CR-1 goes live."""
    workspace = Workspace(folder)
    decide.apply(workspace, "CR-1", by="sam")
    tick(workspace)
    assert workspace.route().stable is not None
    workspace.close()


def start_change(folder: Path, title: str) -> Change:
    """What the files say now, proposed, signed and started: the controller does the rest."""
    workspace = Workspace(folder)
    change = propose_and_sign(workspace, title)
    decide.apply(workspace, change.id, by="sam")
    workspace.close()
    return change


def start_three(folder: Path) -> tuple[Change, ...]:
    """Three candidates beside each other, started together: the second of them harms."""
    set_stages(folder, BESIDE)
    edit(folder / "interlock.yaml", "    clock: replay\n", f"    clock: replay\n{PLACES}")
    found: list[Change] = []
    for change in (edit_good, edit_opposite, edit_seed):
        kept = {file: file.read_bytes() for file in folder.glob("[fm]*/*.*")}
        change(folder)
        workspace = Workspace(folder)
        found.append(propose_and_sign(workspace, change.__name__, found[0].id if found else ""))
        if len(found) == 3:
            decide.apply(workspace, found[0].id, by="sam")
        workspace.close()
        for file, text in kept.items():
            file.write_bytes(text)
    return tuple(found)
