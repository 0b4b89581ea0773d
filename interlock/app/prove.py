"""From a plan to what people decide on: its evidence, the release it leads to, how it is judged.

Nothing is trained before data and features have passed or were waived, and nothing is made
again that stands on what it stood on before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from interlock.app.beside import twin
from interlock.app.booking import cancelled
from interlock.app.build import Builder, Say, quiet
from interlock.app.changes import Held, keep_evidence, save
from interlock.app.gather import PROVEN, Gathered, Gathering, Measured, behind, gather, not_run
from interlock.app.gating import with_gates
from interlock.app.inputs import Kept, judge_inputs, kept
from interlock.app.judging import agreed, noise_notes, watched_only
from interlock.app.proposable import reached
from interlock.app.reviews import high_risk
from interlock.app.stored import as_promised
from interlock.app.training import TrainedModel, train
from interlock.app.units import notes as unit_notes
from interlock.app.versions import (
    Version,
    calendar_over,
    keep_definitions,
    keep_graph,
    release_body,
    stored,
)
from interlock.app.workspace import Workspace
from interlock.change.change import (
    GRAPH,
    Change,
    Planned,
    moved,
    planned,
    waiver_objections,
    with_evidence,
)
from interlock.change.evidence import Evidence
from interlock.change.footprint import footprint
from interlock.change.layers import Layer, in_layer
from interlock.define.refs import Ref
from interlock.define.release import Release
from interlock.errors import Refused
from interlock.impact.graph import graph
from interlock.plan.plan import Plan, wanted_release, with_artifacts
from interlock.plan.rules import rules_of
from interlock.ports import Put

GROUND: tuple[Layer, ...] = ("data", "feature")
_REST = tuple(layer for layer in PROVEN if layer not in GROUND)
STOPPED = "stopped"
"""Detail of a change that waits at a layer: the checks that failed there."""


@dataclass(frozen=True)
class Proof:
    """One plan of one change being proven: what is there already, and what is found now."""

    held: Held
    plan: Plan
    gathering: Gathering
    there: Kept

    @property
    def workspace(self) -> Workspace:
        return self.gathering.workspace

    @property
    def change(self) -> Change:
        return self.held.change

    def stands(self, check: str) -> tuple[Evidence, ...]:
        return self.there.standing(check, self.gathering.inputs(check))

    def waived(self, check: str) -> bool:
        """A waiver lifts the piece that somebody saw: it stays as long as that piece does."""
        owners = (self.gathering.old or self.gathering.new).project.owners
        mine = [w for w in self.change.waivers if w.check == check]
        counts = any(not waiver_objections(self.change, w, owners) for w in mine)
        return counts and bool(self.stands(check))

    def gather(self, only: Sequence[Layer]) -> Gathered:
        return gather(self.gathering, self.plan.evidence, self.stands, self.waived, only)

    def stopped(self, found: Gathered) -> bool:
        """Did a layer fail that other required checks stand on?"""
        later = behind(found.stopped) if found.stopped else ()
        return any(in_layer(layer, self.plan.evidence) for layer in later)


def prove(
    workspace: Workspace,
    held: Held,
    versions: tuple[Version | None, Version],
    plan: Plan,
    say: Say = quiet,
) -> Change:
    """Gather the evidence of `plan`, train what it says, ask for review.

    The change stays in EVIDENCE when a layer fails that others stand on.
    """
    old, new = versions
    there = kept(workspace, held.change, old or new)
    proof = Proof(held, plan, Gathering(workspace, old, new, say), there)
    with new.builder(workspace).masks.quiet(), as_promised(new.project, workspace.warehouse):
        found = proof.gather(GROUND)
        if proof.stopped(found):
            return _stop(proof, found)
        proof.gathering.new = replace(new, models=_models(proof))
        _refuse_taken_back(proof)
        _refuse_twin(proof)
        found = found.and_(proof.gather(_REST))
        if proof.stopped(found):
            return _stop(proof, found)
        judging, more = _judging(proof)
        held = _plan_it(proof, judging)
    evidence = (*found.made, *more, *found.kept)
    keep_evidence(workspace, evidence, by=held.change.author)
    by = held.change.author
    held = save(workspace, held, with_evidence(held.change, evidence), by=by)
    said = _said(proof, found, more)
    say(said)
    return save(workspace, held, moved(held.change, "REVIEW", said), by=by).change


def _said(proof: Proof, found: Gathered, more: Sequence[Evidence] = ()) -> str:
    """How much was made and how much was kept, and why not all of it was."""
    made = (*found.made, *more)
    failed = sum(one.verdict != "pass" for one in (*made, *found.kept))
    if not proof.there.pieces:
        return f"{len(made)} checks made, {failed} of them do not pass"
    causes = dict.fromkeys(
        cause
        for one in made
        for cause in proof.there.why(one.check, proof.gathering.inputs(one.check))
    )
    because = f", because of {', '.join(causes)}" if causes else ""
    again = f"kept {len(found.kept)}, made {'again ' if causes else ''}{len(made)}{because}"
    return f"{again}; {failed} of {len(made) + len(found.kept)} do not pass"


# --- a layer failed -------------------------------------------------------------------


def _stop(proof: Proof, found: Gathered) -> Change:
    """PLANNED and EVIDENCE: what stands on the failed layer waits.

    There is no release before models are trained, and no guardrails before services are asked.
    """
    workspace, change, plan = proof.workspace, proof.change, proof.plan
    new, by = proof.gathering.new, change.author
    release, also = ("", []) if found.stopped in GROUND else _kept_release(proof)
    made = Planned(plan.to_json(), plan.digest, release, plan.made_against)
    details = {
        **change.details,
        STOPPED: list(found.by),
        "definitions": keep_definitions(workspace, new.project),
        "writes": [str(ref) for ref in plan.writes],
        **reached(new, plan),
    }
    lifted = tuple(w for w in change.waivers if proof.waived(w.check))
    change = replace(planned(change, made), details=details, waivers=lifted)
    held = save(workspace, proof.held, change, by=by, also=also)
    waiting = list(not_run(proof.gathering, plan.evidence, found))
    evidence = (*found.made, *found.kept, *waiting)
    keep_evidence(workspace, evidence, by=by)
    said = f"{found.stopped} layer failed: {', '.join(found.by)}; {len(waiting)} checks not run"
    again = with_evidence(held.change, evidence)
    proof.gathering.say(said)
    return save(workspace, held, replace(again, said=said), by=by).change


# --- models ---------------------------------------------------------------------------


def _models(proof: Proof) -> dict[str, TrainedModel]:
    """Models of the new version: trained where the plan says so, else the one that runs.

    What this change has trained before on the very same is not trained again.
    """
    old, new, plan = proof.gathering.old, proof.gathering.new, proof.plan
    builder, found = new.builder(proof.workspace, proof.gathering.say), {}
    before = dict(_trained(proof.workspace, proof.change))
    for name, model in new.project.models.items():
        if old is not None and name not in plan.trains and name in old.models:
            found[name] = old.models[name]
        else:
            same = before.get((name, new.facts.node(model.ref).trained))
            found[name] = same or _train(builder, model.model)
    return found


def _release(version: Version) -> Release:
    artifacts = {name: model.artifact for name, model in version.models.items()}
    return wanted_release(version.facts, artifacts, rules_of(version.project))


def _kept_release(proof: Proof) -> tuple[str, list[Put]]:
    """The address of what the change leads to, and what keeps it where it is not known yet."""
    workspace, new = proof.workspace, proof.gathering.new
    release = _release(new)
    ref = Ref("release", release.digest)
    if workspace.record.get(ref):
        return release.digest, []
    kept_ = keep_definitions(workspace, new.project)
    body = release_body(release.components, kept_, new.models, proof.change.id)
    return release.digest, [Put(ref, body, 0)]


def _refuse_taken_back(proof: Proof) -> None:
    """Other definitions, the same release: only now that its models are there it is known."""
    release = _release(proof.gathering.new).digest
    if release in proof.workspace.route().blocked:
        _closed(proof, "blocked")
        raise taken_back(release)


def _refuse_twin(proof: Proof) -> None:
    """Two arms of one experiment that answer alike compare nothing."""
    release = _release(proof.gathering.new).digest
    same = twin(proof.workspace, proof.change, proof.plan.beside or "", release)
    if same:
        _closed(proof, f"it leads to the very release of {same}")
        raise Refused(
            f"{proof.change.id} would run beside {same}, and both lead to release {release[:12]}",
            help="change something that answers otherwise, then propose it again",
        )


def _closed(proof: Proof, why: str) -> None:
    cancel = cancelled(proof.workspace, proof.change, why)
    over = moved(proof.change, "WITHDRAWN", why)
    save(proof.workspace, proof.held, over, by=proof.change.author, also=cancel)


def _train(builder: Builder, name: str) -> TrainedModel:
    return train(builder, builder.project.models[name])


def _trained(
    workspace: Workspace, change: Change
) -> Iterator[tuple[tuple[str, str], TrainedModel]]:
    """By model and all that its training depended on: what was trained for `change`."""
    for entry in workspace.record.list("release"):
        if entry.body["change"] == change.id:
            version = stored(workspace, entry.ref.name)
            for name, model in version.models.items():
                yield (name, version.facts.node(f"model:{name}").trained), model


# --- the plan as it is signed ---------------------------------------------------------


def _judging(proof: Proof) -> tuple[dict[str, Any], tuple[Evidence, ...]]:
    """How it will be judged, as agreed before where nothing of that moved; more evidence.

    What was measured beside the required checks is kept for a first release: it is all there is.
    """
    gathering, required = proof.gathering, set(proof.plan.evidence)
    inputs = judge_inputs(proof.workspace, (gathering.old, gathering.new))
    before: dict[str, Any] = proof.change.details.get("judge", {})
    if before.get("inputs") == inputs:
        return before, ()
    names = () if proof.plan.only_rules else tuple(gathering.new.project.models)
    compared = {name: gathering.compare(name) for name in names}
    services = gathering.new.project.services.values()
    more = [f"model_comparison:{name}" for name in names]
    more += [f"kpi:{s.service}" for s in services if set(s.models) & set(names)]
    found = [one for check in more for one in gathering.make(check)]
    kpis = {
        name: {service: had[1] for (service, model), had in gathering.kpis.items() if model == name}
        for name in names
    }
    measured = {name: Measured(one.scored, one.found, kpis[name]) for name, one in compared.items()}
    judging = {**agreed(proof.workspace, gathering.new, measured), "inputs": inputs}
    first = gathering.old is None
    return judging, tuple(one for one in found if first and one.check not in required)


def _plan_it(proof: Proof, judging: Mapping[str, Any]) -> Held:
    """PLANNED: the exact plan, the release it leads to, and how it will be judged."""
    workspace, held, plan = proof.workspace, proof.held, proof.plan
    old, new, by = proof.gathering.old, proof.gathering.new, held.change.author
    plan = _whole(proof, judging)
    release, also = _kept_release(proof)
    calendar = calendar_over(workspace, new)
    touched = footprint(plan, new.facts, new.project, calendar, by)
    details = {
        "writes": [str(ref) for ref in plan.writes],
        "footprint": touched.to_json(),
        "judge": judging,
        GRAPH: keep_graph(workspace, graph(old.facts if old else None, new.facts)),
        "high_risk": high_risk(plan, new.project, workspace.environment),
        **reached(new, plan),
    }
    made = Planned(plan.to_json(), plan.digest, release, plan.made_against)
    before = {n: said for n, said in held.change.details.items() if n != STOPPED}
    lifted = tuple(w for w in held.change.waivers if proof.waived(w.check))
    change = replace(planned(held.change, made), details={**before, **details}, waivers=lifted)
    return save(workspace, held, change, by=by, also=also)


def _whole(proof: Proof, judging: Mapping[str, Any]) -> Plan:
    """The plan with the bytes that were trained for it and the rules it is judged by."""
    plan, new = proof.plan, proof.gathering.new
    trained = {n: new.models[n].artifact for n in (*plan.trains, *plan.rescores)}
    note = f"judged by {len(judging['guardrails'])} guardrails, agreed as {judging['digest'][:12]}"
    note = "not judged: nothing that answers differs" if plan.only_rules else note
    noisy = [*unit_notes(judging), *noise_notes(judging)]
    if only := watched_only(judging):
        note += f"; {', '.join(only)} watched for harm only: this rollout could not show more"
    plan = replace(with_artifacts(plan, trained), notes=(*plan.notes, note, *noisy))
    if judging["guardrails"] and proof.gathering.old is not None:
        plan = _refuse_unresolved(proof, plan, judging)
    return plan


def _refuse_unresolved(proof: Proof, plan: Plan, judging: Mapping[str, Any]) -> Plan:
    """`plan` with its gates as measured; `Refused` when a stage is too short for one of them."""
    environment = proof.gathering.new.project.environments[proof.workspace.environment]
    found = with_gates(plan, environment, judging)
    if found.objections:
        why = "a gate cannot be passed in its stage"
        _closed(proof, why)
        raise Refused(f"{proof.change.id}: {why}", "change what is listed", found.objections)
    return found


def taken_back(release: str) -> Refused:
    """Somebody proposes again what was taken back."""
    return Refused(
        f"release {release[:12]} was rolled back and is blocked",
        help="change what harmed; the same release cannot come back",
    )
