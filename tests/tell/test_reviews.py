"""Reviews open with the transition that asks for one, hear everybody, and bind the next plan."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tell_world as world

from interlock.app import reviews
from interlock.app.reviews import look_back
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.change.review import Action, Review, asked, compared, still_asked, with_action
from interlock.define.refs import Ref
from interlock.errors import NotFound, Refused, Unusable
from interlock.ports import Put
from interlock.rollout.state import State

GUARDRAILS = [
    {"name": "kpi:crew", "form": "paired", "margin": 0.05, "margin_absolute": 0.0,
     "direction": "higher_is_worse"},
    {"name": "errors", "form": "rate", "margin": 0.5, "margin_absolute": 0.01,
     "direction": "higher_is_worse"},
    {"name": "split", "form": "split", "margin": 0.25, "margin_absolute": 0.0,
     "direction": "higher_is_worse"},
]  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with world.project(tmp_path) as opened:
        yield opened


def harmed(workspace: Workspace) -> world.Story:
    return world.Story(workspace).reviewed().approved().ramped().harmed()


def review_of(workspace: Workspace) -> Review | None:
    entry = workspace.record.get(Ref("review", "CR-1"))
    return Review.from_json(entry.body) if entry else None


def with_risk(change: Change, said: str) -> Change:
    return replace(change, details={**change.details, "high_risk": [said]})


# --- when -----------------------------------------------------------------------------


def test_what_went_back_is_looked_at_and_what_went_well_is_not(workspace: Workspace) -> None:
    story = world.Story(workspace).reviewed().approved().ramped()
    assert review_of(workspace) is None
    story.rolled(State.ABORTING, 1, "sam asked to roll back: a doubt")
    assert review_of(workspace) is None  # the way back does not wait for paper
    story.rolled(State.ABORTED, 1, "rolled back")
    found = review_of(workspace)
    assert found is not None
    assert found.because == ("it was taken back on its way",)
    assert found.teams == ("ops-crew",)
    assert found.open
    both = [leaf["ref"] for leaf in workspace.record.audit()][-2:]
    assert both == ["change:CR-1", "review:CR-1"]  # one transaction


def test_a_change_that_is_done_is_looked_at_when_it_was_of_high_risk(workspace: Workspace) -> None:
    story = world.Story(workspace, with_risk(world.draft(), "it reaches crew, of tier 1"))
    story.reviewed().approved()
    details = {**story.change.details, "high_risk": ["it reaches crew, of tier 1"]}
    story._save(replace(story.change, details=details))
    started = story.started().change
    story._save(replace(started, details={**started.details, **details}))
    story.rolled(State.SHADOW, 0).rolled(State.STEP, 1).rolled(State.SOAKING, 2)
    assert review_of(workspace) is None
    story.rolled(State.COMMITTED, 2, "no worse")
    found = review_of(workspace)
    assert found is not None
    assert found.because == ("it reaches crew, of tier 1",)
    story.rolled(State.REVERTING, 2, "sam asked to roll back: later").rolled(State.ABORTED, 2, "b")
    found = review_of(workspace)
    assert found is not None
    assert "it was taken back after it was done" in found.because
    assert len(found.because) == 2


def test_an_emergency_is_looked_at_however_it_ended(workspace: Workspace) -> None:
    urgent = replace(world.draft(), emergency="crews are stranded")
    world.Story(workspace, urgent).reviewed().approved().committed()
    found = review_of(workspace)
    assert found is not None
    assert found.because == ("it could not wait: crews are stranded",)


def test_a_change_that_was_withdrawn_or_is_fine_has_none(workspace: Workspace) -> None:
    world.Story(workspace).reviewed().approved().committed()
    assert review_of(workspace) is None
    with pytest.raises(NotFound) as caught:
        look_back(workspace, "CR-1")
    assert "taken back" in caught.value.help


# --- planned against measured ---------------------------------------------------------


def test_planned_stands_beside_measured_and_silence_is_not_zero(workspace: Workspace) -> None:
    change = replace(world.draft(), details={"judge": {"guardrails": GUARDRAILS}})
    rows = {row.name: row for row in compared(change, world.JUDGED, [])}
    crew = rows["kpi:crew"]
    assert (crew.promise, crew.verdict) == ("at most 5 % higher", "harm")
    assert (crew.stable, crew.candidate, crew.low, crew.high) == (0.14, 0.19, 0.03, 0.07)
    assert rows["errors"].promise == "at most 50 % or 0.01 higher"
    assert rows["split"].verdict == "not measured"
    assert rows["split"].stable is None
    assert {row.verdict for row in compared(change, None, [])} == {"not measured"}


def test_the_timeline_is_that_of_the_audit(workspace: Workspace) -> None:
    harmed(workspace)
    looked = look_back(workspace, "CR-1")
    leaves = {leaf["seq"]: leaf for leaf in workspace.record.audit()}
    names = {named.pseudonym: named.name for named in workspace.record.names()}
    assert [n.moment for n in looked.timeline][-2:] == ["ABORTING", "ABORTED"]
    for note in looked.timeline:
        leaf = leaves[looked.leaves[note.version]]
        assert (leaf["ref"], leaf["version"]) == ("change:CR-1", note.version)
        assert names[leaf["by"]] == note.by
    assert looked.to_json()["timeline"][0]["audit"] == 1


# --- who says what --------------------------------------------------------------------


def test_it_closes_when_every_owner_was_heard_and_it_is_said_what_it_was(
    workspace: Workspace,
) -> None:
    harmed(workspace)
    with pytest.raises(Refused) as caught:
        reviews.close(workspace, "CR-1", by="sam", finding="")
    assert len(caught.value.objections) == 2  # everything at once
    reviews.give_feedback(workspace, "CR-1", "we saw it late", by="amina", section="difficult")
    with pytest.raises(Refused, match="ops-crew has not said anything yet"):
        reviews.close(workspace, "CR-1", by="sam", finding="harmful")  # amina owns no service
    reviews.give_feedback(workspace, "CR-1", "crews were called twice", by="carlos")
    closed = reviews.close(workspace, "CR-1", by="sam", finding="harmful")
    assert [(f.by, f.team) for f in closed.feedback] == [("amina", ""), ("carlos", "ops-crew")]
    with pytest.raises(Refused, match="was closed by sam"):
        reviews.give_feedback(workspace, "CR-1", "one more thing", by="carlos")
    with pytest.raises(Unusable, match="no section"):
        reviews.give_feedback(workspace, "CR-1", "x", by="amina", section="blame")  # type: ignore[arg-type]


def test_those_who_write_at_once_are_all_kept(workspace: Workspace) -> None:
    harmed(workspace)
    texts = [f"said {i}" for i in range(4)]
    gate = threading.Barrier(len(texts))

    def say(text: str) -> None:
        gate.wait()
        reviews.give_feedback(workspace, "CR-1", text, by="carlos")

    threads = [threading.Thread(target=say, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = review_of(workspace)
    assert found is not None
    assert sorted(f.text for f in found.feedback) == texts


# --- what follows ---------------------------------------------------------------------


def action(check: str = "", sql: str = "", about: tuple[str, ...] = ()) -> Action:
    return Action(0, "watch the unit", "carlos", world.NOON.isoformat(), check, sql, about)


EMPTY = Review("CR-1", world.NOON.isoformat(), ("it was taken back",))


def test_an_open_action_is_asked_of_plans_that_touch_the_same() -> None:
    view = "view:origin_weather@1"
    review = with_action(EMPTY, action("unit_known", "SELECT 1 FROM wh.weather", (view,)))
    review = with_action(review, action("contract:wh.weather", about=(view,)))
    review = with_action(review, action())  # something to do, which binds no plan
    assert asked([review], frozenset({view})).checks == ("action:unit_known", "contract:wh.weather")
    assert "watch the unit" in asked([review], frozenset({view})).notes[0]
    assert asked([review], frozenset({"view:other@1"})).checks == ()
    wide = with_action(EMPTY, action("unit_known", "SELECT 1 FROM wh.weather"))
    assert asked([wide], frozenset()).checks == ("action:unit_known",)


def test_what_is_done_is_asked_no_more_even_of_a_plan_that_was_made_before(
    workspace: Workspace,
) -> None:
    harmed(workspace)
    entry = workspace.record.get(Ref("review", "CR-1"))
    assert entry is not None
    held = with_action(Review.from_json(entry.body), action("unit_known", "SELECT 1 FROM a.b"))
    put = Put(entry.ref, held.to_json(), entry.version)
    workspace.record.write([put], by="carlos", at=world.NOON)
    checks = ("contract:wh.weather", "action:unit_known")
    assert still_asked(reviews.reviews_of(workspace.record), checks) == checks
    plan = reviews.with_actions(workspace.record, world.plan_of())
    assert plan.evidence[-1] == "action:unit_known"
    assert plan.digest != world.plan_of().digest
    with pytest.raises(Unusable, match="no action 2"):
        reviews.mark_done(workspace, "CR-1", 2, by="carlos")
    reviews.mark_done(workspace, "CR-1", 1, by="carlos")
    assert still_asked(reviews.reviews_of(workspace.record), checks) == checks[:1]
    assert reviews.with_actions(workspace.record, world.plan_of()) == world.plan_of()


@pytest.mark.parametrize(
    ("check", "sql", "said"),
    [
        ("someday", "", "nothing makes evidence named someday"),
        ("", "SELECT 1", "a query needs the name of a check"),
        ("Unit known", "SELECT 1", "is no name for a query"),
    ],
)
def test_a_check_that_nothing_could_pass_is_refused(check: str, sql: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        with_action(EMPTY, action(check, sql))
