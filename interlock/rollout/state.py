"""Where a rollout stands, as one value that survives the process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from interlock.define.environment import Environment, Stage, narrowings
from interlock.define.release import slice_of
from interlock.errors import Invalid

if TYPE_CHECKING:
    from interlock.rollout.metrics import Gate


class State(Enum):
    """The states of DESIGN section 7; a hold is a reason beside the state, not a state."""

    PREPARING = "preparing"
    SHADOW = "shadow"
    STEP = "step"
    SOAKING = "soaking"
    COMMITTED = "committed"
    RETIRED = "retired"
    ABORTING = "aborting"
    REVERTING = "reverting"
    ABORTED = "aborted"
    UNCHOSEN = "unchosen"


class HoldReason(Enum):
    """Why nothing moves forward. A hold ends by itself when its reason is gone."""

    NO_DATA = "no_data"
    INCONCLUSIVE = "inconclusive"
    FREEZE = "freeze"
    APPROVAL_EXPIRED = "approval_expired"
    DEPENDENCY = "dependency"
    SRM = "srm"
    MANUAL = "manual"
    FALLBACK_UNHEALTHY = "fallback_unhealthy"
    HOOK = "hook"
    SERIES = "series"
    CHOICE = "choice"


READY = "ready"
"""How the sentence begins of a candidate that waits for those beside it."""
UNDER_WAY = frozenset({State.PREPARING, State.SHADOW, State.STEP, State.SOAKING})
ENDED = frozenset({State.RETIRED, State.ABORTED, State.UNCHOSEN})


@dataclass(frozen=True)
class Move:
    """One line of the history: what was decided, when, and the sentence given for it."""

    at: str
    state: str
    stage: str
    sentence: str


@dataclass(frozen=True)
class RolloutState:
    """`index` is the stage in `stages` (-1: none yet); times are aware UTC instants.

    `stable` is the release to go back to. `registered` is the digest of the guardrails
    as agreed: a judgement by others moves nothing forward. Where candidates run beside each
    other, `experiment` names those that share a Route, by its first change, and `places` is how
    many it has.
    """

    change: str
    release: str
    stable: str | None
    stages: tuple[Stage, ...]
    rollback_window: timedelta
    entered_at: datetime
    state: State = State.PREPARING
    index: int = -1
    hold: HoldReason | None = None
    said: str = ""
    registered: str = ""
    history: tuple[Move, ...] = ()
    experiment: str = ""
    places: int = 1

    @property
    def stage(self) -> Stage | None:
        """The stage the rollout is in, while it is in one."""
        inside = self.state in (State.SHADOW, State.STEP, State.SOAKING)
        return self.stages[self.index] if inside else None

    @property
    def gate(self) -> Gate | None:
        """What kind of stage must be left; None outside of stages."""
        gates: Mapping[State, Gate] = {
            State.SHADOW: "shadow", State.STEP: "ramp", State.SOAKING: "soak",
        }  # fmt: skip
        return gates.get(self.state)

    @property
    def uncompared(self) -> str:
        """Why it goes from PREPARING to its commit; empty where there is something to compare."""
        if self.state is not State.PREPARING:
            return ""
        if self.stable is None:
            return "the first release of this environment: nothing to compare with"
        return "" if self.stages else "only rules change: nothing that answers differs"

    def moved(self, state: State, index: int, at: datetime, sentence: str) -> RolloutState:
        """The same rollout after a transition; every transition leaves a line of history."""
        stage = self.stages[index].name if index >= 0 else ""
        line = Move(at.isoformat(), state.value, stage, sentence)
        return replace(
            self, state=state, index=index, entered_at=at, hold=None, said=sentence,
            history=(*self.history, line),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "stages": [stage.model_dump(mode="json") for stage in self.stages],
            "rollback_window": self.rollback_window.total_seconds(),
            "entered_at": self.entered_at.isoformat(),
            "state": self.state.value,
            "hold": self.hold.value if self.hold else None,
            "history": [asdict(line) for line in self.history],
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> RolloutState:
        read = {
            "stages": tuple(Stage.model_validate(stage) for stage in body["stages"]),
            "rollback_window": timedelta(seconds=body["rollback_window"]),
            "entered_at": datetime.fromisoformat(body["entered_at"]),
            "state": State(body["state"]),
            "hold": HoldReason(body["hold"]) if body["hold"] else None,
            "history": tuple(Move(**line) for line in body["history"]),
        }
        return cls(**{**body, **read})


def state_of(stage: Stage) -> State:
    """Weight 0 mirrors, weight 1 soaks, anything between is a step."""
    if stage.weight == 0:
        return State.SHADOW
    return State.SOAKING if stage.weight == 1 else State.STEP


def stages_of(environment: Environment) -> tuple[Stage, ...]:
    """The stages of the strategy, ending at weight 1; refuses a ramp that goes down on its way."""
    stages = environment.walked
    weights = [stage.weight for stage in stages]
    names = [stage.name for stage in stages]
    wrong = [
        *(["weights must not fall from stage to stage"] if weights != sorted(weights) else []),
        *(["stage names must differ"] if len(set(names)) < len(names) else []),
        *narrowings(stages),
    ]
    if wrong:
        raise Invalid("the stages of the environment cannot be walked", objections=wrong)
    if stages and stages[-1].weight == 1:
        return stages
    return (*stages, Stage(name="soak", weight=1.0, hold=timedelta(0)))


def kinds_of(stages: Sequence[Stage]) -> tuple[Gate, ...]:
    """What kinds of stages there are to leave."""
    kinds: dict[State, Gate] = {
        State.SHADOW: "shadow", State.STEP: "ramp", State.SOAKING: "soak",
    }  # fmt: skip
    return tuple(dict.fromkeys(kinds[state_of(stage)] for stage in stages))


def ladder_of(stages: Sequence[Stage]) -> dict[str, float]:
    """How many times its margin a guardrail must be shown within, where that is not once."""
    return {stage.name: stage.margins for stage in stages if stage.margins != 1}


def apart_of(stages: Sequence[Stage], slice: str) -> tuple[str, ...]:
    """Stages whose `only` lets in nobody of `slice` (`column=value`)."""
    wanted = dict(slice_of(slice))
    return tuple(
        stage.name
        for stage in stages
        if any(set(wanted.get(name, said)).isdisjoint(said) for name, said in stage.filter)
    )


def shares_of(stages: Sequence[Stage]) -> dict[str, float]:
    """The planned share of each stage that divides, of all its candidates together."""
    return {stage.name: stage.weight for stage in stages if 0 < stage.weight < 1}


def split_of(weight: float, arms: int = 1) -> float:
    """One candidate's part of those whom it or the stable release answers, of `arms` places."""
    one = weight / arms
    return weight if arms == 1 else one / (one + 1 - weight)


def balance_of(weight: float, arms: int = 1) -> float:
    """What one unit of traffic is worth to the comparison of one candidate with stable."""
    split = split_of(weight, arms)
    # Who is answered by another candidate is in neither of the two.
    return split * (1 - weight)
