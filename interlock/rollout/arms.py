"""What several candidates do together: each may go back alone, forward they go in one step.

Each was decided for itself by `machine.advance`. Here is decided what comes of these decisions
for all of them: who waits for whom, and which one goes on when only one can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from interlock.define.release import Route
from interlock.ports import Bucket
from interlock.rollout.machine import (
    Abort,
    Advance,
    Decision,
    GiveWay,
    Hold,
    Request,
    RouteMove,
    Stay,
)
from interlock.rollout.routes import alone, given_up, route_after, together
from interlock.rollout.state import READY, HoldReason, RolloutState

LOSS = "log_loss_paired"


@dataclass(frozen=True)
class Arm:
    """One candidate at one look: where it stands, and what it would do if it were alone.

    `loss` is how much more log loss than stable it has per unit, in this stage; None while that
    was not measured. `asked` is what a person wants of it.
    """

    state: RolloutState
    decision: Decision
    loss: float | None = None
    asked: Request | None = None

    @property
    def change(self) -> str:
        return self.state.change

    @property
    def move(self) -> RouteMove | None:
        """Where it would go on to, when it is ready to."""
        return self.decision.route if isinstance(self.decision, Advance) else None


def decided(arms: Sequence[Arm]) -> tuple[Decision, ...]:
    """What each of `arms`, all that are under way in one experiment, does in this look.

    Who goes back does so now. The others go forward in the next look, or in this one when nobody
    went back.
    """
    if not arms or any(isinstance(arm.decision, Abort) for arm in arms):
        return tuple(_unless_forward(arm, "another candidate goes back first") for arm in arms)
    waiting = [arm for arm in arms if arm.move is None]
    if waiting:
        said = "; ".join(map(_briefly, waiting))
        return tuple(_unless_forward(arm, f"waits for {said}") for arm in arms)
    if not _one_goes_on(arms):
        return tuple(arm.decision for arm in arms)
    return _chosen(arms)


def _one_goes_on(arms: Sequence[Arm]) -> bool:
    """Whether the next stage shows everybody one release."""
    return any(arm.move is not None and (arm.move.commit or arm.move.weight >= 1) for arm in arms)


def _unless_forward(arm: Arm, why: str) -> Decision:
    if arm.move is None:
        return arm.decision
    where = f" to leave {arm.state.stage.name}" if arm.state.stage else ""
    return Stay(f"{READY}{where}; {why}")


def _briefly(arm: Arm) -> str:
    """Why it does not go on; all of it stands with that change."""
    first, *more = arm.decision.sentence.split("; ")
    words = first.partition(" (")[0]  # the judge's numbers
    return f"{arm.change}: {words}{' and more' if more else ''}"


def _chosen(arms: Sequence[Arm]) -> tuple[Decision, ...]:
    """One goes on and the others give way; nobody does where nobody can tell which."""
    winner, why = _winner(arms)
    if winner is None:
        return tuple(Hold(HoldReason.CHOICE, why) for _ in arms)
    told = f"{winner.change} was chosen: {why}"
    return tuple(
        _goes_on(arm, why, len(arms)) if arm is winner else GiveWay(f"not chosen: {told}")
        for arm in arms
    )


def _goes_on(arm: Arm, why: str, many: int) -> Decision:
    assert isinstance(arm.decision, Advance)
    if many == 1:
        return arm.decision
    it = arm.decision
    return Advance(it.to, it.index, f"chosen: {why}; {it.sentence}", it.route)


def _winner(arms: Sequence[Arm]) -> tuple[Arm | None, str]:
    wished = [arm for arm in arms if arm.asked is not None and arm.asked.kind == "choose"]
    if len(wished) == 1 and wished[0].asked is not None:
        return wished[0], f"{wished[0].asked.by} chose it: {wished[0].asked.reason}"
    if len(arms) == 1:
        return arms[0], "it is the only one left"
    known = [(arm.loss, arm.change) for arm in arms if arm.loss is not None]
    if len(known) == len(arms):
        best = min(arms, key=lambda arm: (arm.loss or 0.0, arms.index(arm)))
        figures = ", ".join(f"{change} {loss:+.4g}" for loss, change in sorted(known))
        return best, f"log loss against stable per unit: {figures}"
    unknown = [arm.change for arm in arms if arm.loss is None]
    open_ = " and ".join(
        ([f"several were chosen: {', '.join(a.change for a in wished)}"] if wished else [])
        + [f"log loss is not known of {', '.join(unknown)}"]
    )
    names = ", ".join(arm.change for arm in arms)
    return None, f"{open_}; choose one of {names}: interlock promote CR-n --reason"


def loss_of(buckets: Sequence[Bucket], stage: str) -> float | None:
    """The mean difference in log loss to stable over pairs of `stage`; None without any."""
    mine = [b for b in buckets if (b.metric, b.stage, b.slice) == (LOSS, stage, "")]
    pairs = sum(b.n for b in mine)
    return sum(b.total for b in mine) / pairs if pairs else None


def route_of(route: Route, arms: Sequence[Arm], decisions: Sequence[Decision]) -> Route:
    """The Route after one look at an experiment: one value for all of its changes."""
    for arm, decision in zip(arms, decisions, strict=True):
        if isinstance(decision, Abort):
            route = _without(route, arm, decision)
    forward = [decision for decision in decisions if isinstance(decision, Advance)]
    moves = [decision.route for decision in forward if decision.route is not None]
    if not moves:
        return route
    if not _one_goes_on(arms):
        return together(route, arms[0].state.experiment, _places(route, arms, moves))
    return alone(route, moves[0]) if route.arms else route_after(route, forward[0])


def _without(route: Route, arm: Arm, abort: Abort) -> Route:
    """Only what is its own is taken off the Route; what is there of others stays."""
    if route.arms:
        return given_up(route, [abort.blocked])
    return route_after(route, abort)


def _places(
    route: Route, arms: Sequence[Arm], moves: Sequence[RouteMove]
) -> list[RouteMove | None]:
    """Everybody keeps the place they have; who begins takes the next, in the order of changes."""
    if route.arms:
        by = {move.release: move for move in moves}
        return [by.get(one.release) if one else None for one in route.arms]
    free = max(arms[0].state.places - len(moves), 0)
    return [*moves, *[None] * free]
