"""Changes as the controller follows them: what stands on another one, what stopped at a layer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from interlock.app.booking import cancelled
from interlock.app.changes import Held, all_changes, held, save
from interlock.app.workspace import CONTROLLER, Workspace
from interlock.change.change import NEVER, THROUGH, Change, moved
from interlock.errors import InterlockError, Stale

if TYPE_CHECKING:
    from collections.abc import Iterator

_WAIT_AGAIN = ("EVIDENCE", "REVIEW", "APPROVED", "SCHEDULED")


def follow(workspace: Workspace) -> str:
    """What became of the changes that wait for others; one line, empty where nothing moved."""
    return "; ".join((*wait_again(workspace), *_taken_up(workspace), *_gone_on(workspace)))


def wait_again(workspace: Workspace) -> list[str]:
    """Whatever stands on a change that was taken back waits again: what it was proven on is gone.

    Signatures stay in the record and count for nothing: the next plan is another one.
    """
    said = []
    for change in _standing_on(workspace):
        upstream = held(workspace.record, change.details["after"]).change
        if change.state in _WAIT_AGAIN and upstream.state in NEVER:
            before = held(workspace.record, change.id)
            why = f"{upstream.id}, which it stands on, is {upstream.state}"
            if _deferred(workspace, before, why):
                said.append(f"{change.id} waits again: {why}")
    return said


def _deferred(workspace: Workspace, before: Held, why: str) -> bool:
    change = before.change
    puts = cancelled(workspace, change, why)
    again = replace(moved(change, "DEFERRED", why), release="", waivers=())
    try:
        save(workspace, before, again, by=CONTROLLER, also=puts)
    except Stale:
        return False  # somebody moved it: the next look sees how it stands then
    return True


def _standing_on(workspace: Workspace) -> Iterator[Change]:
    for change in all_changes(workspace):
        if change.details.get("after") and change.environment == workspace.environment:
            yield change


def _taken_up(workspace: Workspace) -> list[str]:
    """Each waiting change whose turn has come is planned again, one at a look."""
    changes = list(_standing_on(workspace))
    waiting = [c for c in reversed(changes) if c.state == "DEFERRED" and _turn(workspace, c)]
    if not waiting or any(c.under_way for c in all_changes(workspace)):
        return []
    # Planning, training and proving are imported by whoever has something to plan.
    from interlock.app.deferred import replan

    id = waiting[0].id
    try:
        change = replan(workspace, id)
    except InterlockError as error:
        _given_up(workspace, id, error.message)
        return [f"{id} could not be planned again: {error.message}"]
    return [f"{id} is planned again: {change.said}"]


def _turn(workspace: Workspace, change: Change) -> bool:
    """Is what it waits for through, and was it not tried on this very release?"""
    upstream = held(workspace.record, change.details["after"]).change
    tried = change.details.get("tried_on")
    return upstream.state in THROUGH and tried != workspace.route().stable


def _given_up(workspace: Workspace, id: str, why: str) -> None:
    """Not tried again before something else runs; people are told what was in the way."""
    before = held(workspace.record, id)
    if before.change.state != "DEFERRED":
        return  # cut off on the way: the author proposes it again, or withdraws it
    details = {**before.change.details, "tried_on": workspace.route().stable}
    said = f"could not be planned again: {why}"
    save(workspace, before, replace(before.change, details=details, said=said), by=CONTROLLER)


def _gone_on(workspace: Workspace) -> list[str]:
    """A change that stopped at a layer goes on once all that failed there is waived."""
    changes = all_changes(workspace)
    ripe = [c for c in reversed(changes) if c.environment == workspace.environment and _lifted(c)]
    if not ripe or any(c.under_way for c in changes):
        return []
    from interlock.app.outdated import prove_again

    id = ripe[0].id
    try:
        change = prove_again(workspace, id, lambda _: None)
    except InterlockError as error:
        _stands_still(workspace, id, error.message)
        return [f"{id} could not be proven further: {error.message}"]
    return [f"{id} is proven further: {change.said}"]


def _lifted(change: Change) -> bool:
    failed = set(change.details.get("stopped", ()))
    waived = {waiver.check for waiver in change.waivers}
    return change.state == "EVIDENCE" and bool(failed) and failed <= waived


def _stands_still(workspace: Workspace, id: str, why: str) -> None:
    """Not tried again by itself; people are told, and `prove` tries again at their word."""
    before = held(workspace.record, id)
    details = {**before.change.details, "stopped": []}
    said = f"could not be proven further: {why}"
    save(workspace, before, replace(before.change, details=details, said=said), by=CONTROLLER)
