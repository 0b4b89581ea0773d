"""What people see: on a terminal in colour and at its width, elsewhere plain; JSON stays JSON."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from terminal import Opened, interlock, on_a_terminal

from interlock.app.answers import blocking
from interlock.app.changes import Standing, describe
from interlock.app.traffic import Played
from interlock.app.workspace import Workspace
from interlock.change.evidence import Waiver
from interlock.cli import views
from interlock.define.release import Route

ESCAPE = "\x1b["
_CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")

STORY = """
from interlock.cli.progress import story
with story() as teller:
    teller.chapter("A change", "A sentence that is rather long and does not fit on one line of 80.")
    teller.step("building")
    teller.step("[red]training[/red]")
    teller.fact("the mean score is 0.25")
    teller.proven("no subject was told two releases in all of the 27,004 requests of a day")
    teller.done(93.4)
"""
PROGRESS = """
from interlock.cli.progress import progress
with progress() as say:
    say("building [table]")
    say("training")
print("answer")
"""


def wide(text: str) -> int:
    return max(len(line) for line in _CODES.sub("", text).splitlines())


@pytest.fixture
def standing(opened: Opened) -> Standing:
    workspace = Workspace(opened.folder, looking=True)
    found = describe(workspace, "CR-1")
    workspace.close()
    return found


@pytest.mark.parametrize("command", [["status", "CR-1"], ["changes"], ["status"], ["plan"]])
def test_on_a_terminal_nothing_is_wider_than_it(opened: Opened, command: list[str]) -> None:
    seen = on_a_terminal(*command, "-C", opened.folder, columns=80)
    assert wide(seen) <= 80
    assert ESCAPE in seen


@pytest.mark.parametrize("command", [["status", "CR-1"], ["plan"]])
def test_no_color_is_honoured(opened: Opened, command: list[str]) -> None:
    seen = on_a_terminal(*command, "-C", opened.folder, NO_COLOR="1")
    assert "\x1b[3" not in seen, "a colour in spite of NO_COLOR"
    assert "prod" in seen or "CR-1" in seen


@pytest.mark.parametrize("command", [["status", "CR-1"], ["plan"], ["changes"]])
def test_elsewhere_there_is_no_colour(opened: Opened, command: list[str]) -> None:
    assert ESCAPE not in interlock(*command, "-C", opened.folder).out


def test_json_on_a_terminal_is_json(opened: Opened) -> None:
    seen = on_a_terminal("changes", "-C", opened.folder, "--json")
    assert seen.startswith("[\n")
    assert ESCAPE not in seen


def test_progress_stays_off_standard_output(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRESS], capture_output=True, text=True, check=True
    )
    assert done.stdout == "answer\n"
    assert done.stderr == "building [table]\ntraining\n"


def test_a_story_marks_what_was_proven() -> None:
    done = subprocess.run([sys.executable, "-c", STORY], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert "1. A change" in lines
    assert "   [red]training[/red]" in [line.rstrip() for line in lines], "text is not markup"
    assert any(line.startswith("   ✓ no subject was told two") for line in lines)
    assert lines[-1].rstrip() == "The whole story took 93 s."
    assert max(map(len, lines)) <= 80
    assert ESCAPE not in done.stdout


# R-F4
def test_only_required_checks_that_do_not_pass_block(standing: Standing) -> None:
    assert standing.change is not None
    needed = (standing.change.plan or {})["evidence"]
    first, *others = (piece for piece in standing.evidence if piece.check in needed)
    passing = [replace(piece, verdict="pass") for piece in others]
    beside = replace(first, check="beside:what was asked", verdict="fail")
    failed = replace(first, verdict="fail")
    for piece, expected in ((failed, (first.check,)), (beside, ())):
        found = replace(standing, evidence=(piece, *passing))
        assert blocking(found) == expected
    for verdict in ("fail", "inconclusive"):
        found = replace(standing, evidence=(replace(first, verdict=verdict), *passing))
        assert blocking(found) == (first.check,)
        assert first.check in views.status(found)
    waiver = Waiver(
        first.check, "dana", "model_validator", "a reason that is long enough", _at(found)
    )
    waived = replace(found, change=replace(standing.change, waivers=(waiver,)))
    assert blocking(waived) == ()
    assert "is waived by dana" in " ".join(views.status(waived).split())


def _at(found: Standing) -> object:
    assert found.change is not None
    return found.change.opened_at


def test_the_environment_says_who_gets_which_release(standing: Standing) -> None:
    route = Route("prod", 4, "a" * 64, "b" * 64, 0.25, change="CR-2", stage="step_25")
    shown = views.status(Standing("prod", route, ()))
    assert "bbbbbbbbbbbb: 25% of subjects (CR-2, step_25)" in shown
    some = replace(route, filter=(("origin", ("EWR", "JFK")),))
    assert "only origin EWR or JFK" in " ".join(views.status(Standing("prod", some, ())).split())
    mirrored = views.status(Standing("prod", replace(route, weight=0.0, mirror=True), ()))
    assert "shown to nobody" in mirrored


def test_a_judgement_shows_what_was_not_measured_as_a_dash(standing: Standing) -> None:
    ruling = {
        "name": "log_loss", "verdict": "needs_data", "mean_stable": None,
        "mean_candidate": 0.412345, "interval": None,
    }  # fmt: skip
    judgement = {
        "stage": "shadow", "at": "2013-06-02T00:00:00+00:00", "sentence": "needs data",
        "per_guardrail": [ruling],
    }  # fmt: skip
    shown = views.status(replace(standing, judgement=judgement))
    row = next(line for line in shown.splitlines() if line.startswith("log_loss"))
    assert row.split() == ["log_loss", "needs", "data", "-", "0.4123", "-"]


def test_traffic_says_whether_anybody_was_told_two_releases() -> None:
    played = Played(
        requests=10, rows=100, releases=Counter({"a" * 64: 60, "b" * 64: 40}),
        reasons=Counter({"live": 100}), flags_asked=30, mixed=2, score_sum=25.0,
    )  # fmt: skip
    shown = views.played(played)
    assert "2 of 30 comparisons" in shown
    assert "aaaaaaaaaaaa: 60, bbbbbbbbbbbb: 40" in shown
    assert views.played_json(played)["mean_score"] == 0.25
