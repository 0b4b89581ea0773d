"""What one look at a rollout sees: what was measured and judged, and what stands in the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from interlock.app import health
from interlock.app.booking import Waits, footprint_of, moved_along, waits
from interlock.app.counting import Measuring
from interlock.app.ingest import ingest
from interlock.app.judging import how_measured
from interlock.app.lateness import late
from interlock.app.measure import buckets_of, news, settled, silent, unsound
from interlock.app.monitored import objections
from interlock.app.reliability import EVERY
from interlock.app.reliability import keep as keep_budgets
from interlock.app.versions import Version, stored
from interlock.app.weighing import Agreed, kept, still_agreed
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.errors import Corrupt, NotFound
from interlock.ports import Bucket, Put
from interlock.rollout.judge import Judgement, judge
from interlock.rollout.machine import Advance, Decision, Facts, Request, advance
from interlock.rollout.metrics import Guardrail
from interlock.rollout.state import RolloutState
from interlock.rollout.strata import matured


@dataclass(frozen=True)
class Measured:
    """Everything counted so far, what of it is ripe to be `counted`, what of it is `news` to the
    record, and what the judge says of all; nothing before a stage began."""

    buckets: Sequence[Bucket] = ()
    counted: Sequence[Bucket] = ()
    news: Sequence[Bucket] = ()
    judgement: Judgement | None = None


@dataclass(frozen=True)
class Seen:
    """A rollout and all that decides about it."""

    change: Change
    state: RolloutState
    measured: Measured
    facts: Facts
    agreed: Agreed
    at: datetime

    def decided(self, hook: str = "") -> Decision:
        """What comes next, alone; `hook` is what a system outside has against it."""
        return advance(self.state, self.measured.judgement, replace(self.facts, hook=hook), self.at)


def seen(workspace: Workspace, change: Change, state: RolloutState, route: Route) -> Seen:
    """Everything that one look needs to know; writes nothing of the rollout."""
    now = workspace.now()
    measured = _judged(workspace, change, state, now)
    agreed = _agreed(workspace, change, state)
    facts = _facts(workspace, change, state, route)
    facts = replace(facts, approvals=agreed.lacking, unsound=_unsound(measured.buckets, state, now))
    return Seen(change, state, measured, facts, agreed, now)


def _unsound(buckets: Sequence[Bucket], state: RolloutState, now: datetime) -> str:
    """Why what was counted in the stage at hand cannot be judged by."""
    if state.stage is None:
        return ""
    stage = state.stage.name
    return unsound(buckets, stage) or silent(buckets, stage, state.entered_at, now)


def is_known(workspace: Workspace, found: Seen) -> bool:
    """Does the record say this? Saying it again at every look would only fill it."""
    entry = workspace.record.get(Ref("judgement", found.change.id))
    judgement = found.measured.judgement
    said = _finite({**judgement.to_json(), "stage": _stage(found.state)}) if judgement else {}
    kept = {name: value for name, value in entry.body.items() if name != "at"} if entry else {}
    return said == kept


def _stage(state: RolloutState) -> str:
    return state.stage.name if state.stage else ""


def line(change: Change, state: RolloutState) -> str:
    """Where a rollout stands, as one line."""
    return f"{change.id} {state.stage.name if state.stage else state.state.value}: {state.said}"


def puts_of(
    workspace: Workspace, found: Seen, decision: Decision, state: RolloutState
) -> list[Put]:
    """What is written beside the change when `decision` leads it to `state`."""
    puts = []
    judgement = found.measured.judgement
    if judgement is not None:
        ref = Ref("judgement", found.change.id)
        entry = workspace.record.get(ref)
        body = {**judgement.to_json(), "at": found.at.isoformat(), "stage": _stage(state)}
        puts.append(Put(ref, _finite(body), entry.version if entry else 0))
    if isinstance(decision, Advance) and found.agreed.decision:
        puts += kept(workspace, found.agreed.decision)
    if (state.state, state.index) != (found.state.state, found.state.index):
        puts += moved_along(workspace, state, found.at)
    return puts


def route_put(workspace: Workspace, before: Route, after_: Route) -> Put:
    """The Route as `after_`, on condition that it is `before` still."""
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
    if route.change not in (None, change.id, change.experiment):
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


def _judged(workspace: Workspace, change: Change, state: RolloutState, now: datetime) -> Measured:
    if state.gate is None or state.stage is None:
        return Measured()
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
    return Measured(buckets, counted, news(known, buckets), judgement)


def measuring(version: Version, change: Change, now: datetime) -> Measuring:
    """How this change is measured, as it was agreed when it was approved."""
    agreed: dict[str, Any] = change.details["judge"]
    shown = {0.0: "stable", 1.0: "candidate"}
    stages = change.details["rollout"]["stages"]
    guardrails = [Guardrail.from_json(body) for body in agreed["guardrails"]]
    return replace(
        how_measured(guardrails, version.project, agreed["model"], now),
        change=change.id,
        experiment=change.details["rollout"].get("experiment", ""),
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
