"""What happens next in a rollout: pure, told the time, one move per call.

PREPARING -> SHADOW -> STEP... -> SOAKING -> COMMITTED -> RETIRED
any of PREPARING..SOAKING -> ABORTING -> ABORTED; COMMITTED -> REVERTING -> ABORTED
SHADOW, STEP -> UNCHOSEN where another candidate goes on

Forward moves wait for evidence, holds, freezes and approvals. Backward moves wait for
nothing: the route goes first, the health of the release returned to is checked after.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from interlock.define.durations import format_duration
from interlock.define.environment import Stage
from interlock.define.notifications import COMMIT
from interlock.define.release import Filter
from interlock.rollout.judge import Judgement
from interlock.rollout.state import ENDED, UNDER_WAY, HoldReason, RolloutState, State, state_of


@dataclass(frozen=True)
class Request:
    """What a person asked for. `hold` lasts until the request is withdrawn; `promote` waives
    an open judgement or a hook (never harm, never zero measurements) and needs a reason.
    `retry` begins the stage again, deadline and all; evidence is kept. `choose` promotes, and
    says of several candidates that this one goes on."""

    kind: Literal["hold", "promote", "rollback", "retry", "choose"]
    by: str
    reason: str


@dataclass(frozen=True)
class Facts:
    """The world around the rollout. Texts say what is wrong; empty means all is well.

    `hook` is what a system outside said when asked about the next move, which `ahead` names;
    `unsound` says what was counted and cannot be judged by, as a mirrored stage that lacks
    scores, `series` what is monitored and speaks against going on.
    """

    prepared: bool = True
    freeze: str = ""
    approvals: str = ""
    dependency: str = ""
    late_data: str = ""
    fallback: str = ""
    hook: str = ""
    unsound: str = ""
    series: str = ""
    labels_matured: bool = True
    request: Request | None = None


@dataclass(frozen=True)
class RouteMove:
    """What the Route must become; `commit` makes the candidate the stable release.

    `compared` is False of a commit that no candidate came before: there was nothing to compare.
    """

    release: str
    change: str
    stage: str | None
    weight: float
    commit: bool = False
    compared: bool = True
    filter: Filter = ()


@dataclass(frozen=True)
class Advance:
    """Go on. `route` is None where nothing is routed (the end of a rollback window)."""

    to: State
    index: int
    sentence: str
    route: RouteMove | None


@dataclass(frozen=True)
class Hold:
    """Stand still, and say why."""

    reason: HoldReason
    sentence: str


@dataclass(frozen=True)
class Abort:
    """Go back now. `blocked` may not be proposed again; `stable` is what remains."""

    to: State
    sentence: str
    blocked: str
    stable: str | None


@dataclass(frozen=True)
class GiveWay:
    """End because another candidate goes on: nothing harmed, and nothing is blocked."""

    sentence: str


@dataclass(frozen=True)
class Stay:
    """Nothing to do yet; no hold, nobody needs to act."""

    sentence: str


Decision = Advance | Hold | Abort | GiveWay | Stay


def advance(
    state: RolloutState, judgement: Judgement | None, facts: Facts, now: datetime
) -> Decision:
    """The one next decision. `judgement` is None when nothing was judged yet."""
    if state.state in ENDED:
        return Stay(f"{state.change} has ended: {state.said}")
    if state.state in (State.ABORTING, State.REVERTING):
        return _finish_abort(state, facts)
    back = _why_back(state, judgement, facts, now)
    if back:
        to = State.REVERTING if state.state is State.COMMITTED else State.ABORTING
        return Abort(to, back, state.release, state.stable)
    if state.state is State.COMMITTED:
        return _after_commit(state, now)
    return _forward(state, judgement, facts, now)


def _finish_abort(state: RolloutState, facts: Facts) -> Decision:
    if facts.fallback:
        return Hold(
            HoldReason.FALLBACK_UNHEALTHY,
            f"rolled back, but the release returned to is not healthy: {facts.fallback}",
        )
    # From the history: what was said last may be a hold of this very state.
    why = state.history[-1].sentence if state.history else state.said
    return Advance(State.ABORTED, state.index, f"rolled back: {why}", None)


def _why_back(state: RolloutState, judgement: Judgement | None, facts: Facts, now: datetime) -> str:
    if state.state is State.COMMITTED and now >= state.entered_at + state.rollback_window:
        return ""  # what came before may be gone; going back is now a change of its own
    if facts.request and facts.request.kind == "rollback":
        return f"{facts.request.by} asked to roll back: {facts.request.reason}"
    if judgement and judgement.verdict == "harm":
        where = f" at {state.stage.name}" if state.stage else ""
        return f"harm seen{where}: {judgement.sentence}"
    return ""


def _after_commit(state: RolloutState, now: datetime) -> Decision:
    ends = state.entered_at + state.rollback_window
    if now < ends:
        return Stay(f"committed; can be taken back until {ends:%Y-%m-%d %H:%M} UTC")
    return Advance(State.RETIRED, state.index, "the rollback window is over", None)


def _forward(
    state: RolloutState, judgement: Judgement | None, facts: Facts, now: datetime
) -> Decision:
    asked = facts.request
    if asked and asked.kind == "hold":
        return Hold(HoldReason.MANUAL, f"held by {asked.by}: {asked.reason}")
    if asked and asked.kind == "retry" and state.stage is not None:
        again = f"{state.stage.name} begins again: {asked.by} gives it more time: {asked.reason}"
        return Advance(state.state, state.index, again, None)
    waiting = _not_ready(state, judgement, facts, now)
    if waiting:
        return waiting
    # Asked only when ready to move: a freeze does not stop measuring.
    blocked = next(_blockers(facts), None)
    return blocked or _next(state, judgement, facts)


def _not_ready(
    state: RolloutState, judgement: Judgement | None, facts: Facts, now: datetime
) -> Hold | Stay | None:
    if state.stage is None:
        return None if facts.prepared else Stay("new versions are being built")
    until = state.entered_at + state.stage.hold
    if now < until:
        return Stay(f"{state.stage.name} lasts at least until {until:%Y-%m-%d %H:%M} UTC")
    if judgement is None or judgement.measured <= 0:
        # Silence is not health, and nobody can waive what was never looked at.
        return Hold(HoldReason.NO_DATA, f"nothing was measured in {state.stage.name}")
    if state.registered and judgement.registered != state.registered:
        return Hold(HoldReason.INCONCLUSIVE, "judged by other guardrails than the change agreed to")
    if judgement.split_broken:
        return Hold(HoldReason.SRM, judgement.sentence)
    return _not_proven(state.stage, state.entered_at, judgement, facts, now)


def _not_proven(
    stage: Stage, since: datetime, judgement: Judgement, facts: Facts, now: datetime
) -> Hold | Stay | None:
    is_shown = judgement.verdict == "safe" and facts.labels_matured and not facts.unsound
    if _promoted(facts) or is_shown:
        return None
    if facts.unsound:
        # Where it was not seen it may have been at its worst: what is missing is no success.
        return Hold(HoldReason.NO_DATA, facts.unsound)
    open_point = _open_point(judgement)
    if stage.deadline is not None and now >= since + stage.deadline:
        return Hold(
            HoldReason.INCONCLUSIVE,
            f"{stage.name} is open after {format_duration(stage.deadline)}; the owner decides "
            f"(promote with a reason, roll back, retry, or wait): {open_point}",
        )
    if judgement.verdict == "error":
        return Hold(HoldReason.NO_DATA, open_point)
    return Stay(open_point)


def _promoted(facts: Facts) -> bool:
    asked = facts.request
    return bool(asked and asked.kind in ("promote", "choose") and asked.reason.strip())


def _open_point(judgement: Judgement) -> str:
    return judgement.sentence if judgement.verdict != "safe" else "labels are still arriving"


def _blockers(facts: Facts) -> Iterator[Hold]:
    if facts.fallback:
        yield Hold(HoldReason.FALLBACK_UNHEALTHY, f"there is no healthy way back: {facts.fallback}")
    if facts.late_data:
        yield Hold(HoldReason.DEPENDENCY, f"data is late: {facts.late_data}")
    if facts.dependency:
        yield Hold(HoldReason.DEPENDENCY, facts.dependency)
    if facts.approvals:
        yield Hold(HoldReason.APPROVAL_EXPIRED, facts.approvals)
    if facts.freeze:
        yield Hold(HoldReason.FREEZE, facts.freeze)
    if facts.series and not _promoted(facts):
        yield Hold(HoldReason.SERIES, facts.series)
    if facts.hook and not _promoted(facts):
        yield Hold(HoldReason.HOOK, facts.hook)


def ahead(decision: Decision) -> str:
    """What `decision` would begin: a stage, or `commit`. Empty for a way back and a standstill."""
    if not isinstance(decision, Advance) or decision.route is None:
        return ""
    return COMMIT if decision.route.commit else decision.route.stage or ""


def _next(state: RolloutState, judgement: Judgement | None, facts: Facts) -> Advance:
    why = _why_on(state, judgement, facts)
    index, alone = state.index + 1, bool(state.uncompared)
    if alone or index == len(state.stages):
        move = RouteMove(state.release, state.change, None, 0.0, commit=True, compared=not alone)
        return Advance(State.COMMITTED, state.index, why, move)
    stage = state.stages[index]
    move = RouteMove(state.release, state.change, stage.name, stage.weight, filter=stage.filter)
    return Advance(state_of(stage), index, why, move)


def _why_on(state: RolloutState, judgement: Judgement | None, facts: Facts) -> str:
    if judgement is None or state.stage is None:
        by = f"; WAIVED by {facts.request.by}: {facts.hook}" if facts.hook and facts.request else ""
        return f"{state.uncompared or 'prepared; nothing was routed before'}{by}"
    proven = judgement.verdict == "safe" and facts.labels_matured
    asked = facts.request
    against = [*filter(None, (facts.unsound, facts.series, facts.hook))]
    if asked and not (proven and not against):
        left = [*([] if proven else [_open_point(judgement)]), *against]
        return f"WAIVED by {asked.by}: {asked.reason} (open: {'; '.join(left)})"
    return judgement.sentence


def after(state: RolloutState, decision: Decision, now: datetime) -> RolloutState:
    """The state to record with `decision`; unchanged by a Stay that says nothing new."""
    match decision:
        case Advance(to, index, sentence):
            return state.moved(to, index, now, sentence)
        case Abort(to, sentence):
            return state.moved(to, state.index, now, sentence)
        case GiveWay(sentence):
            return state.moved(State.UNCHOSEN, state.index, now, sentence)
        case Hold(reason, sentence):
            return replace(state, hold=reason, said=sentence)
        case Stay(sentence):
            # An ended rollout keeps its last word.
            ended = state.state not in UNDER_WAY | {State.COMMITTED}
            return state if ended else replace(state, hold=None, said=sentence)
