"""What waits for one person, why, and what each of their decisions would lead to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from interlock.app.booking import begins_at
from interlock.app.changes import all_changes
from interlock.app.delegate import on_behalf
from interlock.app.weighing import objections, standing
from interlock.app.workspace import Workspace
from interlock.change.accountable import early
from interlock.change.change import Change, signed
from interlock.change.ready import Standing, signatures_lack
from interlock.change.signoff import Requirement, SignOff, holders
from interlock.errors import InterlockError
from interlock.ports import Json
from interlock.rollout.state import HoldReason

_WAIVED = "what is open is waived in your name"
_IN_REVIEW = ("REVIEW", "APPROVED", "SCHEDULED")


@dataclass(frozen=True)
class Choice:
    """One thing a person can do: the command, what it leads to, and the command's name."""

    act: str
    leads_to: str
    do: str


@dataclass(frozen=True)
class Item:
    """One change that waits for somebody: as whom, why, and the choices. `mine`: they opened it.

    `plan` is the digest of the plan that was looked at; `role` and `team` are empty where
    nothing is to be signed.
    """

    change: str
    title: str
    state: str
    what: str
    why: str
    choices: tuple[Choice, ...] = ()
    mine: bool = False
    plan: str = ""
    role: str = ""
    team: str = ""

    def to_json(self) -> Json:
        return {**self.__dict__, "choices": [choice.__dict__ for choice in self.choices]}


@dataclass(frozen=True)
class Inbox:
    """`waiting` needs this person; `opened` are theirs, and wait for others or for themselves."""

    by: str
    waiting: tuple[Item, ...]
    opened: tuple[Item, ...]

    def to_json(self) -> Json:
        return {
            "by": self.by,
            "waiting": [item.to_json() for item in self.waiting],
            "opened": [item.to_json() for item in self.opened],
        }


def inbox_of(body: Mapping[str, Any]) -> Inbox:
    """The inverse of `Inbox.to_json`."""
    return Inbox(body["by"], _items_of(body["waiting"]), _items_of(body["opened"]))


def _items_of(body: Sequence[Mapping[str, Any]]) -> tuple[Item, ...]:
    return tuple(
        Item(**{**one, "choices": tuple(Choice(**choice) for choice in one["choices"])})
        for one in body
    )


def inbox(workspace: Workspace, by: str) -> Inbox:
    """Everything open that is `by`'s to decide, the oldest change first; changes nothing."""
    mine = [c for c in all_changes(workspace) if c.open and c.environment == workspace.environment]
    items = [item for change in reversed(mine) for item in _items(workspace, change, by)]
    return Inbox(
        by,
        tuple(item for item in items if not item.mine),
        tuple(item for item in items if item.mine),
    )


def _items(workspace: Workspace, change: Change, by: str) -> Iterator[Item]:
    if change.release and (change.state in _IN_REVIEW or change.under_way):
        there = standing(workspace, change)
        yield from _desks(workspace, change, there, by)
        yield from _held(change, there, by)
    if change.author == by:
        said = objections(workspace, change) or ((change.said,) if change.said else ())
        why = "; ".join(said) or "nothing is missing"
        yield Item(
            change.id, change.title, change.state, "you opened it", why, _own(change), True,
            change.plan_digest,
        )  # fmt: skip


def _own(change: Change) -> tuple[Choice, ...]:
    if change.under_way:
        back = f"interlock rollback {change.id}"
        return (Choice(back, _led_back(change), "rollback"),)
    close = f"interlock withdraw {change.id}"
    return (Choice(close, "it is closed, and stays in the record", "withdraw"),)


def _led_back(change: Change) -> str:
    """What a rollback leads to: one of several candidates takes only its own subjects back."""
    rollout = change.details.get("rollout") or {}
    if rollout.get("experiment") and change.state != "SOAKING":
        return "its subjects are on the release before, at once; who runs beside it goes on"
    return "everybody is on the release before, at once"


def _desks(workspace: Workspace, change: Change, there: Standing, by: str) -> Iterator[Item]:
    """Each signature that is lacking and that `by` may give, in an own role or a lent one."""
    for need in dict.fromkeys(replace(need, why="") for need in there.requirements):
        asked = SignOff(by, need.role, need.team, change.plan_digest, there.now)
        behalf = on_behalf(workspace, there.owners, change, asked)
        able = by in holders(there.owners, need.role, need.team) or behalf
        if not able or by == change.author or not _lacks(change, there, need):
            continue
        why = "; ".join(r.why for r in there.requirements if r == replace(need, why=r.why))
        if change.experiment != change.id:
            why += f"; it runs beside {change.experiment}"
        lent = f", for {behalf}" if behalf else ""
        what = f"sign as {need.role} of {need.team}{lent}"
        choices = _choices(workspace, change, there, replace(asked, on_behalf_of=behalf))
        yield Item(
            change.id, change.title, change.state, what, why, choices,
            plan=change.plan_digest, role=need.role, team=need.team,
        )  # fmt: skip


def _lacks(change: Change, there: Standing, need: Requirement) -> bool:
    return bool(signatures_lack(change, replace(there, requirements=[need])))


def _choices(
    workspace: Workspace, change: Change, there: Standing, asked: SignOff
) -> tuple[Choice, ...]:
    act = f"interlock approve {change.id} --role {asked.role} --team {asked.team}"
    waits = "it goes back to its author with your reason"
    reject = Choice(f"{act} --reject REASON", waits, "reject")
    return (Choice(act, _if_signed(workspace, change, there, asked), "approve"), reject)


def _if_signed(workspace: Workspace, change: Change, there: Standing, asked: SignOff) -> str:
    """What a signature would lead to, found by giving it to a copy that nobody keeps."""
    before = early(asked.role, change, there)
    if before:
        return f"refused while this has not passed: {'; '.join(before)}"
    try:
        after = signed(change, asked, there.owners)
    except InterlockError as error:
        return f"refused: {'; '.join(error.objections) or error.message}"
    if change.under_way:
        return "the rollout goes on when nothing else holds it"
    left = objections(workspace, after, "schedule", asked.person)
    if left:
        return f"{len(left)} still open: {'; '.join(left)}"
    slot = begins_at(workspace, change.id) or (change.plan or {}).get("slot", ["no time"])[0]
    return f"it is approved, books its time and starts by itself from {slot} on"


def _held(change: Change, there: Standing, by: str) -> Iterator[Item]:
    """A rollout that stands still, for whoever answers for the change."""
    rollout = change.details.get("rollout") or {}
    sponsors = [r for r in there.requirements if r.role == "change_sponsor"]
    able = any(by in holders(there.owners, r.role, r.team) for r in sponsors)
    if not (change.under_way and rollout.get("hold") and able):
        return
    chosen = rollout["hold"] == HoldReason.CHOICE.value
    leads = "it goes on, and who runs beside it ends" if chosen else _WAIVED
    choices = (
        Choice(f"interlock promote {change.id}", leads, "promote"),
        Choice(f"interlock rollback {change.id}", _led_back(change), "rollback"),
    )
    why = f"held ({rollout['hold']}): {rollout['said']}"
    yield Item(
        change.id, change.title, change.state, "decide, or wait", why, choices,
        plan=change.plan_digest,
    )  # fmt: skip
