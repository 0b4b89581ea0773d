"""Roles lent in the record: for a holiday, or for good until somebody says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from interlock.app.versions import stable
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.change.delegation import Delegation, ended, lend, lender
from interlock.change.signoff import SignOff
from interlock.define.environment import Owner
from interlock.errors import NotFound, Unusable
from interlock.ports import Put, RecordReader


@dataclass(frozen=True)
class Lent:
    """Which role of which team is lent to whom."""

    to: str
    role: str
    team: str


def delegations(record: RecordReader) -> tuple[Delegation, ...]:
    """Everything that was ever lent, as it stands now, oldest first."""
    return tuple(Delegation.from_json(entry.body) for entry in record.list("delegation"))


def delegate(workspace: Workspace, lent: Lent, *, by: str, until: str) -> Delegation:
    """`by` lends a role until the end of the day `until` (or a moment), in UTC.

    Lending it again moves the end. Raises `Refused` with every objection.
    """
    now = workspace.now()
    wanted = lend(
        Delegation(by, lent.to, lent.role, lent.team, now, _moment(until)), owners_of(workspace)
    )
    _write(workspace, wanted, by)
    return wanted


def end(workspace: Workspace, lent: Lent, *, by: str) -> Delegation:
    """Nothing is signed with it any more; what was signed stays."""
    wanted = Delegation(by, lent.to, lent.role, lent.team, workspace.now(), workspace.now())
    entry = workspace.record.get(wanted.ref)
    if entry is None:
        raise NotFound(
            f"{by} has not lent {lent.role} of {lent.team} to {lent.to}",
            help="`interlock delegate --list` shows what is lent",
        )
    over = ended(Delegation.from_json(entry.body), workspace.now())
    _write(workspace, over, by)
    return over


def _write(workspace: Workspace, wanted: Delegation, by: str) -> None:
    entry = workspace.record.get(wanted.ref)
    if entry is not None and entry.body == wanted.to_json():
        return
    put = Put(wanted.ref, wanted.to_json(), entry.version if entry else 0)
    workspace.record.write([put], by=by, at=workspace.now())


def owners_of(workspace: Workspace) -> tuple[Owner, ...]:
    """Of the release that runs; of the folder, before the first."""
    running = stable(workspace)
    return (running.project if running else workspace.project).owners


def on_behalf(
    workspace: Workspace, owners: Sequence[Owner], change: Change, signing: SignOff
) -> str:
    """For whom `signing` is given, when who signs holds the role only on loan."""
    return lender(delegations(workspace.record), owners, change.author, signing)


def _moment(text: str) -> datetime:
    """A day means its end: `until Friday` is over when Friday is."""
    try:
        if len(text) == len("2013-06-01"):
            return datetime.combine(date.fromisoformat(text), time(), UTC) + timedelta(days=1)
        said = datetime.fromisoformat(text)
    except ValueError as error:
        raise Unusable(f"{text!r} is no day", help="write 2013-06-01") from error
    if said.tzinfo is None:
        raise Unusable(f"{text!r} has no offset", help="write 2013-06-01 or 2013-06-01T12:00Z")
    return said.astimezone(UTC)
