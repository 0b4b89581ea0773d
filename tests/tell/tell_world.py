"""A change walked from its draft to its end, in a record on disk, without a warehouse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from interlock.app.changes import Held, held, save, told
from interlock.app.workspace import Workspace
from interlock.change.change import Change, Planned, moved, planned
from interlock.change.signoff import SignOff
from interlock.define.environment import Stage
from interlock.define.refs import Ref
from interlock.impact.difference import Difference
from interlock.impact.graph import Hop, Reached
from interlock.plan.plan import Plan, Required, Slot
from interlock.ports import Put
from interlock.rollout.state import HoldReason, RolloutState, State
from interlock.testing.clock import FixedClock

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
STABLE, CANDIDATE = "5" * 64, "c" * 64
STAGES = (
    Stage(name="mirror", weight=0, hold=timedelta(days=1)),
    Stage(name="step_25", weight=0.25, hold=timedelta(days=1)),
    Stage(name="soak", weight=1, hold=timedelta(days=1)),
)
MAIN = """\
name: flights
owners:
  data-eng:
    amina: [data_steward]
    tomas: [data_steward]
  ops-crew:
    carlos: [service_owner]
environments:
  prod:
    subject: [flight_id]
    stages:
      - {name: mirror, weight: 0, hold: 1d}
      - {name: step_25, weight: 0.25, hold: 1d}
      - {name: soak, weight: 1, hold: 1d}
"""


def plan_of(*, first: bool = False) -> Plan:
    """Weather in another unit: one view edited, a model and two services move with it."""
    view, column = Ref("view", "origin_weather", 1), "column:wh.weather.temp"
    feature = str(Ref("feature", "origin_weather", 1, "temp"))
    path = (Hop("model:late", feature, "value"), Hop(feature, column, "value"))
    reached = tuple(
        Reached(Ref("service", name), "moves", str(view), (Hop(f"service:{name}", "model:late",
                "value"), *path)) for name in ("crew", "rebooking")
    )  # fmt: skip
    return Plan(
        "flights", "prod", None if first else STABLE, "d" * 64, "change",
        differences=(Difference(view, "changed", reasons=("temp is in Celsius",)),),
        reached=(Reached(Ref("model", "late"), "moves", str(view), path), *reached),
        requirements=(
            Required("data_steward", "data-eng", ("amina", "tomas"), "view is changed"),
            Required("service_owner", "ops-crew", ("carlos",), "service:crew moves"),
        ),
        evidence=("values:origin_weather@1",),
        slot=Slot(NOON + timedelta(days=1), NOON + timedelta(days=4)),
    )  # fmt: skip


def draft(title: str = "Weather in Celsius", author: str = "amina") -> Change:
    return Change(
        "CR-1", title, author, "prod", NOON,
        reason="One unit everywhere, so that nobody mixes them up.",
        expected="the same answers, fewer mistakes",
        rollback_criteria="any number gets worse", risks="a reader nobody knows of",
    )  # fmt: skip


JUDGED: dict[str, Any] = {
    "verdict": "harm", "stage": "step_25", "at": NOON.isoformat(), "sentence": "kpi:crew: worse",
    "combined_e": 41.5, "measured": 900.0, "split_broken": False, "registered": "",
    "per_guardrail": [
        {"name": "kpi:crew", "verdict": "harm", "e_fail": 41.5, "e_pass": 0.01, "n_stable": 900.0,
         "n_candidate": 300.0, "mean_stable": 0.14, "mean_candidate": 0.19,
         "interval": [0.03, 0.07], "required": True, "sentence": "kpi:crew: 36 % worse"},
        {"name": "errors", "verdict": "safe", "e_fail": 0.2, "e_pass": 55.0, "n_stable": 2700.0,
         "n_candidate": 900.0, "mean_stable": 0.001, "mean_candidate": 0.001,
         "interval": [-0.001, 0.001], "required": True, "sentence": "errors: no worse"},
    ],
}  # fmt: skip


class Story:
    """One change, moved on step by step; each step is one version in the record."""

    def __init__(self, workspace: Workspace, change: Change | None = None) -> None:
        self.workspace = workspace
        first = change or draft()
        self.at = save(workspace, Held(first, 0), first, by=first.author)

    @property
    def change(self) -> Change:
        return self.at.change

    def _save(self, change: Change, by: str = "controller", also: Sequence[Put] = ()) -> Story:
        clock = self.workspace.clock
        assert isinstance(clock, FixedClock)
        clock.moment += timedelta(hours=1)
        self.at = save(self.workspace, self.at, change, by=by, also=also)
        return self

    def reviewed(self) -> Story:
        plan = plan_of()
        self._save(planned(self.change, Planned(plan.to_json(), plan.digest, CANDIDATE, STABLE)))
        self._save(moved(self.change, "EVIDENCE"))
        return self._save(moved(self.change, "REVIEW", "4 checks made, 0 of them do not pass"))

    def signed(self, decision: str = "approve", reason: str = "") -> Story:
        signoff = SignOff("carlos", "service_owner", "ops-crew", self.change.plan_digest,
                          self.workspace.now(), decision, reason)  # type: ignore[arg-type]  # fmt: skip
        return self._save(replace(self.change, signoffs=(*self.change.signoffs, signoff)), "carlos")

    def approved(self) -> Story:
        return self._save(moved(self.change, "APPROVED", "everything required is there"))

    def started(self) -> Story:
        state = RolloutState(self.change.id, CANDIDATE, STABLE, STAGES, timedelta(days=7),
                             self.workspace.now())  # fmt: skip
        change = moved(self.change, "PREPARING")
        return self._save(replace(change, details={"rollout": state.to_json()}), "sam")

    def rolled(
        self, to: State, index: int, sentence: str = "prepared", judged: Any = None
    ) -> Story:
        state = RolloutState.from_json(self.change.details["rollout"])
        state = state.moved(to, index, self.workspace.now(), sentence)
        also = []
        if judged:
            ref = Ref("judgement", self.change.id)
            entry = self.workspace.record.get(ref)
            also = [Put(ref, judged, entry.version if entry else 0)]
        return self._save(told(self.change, state), also=also)

    def held(self, reason: HoldReason | None, said: str = "held by sam: a doubt") -> Story:
        state = RolloutState.from_json(self.change.details["rollout"])
        return self._save(told(self.change, replace(state, hold=reason, said=said)))

    def ramped(self) -> Story:
        self.started().rolled(State.SHADOW, 0)
        return self.rolled(State.STEP, 1, "no worse on copies")

    def committed(self) -> Story:
        self.ramped().rolled(State.SOAKING, 2, "no worse")
        return self.rolled(State.COMMITTED, 2, "no worse")

    def harmed(self) -> Story:
        self.rolled(State.ABORTING, 1, "harm seen at step_25: kpi:crew: 36 % worse", JUDGED)
        return self.rolled(State.ABORTED, 1, "rolled back: harm seen at step_25")


@contextmanager
def project(folder: Path, more: str = "", main: str = MAIN) -> Iterator[Workspace]:
    """A project in `folder` at noon; `more` is added to its interlock.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "interlock.yaml").write_text(main + more)
    workspace = Workspace(folder)
    workspace.__dict__["clock"] = FixedClock(NOON)
    try:
        yield workspace
    finally:
        workspace.close()


def again(workspace: Workspace, id: str = "CR-1") -> Change:
    return held(workspace.record, id).change
