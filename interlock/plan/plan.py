"""The plan itself: what will be done, pinned to what it was made against, known by its digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

from interlock.define.digest import digest
from interlock.define.refs import Ref
from interlock.define.release import Release
from interlock.errors import NotFound, Refused
from interlock.impact.difference import Difference
from interlock.impact.facts import Facts
from interlock.impact.graph import Reached, Touch
from interlock.impact.nodes import owner_node
from interlock.plan.steps import (
    BuildTable,
    BuildView,
    RescoreModel,
    Step,
    TrainModel,
    step_from_json,
    step_to_json,
)

Kind = Literal["nothing", "first", "change"]


@dataclass(frozen=True, order=True)
class Required:
    """Someone of `team` who holds `role` must sign; `people` are those who can."""

    role: str
    team: str
    people: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Slot:
    """When the change runs; a part of the plan, so that moving it asks for new signatures."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Importance:
    """How much of a model's gain stood on a reached feature when it was last trained, 0 to 1.

    None: unknown, because the model was not trained with it yet.
    """

    model: Ref
    feature: Ref
    share: float | None


@dataclass(frozen=True)
class Estimate:
    """What it takes: objects to build, trainings, rows where known, and the least time."""

    tables: int = 0
    views: int = 0
    trainings: int = 0
    rescorings: int = 0
    rows: int | None = None
    stages: int = 0
    least_s: float = 0.0


@dataclass(frozen=True)
class GateNeed:
    """What one guardrail still needs in a stage: units of both arms, and days. None: never."""

    stage: str
    guardrail: str
    units: float | None
    days: float | None


@dataclass(frozen=True)
class Plan:
    """From the stable release to the wanted one. Two plans are the same if their digests are.

    `untouched` are the features, models and services that the change does not reach.
    `objections` block: with one of them the plan cannot be proposed. `notes` are to be read.
    `definitions` is the digest of the files; `artifacts` maps models to what was trained.
    `after` is the change on whose post-state this one builds, when it waits for one; `beside` the
    first change of the experiment that it runs in, when others were there before it.
    `rules` are the kinds of rules that are edited: policies, calendar, owners, environments.
    `request` is the digest of what its author promised: why, how far, when to take it back.
    `gates` are what must be shown to leave each stage, in samples and days.
    """

    project: str
    environment: str
    made_against: str | None
    definitions: str
    kind: Kind
    differences: tuple[Difference, ...] = ()
    reached: tuple[Reached, ...] = ()
    untouched: tuple[Ref, ...] = ()
    steps: tuple[Step, ...] = ()
    requirements: tuple[Required, ...] = ()
    evidence: tuple[str, ...] = ()
    objections: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    estimate: Estimate = Estimate()
    slot: Slot | None = None
    artifacts: Mapping[str, str] = field(default_factory=dict)
    importance: tuple[Importance, ...] = ()
    after: str | None = None
    request: str = ""
    rules: tuple[str, ...] = ()
    gates: tuple[GateNeed, ...] = ()
    beside: str | None = None

    @property
    def only_rules(self) -> bool:
        """Nothing that answers differs: only what decides about changes does."""
        return bool(self.rules) and not self.differences

    @property
    def empty(self) -> bool:
        """There is nothing to do."""
        return self.kind == "nothing"

    @cached_property
    def digest(self) -> str:
        return digest(self.to_json())

    @property
    def trains(self) -> tuple[str, ...]:
        """Models that need a new artifact before the release can be named."""
        return tuple(step.ref.name for step in self.steps if isinstance(step, TrainModel))

    @property
    def rescores(self) -> tuple[str, ...]:
        return tuple(step.ref.name for step in self.steps if isinstance(step, RescoreModel))

    def verdict_of(self, ref: Ref) -> Touch:
        """What the plan does to a feature, model or service."""
        return next((one.verdict for one in self.reached if one.ref == ref), "untouched")

    @cached_property
    def direct(self) -> tuple[Ref, ...]:
        """What was edited, and the features of it whose values move because of that."""
        own = (one.ref for one in self.reached if one.ref.kind == "feature" and own_cause(one))
        return tuple(sorted({*(d.ref for d in self.differences), *own}))

    @cached_property
    def indirect(self) -> tuple[Ref, ...]:
        """What changes in rows, values, or whether it runs because of something else."""
        steps = (step for step in self.steps if isinstance(step, BuildTable | BuildView))
        built = {step.ref for step in steps} - {d.ref for d in self.differences}
        return tuple(sorted(built | self._through_others("breaks", "moves")))

    @cached_property
    def merely_reached(self) -> tuple[Ref, ...]:
        """What stands on the change and moves no value."""
        return tuple(sorted(self._through_others("reached")))

    def _through_others(self, *verdicts: Touch) -> set[Ref]:
        found = (one for one in self.reached if one.verdict in verdicts)
        return {one.ref for one in found if not own_cause(one)}

    @property
    def writes(self) -> tuple[Ref, ...]:
        """What this change holds in the calendar: things changed, and models trained again."""
        models = [step.ref for step in self.steps if isinstance(step, TrainModel)]
        return tuple(sorted({*(d.ref for d in self.differences), *models}))

    def to_json(self) -> dict[str, Any]:
        return {
            "project": self.project,
            "environment": self.environment,
            "made_against": self.made_against,
            "definitions": self.definitions,
            "kind": self.kind,
            "differences": [difference.to_json() for difference in self.differences],
            "reached": [reached.to_json() for reached in self.reached],
            "direct": [str(ref) for ref in self.direct],
            "indirect": [str(ref) for ref in self.indirect],
            "merely_reached": [str(ref) for ref in self.merely_reached],
            "importance": [
                {"model": str(i.model), "feature": str(i.feature), "share": i.share}
                for i in self.importance
            ],
            "untouched": [str(ref) for ref in self.untouched],
            "steps": [step_to_json(step) for step in self.steps],
            "requirements": [{**asdict(r), "people": list(r.people)} for r in self.requirements],
            "evidence": list(self.evidence),
            "objections": list(self.objections),
            "notes": list(self.notes),
            "estimate": asdict(self.estimate),
            "slot": [_instant(self.slot.start), _instant(self.slot.end)] if self.slot else None,
            "artifacts": dict(self.artifacts),
            "after": self.after,
            "request": self.request,
            "rules": list(self.rules),
            # Left out where there are none: a plan made before there were any keeps its digest.
            **({"gates": [asdict(gate) for gate in self.gates]} if self.gates else {}),
            **({"beside": self.beside} if self.beside else {}),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Plan:
        start_end = [datetime.fromisoformat(text) for text in body["slot"] or ()]
        read = {
            "differences": tuple(Difference.from_json(d) for d in body["differences"]),
            "reached": tuple(Reached.from_json(r) for r in body["reached"]),
            "untouched": tuple(Ref.parse(text) for text in body.get("untouched", ())),
            "steps": tuple(step_from_json(s) for s in body["steps"]),
            "requirements": tuple(
                Required(**{**r, "people": tuple(r["people"])}) for r in body["requirements"]
            ),
            "evidence": tuple(body["evidence"]),
            "rules": tuple(body.get("rules", ())),
            "gates": tuple(GateNeed(**gate) for gate in body.get("gates", ())),
            "objections": tuple(body["objections"]),
            "notes": tuple(body["notes"]),
            "estimate": Estimate(**body["estimate"]),
            "slot": Slot(*start_end) if start_end else None,
            "importance": tuple(
                Importance(Ref.parse(i["model"]), Ref.parse(i["feature"]), i["share"])
                for i in body.get("importance", ())
            ),
        }
        # What follows from the rest is written for readers, and not read back.
        kept = {name: said for name, said in body.items() if name not in _DERIVED}
        return cls(**{**kept, **read})


_NONE = digest(None)
_DERIVED = frozenset({"direct", "indirect", "merely_reached"})


def own_cause(one: Reached) -> bool:
    """Whether the reason lies in its own definition, and not in what it stands on."""
    own = owner_node(str(one.ref))
    return all(owner_node(hop.source) == own for hop in one.path)


def with_artifacts(plan: Plan, artifacts: Mapping[str, str]) -> Plan:
    """`plan` with the digests of what was trained: another plan, with another digest."""
    known = {*plan.trains, *plan.rescores}
    strange = sorted(set(artifacts) - known)
    if strange:
        raise NotFound(f"the plan trains no model {strange[0]}", help=f"it has: {sorted(known)}")
    return replace(plan, artifacts={**plan.artifacts, **artifacts})


def with_slot(plan: Plan, slot: Slot | None) -> Plan:
    """`plan` at another time: another plan, with another digest."""
    return replace(plan, slot=slot)


def wanted_release(
    facts: Facts, artifacts: Mapping[str, str], rules: Mapping[str, str] | None = None
) -> Release:
    """Everything that is to run together; `artifacts` maps every model to its artifact.

    `rules` are what decides about changes while this runs.
    """
    models = [node.ref for node in facts.of_kind("model")]
    missing = [f"{ref} has no artifact" for ref in models if ref.name not in artifacts]
    if missing:
        raise Refused("the release cannot be named yet", "train the models first", missing)
    components = {
        name: digest([node.fingerprint, artifacts[node.ref.name]])
        if node.ref.kind == "model"
        else node.fingerprint
        for name, node in facts.nodes.items()
    }
    return Release({**components, **_words(facts), **(rules or {})})


def _words(facts: Facts) -> dict[str, str]:
    """What is released without being part of any fingerprint: which versions are on their way
    out, which may be refreshed in part, and when files are looked at again.

    Only when there are some, so that a release without keeps the name it had.
    """
    found: dict[str, str] = {}
    for word in ("deprecation", "incremental", "refresh"):
        said = {name: node.settings[word] for name, node in facts.nodes.items()
                if node.settings.get(word, _NONE) != _NONE}  # fmt: skip
        found |= {f"policy:{word}": digest(said)} if said else {}
    return found


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()
