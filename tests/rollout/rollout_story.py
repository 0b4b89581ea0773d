"""A rollout told in an operator's words; the clock moves only when told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from interlock.define.environment import Stage
from interlock.define.release import Route
from interlock.ports import Bucket
from interlock.rollout.judge import Judgement, judge
from interlock.rollout.machine import Abort, Advance, Decision, Facts, Request, advance, after
from interlock.rollout.metrics import Guardrail, registered_digest
from interlock.rollout.routes import route_after
from interlock.rollout.state import HoldReason, RolloutState, State

OLD, NEW = "old" * 20, "new" * 20
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ALPHA = BETA = 0.05
HOUR = timedelta(hours=1)

ERRORS = Guardrail(
    "errors", "errors", "rate", scale=0.001, margin=0.5, margin_absolute=0.01,
    gate=("shadow", "ramp", "soak"), bucket_units=50,
)  # fmt: skip

STAGES = (
    Stage(name="shadow", weight=0, hold=HOUR, deadline=24 * HOUR),
    Stage(name="tenth", weight=0.1, hold=HOUR, deadline=24 * HOUR),
    Stage(name="half", weight=0.5, hold=HOUR, deadline=24 * HOUR),
    Stage(name="soak", weight=1, hold=HOUR, deadline=24 * HOUR),
)


def started(stages: Sequence[Stage] = STAGES) -> RolloutState:
    return RolloutState(
        "CR-1", NEW, OLD, tuple(stages), timedelta(days=7), NOON,
        registered=registered_digest([ERRORS], ALPHA, BETA),
    )  # fmt: skip


def idle_route() -> Route:
    return Route("prod", epoch=4, stable=OLD, blocked=("worse",))


@dataclass
class Story:
    """Requests come every six minutes, 200 in each arm; then the controller ticks."""

    state: RolloutState = field(default_factory=started)
    route: Route = field(default_factory=idle_route)
    now: datetime = NOON
    facts: Facts = field(default_factory=Facts)
    buckets: list[Bucket] = field(default_factory=list)
    failing: float | None = 0.0
    last: Decision | None = None
    routes: list[Route] = field(default_factory=list)

    def when_requests_fail_at(self, share: float) -> Story:
        self.failing = share
        return self

    def when_nobody_calls(self) -> Story:
        self.failing = None
        return self

    def when_hours_pass(self, hours: float) -> Story:
        for _ in range(round(hours * 10)):
            self.now += timedelta(minutes=6)
            self._serve()
            self.tick()
        return self

    def when(self, **facts: object) -> Story:
        self.facts = replace(self.facts, **facts)  # type: ignore[arg-type]  # names of Facts
        return self

    def when_someone_asks_to(self, kind: str, reason: str = "because") -> Story:
        return self.when(request=Request(kind, "ada", reason))  # type: ignore[arg-type]  # Request.kind

    def tick(self) -> Story:
        self.last = advance(self.state, self.judgement(), self.facts, self.now)
        self.state = after(self.state, self.last, self.now)
        moved = route_after(self.route, self.last)
        if isinstance(self.last, Advance | Abort) and moved != self.route:
            self.routes.append(moved)
        self.route = moved
        return self

    def judgement(self) -> Judgement:
        stage = self.state.stage.name if self.state.stage else None
        return judge([ERRORS], self.buckets, ALPHA, BETA, self.state.gate, stage)

    def then_share_is(self, share: float) -> Story:
        assert self.route.weight == share, self.state
        return self

    def then_it_is(self, state: State, hold: HoldReason | None = None) -> Story:
        assert (self.state.state, self.state.hold) == (state, hold), self.state
        return self

    def then_it_said(self, words: str) -> Story:
        assert words in self.state.said, self.state.said
        return self

    def _serve(self) -> None:
        if self.failing is None or self.state.stage is None:
            return
        at = int(self.now.timestamp())
        for arm, share in (("stable", 0.0), ("candidate", self.failing)):
            events = round(200 * share)
            self.buckets.append(
                Bucket(self.state.stage.name, "errors", arm, at, 200, events, events)
            )
