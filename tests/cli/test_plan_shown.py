"""`plan` at the command line: the comment, the why, and lines that fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from terminal import contents, edit, interlock, on_a_terminal


@pytest.fixture
def edited(project: Path) -> Path:
    edit(project / "tables/wh_weather.sql", "THEN wind_speed END", "THEN wind_speed * 1.6 END")
    return project


def definitions(folder: Path) -> dict[str, str]:
    return {name: said for name, said in contents(folder).items() if not name.startswith(".")}


def test_the_comment_is_markdown_and_keeps_the_exit_code_of_the_plan(edited: Path) -> None:  # R-C11
    before = definitions(edited)
    done = interlock("plan", "-C", edited, "--comment", "--graph")
    assert done.code == 2
    assert done.out.startswith("<!-- interlock plan flights prod -->\n### Interlock: ")
    assert "```mermaid" in done.out
    assert definitions(edited) == before
    as_json = interlock("plan", "-C", edited, "--comment", "--json").json
    assert as_json["marker"] == done.out.splitlines()[0]
    assert as_json["body"].startswith(as_json["marker"])


def test_why_is_answered_for_people_and_programs(edited: Path) -> None:
    # Nothing is released here: everything is new, and that is the answer.
    done = interlock("plan", "-C", edited, "--explain", "view:origin_weather@1")
    assert (done.code, done.out.splitlines()[0]) == (0, "view:origin_weather@1: new")
    found = interlock("plan", "-C", edited, "--explain", "model:late", "--json").json
    assert (found["ref"], found["verdict"]) == ("model:late", "new")


def test_questions_that_do_not_go_together_are_refused(edited: Path) -> None:
    both = interlock("plan", "-C", edited, "--comment", "--explain", "model:late")
    assert (both.code, "two answers at once" in both.err) == (3, True)
    alone = interlock("plan", "-C", edited, "--graph", "--json")
    assert alone.code == 3
    assert alone.error["help"]
    wrong = interlock("plan", "-C", edited, "--explain", "model:lat")
    assert (wrong.code, "did you mean model:late" in wrong.err) == (3, True)


def test_the_plan_can_be_read_in_a_hundred_columns(edited: Path) -> None:
    seen = on_a_terminal("plan", "-C", edited, columns=100, NO_COLOR="1")
    assert "must sign:" in seen
    assert max(map(len, seen.splitlines())) <= 100
