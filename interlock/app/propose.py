"""Open a change from the plan: train what must be trained, gather evidence, ask for review."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from interlock.app import checks
from interlock.app.build import Builder, Say, quiet
from interlock.app.changes import Held, all_changes, keep_evidence, open_new, save
from interlock.app.engines import refuse_unable
from interlock.app.footing import footing, labelled_until, on_rows, queries_of, spine_sql
from interlock.app.gating import with_gates
from interlock.app.judging import agreed, noise_notes, watched_only
from interlock.app.modelchecks import KpiOnHistory, Scored, Side, comparison, kpi, null_rehearsal
from interlock.app.modelchecks import score_both as score
from interlock.app.planning import plan_between, wanted
from interlock.app.proposable import asked_for, may_propose, reached
from interlock.app.replays import missingness
from interlock.app.reviews import high_risk, prove_action
from interlock.app.stored import as_promised, refuse_unlike
from interlock.app.training import TrainedModel, train
from interlock.app.versions import Version, calendar_over, keep_definitions, release_body, stable
from interlock.app.workspace import Workspace
from interlock.change.change import Change, Planned, moved, planned, with_evidence
from interlock.change.evidence import Evidence
from interlock.change.footprint import footprint
from interlock.change.request import Request
from interlock.change.review import ACTION
from interlock.define.definitions import Model
from interlock.define.refs import Ref
from interlock.errors import Refused
from interlock.impact.graph import graph
from interlock.models.compare import Comparison
from interlock.plan.plan import Plan, wanted_release, with_artifacts
from interlock.plan.rules import rules_of
from interlock.ports import Put


@dataclass(frozen=True)
class Measured:
    """What was learnt about one model: the evidence, and what the judge will need."""

    evidence: tuple[Evidence, ...]
    scored: Scored
    compared: Comparison
    kpis: Mapping[str, KpiOnHistory]


def propose(
    workspace: Workspace,
    request: Request,
    say: Say = quiet,
    because: Mapping[str, Any] | None = None,
) -> Change:
    """Make CR-n with everything people need to decide; `because` is the trigger, if one asked.

    Raises `Refused` when there is nothing to do or the plan itself is not possible.
    """
    old, new = stable(workspace), wanted(workspace)
    made = plan_between(workspace, old, new)
    plan = possible(workspace, asked_for(made, request, (old or new).project))
    opening = draft(workspace, request, because)
    may_propose(workspace, opening, plan, (old, new))
    held = open_new(workspace, opening)
    say(f"{held.change.id}: {request.title}")
    return prove(workspace, held, (old, new), plan, say)


def possible(workspace: Workspace, plan: Plan) -> Plan:
    """`plan`, if a change can be made of it; else `Refused` with every reason."""
    if plan.empty:
        raise Refused("there is nothing to propose", help="edit a definition first")
    if plan.objections:
        raise Refused("this plan cannot be proposed", "mend what is listed", plan.objections)
    refuse_unable(workspace.project, workspace.warehouse)
    refuse_unlike(workspace.project, workspace.warehouse)
    _refuse_again(workspace, plan)
    return plan


def prove(
    workspace: Workspace,
    held: Held,
    versions: tuple[Version | None, Version],
    plan: Plan,
    say: Say = quiet,
) -> Change:
    """Train what the plan says, gather its evidence, ask for review."""
    old, new = versions
    by = held.change.author
    with new.builder(workspace).masks.quiet(), as_promised(new.project, workspace.warehouse):
        new = replace(new, models=_models(workspace, old, new, plan, new.builder(workspace, say)))
        measured = {
            name: measure(workspace, old, new, model, say)
            for name, model in new.project.models.items()
            if not plan.only_rules
        }
        held = _plan_it(workspace, held, (old, new), plan, measured)
        evidence = gather(workspace, old, new, plan, measured, say)
    keep_evidence(workspace, evidence, by=by)
    held = save(workspace, held, with_evidence(held.change, evidence), by=by)
    failed = sum(piece.verdict != "pass" for piece in evidence)
    said = f"{len(evidence)} checks made, {failed} of them do not pass"
    return save(workspace, held, moved(held.change, "REVIEW", said), by=by).change


def _refuse_unresolved(
    workspace: Workspace, held: Held, plan: Plan, new: Version, judging: Mapping[str, Any]
) -> Plan:
    """`plan` with its gates as measured; `Refused` when a stage is too short for one of them."""
    found = with_gates(plan, new.project.environments[workspace.environment], judging)
    if found.objections:
        why = "a gate cannot be passed in its stage"
        save(workspace, held, moved(held.change, "WITHDRAWN", why), by=held.change.author)
        raise Refused(f"{held.change.id}: {why}", "change what is listed", found.objections)
    return found


def _refuse_again(workspace: Workspace, plan: Plan) -> None:
    """What was rolled back is blocked before anything is trained for it a second time."""
    blocked = workspace.route().blocked
    for change in all_changes(workspace):
        before = change.plan or {}
        same = before.get("definitions") == plan.definitions
        if same and change.release in blocked and change.made_against == plan.made_against:
            raise _blocked(change.release)


def _blocked(release: str) -> Refused:
    return Refused(
        f"release {release[:12]} was rolled back and is blocked",
        help="change what harmed; the same release cannot come back",
    )


def draft(
    workspace: Workspace, request: Request, because: Mapping[str, Any] | None = None
) -> Change:
    """What was asked for, before anything is known of it."""
    return Change(
        id="",
        title=request.title,
        author=request.by,
        environment=workspace.environment,
        opened_at=workspace.now(),
        reason=request.reason,
        expected=request.expected,
        rollback_criteria=request.rollback_criteria,
        risks=request.risks,
        metrics=request.metrics,
        bounds=request.bounds,
        emergency=request.emergency.strip(),
        because=because,
    )


def _models(
    workspace: Workspace, old: Version | None, new: Version, plan: Plan, builder: Builder
) -> dict[str, TrainedModel]:
    """Models of the new version: trained where the plan says so, else the one that runs."""
    found = {}
    for name, model in new.project.models.items():
        if old is None or name in plan.trains or name not in old.models:
            found[name] = train(builder, model)
        else:
            found[name] = old.models[name]
    return found


def measure(
    workspace: Workspace, old: Version | None, new: Version, model: Model, say: Say
) -> Measured:
    """Score the evaluation window under both releases and compare: model, KPIs, missing rows."""
    side_new = Side(new.builder(workspace, say), model, new.models[model.model])
    say(f"comparing model:{model.model} with the incumbent")
    side_old = _incumbent(workspace, old, side_new, say)
    until = labelled_until(model.evaluation.end)
    rows = footing([side_new.builder], queries_of(new.project, model), until)
    rows |= footing([side_old.builder], queries_of(side_old.builder.project, side_old.model), until)
    scored = score(side_old, side_new)
    evidence, compared = comparison(side_new, scored)
    kpis, pieces = {}, [evidence, null_rehearsal(side_new, scored)]
    for service in new.project.services.values():
        if model.model in service.models:
            piece, kpis[service.service] = kpi(side_new, service, scored)
            pieces.append(piece)
    return Measured(tuple(replace(p, rows=rows) for p in pieces), scored, compared, kpis)


def _incumbent(workspace: Workspace, old: Version | None, new: Side, say: Say) -> Side:
    name = new.model.model
    if old is not None and name in old.models:
        return Side(old.builder(workspace, say), old.project.models[name], old.models[name])
    manifest = new.trained.manifest if new.trained else {}
    rate = manifest["positives"] / manifest["rows"] if manifest else 0.5
    return Side(new.builder, new.model, None, constant=rate)


def _plan_it(
    workspace: Workspace,
    held: Held,
    versions: tuple[Version | None, Version],
    plan: Plan,
    measured: Mapping[str, Measured],
) -> Held:
    """PLANNED: the exact plan, the release it leads to, and how it will be judged."""
    old, new = versions
    trained = {n: new.models[n].artifact for n in (*plan.trains, *plan.rescores)}
    judging = agreed(workspace, new, measured)
    note = f"judged by {len(judging['guardrails'])} guardrails, agreed as {judging['digest'][:12]}"
    note = "not judged: nothing that answers differs" if plan.only_rules else note
    noisy = noise_notes(judging)
    if only := watched_only(judging):
        note += f"; {', '.join(only)} watched for harm only: the rollout is too short to show more"
    plan = replace(with_artifacts(plan, trained), notes=(*plan.notes, note, *noisy))
    if judging["guardrails"] and old is not None:
        plan = _refuse_unresolved(workspace, held, plan, new, judging)
    release = wanted_release(
        new.facts, {n: m.artifact for n, m in new.models.items()}, rules_of(new.project)
    )
    if release.digest in workspace.route().blocked:
        # Other definitions, the same release: only now its digest is known.
        save(workspace, held, moved(held.change, "WITHDRAWN", "blocked"), by=held.change.author)
        raise _blocked(release.digest)
    calendar = calendar_over(workspace, new)
    touched = footprint(plan, new.facts, new.project, calendar, held.change.author)
    details = {
        "writes": [str(ref) for ref in plan.writes],
        "footprint": touched.to_json(),
        "judge": judging,
        "graph": graph(old.facts if old else None, new.facts).to_json(),
        "high_risk": high_risk(plan, new.project, workspace.environment),
        **reached(new, plan),
    }
    made = Planned(plan.to_json(), plan.digest, release.digest, plan.made_against)
    change = planned(held.change, made)
    change = replace(change, details={**change.details, **details})
    kept = keep_definitions(workspace, new.project)
    body = release_body(release.components, kept, new.models, change.id)
    ref = Ref("release", release.digest)
    also = [] if workspace.record.get(ref) else [Put(ref, body, 0)]
    return save(workspace, held, change, by=change.author, also=also)


def gather(
    workspace: Workspace,
    old: Version | None,
    new: Version,
    plan: Plan,
    measured: Mapping[str, Measured],
    say: Say,
) -> list[Evidence]:
    """Every check the plan requires, data first; what was measured beside it is kept too."""
    after = new.builder(workspace, say)
    before = old.builder(workspace, say) if old else None
    pieces, now = [], workspace.now()
    for check in plan.evidence:
        kind, _, name = check.partition(":")
        if kind == "contract":
            say(f"checking {check}")
            table, under = new.project.tables[name], [f"SELECT * FROM {name}"]
            contract = partial(checks.contract, after, table, now)
            pieces.append(on_rows([after], under, now, contract))
        elif check.startswith(ACTION):
            say(f"checking {check}")
            pieces.append(prove_action(after, check))
        elif kind == "values" and before and old:
            say(f"comparing {check}")
            model = _reader(new, name)
            views = old.project.views[name], new.project.views[name]
            under = [*(view.sql for view in views), *([spine_sql(model)] if model else [])]
            values = partial(checks.values, before, after, *views, model)
            pieces.append(on_rows([before, after], under, now, values))
        elif kind in ("replay", "missingness"):
            model = _reader(new, name) or next(iter(new.project.models.values()), None)
            if model is not None:
                say(f"replaying {name}" if kind == "replay" else f"looking for gaps in {name}")
                view = new.project.views[name]
                under = [view.sql, *queries_of(new.project, model)]
                prove = checks.replay if kind == "replay" else missingness
                pieces.append(on_rows([after], under, now, partial(prove, after, view, model)))
    for found in measured.values():
        pieces += [p for p in found.evidence if p.check in plan.evidence or old is None]
    return pieces


def _reader(version: Version, view: str) -> Model | None:
    """A model that reads `view` (as `name@version`): its spine is where values matter."""
    wanted_ref = Ref.parse(f"view:{view}")
    models = version.project.models.values()
    return next((m for m in models if wanted_ref in m.view_refs), None)
