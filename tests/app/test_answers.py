"""What a command answers as JSON gives the same values again at the other end."""

from __future__ import annotations

import json
from pathlib import Path

import app_world as world

from interlock.app import answers
from interlock.app.changes import all_changes, describe
from interlock.cli import views


def sent(value: object) -> object:
    return json.loads(json.dumps(value))


def test_a_standing_comes_back_whole(signed: Path) -> None:
    with world.opened(signed) as workspace:
        for id in (None, "CR-1", "CR-3"):
            found = describe(workspace, id)
            body = sent(answers.status_json(found))
            again = answers.standing_of(body)  # type: ignore[arg-type]
            assert sent(answers.status_json(again)) == body
            assert views.status(again) == views.status(found)


def test_a_list_of_changes_is_shown_the_same_from_its_brief(signed: Path) -> None:
    with world.opened(signed) as workspace:
        found = all_changes(workspace)
        body = sent(answers.changes_json(found))
        assert views.changes(answers.changes_of(body)) == views.changes(found)  # type: ignore[arg-type]
