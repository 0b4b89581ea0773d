"""One look at the candidates that run together, one or several: seen together, written together.

What each would do alone is put to `rollout.candidates`. All that comes of it, the Route with it,
is one write: no candidate is ever a stage ahead of another, whatever line a process was killed at.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from interlock.app.changes import Held, save_all, told
from interlock.app.hooks import objections
from interlock.app.looking import Seen, is_known, line, puts_of, route_put, seen
from interlock.app.workspace import CONTROLLER, Workspace
from interlock.change.change import Change
from interlock.define.release import Route
from interlock.ports import Put
from interlock.rollout.candidates import Candidate, decided, loss_of, route_of
from interlock.rollout.machine import Abort, Advance, Decision, GiveWay, Stay, after, ahead
from interlock.rollout.state import RolloutState


@dataclass(frozen=True)
class _Looked:
    """One candidate in this look, as it was and as it becomes."""

    before: Held
    found: Seen
    decision: Decision

    @property
    def state(self) -> RolloutState:
        return after(self.found.state, self.decision, self.found.at)

    @property
    def change(self) -> Change:
        moves = isinstance(self.decision, (Advance, Abort, GiveWay))
        return told(self.before.change, self.state, keep_request=not moves)

    @property
    def said(self) -> str:
        """Where it stands, as one line; empty where nothing came of it and nothing was seen."""
        rests = isinstance(self.decision, Stay) and self.state == self.found.state
        if rests and not self.found.measured.buckets:
            return ""
        return line(self.before.change, self.state)


def look_at(workspace: Workspace, every: Sequence[Held]) -> str:
    """Decide about all of them and write what comes of it, once; `Stale` when somebody else did."""
    route = workspace.route()
    found = [seen(workspace, before.change, state_of(before), route) for before in every]
    candidates, decisions = _agree(workspace, found)
    looked = [_Looked(*one) for one in zip(every, found, decisions, strict=True)]
    news = [one for one in looked if _is_news(workspace, one)]
    if news:
        _write(workspace, news, (route, route_of(route, candidates, decisions)))
    return "; ".join(filter(None, (one.said for one in looked)))


def state_of(before: Held) -> RolloutState:
    """Where the rollout of a change stands."""
    return RolloutState.from_json(before.change.details["rollout"])


def _agree(
    workspace: Workspace, found: Sequence[Seen]
) -> tuple[Sequence[Candidate], Sequence[Decision]]:
    """What all do together. Systems outside are asked about those alone that would go forward."""
    candidates = [_candidate(one, one.decided()) for one in found]
    decisions = decided(candidates)
    moving = [(one.change, ahead(to)) for one, to in zip(found, decisions, strict=True)]
    against = objections(workspace, moving)
    if not against:
        return candidates, decisions
    again = [_candidate(one, one.decided(against.get(one.change.id, ""))) for one in found]
    return again, decided(again)


def _candidate(found: Seen, decision: Decision) -> Candidate:
    stage = found.state.stage
    loss = loss_of(found.measured.counted, stage.name) if stage else None
    return Candidate(found.state, decision, loss, found.facts.request)


def _is_news(workspace: Workspace, one: _Looked) -> bool:
    if one.state != one.found.state:
        return True
    measured = one.found.measured
    return bool(measured.buckets) and bool(measured.news or not is_known(workspace, one.found))


def _write(workspace: Workspace, news: Sequence[_Looked], routes: tuple[Route, Route]) -> None:
    puts: list[Put] = []
    if routes[0] != routes[1]:
        puts.append(route_put(workspace, *routes))
        workspace.decided_at = time.time()
    for one in news:
        puts += puts_of(workspace, one.found, one.decision, one.state)
    save_all(
        workspace,
        [(one.before, one.change) for one in news],
        by=CONTROLLER,
        also=puts,
        buckets={one.before.change.id: one.found.measured.news for one in news},
    )
