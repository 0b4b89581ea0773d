"""A time on the calendar: taken with the approval, by one, moved with the rollout, given back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import app_world as world
import pytest
from icalendar import Calendar as Ics

from interlock.app import booking, decide
from interlock.app.changes import Held, held, save
from interlock.app.ledger import Ledger, ledger_ref
from interlock.app.tick import tick
from interlock.app.versions import stored
from interlock.app.workspace import Workspace
from interlock.change.agenda import Booked
from interlock.define.refs import Ref
from interlock.errors import Refused
from interlock.features.compile import physical
from interlock.features.ranges import EVERYTHING
from interlock.ports import Put

ID, DAY, HOUR = "CR-2", timedelta(days=1), timedelta(hours=1)


def booked(workspace: Workspace, id: str = ID) -> Booked:
    entry = workspace.record.get(Ref("booking", id))
    assert entry is not None, f"{id} has no booking"
    return Booked.read(entry)


def holding(workspace: Workspace) -> set[str]:
    """Who holds a time, beside the first release in its rollback window."""
    return {one.change for one in booking.bookings(workspace)} - {"CR-1"}


def copy(workspace: Workspace, of: str, id: str, **details: Any) -> None:
    """Another change like `of`, in review."""
    change = held(workspace.record, of).change
    plan = {**(change.plan or {}), "notes": [id]}
    made = replace(change, id=id, state="REVIEW", plan=plan, signoffs=(),
                   details={**change.details, **details})  # fmt: skip
    save(workspace, Held(made, 0), made, by="wei")


def test_an_approved_change_has_its_time_and_its_footprint(ready: Workspace) -> None:  # R-A1
    now, found = ready.now(), booked(ready)
    assert (found.standing, found.booking.owner) == ("held", "wei")
    times = found.booking.phases
    assert times.start == now
    assert times.ramp - times.start == HOUR  # it trains: the calendar's `prepare`
    assert [times.soak - times.ramp, times.commit - times.soak] == [4 * DAY, 3 * DAY]
    assert times.over > times.commit
    touched = found.booking.footprint
    assert touched.writes == {"model:late"}
    assert "service:gates" in touched.impact
    assert {"table:wh.weather", "table:raw.weather"} <= touched.loads
    assert "view:origin_weather@1" in touched.reads
    assert "model:late" in touched.evidence
    assert any(one.metric.startswith("split of prod") for one in touched.measures)
    assert "starts at 26 Feb 2013 00:00 UTC" in world.current(ready, ID).said


def test_the_next_one_takes_its_turn_after_the_freeze(ready: Workspace) -> None:  # X4, X7
    world.signed(ready, "CR-3")
    assert world.current(ready, "CR-3").state == "SCHEDULED"
    # CR-2 is through on the fifth, and seven days do not fit before the stocktaking.
    assert booked(ready, "CR-3").booking.phases.start == world.FREEZE[1]


def test_of_two_approved_at_once_one_gets_the_time(ready: Workspace) -> None:
    decide.withdraw(ready, ID, by="wei", reason="out of the way")
    for id in ("CR-4", "CR-5"):
        copy(ready, "CR-3", id)
    with world.opened(ready.folder) as other:
        told = world.at_once(
            lambda: booking.approve(ready, "CR-4", "sam"),
            lambda: booking.approve(other, "CR-5", "sam"),
        )
    assert sum(said.startswith("approved, booked from") for said in told) == 1, told
    (lost,) = [said for said in told if said.startswith("not booked yet")]
    assert "already holds service:crew until" in lost
    assert "the next free slot begins at" in lost
    states = {world.current(ready, id).state for id in ("CR-4", "CR-5")}
    assert states == {"APPROVED", "REVIEW"}
    assert len(holding(ready)) == 1


def test_a_withdrawn_change_gives_its_time_back(ready: Workspace) -> None:
    decide.withdraw(ready, ID, by="wei", reason="not needed")
    assert booked(ready).standing == "cancelled"
    assert holding(ready) == set()
    copy(ready, ID, "CR-4")
    assert booking.approve(ready, "CR-4", "sam").startswith("approved, booked from 26 Feb 2013")


def test_a_moved_change_is_signed_again_and_keeps_its_time(ready: Workspace) -> None:
    before = world.current(ready, ID)
    with pytest.raises(Refused) as caught:
        booking.book(ready, ID, by="wei", at=world.FREEZE[0] - DAY)
    (said,) = caught.value.objections
    assert said == (
        "frozen by stocktaking until 09 Mar 2013 00:00 UTC: nobody has a hand free [X7]"
    )
    assert "the next free slot begins at 09 Mar 2013 00:00 UTC" in caught.value.help
    assert world.current(ready, ID) == before
    with pytest.raises(Refused, match="tomas may not move CR-2"):
        booking.book(ready, ID, by="tomas", at=None)
    moved = booking.book(ready, ID, by="wei", at=world.FREEZE[1])
    assert moved.booking.phases.start == world.FREEZE[1]
    assert moved.revision == 2
    after = world.current(ready, ID)
    assert (after.state, after.waivers, after.evidence) == (
        "REVIEW", before.waivers, before.evidence,
    )  # fmt: skip
    assert after.plan_digest != before.plan_digest
    assert any("which no longer counts" in said for said in world.refused(ready, ID))
    world.signed(ready, ID)
    assert booked(ready).booking.phases.start == world.FREEZE[1]


def test_book_and_calendar_from_the_command_line(signed: Path, tmp_path: Path) -> None:  # R-A1
    folder = world.copied(signed, tmp_path / "project")
    done = world.command(folder, "book", ID, "--by", "wei", "--at", "2013-03-07T00:00")
    assert (done.code, done.error["error"]) == (3, "refused")
    done = world.command(folder, "book", ID, "--by", "wei", "--next")
    assert json.loads(done.out)["phases"][0] == "2013-02-26T00:00:00+00:00"
    done = world.command(folder, "calendar")
    found = json.loads(done.out)
    change = next(line for line in found["lines"] if line["name"] == ID)
    assert (change["by"], change["standing"]) == ("wei", "held")
    assert change["owners"]
    assert change["criteria"] == ["the same", "taken back when any harm"]
    assert list(change["phases"]) == ["prepare", "ramp", "soak", "rollback"]
    assert [line["name"] for line in found["lines"] if line["kind"] == "freeze"] == ["stocktaking"]
    done = world.command(folder, "calendar", "--ics", str(tmp_path / "c.ics"))
    assert done.code == 0, done.err
    feed = Ics.from_ical((tmp_path / "c.ics").read_bytes())
    titles = {str(event["summary"]) for event in feed.walk("VEVENT")}
    assert {"CR-2 ramp: Another seed", "Freeze: stocktaking"} <= titles


def test_the_booking_follows_the_rollout(stages: Mapping[str, Path], tmp_path: Path) -> None:
    found = {}
    for state in ("PREPARING", "SHADOW", "STEP", "SOAKING", "COMMITTED"):
        with world.opened(stages[state]) as workspace:
            found[state] = booked(workspace)
            if state == "COMMITTED":
                now = workspace.now()
    assert [one.standing for one in found.values()] == ["started"] * 4 + ["committed"]
    revisions = [one.revision for one in found.values()]
    assert revisions == sorted(set(revisions))
    window = stored_window(stages["COMMITTED"])
    last = found["COMMITTED"].booking.phases
    assert (last.commit, last.over) == (now, now + window)
    assert found["STEP"].booking.phases.ramp == found["SHADOW"].booking.phases.ramp


def stored_window(folder: Path) -> timedelta:
    with world.opened(folder) as workspace:
        return world.rollout(workspace, ID).rollback_window


def test_what_is_taken_back_gives_its_time_back(stages: Mapping[str, Path], tmp_path: Path) -> None:
    with world.opened(world.copied(stages["STEP"], tmp_path / "project")) as workspace:
        decide.rollback(workspace, ID, by="sam", reason="it harms")
        tick(workspace)
        assert world.current(workspace, ID).state == "ABORTED"
        assert booked(workspace).standing == "cancelled"
        assert holding(workspace) == set()


def test_a_step_waits_for_a_load_and_goes_on_by_itself(
    stages: Mapping[str, Path], tmp_path: Path
) -> None:  # X12
    with world.opened(world.copied(stages["SHADOW"], tmp_path / "project")) as workspace:
        version = stored(workspace, world.current(workspace, ID).release)
        table = physical("wh.weather", version.facts.fingerprint("table:wh.weather"))
        ref = ledger_ref(table, version.project.environments["prod"].warehouse)
        entry = workspace.record.get(ref)
        ledger = Ledger.from_json(entry.body) if entry else Ledger("table:wh.weather")
        loading = ledger.begun({"raw.weather": 99}, EVERYTHING)
        put = Put(ref, loading.to_json(), entry.version if entry else 0)
        (written,) = workspace.record.write([put], by="refresh", at=workspace.now())
        world.go_on(workspace, ID)
        state = world.rollout(workspace, ID)
        assert (world.current(workspace, ID).state, state.hold and state.hold.value) == (
            "SHADOW", "dependency",
        )  # fmt: skip
        assert "wh.weather is being loaded again, 1 of 1 ranges are left" in state.said
        whole = Put(ref, loading.did(EVERYTHING).finished().to_json(), written.version)
        workspace.record.write([whole], by="refresh", at=workspace.now())
        tick(workspace)
        assert world.current(workspace, ID).state == "STEP"
