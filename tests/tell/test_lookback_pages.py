"""The pages of what is over: reviews, release notes and scorecards, served from a record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tell_world as world
from starlette.testclient import TestClient

from interlock.app import reviews
from interlock.rollout.state import State
from interlock.web.desk import RecordDesk
from interlock.web.pages import pages_app


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """CR-1 is done, CR-2 harmed; somebody said why, and what follows."""
    with world.project(tmp_path) as workspace:
        world.Story(workspace).reviewed().signed().approved().committed()
        other = replace(
            world.draft("<b>Class weights</b>", "carlos"), id="CR-2",
            details={"judge": {"guardrails": [
                {"name": "kpi:crew", "form": "paired", "margin": 0.05, "margin_absolute": 0.0,
                 "direction": "higher_is_worse", "weight": 1.0}], "alpha": 0.05, "beta": 0.05}},
        )  # fmt: skip
        story = world.Story(workspace, other).reviewed().approved()
        kept = story.change.details
        story.started()
        story._save(replace(story.change, details={**kept, **story.change.details}))
        story.rolled(State.SHADOW, 0).rolled(State.STEP, 1).harmed()
        reviews.give_feedback(workspace, "CR-2", "crews were <i>called</i> twice", by="carlos")
        reviews.add_action(
            workspace, "CR-2", "look at the unit", by="carlos", check="contract:wh.weather"
        )
        yield TestClient(pages_app(RecordDesk(workspace)))


def test_a_review_stands_on_the_page_of_its_change(client: TestClient) -> None:
    text = client.get("/changes/CR-2").text
    assert "Looking back" in text
    assert "it was taken back on its way" in text
    assert "at most 5 % higher" in text
    assert "crews were &lt;i&gt;called&lt;/i&gt; twice" in text
    assert "contract:wh.weather" in text
    assert "Looking back" not in client.get("/changes/CR-1").text
    page = client.get("/changes/CR-2.json").json()
    assert page["review"]["rows"][0]["candidate"] == 0.19
    assert page["review"]["silent"] == []


def test_notes_have_a_page_of_a_change_a_release_and_a_thing(client: TestClient) -> None:
    for about in ("CR-2", world.CANDIDATE[:12], "feature:origin_weather@1:temp"):
        answer = client.get(f"/notes/{about}")
        assert answer.status_code == 200, about
        assert "&lt;b&gt;Class weights&lt;/b&gt;" in answer.text
        assert "Taken back" in answer.text
    found = client.get("/notes/view:origin_weather@1.json").json()
    assert {note["change"] for note in found["notes"]} == {"CR-1", "CR-2"}
    assert "No release has touched it" in client.get("/notes/table:wh.planes").text
    for wrong in ("CR-9", "abcdef0", "nothing"):
        assert client.get(f"/notes/{wrong}").status_code == 404


def test_a_scorecard_has_a_page_with_every_number_it_stands_on(client: TestClient) -> None:
    found = client.get("/scorecard.json").json()
    # The pages have the clock of the wall: what is told here happened in May 2026.
    assert {one["name"] for one in found["figures"]} >= {"lead_time", "signoff_wait"}
    assert all(one["value"] is not None or one["n"] == 0 for one in found["figures"])
    text = client.get("/scorecard?team=ops-crew").text
    assert "Scorecard of ops-crew" in text
    assert "no data" in text
    assert client.get("/scorecard?team=nobody").status_code == 404
