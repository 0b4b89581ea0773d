"""The start of what was approved: one change, or all that run beside each other, in one write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from interlock.app.beside import not_together, siblings
from interlock.app.booking import start
from interlock.app.changes import Held, all_changes, held, save, save_all
from interlock.app.versions import leads_to, stored
from interlock.app.weighing import (
    keep_forged,
    keep_refused,
    kept,
    objections,
    standing,
    weigh,
)
from interlock.app.workspace import CONTROLLER, Workspace
from interlock.change.change import Change, moved
from interlock.change.ready import evidence_lacks
from interlock.define.environment import Environment
from interlock.define.release import Route
from interlock.errors import Conflict, Refused, Stale
from interlock.plan.plan import Plan
from interlock.ports import Put
from interlock.rollout.state import RolloutState, stages_of

_READY = ("REVIEW", "APPROVED", "SCHEDULED")


@dataclass(frozen=True)
class Ready:
    """What may begin together, and the decisions to keep with it."""

    every: tuple[Held, ...]
    decisions: tuple[Put, ...]

    @property
    def names(self) -> str:
        return ", ".join(
            sorted((one.change.id for one in self.every), key=lambda id: (len(id), id))
        )


def may_begin(workspace: Workspace, before: Held, route: Route, by: str) -> Ready:
    """A change and all beside it; `Refused` with everything that any of them lacks.

    `route` was read before `before`: whoever starts something after that moves it.
    """
    change = before.change
    _refuse_at_all(workspace, change, route)
    beside = [held(workspace.record, one.id) for one in siblings(workspace, change)]
    every = (before, *(one for one in beside if one.change.state in _READY))
    return Ready(every, tuple(_refuse(workspace, [one.change for one in every], route, by)))


def _refuse_at_all(workspace: Workspace, change: Change, route: Route) -> None:
    if change.release and change.made_against != route.stable:
        raise Stale(
            f"{change.id} was planned against a release that no longer runs",
            help="propose it again: plan, evidence and signatures must be about what runs now",
        )
    if change.state not in _READY:
        lacks = evidence_lacks(change, standing(workspace, change))  # refuses what has no plan
        moved(change, "PREPARING", objections=lacks if change.state == "EVIDENCE" else ())


def _refuse(workspace: Workspace, every: Sequence[Change], route: Route, by: str) -> list[Put]:
    """Every objection to any of them; when there is none, the decisions to keep."""
    change, *others = every
    weighed, decision = weigh(workspace, change, "start", by)
    found, puts = [*weighed.objections, *beside_lack(workspace, change, by)], []
    for each in (decision, *(weigh(workspace, one, "start", by)[1] for one in others)):
        puts += kept(workspace, each)
    going = _going(workspace) or [*filter(None, [route.change])]
    if going:
        one, names = len(going) == 1, ", ".join(going)
        busy = f"{names} {'is' if one else 'are'} being rolled out in {workspace.environment}"
        ended = "has ended, or take it back" if one else "have ended, or take them back"
        raise Conflict(f"{change.id} may not start", f"wait until {names} {ended}", (busy, *found))
    if found:
        keep_refused(workspace, decision, by)
        keep_forged(workspace, change, by)
        raise Refused(
            f"{change.id} may not start", help="each line says what is missing", objections=found
        )
    return puts


def beside_lack(workspace: Workspace, change: Change, by: str = CONTROLLER) -> tuple[str, ...]:
    """What keeps the experiment of `change` from beginning that is not its own; empty alone."""
    others = siblings(workspace, change)
    if not others:
        return ()
    found = [*not_together(workspace, change, _environment(workspace, change).arms)]
    for one in (one for one in others if one.state in _READY):
        found += _theirs(one, objections(workspace, one, "start", by))
    return tuple(found)


def _theirs(one: Change, said: Sequence[str]) -> list[str]:
    return [f"{one.id}, which runs beside it: {objection}" for objection in said]


def _environment(workspace: Workspace, change: Change) -> Environment:
    return leads_to(workspace, change).project.environments[workspace.environment]


def _going(workspace: Workspace) -> list[str]:
    """Changes that have started and are not on the Route yet, on it, or leaving it."""
    going = ("ABORTING", "REVERTING")
    return [
        change.id
        for change in reversed(all_changes(workspace))
        if (change.under_way or change.state in going)
        and change.environment == workspace.environment
    ]


def begin(workspace: Workspace, ready: Ready, route: Route, by: str) -> None:
    """PREPARING for all of them in one write; `Stale` when the Route is not `route` any more."""
    moves = []
    # The Route says nothing new, but its epoch does: of two starts at once one is refused.
    claimed = replace(route, epoch=route.epoch + 1)
    also = {workspace.route_ref: Put(workspace.route_ref, claimed.to_json(), route.epoch)}
    for before in ready.every:
        if before.change.state == "REVIEW":
            before = save(workspace, before, moved(before.change, "APPROVED"), by=by)
        moves.append((before, _started(workspace, before.change, by)))
        also |= {put.ref: put for put in start(workspace, before.change)}
    save_all(workspace, moves, by=by, also=[*also.values(), *ready.decisions])


def _started(workspace: Workspace, change: Change, by: str) -> Change:
    environment = stored(workspace, change.release).project.environments[workspace.environment]
    only_rules = Plan.from_json(change.plan or {}).only_rules
    # The first release, and rules alone, are compared with nothing and take no place.
    places = 1 if only_rules or change.made_against is None else environment.arms
    state = RolloutState(
        change=change.id,
        release=change.release,
        stable=change.made_against,
        stages=() if only_rules else stages_of(environment),
        rollback_window=environment.rollback_window,
        entered_at=workspace.now(),
        registered=change.details["judge"]["digest"],
        experiment=change.experiment if places > 1 else "",
        places=places,
    )
    started = moved(change, "PREPARING", f"started by {by}")
    return replace(started, details={**started.details, "rollout": state.to_json()})
