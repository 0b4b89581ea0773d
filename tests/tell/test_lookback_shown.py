"""`review`, `notes`, `scorecard` and `outbox` on the command line: what they say, and refuse."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tell_world as world

from interlock.cli.main import run


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """CR-1 went back."""
    with world.project(tmp_path / "late") as workspace:
        world.Story(workspace).reviewed().approved().ramped().harmed()
    return tmp_path / "late"


def command(folder: Path, *arguments: str) -> Done:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            run([*arguments, "-C", str(folder)])
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def test_a_review_from_its_opening_to_its_end(folder: Path) -> None:
    seen = command(folder, "review", "CR-1")
    assert seen.code == 0
    for said in ("it was taken back on its way", "ops-crew", "nobody has said anything yet"):
        assert said in seen.out
    refused = command(folder, "review", "CR-1", "--close", "--finding", "fine", "--by", "sam")
    assert refused.code == 3
    assert "ops-crew has not said anything yet" in refused.err
    said = command(folder, "review", "CR-1", "--by", "carlos", "--feedback", "we were called twice",
                   "--action", "look at it", "--check", "contract:wh.weather")  # fmt: skip
    assert "carlos for ops-crew (system): we were called twice" in said.out
    assert "plans must pass contract:wh.weather" in said.out
    closed = command(folder, "review", "CR-1", "--close", "--finding", "fine", "--by", "sam",
                     "--json")  # fmt: skip
    assert (closed.json["finding"], closed.json["actions"][0]["done_by"]) == ("fine", "")
    done = command(folder, "review", "CR-1", "--done", "1", "--by", "carlos", "--json")
    assert done.json["actions"][0]["done_by"] == "carlos"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("review", "CR-9"), "CR-9 has no review"),
        (("review", "CR-1", "--feedback", "x"), "who says so?"),
        (("review", "CR-1", "--check", "c", "--by", "sam"), "--check and --sql go with --action"),
        (("review", "CR-1", "--feedback", "x", "--section", "who", "--by", "sam"), "no section"),
        (("notes", "CR-9"), "there is no change CR-9"),
        (("notes", "nothing"), "is not an address"),
        (("scorecard", "--team", "nobody"), "no team nobody"),
        (("scorecard", "--since", "soon"), "is not a day"),
        (("outbox", "send"), "outbox knows no 'send'"),
        (("outbox", "retry"), "retry which message?"),
        (("outbox", "retry", "msg_1"), "who asks for it?"),
        (("outbox", "retry", "msg_1", "--by", "sam"), "nothing waits under msg_1"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_to_do(
    folder: Path, arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INTERLOCK_USER", raising=False)
    done = command(folder, *arguments)
    assert done.code == 3, done.out
    assert said in done.err
    assert "help: " in done.err


def test_notes_and_their_story(folder: Path) -> None:
    notes = command(folder, "notes", "CR-1")
    for said in ("any number gets worse", "harm seen at step_25", "values:origin_weather@1"):
        assert said in notes.out
    assert command(folder, "notes", "service:crew", "--json").json[0]["change"] == "CR-1"
    assert "no release has touched it" in command(folder, "notes", "table:wh.planes").out
    story = command(folder, "notes", "CR-1", "--story")
    assert "What: Amina proposes a change." in story.out
    assert "change:CR-1 ABORTED in prod" in story.out


def test_a_scorecard_says_where_there_is_no_data(folder: Path) -> None:
    found = command(folder, "scorecard", "--since", "2026-05-01", "--until", "2026-06-01", "--json")
    figures = {one["name"]: one for one in found.json["figures"]}
    assert (figures["change_failure_rate"]["value"], figures["change_failure_rate"]["n"]) == (
        1.0,
        1,
    )
    assert figures["lead_time"]["value"] is None
    shown = command(folder, "scorecard", "--since", "2026-05-01", "--until", "2026-06-01").out
    assert "100 %" in shown
    assert "no data" in shown


def test_an_empty_outbox_says_so(folder: Path) -> None:
    assert command(folder, "outbox").out == "nothing waits\n"
    assert command(folder, "outbox", "--json").json == []
