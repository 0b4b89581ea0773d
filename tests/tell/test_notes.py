"""What is said of each transition: held against texts that people have read, and against jargon."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import get_args

import pytest
import tell_world as world

from interlock.app.outbox import story
from interlock.change.change import State, moved
from interlock.change.notes import Note, in_words
from interlock.define.notifications import Moment
from interlock.rollout.defaults import KpiPlan, Planned, default_guardrails
from interlock.rollout.state import HoldReason
from interlock.rollout.state import State as Rolled

GOLDEN = Path(__file__).parent / "golden"
JARGON = re.compile(
    r"e-value|digest|\bcompare-and-swap\b|rollout|canary|shadow|soak|epoch|route|guardrail|feature"
    r"|\bkpi\b|[0-9a-f]{12}|view:|service:|model:|_|\bstable\b|\bcandidate\b",
    re.I,
)


def told(tmp_path: Path, name: str) -> tuple[Note, ...]:
    with world.project(tmp_path) as workspace:
        change = world.Story(workspace)
        match name:
            case "committed":
                change.reviewed().signed().approved().committed()
                change.rolled(Rolled.RETIRED, 2, "the rollback window is over")
            case "harmed":
                change.reviewed().signed("reject", "which unit?").approved().ramped()
                change.held(HoldReason.FREEZE, "stocktaking until 9 May").held(None, "")
                change.harmed()
            case "reverted":
                change.reviewed().approved().committed()
                change.rolled(Rolled.REVERTING, 2, "sam asked to roll back: crews complain")
                change.rolled(Rolled.ABORTED, 2, "rolled back: sam asked to roll back")
            case "withdrawn":
                change.reviewed()
                change._save(moved(change.change, "WITHDRAWN", "withdrawn: not needed"), "amina")
        return story(workspace, "CR-1")


@pytest.mark.parametrize("name", ["committed", "harmed", "reverted", "withdrawn"])
def test_a_story_reads_as_people_have_read_it(tmp_path: Path, name: str) -> None:
    text = "\n".join(
        f"=== {n.moment} (version {n.version}, by {n.by})\n{n.title}\n--- summary\n{n.summary}\n"
        f"--- detail\n{n.detail}\n"
        for n in told(tmp_path, name)
    )
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("INTERLOCK_WRITE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text(), "read it, then write it with INTERLOCK_WRITE_GOLDEN=1"


@pytest.mark.parametrize("name", ["committed", "harmed", "reverted", "withdrawn"])
def test_a_summary_answers_four_questions_without_jargon(tmp_path: Path, name: str) -> None:
    for note in told(tmp_path, name):
        asked = [line.partition(":")[0] for line in note.summary.splitlines()]
        known = note.moment != "DRAFT"  # whom it touches is not known before there is a plan
        assert {"What", "Why", "Next", *({"Affected"} if known else ())} <= set(asked)
        found = JARGON.search(note.summary) or JARGON.search(note.title)
        assert found is None, f"{note.moment}: {found} in\n{note.title}\n{note.summary}"


def test_there_are_words_for_every_state_and_every_hold(tmp_path: Path) -> None:
    assert {*get_args(State), "HOLD", "RESUMED", "REJECTED"} == set(get_args(Moment))
    for reason in HoldReason:
        with world.project(tmp_path / reason.value) as workspace:
            change = world.Story(workspace).reviewed().approved().ramped().held(reason)
            last = story(workspace, change.change.id)[-1]
            assert last.moment == "HOLD"
            assert reason.value not in last.summary
            assert JARGON.search(last.summary) is None


def test_every_guardrail_has_plain_words() -> None:
    kpis = [KpiPlan("crew", 1.0, 1.0, 0.1, "lower", 10.0)]
    for guardrail in default_guardrails(Planned(100.0, {"step_25": 0.25}, kpis=kpis)):
        assert JARGON.search(in_words(guardrail.name)) is None
        assert in_words(guardrail.name) != guardrail.name


def test_a_look_that_changes_nothing_is_not_told(tmp_path: Path) -> None:
    with world.project(tmp_path) as workspace:
        change = world.Story(workspace).reviewed().approved().ramped()
        before = story(workspace, "CR-1")
        change.held(None, "a few more answers")  # what a look says of a stage that lasts
        assert story(workspace, "CR-1") == before
