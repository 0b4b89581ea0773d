"""The reconcile loop: read, judge, decide, write - one compare-and-swap per look.

Everything a look needs is in the record, the log and the warehouse, and everything it
does is one transaction. So a kill at any line loses and repeats nothing, and the code
may be another version of itself at the next look.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from interlock.app.beside import running_of
from interlock.app.candidates import look_at, state_of
from interlock.app.changes import Held, all_changes, held
from interlock.app.dependents import follow
from interlock.app.feed import keep_online
from interlock.app.ingest import packed
from interlock.app.leases import LEASE_S, holder
from interlock.app.outbox import telling
from interlock.app.prepare import point_at, prepare
from interlock.app.scoring import score_again
from interlock.app.shown import follow_route
from interlock.app.slots import start_due
from interlock.app.versions import stored
from interlock.app.workspace import CONTROLLER, Workspace
from interlock.change.change import Change
from interlock.errors import Stale
from interlock.rollout.state import ENDED, State

IDLE = "nothing is being released"


def tick(workspace: Workspace) -> str:
    """One look at the environment; what was done or why nothing was, as one line."""
    lease = f"{CONTROLLER}:{workspace.environment}"
    me = holder()
    if workspace.record.claim(lease, me, LEASE_S) is None:
        return "another controller is at work here"
    try:
        said = [look(workspace, id) for id in _turns(workspace)]
        said.append(start_due(workspace))
        said.append(follow(workspace))
        follow_route(workspace)
        said.append(keep_online(workspace))
        said.append(workspace.refreshing.look(workspace))
        said.append(packed(workspace))
    finally:
        workspace.record.release(lease, me)
    return "; ".join(filter(None, said)) or IDLE


def drive(workspace: Workspace, every: float = 1.0) -> Iterator[str]:
    """Tick until nothing is under way; yields each line that says something new.

    People and systems are told of it meanwhile.
    """
    last = ""
    with telling(workspace):
        while True:
            said = tick(workspace)
            if said != last:
                yield said
                last = said
            going = ("ABORTING", "REVERTING")
            if not any(c.under_way or c.state in going for c in _due(workspace)):
                return
            time.sleep(every)


def look_until_fresh(workspace: Workspace, every: float = 1.0) -> Iterator[str]:
    """One look, and further ones as long as a refresh that it began is under way."""
    last = said = tick(workspace)
    yield said
    while workspace.refreshing.busy:
        time.sleep(every)
        said = tick(workspace)
        if said != last:
            yield said
            last = said


def _due(workspace: Workspace) -> list[Change]:
    """Changes with something to do: under way, going back, or in their rollback window."""
    states = {"ABORTING", "REVERTING", "COMMITTED"}
    return [
        change
        for change in reversed(all_changes(workspace))
        if (change.under_way or change.state in states)
        and change.environment == workspace.environment
    ]


def _turns(workspace: Workspace) -> list[str]:
    """Whom to look at: of those that walk together one stands for all."""
    due = _due(workspace)
    # By id too: the first of an experiment may be on its way back while the others go on.
    first = {(c.under_way, c.experiment if c.under_way else c.id): c.id for c in reversed(due)}
    return [change.id for change in due if change.id in first.values()]


def look(workspace: Workspace, id: str) -> str:
    """One look at a change, and at all that walk together with it while it is under way.

    A write that lost a race is simply done again next time.
    """
    every = _together(workspace, held(workspace.record, id))
    for state in map(state_of, every):
        if state.state in ENDED:
            return ""
        if state.state is State.PREPARING:
            prepare(workspace, stored(workspace, state.release), state.release)
            score_again(workspace, state.release)
        if state.state is State.REVERTING:
            _point(workspace)  # before the last word is written: nobody looks again after it
    try:
        said = look_at(workspace, every)
    except Stale as error:
        said = f"{id}: {error.message}; looking again"
    _point(workspace)
    return said


def _together(workspace: Workspace, one: Held) -> list[Held]:
    """All that are under way in the experiment of `one`; what goes back or is over goes alone."""
    if not one.change.under_way:
        return [one]
    return [held(workspace.record, c.id) for c in running_of(workspace, one.change.experiment)]


def _point(workspace: Workspace) -> None:
    """Logical names follow the Route, forward and back; a kill only delays them."""
    release = workspace.route().stable
    if release is not None:
        point_at(workspace, stored(workspace, release))
        follow_route(workspace)
