"""One look at an experiment: all candidates that are under way are seen and written together.

What each would do alone is put to `rollout.arms`. All that comes of it, the Route with it, is one
write: no candidate is ever a stage ahead of another, whatever line a process was killed at.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from interlock.app.beside import running_of
from interlock.app.changes import Held, held, save_all, told
from interlock.app.looking import Seen, is_known, line, puts_of, route_put, seen
from interlock.app.prepare import prepare
from interlock.app.scoring import score_again
from interlock.app.versions import stored
from interlock.app.workspace import CONTROLLER, Workspace
from interlock.change.change import Change
from interlock.define.release import Route
from interlock.errors import Stale
from interlock.ports import Put
from interlock.rollout.arms import Arm, decided, loss_of, route_of
from interlock.rollout.machine import Abort, Advance, Decision, GiveWay, after, ahead
from interlock.rollout.state import RolloutState, State


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


def look_together(workspace: Workspace, experiment: str) -> str:
    """One look at all that is under way in `experiment`; what came of it, as one line."""
    every = [held(workspace.record, one.id) for one in running_of(workspace, experiment)]
    for before in every:
        if before.change.state == State.PREPARING.name:
            release = before.change.release
            prepare(workspace, stored(workspace, release), release)
            score_again(workspace, release)
    try:
        return "; ".join(_decide(workspace, every))
    except Stale as error:
        return f"{experiment}: {error.message}; looking again"


def _decide(workspace: Workspace, every: Sequence[Held]) -> Iterator[str]:
    route = workspace.route()
    found = [seen(workspace, before.change, _state(before), route) for before in every]
    arms, decisions = _agree(workspace, found)
    looked = [_Looked(*one) for one in zip(every, found, decisions, strict=True)]
    after_ = route_of(route, arms, decisions)
    news = [one for one in looked if _is_news(workspace, one)]
    if news:
        _write(workspace, news, (route, after_))
    for one in looked:
        yield line(one.before.change, one.state)


def _state(before: Held) -> RolloutState:
    return RolloutState.from_json(before.change.details["rollout"])


def _agree(workspace: Workspace, found: Sequence[Seen]) -> tuple[Sequence[Arm], Sequence[Decision]]:
    """What all do together. Systems outside are asked about those alone that would go forward."""
    arms = [_arm(one, one.decided()) for one in found]
    decisions = decided(arms)
    against = {
        one.change.id: said
        for one, decision in zip(found, decisions, strict=True)
        if (said := one.asked(workspace, ahead(decision)))
    }
    if not against:
        return arms, decisions
    again = [
        replace(arm, decision=one.decided(against[arm.change])) if arm.change in against else arm
        for arm, one in zip(arms, found, strict=True)
    ]
    return again, decided(again)


def _arm(found: Seen, decision: Decision) -> Arm:
    stage = found.state.stage
    loss = loss_of(found.measured.counted, stage.name) if stage else None
    return Arm(found.state, decision, loss, found.facts.request)


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
