"""What happens to one candidate of three while they run together, and what the others do then."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import app_world as world
import experiment_world as three
import pytest
from experiment_world import copy, held_places, onward, states
from listener import Answer, Heard, Listener, Said, listening

from interlock.app import decide
from interlock.app.answers import next_of
from interlock.app.audit import audit
from interlock.app.changes import all_changes, describe
from interlock.app.live import frame
from interlock.app.propose import propose
from interlock.app.tick import tick
from interlock.app.versions import stored
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.errors import Conflict, Refused
from interlock.rollout.state import HoldReason
from interlock.web.desk import RecordDesk

SEED, HARMS, LONGER = three.EVERY
MARGIN = ("services/rebooking.yaml", "  margin: 0.05", "  margin: 0.06")
Places = Mapping[str, Path]


@pytest.fixture
def signed(experiment: Places, tmp_path: Path) -> Iterator[Workspace]:
    """All three are approved; nothing has begun."""
    with copy(experiment["signed"], tmp_path) as live:
        yield live


@pytest.fixture
def divided(experiment: Places, tmp_path: Path) -> Iterator[Workspace]:
    """All three are shown to people; nobody has looked at what came of it."""
    with copy(experiment["divided"], tmp_path) as live:
        yield live


@pytest.fixture
def two(experiment: Places, tmp_path: Path) -> Iterator[Workspace]:
    """The one that harms has gone back, the others are shown to people."""
    with copy(experiment["two left"], tmp_path) as live:
        yield live


def holds(workspace: Workspace) -> list[HoldReason | None]:
    return [world.rollout(workspace, id).hold for id in three.EVERY]


def said(workspace: Workspace, id: str) -> str:
    return world.current(workspace, id).said


def advice(workspace: Workspace, id: str) -> str:
    """What a person is told to do next: the same by `status`, by `--watch` and on the page."""
    found = describe(workspace, id)
    page = RecordDesk(workspace).change(id)
    assert page is not None
    assert found.change is not None
    said = next_of(found, found.change)
    assert page.next.endswith(said)
    watched = frame(found)
    assert watched.help == said
    assert len(watched.beside) == 2
    return said


def booked(workspace: Workspace) -> list[str]:
    found = [workspace.record.get(Ref("booking", id)) for id in three.EVERY]
    return [str(entry.body["standing"]) for entry in found if entry is not None]


def back(workspace: Workspace, *ids: str) -> list[str]:
    return [decide.rollback(workspace, id, by="bo", reason="it looks odd") for id in ids]


# --- a system outside ------------------------------------------------------------------


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    with listening() as listener:
        monkeypatch.setenv("GATE_URL", listener.url)
        monkeypatch.setenv("GATE_SECRET", three.SECRET)
        yield listener


def refuses() -> Said:
    return Said(409, b'{"reason": "the desk is closed"}')


def is_slow() -> Said:
    time.sleep(0.5)
    return Said()


def hangs_up() -> Said:
    raise ConnectionAbortedError


def about(heard: Heard) -> str:
    return str(json.loads(heard.body)["change"]["id"])


def to(id: str, answer: Callable[[], Said]) -> Answer:
    return lambda heard: answer() if about(heard) == id else Said()


def test_where_a_hook_has_something_against_one_the_others_wait_and_say_for_whom(
    signed: Workspace, gate: Listener
) -> None:
    decide.apply(signed, SEED, by="sam")
    for answer, why in (
        (refuses, "answered 409: the desk is closed"),
        (is_slow, "did not answer within 0.3 s"),
        (hangs_up, "could not be reached: RemoteDisconnected"),
    ):
        gate.answer, gate.heard = to(HARMS, answer), []
        tick(signed)
        assert sorted(map(about, gate.heard)) == sorted(three.EVERY)
        assert holds(signed) == [None, HoldReason.HOOK, None]
        assert why in said(signed, HARMS)
        for id in (SEED, LONGER):
            assert said(signed, id).startswith(f"ready; waits for {HARMS}: the hook ${{GATE_URL}}")
            assert why in said(signed, id)
            assert advice(signed, id).startswith("nothing is open here: see those it waits for")
        assert f"interlock promote {HARMS} lets it past" in advice(signed, HARMS)
        assert signed.route().candidates == ()
    gate.answer = lambda _: Said()
    tick(signed)
    assert states(signed) == ["SHADOW"] * 3
    assert held_places(signed) == list(three.EVERY)


def test_who_is_let_past_a_hook_by_a_person_takes_nobody_else_past_it(
    signed: Workspace, gate: Listener
) -> None:
    decide.apply(signed, SEED, by="sam")
    gate.answer = lambda _: refuses()
    tick(signed)
    assert holds(signed) == [HoldReason.HOOK] * 3
    decide.promote(signed, HARMS, by="sam", reason="the desk knows of it")
    tick(signed)
    assert holds(signed) == [HoldReason.HOOK, None, HoldReason.HOOK]
    assert said(signed, HARMS).startswith(f"ready; waits for {SEED}: the hook")
    for id in (SEED, LONGER):
        decide.promote(signed, id, by="sam", reason="the desk knows of it")
    tick(signed)
    assert states(signed) == ["SHADOW"] * 3
    assert "WAIVED by sam: the hook" in said(signed, LONGER)


# --- a person --------------------------------------------------------------------------


def test_held_by_a_person_one_holds_all_and_all_go_on_when_the_last_is_let_go(
    divided: Workspace,
) -> None:
    back(divided, HARMS)
    left = (SEED, LONGER)
    for id in left:
        decide.hold(divided, id, by="bo", reason="somebody looks at it")
    tick(divided)
    assert [hold for hold in holds(divided) if hold] == [HoldReason.MANUAL] * 2
    assert f"interlock hold {SEED} --resume" in advice(divided, SEED)
    for id in left:
        assert states(divided)[::2] == ["STEP"] * 2
        decide.hold(divided, id, by="bo", reason="", resume=True)
        tick(divided)
    assert [hold for hold in holds(divided) if hold] == []
    onward(divided)
    assert sorted(states(divided)) == ["ABORTED", "SOAKING", "UNCHOSEN"]


def test_promoted_alone_one_waits_for_what_the_others_lack(two: Workspace) -> None:
    decide.promote(two, LONGER, by="sam", reason="it is good enough")
    tick(two)
    assert said(two, LONGER).startswith(f"ready to leave ab; waits for {SEED}: ")
    assert "request" in world.current(two, LONGER).details, "the word of a person is not used up"
    assert states(two)[::2] == ["STEP"] * 2


def test_all_are_given_more_time_and_begin_their_stage_again_together(two: Workspace) -> None:
    began = {id: world.rollout(two, id).entered_at for id in (SEED, LONGER)}
    world.at(two.now() + timedelta(hours=1), two)
    for id in began:
        decide.retry(two, id, by="sam", reason="labels come tomorrow")
    before = two.route()
    tick(two)
    after = {world.rollout(two, id).entered_at for id in began}
    assert after == {two.now()}
    assert two.now() not in began.values()
    assert two.route() == before


def test_taken_back_one_after_the_other_each_frees_what_is_its_own_and_the_last_ends_it(
    divided: Workspace,
) -> None:
    stable, route = world.current(divided, "CR-1").release, divided.route()
    (first,) = back(divided, LONGER)
    assert first.endswith(f"its subjects are on {stable[:12]}; still running: {SEED}, {HARMS}")
    assert held_places(divided) == [SEED, HARMS, None]
    assert divided.route().epoch == route.epoch + 1
    with pytest.raises(Refused, match=f"{LONGER} is ABORTING: nothing of it runs"):
        back(divided, LONGER)
    tick(divided)
    assert states(divided)[2] == "ABORTED"
    assert booked(divided) == ["started", "started", "cancelled"]
    *_, last = back(
        divided, *(id for id in (SEED, HARMS) if "STEP" in world.current(divided, id).state)
    )
    assert last.endswith(f"everybody is on {stable[:12]}")
    tick(divided)
    assert states(divided) == ["ABORTED"] * 3
    assert booked(divided) == ["cancelled"] * 3
    route = divided.route()
    assert (route.stable, route.change, route.arms, route.weight) == (stable, None, (), 0)
    assert set(route.blocked) == {world.current(divided, id).release for id in three.EVERY}
    assert audit(divided).objections == ()


# --- another change --------------------------------------------------------------------


def emergency(workspace: Workspace) -> str:
    """A change that cannot wait, signed by everybody who must, one more than usual."""
    world.edit(workspace.folder, *MARGIN)
    workspace.reread()
    why = "passengers are rebooked for nothing since this morning"
    change = propose(workspace, replace(world.asked("A wider margin"), emergency=why))
    world.signed(workspace, change.id)
    return change.id


def test_an_emergency_is_told_who_is_in_its_way_and_starts_when_people_took_them_back(
    divided: Workspace,
) -> None:
    id = emergency(divided)
    change = world.current(divided, id)
    assert change.state in ("APPROVED", "SCHEDULED"), change.said
    with pytest.raises(Conflict) as caught:
        decide.apply(divided, id, by="sam")
    assert caught.value.objections[0] == (f"{SEED}, {HARMS}, {LONGER} are being rolled out in prod")
    meets = [one for one in caught.value.objections if "measured on the same subjects" in one]
    assert [one.split()[0] for one in meets] == list(three.EVERY)
    back(divided, SEED, LONGER)
    tick(divided)
    with pytest.raises(Conflict) as caught:
        decide.apply(divided, id, by="sam")
    assert caught.value.objections[0] == f"{HARMS} is being rolled out in prod"
    if world.current(divided, HARMS).under_way:
        back(divided, HARMS)
    tick(divided)
    tick(divided)
    assert states(divided) == ["ABORTED"] * 3
    decide.apply(divided, id, by="sam")
    tick(divided)
    assert world.current(divided, id).under_way


def test_going_back_takes_all_candidates_along_that_stand_on_it(divided: Workspace) -> None:
    first = world.current(divided, "CR-1").release
    decide.rollback(divided, "CR-1", by="sam", reason="it was wrong")
    route = divided.route()
    assert (route.stable, route.candidates, route.change) == (None, (), None)
    mine = {world.current(divided, id).release for id in three.EVERY}
    assert set(route.blocked) == mine | {first}
    tick(divided)
    assert states(divided) == ["ABORTED"] * 3
    assert world.current(divided, "CR-1").state == "ABORTED"
    for id in three.EVERY:
        assert "it stands on CR-1, which is taken back: it was wrong" in said(divided, id)


def test_what_harmed_cannot_come_back_beside_another(two: Workspace) -> None:
    back(two, SEED, LONGER)
    tick(two)
    world.edit(two.folder, three.MODEL, three.SEED, "  seed: 9\n")
    new = world.proposed(two, "A ninth seed")
    world.edit(two.folder, three.MODEL, "  seed: 9\n", three.SEED)
    for title in three.EDITS:
        with pytest.raises(Refused, match="was rolled back and is blocked"):
            three.candidate(two, title, beside=new.id)
    # A comment makes other files and the same release: known once it is trained.
    world.edit(two.folder, three.MODEL, "owner: data-eng", "owner: data-eng # us")
    with pytest.raises(Refused, match="was rolled back and is blocked"):
        three.candidate(two, "The opposite", beside=new.id)
    assert all_changes(two)[0].state == "WITHDRAWN"


# --- the world around ------------------------------------------------------------------


def test_a_freeze_stops_all_of_them_and_none_on_its_way_back(divided: Workspace) -> None:
    world.at(three.FREEZE[0] + timedelta(hours=12), divided)
    told = onward(divided)
    assert "harm seen at ab" in told, "the judge takes it back in a freeze too"
    assert states(divided) == ["STEP", "ABORTING", "STEP"]
    onward(divided)
    assert states(divided) == ["STEP", "ABORTED", "STEP"]
    assert holds(divided)[::2] == [HoldReason.FREEZE] * 2
    assert f"interlock rollback {LONGER} works at any time" in advice(divided, LONGER)
    assert "frozen by stocktaking until 09 Mar 2013 00:00 UTC" in said(divided, LONGER)
    back(divided, SEED)
    assert held_places(divided) == [None, None, LONGER]
    world.at(three.FREEZE[1], divided)
    onward(divided)
    assert states(divided) == ["ABORTED", "ABORTED", "SOAKING"]


def test_a_signature_that_is_taken_back_holds_all_until_somebody_signs_again(
    two: Workspace,
) -> None:
    (need, *_) = [s for s in world.current(two, LONGER).signoffs if s.person == "bo"]
    desk = {"by": need.person, "role": need.role, "team": need.team}
    told = decide.unsign(two, LONGER, **desk, reason="the contract is not signed")
    assert told.endswith("; the rollout holds")
    onward(two)
    assert holds(two)[::2] == [None, HoldReason.APPROVAL_EXPIRED]
    assert said(two, SEED).startswith(f"ready to leave ab; waits for {LONGER}: waiting for ")
    assert f"signs again (interlock approve {LONGER})" in advice(two, LONGER)
    decide.sign(two, LONGER, **desk)
    onward(two)
    assert sorted(states(two)) == ["ABORTED", "SOAKING", "UNCHOSEN"]


def test_signatures_that_are_old_hold_until_each_was_given_again(two: Workspace) -> None:
    world.at(datetime(2013, 3, 25, tzinfo=UTC), two)
    onward(two)
    assert holds(two)[::2] == [HoldReason.APPROVAL_EXPIRED] * 2
    assert "which is over: sign again" in said(two, SEED)
    for id in (SEED, LONGER):
        onward(two)
        assert states(two)[::2] == ["STEP"] * 2
        world.signed(two, id)
    onward(two)
    assert sorted(states(two)) == ["ABORTED", "SOAKING", "UNCHOSEN"]


def test_while_the_release_to_go_back_to_is_broken_none_goes_forward_and_each_may_go_back(
    two: Workspace,
) -> None:
    first = stored(two, world.current(two, "CR-1").release)
    digest = first.models[world.MODEL].artifact
    file = two.state / "artifacts" / digest[:2] / digest
    kept = file.read_bytes()
    file.unlink()
    onward(two)
    assert states(two) == ["STEP", "ABORTING", "STEP"]
    assert holds(two) == [HoldReason.FALLBACK_UNHEALTHY] * 3
    assert "there is no healthy way back" in said(two, SEED)
    assert "the release returned to is not healthy" in said(two, HARMS)
    assert "bring back what is missing" in advice(two, HARMS)
    back(two, SEED, LONGER)
    assert two.route().candidates == ()
    tick(two)
    assert states(two) == ["ABORTING"] * 3
    assert booked(two) == ["started"] * 3
    file.write_bytes(kept)
    tick(two)
    assert states(two) == ["ABORTED"] * 3
    assert booked(two) == ["cancelled"] * 3
