"""The reconcile loop: read, judge, decide, write - one compare-and-swap per look.

Everything a look needs is in the record, the log and the warehouse, and everything it
does is one transaction. So a kill at any line loses and repeats nothing, and the code
may be another version of itself at the next look.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from interlock.app import health
from interlock.app.booking import Waits, footprint_of, moved_along, waits
from interlock.app.changes import Held, all_changes, held, save, told
from interlock.app.counting import Measuring
from interlock.app.dependents import follow
from interlock.app.feed import keep_online
from interlock.app.hooks import objection
from interlock.app.ingest import ingest, packed
from interlock.app.judging import how_measured
from interlock.app.lateness import late
from interlock.app.leases import LEASE_S, holder
from interlock.app.measure import buckets_of, settled, unmirrored
from interlock.app.monitored import objections
from interlock.app.outbox import telling
from interlock.app.prepare import point_at, prepare
from interlock.app.reliability import EVERY
from interlock.app.reliability import keep as keep_budgets
from interlock.app.scoring import score_again
from interlock.app.shown import follow_route
from interlock.app.slots import start_due
from interlock.app.versions import Version, stored
from interlock.app.weighing import Agreed, kept, still_agreed
from interlock.app.workspace import CONTROLLER, Workspace
from interlock.change.change import Change
from interlock.define.notifications import COMMIT
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.errors import Corrupt, NotFound, Stale
from interlock.ports import Bucket, Put
from interlock.rollout.judge import Judgement, judge
from interlock.rollout.machine import (
    Abort,
    Advance,
    Facts,
    Request,
    Stay,
    advance,
    after,
    ahead,
)
from interlock.rollout.metrics import Guardrail
from interlock.rollout.routes import route_after
from interlock.rollout.state import ENDED, RolloutState, State
from interlock.rollout.strata import matured

IDLE = "nothing is being released"


def tick(workspace: Workspace) -> str:
    """One look at the environment; what was done or why nothing was, as one line."""
    lease = f"{CONTROLLER}:{workspace.environment}"
    me = holder()
    if workspace.record.claim(lease, me, LEASE_S) is None:
        return "another controller is at work here"
    try:
        said = [look(workspace, change.id) for change in _due(workspace)]
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


def look(workspace: Workspace, id: str) -> str:
    """One look at one change. A write that lost a race is simply done again next time."""
    before = held(workspace.record, id)
    state = RolloutState.from_json(before.change.details["rollout"])
    if state.state in ENDED:
        return ""
    if state.state is State.PREPARING:
        prepare(workspace, stored(workspace, state.release), state.release)
        score_again(workspace, state.release)
    if state.state is State.REVERTING:
        _point(workspace)  # before the last word is written: nobody looks again after it
    try:
        said = _decide(workspace, before, state)
    except Stale as error:
        said = f"{id}: {error.message}; looking again"
    _point(workspace)
    return said


def _point(workspace: Workspace) -> None:
    """Logical names follow the Route, forward and back; a kill only delays them."""
    release = workspace.route().stable
    if release is not None:
        point_at(workspace, stored(workspace, release))
        follow_route(workspace)


def _decide(workspace: Workspace, before: Held, state: RolloutState) -> str:
    now = workspace.now()
    change = before.change
    route = workspace.route()
    buckets, news, judgement = _judged(workspace, change, state, now)
    agreed = _agreed(workspace, change, state)
    missing = unmirrored(buckets, state.stage.name) if state.stage else ""
    facts = _facts(workspace, change, state, route)
    facts = replace(facts, approvals=agreed.lacking, unmirrored=missing)
    decision = advance(state, judgement, facts, now)
    first = state.state is State.PREPARING and (state.stable is None or not state.stages)
    begins = ahead(decision)
    if said := objection(workspace, change, COMMIT if first and begins else begins):
        decision = advance(state, judgement, replace(facts, hook=said), now)
    if first and isinstance(decision, Advance):
        return _first_release(workspace, before, state, route)
    new_state = after(state, decision, now)
    new_route = route_after(route, decision)
    if new_state == state and not buckets:
        return "" if isinstance(decision, Stay) else f"{change.id}: {new_state.said}"
    if new_state == state and not news and _known(workspace, change, state, judgement):
        return _line(change, state)
    puts = _puts(workspace, change, new_state, (route, new_route), judgement, now)
    if isinstance(decision, Advance) and agreed.decision:
        puts += kept(workspace, agreed.decision)
    if (new_state.state, new_state.index) != (state.state, state.index):
        puts += moved_along(workspace, new_state, now)
    if new_route != route:
        workspace.decided_at = time.time()
    changed = told(change, new_state, keep_request=not isinstance(decision, (Advance, Abort)))
    save(workspace, before, changed, by=CONTROLLER, also=puts, buckets={change.id: news})
    return _line(change, new_state)


def _line(change: Change, state: RolloutState) -> str:
    return f"{change.id} {state.stage.name if state.stage else state.state.value}: {state.said}"


def _known(
    workspace: Workspace, change: Change, state: RolloutState, judgement: Judgement | None
) -> bool:
    """Does the record say this? Saying it again at every look would only fill it."""
    entry = workspace.record.get(Ref("judgement", change.id))
    said = _finite({**judgement.to_json(), "stage": _stage(state)}) if judgement else {}
    kept = {name: value for name, value in entry.body.items() if name != "at"} if entry else {}
    return said == kept


def _stage(state: RolloutState) -> str:
    return state.stage.name if state.stage else ""


def _first_release(workspace: Workspace, before: Held, state: RolloutState, route: Route) -> str:
    """Committed at once: nothing runs yet, or nothing that runs would answer otherwise."""
    now = workspace.now()
    said = "the first release of this environment: nothing to compare with"
    if state.stable is not None:
        said = "only rules change: nothing that answers differs"
    new_state = state.moved(State.COMMITTED, state.index, now, said)
    new_route = replace(route, epoch=route.epoch + 1, stable=state.release)
    puts = [_route_put(workspace, route, new_route), *moved_along(workspace, new_state, now)]
    save(workspace, before, told(before.change, new_state), by=CONTROLLER, also=puts)
    return f"{before.change.id} committed: {said}"


def _puts(
    workspace: Workspace,
    change: Change,
    state: RolloutState,
    routes: tuple[Route, Route],
    judgement: Judgement | None,
    now: datetime,
) -> list[Put]:
    puts = []
    if routes[0] != routes[1]:
        puts.append(_route_put(workspace, *routes))
    if judgement is not None:
        ref = Ref("judgement", change.id)
        entry = workspace.record.get(ref)
        body = {**judgement.to_json(), "at": now.isoformat(), "stage": _stage(state)}
        puts.append(Put(ref, _finite(body), entry.version if entry else 0))
    return puts


def _route_put(workspace: Workspace, before: Route, after_: Route) -> Put:
    return Put(workspace.route_ref, after_.to_json(), before.epoch)


def _facts(workspace: Workspace, change: Change, state: RolloutState, route: Route) -> Facts:
    asked = change.details.get("request")
    # On the way back none of these is asked.
    waiting = _waits(workspace, change, state) if change.under_way else Waits()
    elsewhere = _elsewhere(change, route) if change.under_way else ""
    return Facts(
        freeze=waiting.freeze,
        dependency=elsewhere or waiting.dependency,
        late_data=waiting.late,
        fallback=_stable_trouble(workspace, change),
        series=_monitored(workspace, change, state),
        request=Request(**asked) if asked else None,
    )


def _monitored(workspace: Workspace, change: Change, state: RolloutState) -> str:
    """Asked of the monitoring only once the stage has lasted its least time."""
    now = workspace.now()
    if not change.under_way or state.stage is None or now < state.entered_at + state.stage.hold:
        return ""
    project = stored(workspace, change.release).project
    return objections(project.environments[workspace.environment], state, now)


def _waits(workspace: Workspace, change: Change, state: RolloutState) -> Waits:
    """Asked of the calendar and the data only once the stage has lasted its least time."""
    now = workspace.now()
    if state.stage is not None and now < state.entered_at + state.stage.hold:
        return Waits()
    version = stored(workspace, change.release)
    # Nobody is asked anything by a first release, and nothing is fed from it yet.
    loads = footprint_of(workspace, change).loads if state.stable else frozenset()
    return waits(workspace, change, late(workspace, version, loads, now))


def _agreed(workspace: Workspace, change: Change, state: RolloutState) -> Agreed:
    """Signatures, evidence and policies hold in the middle of a rollout too, or it waits."""
    begins = state.entered_at + (state.stage.hold if state.stage else timedelta(0))
    if not change.under_way or workspace.now() < begins:
        return Agreed()
    last = state.stable is None or state.index + 1 == len(state.stages)
    return still_agreed(workspace, change, "commit" if last else "advance")


def _elsewhere(change: Change, route: Route) -> str:
    """Why the Route is not this change's to move; empty when it is."""
    if route.stable != change.made_against:
        return f"{change.id} was planned against a release that no longer runs: take it back"
    if route.change not in (None, change.id):
        return f"{route.change} is being rolled out in {route.environment}"
    return ""


def _stable_trouble(workspace: Workspace, change: Change) -> str:
    """Why the release to go back to could not answer; empty when it can."""
    if change.made_against is None:
        return ""
    back = workspace.record.get(Ref("release", change.made_against))
    if back is None:
        return "its release is not in the record"
    for model in back.body["models"].values():
        try:
            workspace.artifacts.get(model["artifact"])
        except (Corrupt, NotFound) as error:
            return error.message
    return ""


def _judged(
    workspace: Workspace, change: Change, state: RolloutState, now: datetime
) -> tuple[list[Bucket], list[Bucket], Judgement | None]:
    """Everything measured so far, what of it the record does not say yet, and what the judge
    says of all; nothing before a stage began."""
    if state.gate is None or state.stage is None:
        return [], [], None
    ingest(workspace)
    running = stored(workspace, state.stable or change.release)
    keep_budgets(workspace, running, EVERY)
    health.keep(workspace, running, EVERY)
    agreed = change.details["judge"]
    guardrails = [Guardrail.from_json(body) for body in agreed["guardrails"]]
    version = stored(workspace, change.release)
    measured = buckets_of(workspace.warehouse, measuring(version, change, now))
    known = frozenset(workspace.record.buckets(change.id))
    buckets = settled(known, measured)
    counted = matured(guardrails, buckets, now.timestamp())
    judgement = judge(
        guardrails, counted, agreed["alpha"], agreed["beta"], state.gate, state.stage.name
    )
    # A week of hours and metrics is a thousand rows, and few of them moved since the last look.
    return buckets, [b for b in buckets if b not in known], judgement


def measuring(version: Version, change: Change, now: datetime) -> Measuring:
    """How this change is measured, as it was agreed when it was approved."""
    agreed: dict[str, Any] = change.details["judge"]
    shown = {0.0: "stable", 1.0: "candidate"}
    stages = change.details["rollout"]["stages"]
    guardrails = [Guardrail.from_json(body) for body in agreed["guardrails"]]
    return replace(
        how_measured(guardrails, version.project, agreed["model"], now),
        change=change.id,
        release=change.release,
        shown={s["name"]: shown[s["weight"]] for s in stages if s["weight"] in shown},
        divided=tuple(s["name"] for s in stages if s["weight"] not in shown),
    )


def _finite(value: Any) -> Any:
    """JSON has no infinity: what is not finite is not known."""
    match value:
        case float():
            return value if abs(value) != float("inf") and value == value else None
        case dict():
            return {name: _finite(part) for name, part in value.items()}
        case list() | tuple():
            return [_finite(part) for part in value]
        case _:
            return value
