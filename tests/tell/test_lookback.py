"""Release notes and scorecards say what the record holds, and nothing where it holds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import tell_world as world
from hypothesis import given
from hypothesis import strategies as st

from interlock.app import reviews
from interlock.app.changes import keep_evidence
from interlock.app.lookback import notes, scorecard
from interlock.app.workspace import Workspace
from interlock.change.evidence import Evidence, Waiver
from interlock.change.scorecard import FIGURES, Life, Period, figures
from interlock.errors import NotFound, Unusable
from interlock.rollout.state import State

NOON = world.NOON
ALL = Period(NOON - timedelta(days=1), NOON + timedelta(days=30))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with world.project(tmp_path) as opened:
        yield opened


# --- release notes --------------------------------------------------------------------


def done(workspace: Workspace, id: str = "CR-1") -> world.Story:
    story = world.Story(workspace, replace(world.draft(), id=id)).reviewed()
    piece = Evidence("values:origin_weather@1", {}, "fail", "temp is in another unit", NOON, n=9)
    keep_evidence(workspace, [piece], by="amina")
    waiver = Waiver(piece.check, "tomas", "data_steward", "that is what we want", NOON)
    story._save(replace(story.change, evidence=(piece.digest,), waivers=(waiver,)))
    return story.signed().approved().committed()


def test_the_notes_of_a_change_hold_reason_tests_rollback_and_signatures(
    workspace: Workspace,
) -> None:
    done(workspace)
    (note,) = notes(workspace, "CR-1")
    assert note.reason == "One unit everywhere, so that nobody mixes them up."
    assert note.rollback == "any number gets worse"
    assert note.affected == "crew and rebooking, which act on these numbers"
    assert [(t.check, t.verdict) for t in note.tests] == [("values:origin_weather@1", "fail")]
    assert "waived by tomas" in note.tests[0].waived
    assert [(a.person, a.role) for a in note.agreed] == [("carlos", "service_owner")]
    assert note.released_at is not None
    assert (note.taken_back, note.review) == ("", "")
    assert note.to_json()["released_at"].startswith("2026-05-0")


def test_a_thing_has_the_notes_of_all_that_touched_it_and_reached_people(
    workspace: Workspace,
) -> None:
    done(workspace, "CR-1")
    done(workspace, "CR-2").rolled(State.REVERTING, 2, "harm seen at soak: kpi:crew: worse").rolled(
        State.ABORTED, 2, "rolled back"
    )
    world.Story(workspace, replace(world.draft(), id="CR-3")).reviewed()  # nobody got it
    view = notes(workspace, "view:origin_weather@1")
    assert [note.change for note in view] == ["CR-2", "CR-1"]
    assert view[0].taken_back.startswith("harm seen")
    assert view[0].review == "open"
    assert "temp is in Celsius" in view[0].impact
    assert notes(workspace, "feature:origin_weather@1:temp")[0].impact == view[0].impact
    assert "moves because" in notes(workspace, "service:crew")[0].impact
    assert notes(workspace, "service:gates") == []
    assert notes(workspace, "view:origin_weather@2") == []
    assert len(notes(workspace, world.CANDIDATE[:8])) == 3
    for wrong in ("CR-9", "abcdef"):
        with pytest.raises(NotFound):
            notes(workspace, wrong)
    with pytest.raises(Unusable):
        notes(workspace, "origin_weather")


# --- scorecards -----------------------------------------------------------------------


def values(lives: list[Life], period: Period = ALL) -> dict[str, tuple[float | None, int]]:
    return {one.name: (one.value, one.n) for one in figures(lives, period)}


def life(id: str = "CR-1", finding: str = "", **hours: float) -> Life:
    entered = tuple((state, NOON + timedelta(hours=after)) for state, after in hours.items())
    return Life(id, "data-eng", NOON, entered, finding)  # type: ignore[arg-type]


def test_nothing_is_no_data_and_not_zero() -> None:
    for figure in figures([], ALL):
        assert (figure.value, figure.n, figure.text) == (None, 0, "no data")
    assert values([life(DRAFT=0)])["change_failure_rate"] == (None, 0)


def test_figures_of_a_few_lives_by_hand() -> None:
    lives = [
        life("CR-1", REVIEW=1, APPROVED=3, PREPARING=4, SHADOW=5, STEP=10, COMMITTED=20),
        life("CR-2", REVIEW=1, APPROVED=7, STEP=10, SOAKING=30, ABORTING=33, ABORTED=34,
             finding="harmful"),
        life("CR-3", REVIEW=1, APPROVED=2, SHADOW=3, ABORTING=9, ABORTED=10, finding="fine"),
        life("CR-4", STEP=10, COMMITTED=40, REVERTING=45, ABORTED=46, finding="unclear"),
    ]  # fmt: skip
    assert values(lives) == {
        "lead_time": (30.0, 2), "change_failure_rate": (2 / 3, 3), "caught_early": (1 / 3, 3),
        "time_to_restore": (4.0, 2), "false_rollbacks": (0.5, 2), "signoff_wait": (2.0, 3),
    }  # fmt: skip
    later = Period(NOON + timedelta(hours=33), ALL.until)
    assert values(lives, later)["change_failure_rate"] == (None, 0)  # they began to serve before
    assert values(lives, later)["time_to_restore"] == (4.0, 2)


@given(st.lists(st.integers(0, 40 * 24), min_size=1, max_size=8))
def test_every_change_falls_into_one_part_of_the_period(hours: list[int]) -> None:
    lives = [life(f"CR-{i}", STEP=h) for i, h in enumerate(hours)]
    parts = ALL.parts()
    assert len(parts) <= 13
    assert parts[0].since == ALL.since
    assert parts[-1].until == ALL.until
    for name, *_ in FIGURES:
        assert sum(values(lives, p)[name][1] for p in parts) == values(lives)[name][1]


def test_a_scorecard_comes_from_the_record(workspace: Workspace) -> None:
    done(workspace, "CR-1")
    other = replace(world.draft(author="carlos"), id="CR-2")
    world.Story(workspace, other).reviewed().approved().ramped().harmed()
    card = scorecard(workspace)
    found = {one.name: one for one in card.figures}
    assert (found["change_failure_rate"].value, found["change_failure_rate"].n) == (0.5, 2)
    assert found["false_rollbacks"].text == "no data"  # its review is still open
    assert set(card.teams) == {"data-eng", "ops-crew"}
    reviews.give_feedback(workspace, "CR-2", "crews were called twice", by="carlos")
    reviews.close(workspace, "CR-2", by="carlos", finding="fine")
    mine = {one.name: one for one in scorecard(workspace, "ops-crew").figures}
    assert (mine["false_rollbacks"].value, mine["lead_time"].value) == (1.0, None)
    # Entered a step at one hour, taken back an hour later.
    assert mine["time_to_restore"].text == "1 h"
    with pytest.raises(NotFound, match="no team nobody"):
        scorecard(workspace, "nobody")
    early = scorecard(workspace, since="2020-01-01", until="2020-04-01")
    assert {one.value for one in early.figures} == {None}
    for wrong in (("2020-04-01", "2020-01-01"), ("soon", ""), ("", "2020-13-01")):
        with pytest.raises(Unusable):
            scorecard(workspace, "", *wrong)
