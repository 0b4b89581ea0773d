"""From the difference between two projects to an ordered list of steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from interlock.define.digest import digest
from interlock.define.environment import Environment
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.define.release import said_of
from interlock.errors import NotFound
from interlock.impact.difference import Difference, differences
from interlock.impact.facts import Facts
from interlock.impact.graph import Reached, reach
from interlock.plan.deprecation import deprecated
from interlock.plan.plan import Estimate, Importance, Kind, Plan, Slot
from interlock.plan.require import Impact, decisions, evidence, requirements
from interlock.plan.rules import edited_rules
from interlock.plan.steps import (
    BuildTable,
    BuildView,
    LoadRelease,
    RescoreModel,
    Retire,
    RouteTo,
    Step,
    TrainModel,
)
from interlock.plan.timing import untimely


@dataclass(frozen=True)
class Side:
    """A project and what it means. `digest` is the release that runs it; None for a wanted one."""

    project: Project
    facts: Facts
    digest: str | None = None


@dataclass(frozen=True)
class Where:
    """The environment a plan is for, when it is made and may run, and what is known of sizes.

    `rows` maps texts of Refs to row counts, for the estimate. `importance` maps a model's
    name to its features (`view@1:feature`) and their share of its last training's gain.
    """

    environment: str
    now: datetime
    slot: Slot | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    importance: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def make_plan(wanted: Side, stable: Side | None, where: Where) -> Plan:
    """The plan from `stable` to `wanted`. Equal inputs give an equal digest."""
    environment = _environment(wanted.project, where.environment)
    old = stable.facts if stable else None
    found = differences(old, wanted.facts)
    new = {difference.ref for difference in found if difference.change == "added"}
    # A feature of a new view moves for nobody.
    reached = tuple(one for one in reach(old, wanted.facts) if _view(one.ref) not in new)
    steps = tuple(_steps(old, wanted.facts, environment, found, reached))
    rules = edited_rules(stable.project if stable else None, wanted.project)
    impact = Impact(found, reached, steps, rules)
    # What runs knows first who answers for what: nobody is relieved by the change itself.
    projects = [*([stable.project] if stable else []), wanted.project]
    signing, unsigned = requirements(projects, impact)
    remarks = (*_unknown(wanted.facts, found), *_words(wanted, stable, found))
    ended, fading = deprecated(wanted.project, stable.project if stable else None, where.now)
    ended = (*ended, *untimely(wanted.project, wanted.facts, where.environment, where.now))
    services = _services(reached, found)
    mixing, notes = decisions(wanted.project, environment, services, where.now.date())
    return Plan(
        project=wanted.project.name,
        environment=where.environment,
        made_against=stable.digest if stable else None,
        definitions=digest(dict(wanted.project.texts)),
        kind=_kind(stable, found, rules),
        differences=found,
        reached=reached,
        untouched=_untouched(wanted.facts, found, reached) if found else (),
        steps=steps,
        requirements=signing,
        evidence=evidence(impact, old, wanted.facts),
        # Before the first release there is no other one to mix with.
        objections=(
            *_broken(reached), *ended, *unsigned, *(mixing if stable else ()), *_late(where),
        ),
        notes=(
            *(notes if stable else ()), *fading, *remarks, *_moving(environment), *_edited(rules)
        ),
        estimate=_estimate(steps, where.rows),
        slot=where.slot if found or rules else None,
        rules=rules,
        importance=tuple(_importance(wanted.project, reached, where.importance)),
    )  # fmt: skip


def _environment(project: Project, name: str) -> Environment:
    found = project.environments.get(name)
    if found is None:
        known = ", ".join(sorted(project.environments))
        raise NotFound(f"no environment {name}", help=f"environments: {known}")
    return found


def _edited(rules: tuple[str, ...]) -> Iterator[str]:
    """Who reads a plan sees that the rules change with it, or that nothing else does."""
    if rules:
        names = " and ".join(rules)
        yield f"{names} decide about changes, and are edited: in force once this is released"


def _kind(stable: Side | None, found: tuple[Difference, ...], rules: tuple[str, ...]) -> Kind:
    if not found and not rules:
        return "nothing"
    return "change" if stable else "first"


def _view(ref: Ref) -> Ref | None:
    return Ref("view", ref.name, ref.version) if ref.kind == "feature" else None


def _untouched(
    facts: Facts, found: tuple[Difference, ...], reached: tuple[Reached, ...]
) -> tuple[Ref, ...]:
    """Everything people ask about that the change does not reach."""
    touched = {one.ref for one in reached if one.verdict != "untouched"}
    new = {d.ref for d in found if d.change == "added"}
    features = [
        Ref("feature", ref.name, ref.version, name)
        for ref in facts.refs("view")
        if ref not in new
        for name in facts.nodes.features(ref)
    ]
    others = [ref for kind in ("model", "service") for ref in facts.refs(kind)]
    return tuple(ref for ref in (*features, *others) if ref not in touched)


def _importance(
    project: Project,
    reached: tuple[Reached, ...],
    known: Mapping[str, Mapping[str, float]],
) -> Iterator[Importance]:
    """Each touched feature for each model that reads it, the heaviest first."""
    features = [one.ref for one in reached if one.ref.kind == "feature"]
    found = []
    for name, model in project.models.items():
        shares = known.get(name, {})
        read = set(model.feature_refs)
        found += [
            Importance(model.ref, ref, shares.get(str(ref).partition(":")[2]))
            for ref in features
            if ref in read
        ]
    yield from sorted(found, key=lambda i: (i.model, -(i.share or 0.0), i.feature))


def _services(reached: tuple[Reached, ...], found: tuple[Difference, ...]) -> list[Ref]:
    refs = [r.ref for r in reached] + [d.ref for d in found]
    return sorted({ref for ref in refs if ref.kind == "service"})


# --- steps ---------------------------------------------------------------------------


def _steps(
    old: Facts | None,
    new: Facts,
    environment: Environment,
    found: tuple[Difference, ...],
    reached: tuple[Reached, ...],
) -> Iterator[Step]:
    if not found:
        return
    yield from _builds(old, new)
    yield from _models(old, new, found, reached)
    yield LoadRelease(new.refs("service"))
    if old is None:
        # Nothing runs yet, so there is nothing to compare with and nobody to protect from it.
        yield RouteTo("first", 1.0, 0.0)
    else:
        for stage in environment.walked:
            only = said_of(stage.filter)
            yield RouteTo(stage.name, stage.weight, stage.hold.total_seconds(), only)
    for difference in found:
        if difference.change == "removed":
            yield Retire(difference.ref, environment.rollback_window.total_seconds())


def _builds(old: Facts | None, new: Facts) -> Iterator[Step]:
    """Tables before those that read them, then views."""
    for name in new.sources_first("table"):
        if _fresh(old, new, name):
            yield BuildTable(new.nodes[name].ref, new.nodes[name].fingerprint)
    for ref in new.refs("view"):
        if _fresh(old, new, str(ref)):
            yield BuildView(ref, new.nodes[str(ref)].fingerprint)


def _fresh(old: Facts | None, new: Facts, name: str) -> bool:
    if old is None or name not in old.nodes:
        return True
    return not new.same(old, name) and old.fingerprint(name) != new.fingerprint(name)


def _models(
    old: Facts | None,
    new: Facts,
    found: tuple[Difference, ...],
    reached: tuple[Reached, ...],
) -> Iterator[Step]:
    """What was only reached scores as before: neither trained nor scored again."""
    touched = {str(one.ref) for one in reached if one.verdict in ("breaks", "moves")}
    touched |= {str(difference.ref) for difference in found}
    for ref in new.refs("model"):
        name = str(ref)
        if new.same(old, name):
            yield from [RescoreModel(ref)] if name in touched else []
            continue
        node, before = new.nodes[name], old.nodes.get(name) if old else None
        if before is None or before.fitted != node.fitted:
            yield TrainModel(ref, node.trained)
        elif name in touched or before.trained != node.trained:
            yield RescoreModel(ref)


def _estimate(steps: tuple[Step, ...], rows: Mapping[str, int]) -> Estimate:
    built = [s for s in steps if isinstance(s, BuildTable | BuildView)]
    known = [rows[str(step.ref)] for step in built if str(step.ref) in rows]
    stages = [step for step in steps if isinstance(step, RouteTo)]
    return Estimate(
        tables=sum(isinstance(s, BuildTable) for s in steps),
        views=sum(isinstance(s, BuildView) for s in steps),
        trainings=sum(isinstance(s, TrainModel) for s in steps),
        rescorings=sum(isinstance(s, RescoreModel) for s in steps),
        rows=sum(known) if known else None,
        stages=len(stages),
        least_s=sum(stage.hold_s for stage in stages),
    )


# --- objections and notes ------------------------------------------------------------


def _broken(reached: tuple[Reached, ...]) -> Iterator[str]:
    """Readers that cannot go on. Only the first in each line of readers has to be mended."""
    for one in reached:
        if one.verdict == "breaks" and not any(_leads(other, one) for other in reached):
            yield f"{one.sentence}; change it in the same plan"


def _leads(other: Reached, one: Reached) -> bool:
    """Whether `one` breaks only because `other`, nearer to the cause, does."""
    on_the_way = any(hop.source == str(other.ref) for hop in one.path)
    return other.verdict == "breaks" and on_the_way


def _moving(environment: Environment) -> Iterator[str]:
    """Who signs reads what readers of the warehouse may meet."""
    if accepted := environment.pointers_one_by_one:
        yield (
            "names in the warehouse move one after the other: who reads two of them meanwhile may "
            f"meet two releases, accepted by {accepted.by}: {accepted.reason.strip()}"
        )


def _late(where: Where) -> Iterator[str]:
    if where.slot and where.slot.start < where.now:
        yield f"the slot starts at {where.slot.start:%d %b %Y %H:%M}, which is over"


def _unknown(facts: Facts, found: tuple[Difference, ...]) -> Iterator[str]:
    for difference in found:
        node = facts.nodes.get(str(difference.ref))
        if node is not None and node.unknown:
            said = f"{node.ref} is not understood ({node.unknown})"
            yield f"{said}: everything it feeds counts as moved"


def _words(wanted: Side, stable: Side | None, found: tuple[Difference, ...]) -> Iterator[str]:
    if stable and not found and dict(stable.project.texts) != dict(wanted.project.texts):
        yield "the files differ, but not in meaning (owner, description, formatting)"
