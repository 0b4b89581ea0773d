"""What the candidates that run together do, one or several: back alone, forward in one step.

Each was decided for itself by `machine.advance`. Here is decided what comes of these decisions
for all of them: who waits for whom, and which one goes on when only one can. A change alone waits
for nobody, and is the only one that can go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
from interlock.rollout.routes import alone, route_after, together
from interlock.rollout.state import READY, HoldReason, RolloutState

LOSS = "log_loss_paired"


@dataclass(frozen=True)
class Candidate:
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


def decided(every: Sequence[Candidate]) -> tuple[Decision, ...]:
    """What each of `every`, all that are under way together, does in this look.

    Who goes back does so now. The others go forward in the next look, or in this one when nobody
    went back.
    """
    if any(isinstance(one.decision, Abort) for one in every):
        return tuple(_unless_forward(one, "another candidate goes back first") for one in every)
    waiting = [one for one in every if one.move is None]
    if waiting:
        said = "; ".join(map(_briefly, waiting))
        return tuple(_unless_forward(one, f"waits for {said}") for one in every)
    if not _one_goes_on(every):
        return tuple(one.decision for one in every)
    return _chosen(every)


def _one_goes_on(every: Sequence[Candidate]) -> bool:
    """Whether the next stage shows everybody one release."""
    return any(one.move is not None and (one.move.commit or one.move.weight >= 1) for one in every)


def _unless_forward(one: Candidate, why: str) -> Decision:
    if one.move is None:
        return one.decision
    where = f" to leave {one.state.stage.name}" if one.state.stage else ""
    return Stay(f"{READY}{where}; {why}")


def _briefly(one: Candidate) -> str:
    """Why it does not go on; all of it stands with that change."""
    first, *more = one.decision.sentence.split("; ")
    words = first.partition(" (")[0]  # the judge's numbers
    return f"{one.change}: {words}{' and more' if more else ''}"


def _chosen(every: Sequence[Candidate]) -> tuple[Decision, ...]:
    """One goes on and the others give way; nobody does where nobody can tell which."""
    if len(every) == 1:
        return (every[0].decision,)
    winner, why = _winner(every)
    if winner is None:
        return tuple(Hold(HoldReason.CHOICE, why) for _ in every)
    left = GiveWay(f"not chosen: {winner.change} was chosen: {why}")
    return tuple(_goes_on(one, why) if one is winner else left for one in every)


def _goes_on(one: Candidate, why: str) -> Decision:
    assert isinstance(one.decision, Advance)
    return replace(one.decision, sentence=f"chosen: {why}; {one.decision.sentence}")


def _winner(every: Sequence[Candidate]) -> tuple[Candidate | None, str]:
    wished = [one for one in every if one.asked is not None and one.asked.kind == "choose"]
    if len(wished) == 1 and wished[0].asked is not None:
        return wished[0], f"{wished[0].asked.by} chose it: {wished[0].asked.reason}"
    known = [(one.loss, one.change) for one in every if one.loss is not None]
    if len(known) == len(every):
        best = min(every, key=lambda one: (one.loss or 0.0, every.index(one)))
        figures = ", ".join(f"{change} {loss:+.4g}" for loss, change in sorted(known))
        return best, f"log loss against stable per unit: {figures}"
    unknown = [one.change for one in every if one.loss is None]
    open_ = " and ".join(
        ([f"several were chosen: {', '.join(a.change for a in wished)}"] if wished else [])
        + [f"log loss is not known of {', '.join(unknown)}"]
    )
    names = ", ".join(one.change for one in every)
    return None, f"{open_}; choose one of {names}: interlock promote CR-n --reason"


def loss_of(buckets: Sequence[Bucket], stage: str) -> float | None:
    """The mean difference in log loss to stable over pairs of `stage`; None without any."""
    mine = [b for b in buckets if (b.metric, b.stage, b.slice) == (LOSS, stage, "")]
    pairs = sum(b.n for b in mine)
    return sum(b.total for b in mine) / pairs if pairs else None


def route_of(route: Route, every: Sequence[Candidate], decisions: Sequence[Decision]) -> Route:
    """The Route that these decisions ask for, at most one epoch later: one value for all."""
    asked = route
    for decision in decisions:
        if isinstance(decision, Abort):
            asked = route_after(asked, decision)
    forward = [one for one in decisions if isinstance(one, Advance) and one.route is not None]
    if forward:
        asked = _forward(asked, every, forward)
    return route if asked == route else replace(asked, epoch=route.epoch + 1)


def _forward(route: Route, every: Sequence[Candidate], forward: Sequence[Advance]) -> Route:
    moves = [one.route for one in forward if one.route is not None]
    experiment = every[0].state.experiment
    if experiment and not _one_goes_on(every):
        return together(route, experiment, _places(route, every, moves))
    return alone(route, moves[0]) if route.arms else route_after(route, forward[0])


def _places(
    route: Route, every: Sequence[Candidate], moves: Sequence[RouteMove]
) -> list[RouteMove | None]:
    """Everybody keeps the place they have; who begins takes the next, in the order of changes."""
    if route.arms:
        by = {move.release: move for move in moves}
        return [by.get(one.release) if one else None for one in route.arms]
    free = max(every[0].state.places - len(moves), 0)
    return [*moves, *[None] * free]
