"""What was approved is booked, and starts when its slot begins: by itself, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import app_world as world
import pytest

from interlock.app import decide
from interlock.app.booking import book
from interlock.app.changes import held, save
from interlock.app.tick import tick
from interlock.app.weighing import decisions
from interlock.app.workspace import Workspace
from interlock.change.change import Change

ID = "CR-2"


def slot_of(change: Change) -> datetime:
    return datetime.fromisoformat((change.plan or {})["slot"][0])


def states(workspace: Workspace, id: str) -> list[str]:
    entry = world.current(workspace, id)
    found = [Change.from_json(e.body).state for e in workspace.record.history(entry.ref)]
    return [state for at, state in enumerate(found) if at == 0 or state != found[at - 1]]


def test_the_last_signature_approves_and_books(ready: Workspace) -> None:  # R-C1
    change = world.current(ready, ID)
    assert (change.state, change.said) == (
        "SCHEDULED", f"starts at {slot_of(change):%d %b %Y %H:%M} UTC",
    )  # fmt: skip
    assert states(ready, ID)[-3:] == ["REVIEW", "APPROVED", "SCHEDULED"]


def test_the_controller_starts_it_when_its_slot_begins(ready: Workspace) -> None:
    later = ready.now() + timedelta(hours=2)
    book(ready, ID, by=world.AUTHOR, at=later)
    assert world.current(ready, ID).state == "REVIEW", "another time is another plan"
    world.signed(ready, ID)
    assert ID not in tick(ready)
    assert world.current(ready, ID).state == "SCHEDULED"
    world.at(later, ready)
    assert f"{ID} is being prepared" in tick(ready)
    assert world.current(ready, ID).state == "PREPARING"
    (start,) = [one for one in decisions(ready, ID) if one.action == "start"]
    assert (start.principal["id"], start.said) == ("controller", ())


def test_one_that_may_not_start_waits_and_nothing_is_written(ready: Workspace) -> None:
    world.at(world.FREEZE[0], ready)
    tick(ready)  # CR-1 says how long it can be taken back, once
    before = held(ready.record, ID), len(ready.record.audit())
    for _ in range(2):
        assert f"{ID} was to start, and waits: frozen by stocktaking" in tick(ready)
    assert (held(ready.record, ID), len(ready.record.audit())) == before
    world.at(world.FREEZE[1], ready)
    assert f"{ID} is being prepared" in tick(ready)


def test_what_was_cut_off_between_approval_and_booking_is_booked(ready: Workspace) -> None:
    before = held(ready.record, ID)
    save(ready, before, replace(before.change, state="APPROVED", said="killed here"), by="sam")
    tick(ready)
    tick(ready)
    assert states(ready, ID)[-3:] == ["APPROVED", "SCHEDULED", "PREPARING"]


def test_two_that_are_due_start_one_after_the_other(ready: Workspace) -> None:
    world.signed(ready, "CR-3")
    assert f"{ID} is being prepared" in tick(ready)
    tick(ready)
    assert [world.current(ready, id).state for id in (ID, "CR-3")] == ["SHADOW", "SCHEDULED"]


@pytest.mark.parametrize("state", ["APPROVED", "SCHEDULED"])
def test_a_rejection_opens_the_review_again_with_its_reason(ready: Workspace, state: str) -> None:
    before = held(ready.record, ID)
    save(ready, before, replace(before.change, state=state), by="a test")  # type: ignore[arg-type]
    decide.sign(
        ready, ID, by="carlos", role="service_owner", team="ops-crew", reject="crews strike"
    )
    change = world.current(ready, ID)
    assert (change.state, change.said) == (
        "REVIEW", "rejected by carlos (service_owner of ops-crew): crews strike",
    )  # fmt: skip
    assert "rejected by carlos (service_owner of ops-crew): crews strike" in world.refused(
        ready, ID
    )
    said = decide.sign(ready, ID, by="carlos", role="service_owner", team="ops-crew")
    assert "; approved, booked from " in said
    assert world.current(ready, ID).state == "SCHEDULED"


def test_a_signature_that_is_taken_back_opens_the_review_again(ready: Workspace) -> None:
    told = {"by": "carlos", "role": "service_owner", "team": "ops-crew"}
    decide.unsign(ready, ID, **told, reason="crews strike")
    change = world.current(ready, ID)
    assert change.state == "REVIEW"
    assert any("waiting for service_owner of ops-crew" in s for s in world.refused(ready, ID))
    with pytest.raises(Exception, match="carlos has not signed CR-2"):
        decide.unsign(ready, ID, **told, reason="again")
    decide.sign(ready, ID, **told)
    assert world.current(ready, ID).state == "SCHEDULED"
