"""Tokens: who comes in, who does not, and what of it stands in the record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import app_world as world
import pytest

from interlock.app.tokens import Door, Wish, create, listed, revoke, until
from interlock.app.workspace import Workspace
from interlock.change.token import parts
from interlock.errors import Denied, NotFound, Unidentified, Unusable

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass
class Hand:
    """A clock that is moved by hand."""

    moment: datetime = NOON

    def now(self) -> datetime:
        return self.moment


@pytest.fixture
def workspace(small_flights: Path, tmp_path: Path) -> Iterator[Workspace]:
    with world.opened(world.copied(small_flights, tmp_path / "project")) as opened:
        yield opened


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def door(workspace: Workspace, hand: Hand) -> Door:
    return Door(workspace, hand)


def token(workspace: Workspace, hand: Hand, *scopes: str, **more: str) -> str:
    return create(workspace, Wish("wei", scopes, **more), "root", hand).text


def refusals(workspace: Workspace) -> list[str]:
    return [
        entry.body["said"]
        for newest in workspace.record.list("refusal")
        for entry in workspace.record.history(newest.ref)
    ]


def test_a_token_lets_its_person_in_for_its_scopes(
    workspace: Workspace, door: Door, hand: Hand
) -> None:
    assert not door.needed()
    mine = door.enter(token(workspace, hand, "sign"))
    assert door.needed()
    assert mine.person == "wei"
    door.allow(mine, "sign", "to sign")
    door.allow(mine, "read", "to look")
    with pytest.raises(Denied, match="needs the scope release"):
        door.allow(mine, "release", "to apply CR-1")
    with pytest.raises(Denied, match="cannot act for priya"):
        door.refuse_other(mine, "priya")
    assert len(refusals(workspace)) == 2
    assert not any("priya" in said or "wei" in said for said in refusals(workspace))


def test_an_admin_may_everything(workspace: Workspace, door: Door, hand: Hand) -> None:
    admin = door.enter(token(workspace, hand, "admin"))
    for scope in ("read", "propose", "sign", "release", "admin"):
        door.allow(admin, scope, "anything")


def test_the_secret_is_nowhere_in_the_record(workspace: Workspace, hand: Hand) -> None:
    text = token(workspace, hand, "read")
    found = parts(text)
    assert found is not None
    kept = json.dumps([entry.body for entry in workspace.record.list("token")])
    assert found[0] in kept
    assert found[1] not in kept
    assert "salt" not in json.dumps([one.shown() for one in listed(workspace)])


@pytest.mark.parametrize("change", [lambda t: t[:-1] + ("A" if t[-1] != "A" else "B"), str.upper])
def test_one_other_letter_and_nobody_is_known(
    workspace: Workspace, door: Door, hand: Hand, change: object
) -> None:
    text = token(workspace, hand, "read")
    assert callable(change)
    with pytest.raises(Unidentified):
        door.enter(change(text))


def test_a_token_of_nobody_leaves_no_trace(workspace: Workspace, door: Door) -> None:
    for text in ("", "il_", "il_0000000000_" + "A" * 43, "x" * 10_000):
        with pytest.raises(Unidentified):
            door.enter(text)
    assert refusals(workspace) == []


def test_expired_revoked_and_elsewhere_are_refused_with_a_reason_and_recorded(
    workspace: Workspace, door: Door, hand: Hand
) -> None:
    short = token(workspace, hand, "read", expires="2026-11-21")
    elsewhere = token(workspace, hand, "read", environment="staging")
    gone = token(workspace, hand, "read")
    assert door.enter(short).expires_at == datetime(2026, 11, 22, tzinfo=UTC)
    revoke(workspace, door.enter(gone).id, "root", "lost")
    hand.moment += timedelta(days=1)
    for text, said in ((short, "expired"), (elsewhere, "is for staging"), (gone, "revoked")):
        with pytest.raises(Unidentified, match=said):
            door.enter(text)
    assert len(refusals(workspace)) == 3


def test_a_refusal_said_again_at_once_is_recorded_once(
    workspace: Workspace, door: Door, hand: Hand
) -> None:
    text = token(workspace, hand, "read", environment="staging")
    for _ in range(20):
        with pytest.raises(Unidentified):
            door.enter(text)
    hand.moment += timedelta(minutes=2)
    with pytest.raises(Unidentified):
        door.enter(text)
    assert len(refusals(workspace)) == 2


def test_the_last_use_is_kept_by_the_day(workspace: Workspace, door: Door, hand: Hand) -> None:
    text = token(workspace, hand, "read")
    for _ in range(5):
        mine = door.enter(text)
    assert workspace.record.get(mine.ref).version == 2  # type: ignore[union-attr]
    hand.moment += timedelta(days=1)
    door.enter(text)
    assert [one.used_on for one in listed(workspace)] == ["2026-11-22"]


def test_revoking_twice_is_revoking_once(workspace: Workspace, door: Door, hand: Hand) -> None:
    id = door.enter(token(workspace, hand, "read")).id
    assert revoke(workspace, id, "root") == revoke(workspace, id, "somebody")
    with pytest.raises(NotFound, match="no token nobody"):
        revoke(workspace, "nobody", "root")


def test_everything_that_is_wrong_with_a_wish_is_said_at_once(
    workspace: Workspace, hand: Hand
) -> None:
    with pytest.raises(Unusable) as caught:
        create(workspace, Wish(" ", ["sing"], "2020-01-01"), "root", hand)
    assert [said.split()[0] for said in caught.value.objections] == ["name", "there", "2020-01-01"]
    with pytest.raises(Unusable, match="no day"):
        create(workspace, Wish("wei", ["read"], "tomorrow"), "root", hand)
    assert listed(workspace) == ()


def test_an_instant_needs_a_zone() -> None:
    assert until("2027-01-31T10:00:00+02:00") == datetime(2027, 1, 31, 8, tzinfo=UTC)
    with pytest.raises(ValueError, match="zone"):
        until("2027-01-31T10:00:00")


def test_the_commands_make_list_and_end_a_token(small_flights: Path, tmp_path: Path) -> None:
    folder = world.copied(small_flights, tmp_path / "project")
    made = world.command(
        folder, "token", "create", "--person", "wei", "--scope", "sign", "--scope", "read"
    )
    body = json.loads(made.out)
    assert (made.code, body["person"], body["scopes"]) == (0, "wei", ["read", "sign"])
    assert parts(body["token"])[0] == body["id"]  # type: ignore[index]
    assert world.command(folder, "token", "revoke", body["id"]).code == 0
    shown = json.loads(world.command(folder, "token", "list").out)
    assert shown[0]["revoked_at"]
    assert "token" not in shown[0]
    with world.opened(folder) as workspace, pytest.raises(Unidentified, match="revoked"):
        Door(workspace).enter(body["token"])
