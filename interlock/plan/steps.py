"""What a plan does, as data: one list serves the eyes that read it and the hands that do it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, assert_never

from interlock.define.durations import format_duration
from interlock.define.refs import Ref
from interlock.errors import Unusable


@dataclass(frozen=True)
class BuildTable:
    """A physical table beside the old one; nobody reads it yet."""

    ref: Ref
    fingerprint: str


@dataclass(frozen=True)
class BuildView:
    """A feature view's rows, offline and online, beside the old ones."""

    ref: Ref
    fingerprint: str


@dataclass(frozen=True)
class TrainModel:
    """`trained` is the digest of all that training depends on."""

    ref: Ref
    trained: str


@dataclass(frozen=True)
class RescoreModel:
    """The same artifact, measured again: what it is served with changed."""

    ref: Ref


@dataclass(frozen=True)
class LoadRelease:
    """Gateways load the candidate; nothing is routed to it."""

    services: tuple[Ref, ...]


@dataclass(frozen=True)
class RouteTo:
    """One stage: `weight` 0 mirrors requests without showing the answer.

    `only` says in words who takes part; empty for everybody.
    """

    stage: str
    weight: float
    hold_s: float
    only: str = ""


@dataclass(frozen=True)
class Retire:
    """Taken away once the rollback window is over and nobody reads it any more.

    Never a part of the rollout itself: a service rolled back at the last stage must still
    find the version it came from.
    """

    ref: Ref
    after_s: float


Step = BuildTable | BuildView | TrainModel | RescoreModel | LoadRelease | RouteTo | Retire
_STEPS: dict[str, type[Step]] = {
    kind.__name__: kind
    for kind in (BuildTable, BuildView, TrainModel, RescoreModel, LoadRelease, RouteTo, Retire)
}


def sentence(step: Step) -> str:
    """One step in words."""
    match step:
        case BuildTable(ref, fingerprint) | BuildView(ref, fingerprint):
            return f"build   {ref}  ({fingerprint[:12]}; readers stay where they are)"
        case TrainModel(ref, _):
            return f"train   {ref}"
        case RescoreModel(ref):
            return f"rescore {ref}  (same artifact, other inputs)"
        case LoadRelease(services):
            return f"load    the candidate in every gateway of {_names(services)}"
        case RouteTo(stage, weight, hold_s, only):
            held = format_duration(timedelta(seconds=hold_s))
            how = "mirror, show nothing" if weight == 0 else f"{weight:.0%} of subjects"
            who = f" ({only})" if only else ""
            return f"route   {stage}: {how}{who}, at least {held}"
        case Retire(ref, after_s):
            return (
                f"retire  {ref}  (not before {format_duration(timedelta(seconds=after_s))} later)"
            )
        case _:
            assert_never(step)


def step_to_json(step: Step) -> dict[str, Any]:
    """`{"do": ..., ...}`; refs as text."""
    # A stage for everybody says nothing of it, as before there was a word for it.
    said = {k: _plain(v) for k, v in _fields(step).items() if (k, v) != ("only", "")}
    return {"do": type(step).__name__, **said}


def step_from_json(body: Mapping[str, Any]) -> Step:
    """The inverse of `step_to_json`; raises `Unusable` for a step nobody knows."""
    kind = _STEPS.get(body["do"])
    if kind is None:
        raise Unusable(f"no step {body['do']!r}", help="the plan is of another version: plan again")
    return kind(**{name: _typed(name, value) for name, value in body.items() if name != "do"})


def _fields(step: Step) -> dict[str, Any]:
    return {one.name: getattr(step, one.name) for one in fields(step)}


def _plain(value: object) -> object:
    if isinstance(value, Ref):
        return str(value)
    return [str(ref) for ref in value] if isinstance(value, tuple) else value


def _typed(name: str, value: Any) -> Any:
    if name == "ref":
        return Ref.parse(value)
    return tuple(Ref.parse(text) for text in value) if name == "services" else value


def _names(refs: tuple[Ref, ...]) -> str:
    return ", ".join(ref.name for ref in refs) or "no service"
