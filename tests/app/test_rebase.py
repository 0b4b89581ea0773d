"""Another release came first: what the change stands on is carried over, the rest made again."""

from __future__ import annotations

from dataclasses import replace

import app_world as world
import pytest
from test_deferred import routed

from interlock.app import decide
from interlock.app.changes import describe, evidence_of, held, keep_evidence, save
from interlock.app.deferred import replan
from interlock.app.versions import stored
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.errors import Refused, Stale
from interlock.plan.plan import Plan

SEED, MARGIN = "CR-2", "CR-3"  # approved; in review. Both are planned on what CR-1 made.


def through(workspace: Workspace, id: str) -> None:
    """As the controller leaves a change after its last stage."""
    before = held(workspace.record, id)
    done = replace(before.change, state="COMMITTED", said="committed")
    save(workspace, before, done, by="controller", also=[routed(workspace, done.release)])


def test_after_a_rebase_only_what_it_moved_is_made_again(ready: Workspace) -> None:
    before = world.current(ready, SEED)
    made = {piece.digest for piece in evidence_of(ready.record, before)}
    through(ready, MARGIN)
    with pytest.raises(Stale, match="no longer runs"):
        decide.apply(ready, SEED, by="sam")
    told: list[str] = []
    change = replan(ready, SEED, told.append)
    assert change.state == "REVIEW"
    again = [p for p in evidence_of(ready.record, change) if p.digest not in made]
    assert [piece.check for piece in again] == ["kpi:crew"], "nobody else reads that margin"
    assert change.said.startswith("kept 4, made again 1, because of service:crew; ")
    assert change.said in told
    asked = Plan.from_json(change.plan or {}).evidence
    assert len(asked) == 5
    # It leads to both, by the very model that was trained for it, and is signed for anew.
    project = stored(ready, change.release).project
    assert project.services["crew"].kpi.margin == 0.06
    assert project.models["late"].training.seed == 2
    assert (change.plan or {})["artifacts"] == (before.plan or {})["artifacts"]
    assert change.made_against == ready.route().stable
    lacks = describe(ready, SEED).objections
    assert any("waiting for model_validator" in said for said in lacks)
    # What was waived stays waived where its evidence stays; the crew's is another piece now.
    mine = {waiver.check for waiver in change.waivers}
    assert mine == {waiver.check for waiver in before.waivers} - {"kpi:crew"}
    booked = ready.record.get(Ref("booking", SEED))
    assert booked is not None
    assert booked.body["standing"] == "held", "its time is kept for it"
    world.signed(ready, SEED)
    assert "being prepared" in decide.apply(ready, SEED, by="sam")


def test_evidence_that_says_nothing_of_its_inputs_is_made_again(ready: Workspace) -> None:
    before = held(ready.record, SEED)
    blind = [replace(p, inputs={}) for p in evidence_of(ready.record, before.change)]
    keep_evidence(ready, blind, by="a test")
    digests = tuple(piece.digest for piece in blind)
    save(ready, before, replace(before.change, evidence=digests), by="a test")
    through(ready, MARGIN)
    change = replan(ready, SEED)
    assert change.state == "EVIDENCE", "the comparison fails again, and its waiver was of another"
    last = {piece.check: piece for piece in evidence_of(ready.record, change)}
    assert all(piece.inputs or piece.not_run for piece in last.values())
    assert last["kpi:crew"].not_run == "model"


def test_two_edits_of_one_file_are_for_people(ready: Workspace) -> None:
    world.edit(ready.folder, "services/crew.yaml", "  margin: 0.05", "  margin: 0.07")
    mine = world.proposed(ready, "Still another margin")
    with pytest.raises(Refused, match="planned on what runs already"):
        replan(ready, mine.id)
    through(ready, MARGIN)
    before = held(ready.record, mine.id)
    with pytest.raises(Refused, match="edit the same files") as caught:
        replan(ready, mine.id)
    assert caught.value.objections == ("services/crew.yaml is edited by both",)
    assert held(ready.record, mine.id) == before, "nothing was done"
    with pytest.raises(Refused, match="it is not planned again"):
        replan(ready, MARGIN)
