"""A rollout as it stands at this moment: its stages, who sees what, and what is still to be shown.

Made of what `status` knows and nothing else, so that it is the same here and from a server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Any, Literal

from interlock.define.durations import format_duration
from interlock.define.release import said_of
from interlock.errors import Refused
from interlock.rollout.help import help_of
from interlock.rollout.metrics import Guardrail
from interlock.rollout.planner import to_go
from interlock.rollout.state import RolloutState, State

if TYPE_CHECKING:
    from interlock.app.changes import Standing
    from interlock.define.environment import Stage

Place = Literal["done", "here", "ahead"]


@dataclass(frozen=True)
class Step:
    """One stage of the walk. `weight` is the candidate's share there, of those `only` names."""

    name: str
    weight: float
    place: Place
    least: str
    deadline: str
    only: str = ""


@dataclass(frozen=True)
class Gauge:
    """One guardrail. `to_go` are units of both arms still to come in this stage, median run;
    None where this stage cannot show it, or nothing is known of it yet."""

    name: str
    verdict: str
    required: bool
    e_fail: float
    e_pass: float
    seen: float
    to_go: float | None


@dataclass(frozen=True)
class Frame:
    """One look. `share` is what the Route says now; `ended` when nothing moves any more.

    `help` is what a person can do while it stands still, `beside` who runs beside it, with the
    state of each.
    """

    change: str
    title: str
    state: str
    hold: str
    said: str
    help: str
    beside: tuple[str, ...]
    share: float
    epoch: int
    steps: tuple[Step, ...]
    gauges: tuple[Gauge, ...]
    verdict: str
    combined_e: float
    harm_at: float
    ended: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def frame(found: Standing) -> Frame:
    """The change of `found`, as it stands. Raises `Refused` when none was asked for."""
    change = found.change
    if change is None:
        raise Refused("nothing is watched", help="name a change: interlock status CR-1 --watch")
    body = change.details.get("rollout")
    state = RolloutState.from_json(body) if body else None
    judging: Mapping[str, Any] = change.details.get("judge", {})
    judged = found.judgement or {}
    route = found.route
    share = route.share_of(change.id)
    return Frame(
        change=change.id,
        title=change.title,
        state=change.state,
        hold=state.hold.value if state and state.hold else "",
        said=change.said,
        help=help_of(change.id, state.hold, state.said) if state and change.open else "",
        beside=found.beside,
        share=float(route.stable == change.release) if share is None else share,
        epoch=route.epoch,
        steps=tuple(_steps(state)) if state else (),
        gauges=tuple(_gauges(judging, judged, state.stage if state else None)),
        verdict=judged.get("verdict", ""),
        combined_e=judged.get("combined_e") or 1.0,
        harm_at=1 / judging.get("alpha", 0.05),
        ended=change.state in ("COMMITTED", "RETIRED", "ABORTED", "UNCHOSEN", "WITHDRAWN"),
    )


def _steps(state: RolloutState) -> Iterator[Step]:
    over = state.state in (State.COMMITTED, State.RETIRED)
    for index, stage in enumerate(state.stages):
        here = index == state.index and state.stage is not None
        place: Place = "here" if here else "done" if over or index < state.index else "ahead"
        yield Step(
            stage.name, stage.weight, place, format_duration(stage.hold or timedelta(0)),
            format_duration(stage.deadline) if stage.deadline else "", said_of(stage.filter),
        )  # fmt: skip


def _gauges(
    judging: Mapping[str, Any], judged: Mapping[str, Any], stage: Stage | None
) -> Iterator[Gauge]:
    agreed = [Guardrail.from_json(body) for body in judging.get("guardrails", ())]
    by, arms = {one.name: one for one in agreed}, judging.get("arms", 1)
    for ruling in judged.get("per_guardrail", ()):
        one, seen = by.get(ruling["name"]), (ruling["n_candidate"], ruling["n_stable"])
        left = inf
        if one is not None and stage is not None and ruling["required"]:
            left = 0.0 if ruling["verdict"] == "safe" else to_go(one, stage, seen, arms)
        yield Gauge(
            ruling["name"], ruling["verdict"], ruling["required"], ruling["e_fail"] or 1.0,
            ruling["e_pass"] or 1.0, min(seen), None if left == inf else round(left),
        )  # fmt: skip
