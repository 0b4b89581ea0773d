"""What a rollout will be judged by, agreed before it starts and signed with the plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.app.counting import BUCKET_S, Measuring
from interlock.app.ingest import ingest
from interlock.app.measure import calm
from interlock.app.modelchecks import KpiOnHistory
from interlock.app.units import Units, cost, counted, shares_inside
from interlock.app.versions import Version
from interlock.app.workspace import Workspace
from interlock.define.definitions import Model, Service
from interlock.define.environment import Environment, Stage
from interlock.define.keys import key_part, key_parts
from interlock.define.project import Project
from interlock.models.metrics import log_loss
from interlock.rollout.defaults import (
    DecisionPlan,
    KpiPlan,
    Planned,
    SlicePlan,
    default_guardrails,
)
from interlock.rollout.lasting import MOST, Width, fitted, width
from interlock.rollout.metrics import Guardrail, registered_digest
from interlock.rollout.planner import days_to_show
from interlock.rollout.state import apart_of, kinds_of, ladder_of, shares_of, stages_of

if TYPE_CHECKING:
    from interlock.app.gather import Measured

MATURITY_S = 86400.0
# Far enough for the noise of a week to show, near enough to be about what runs.
CALM = timedelta(days=28)


def agreed(workspace: Workspace, new: Version, measured: Mapping[str, Measured]) -> dict[str, Any]:
    """Guardrails with margins, weights and widths fixed from history, as JSON with its digest."""
    environment = new.project.environments[workspace.environment]
    # Of all that run beside each other no more than alpha are taken back without harm.
    alpha = environment.alpha / environment.arms
    if not measured:
        # Nothing that answers differs, so nothing is compared: it has no stages to be judged in.
        return {"guardrails": [], "alpha": alpha, "beta": environment.beta,
                "digest": ""}  # fmt: skip
    model, found = next(iter(measured.items()))
    builder, declared = new.builder(workspace), new.project.models[model]
    units = counted(builder, declared, environment.subject)
    slices = slices_of(declared, found, stages_of(environment))
    inside = shares_inside(builder, declared, environment)
    inside |= {one.slice: one.share for one in slices}
    planned = _planned(environment, new, model, found, units)
    guardrails = default_guardrails(replace(planned, slices=slices))
    widths = noise(workspace, new.project, model, guardrails)
    # Noise that lasts for everybody lasts in a slice, whose own was not looked for.
    guardrails = tuple(
        fitted(one, widths.get(one.metric if one.slice else one.name)) for one in guardrails
    )
    return {
        "guardrails": [one.to_json() for one in guardrails],
        "alpha": alpha,
        "beta": environment.beta,
        "digest": registered_digest(guardrails, alpha, environment.beta),
        "model": model,
        "noise": {name: [found.seconds, found.likeness] for name, found in widths.items()},
        "units_per_day": units.per_day,
        **({"inside": inside} if inside else {}),
        **({"arms": environment.arms} if environment.arms > 1 else {}),
        "units": cost(builder, declared, environment, guardrails),
    }


def _planned(
    environment: Environment, new: Version, model: str, found: Measured, units: Units
) -> Planned:
    """What history says of the two releases on the same rows."""
    loss_old = log_loss(found.scored.rows.y, found.scored.old)
    difference = log_loss(found.scored.rows.y, found.scored.new) - loss_old
    services, stages = new.project.services, stages_of(environment)
    lasts = sum(stage.hold.total_seconds() for stage in stages) / 86400
    shift = found.compared.shift
    return Planned(
        units_per_bucket=max(units.per_hour, 1.0),
        shares=shares_of(stages),
        ladder=ladder_of(stages),
        holds={stage.name: stage.hold.total_seconds() / BUCKET_S for stage in stages},
        kinds=kinds_of(stages),
        arms=environment.arms,
        log_loss=float(loss_old.mean()),
        log_loss_variance=float(loss_old.var()),
        log_loss_difference_variance=max(float(np.var(difference)), 1e-6),
        maturity_s=MATURITY_S,
        score_threshold=shift.p90 if shift else 1.0,
        slow_us=slow_threshold(list(services.values())),
        kpis=[
            _kpi_plan(services[name], history, lasts, environment.subject)
            for name, history in found.kpis.items()
        ],
        decisions=_decisions(services.values(), model, found),
    )


def slow_threshold(services: Sequence[Service]) -> float:
    """Microseconds: the tightest promise of any service that is served."""
    return min((s.slo.latency.total_seconds() for s in services), default=0.25) * 1e6


def _kpi_plan(
    service: Service, history: KpiOnHistory, lasts: float, subject: Sequence[str]
) -> KpiPlan:
    """A margin that the whole rollout could not show is no gate: it would only wait.

    What one subject decides on is seen by one arm as a whole. A relative margin of a number
    that may be below 0 says nothing between arms.
    """
    seen = set(service.decision_unit) == set(subject) and history.baseline > 0
    plan = KpiPlan(
        service.service, history.baseline, history.difference_variance, service.kpi.margin,
        service.kpi.better, max(history.units_per_day, 1.0), mean_weight=history.mean_weight,
        variance=history.variance if seen else None,
    )  # fmt: skip
    return replace(plan, required=days_to_show(plan, plan.units_per_bucket) <= lasts)


def _decisions(services: Iterable[Service], model: str, found: Measured) -> list[DecisionPlan]:
    """How often each service acts, for those that say from which score on they do."""
    plans = []
    for service in services:
        if service.decision is not None and model in service.models:
            over = service.decision.over
            old, new = found.scored.old >= over, found.scored.new >= over
            differ, margin = float((old != new).mean()), service.decision.margin
            share = max(float(old.mean()), 1e-6)
            plans.append(DecisionPlan(service.service, over, share, differ, margin))
    return plans


def slices_of(model: Model, found: Measured, stages: Sequence[Stage]) -> tuple[SlicePlan, ...]:
    """What history says of each critical slice; one that it does not hold has a share of 0."""
    rows, old, new = found.scored.rows, found.scored.old, found.scored.new
    before, after = log_loss(rows.y, old), log_loss(rows.y, new)
    plans = []
    for column, values in model.evaluation.critical.items():
        texts = np.asarray(key_parts(rows.columns[column]), dtype=object)
        for value in map(key_part, values):
            name, mine = f"{column}={value}", texts == value
            there = mine if mine.any() else np.ones(len(mine), dtype=bool)
            off = float(np.var((after - before)[there]))
            plans.append(
                SlicePlan(
                    name, float(mine.mean()), float(before[there].mean()), max(off, 1e-6),
                    model.evaluation.slice_margin, apart_of(stages, name),
                )
            )  # fmt: skip
    return tuple(plans)


def how_measured(
    guardrails: Sequence[Guardrail], project: Project, model: str, now: datetime
) -> Measuring:
    """How to count for these guardrails: every threshold is theirs, and so was agreed."""
    by = {one.name: one for one in guardrails if not one.slice}
    slices: dict[str, frozenset[str]] = {}
    for one in (one for one in guardrails if one.slice):
        slices[one.slice] = slices.get(one.slice, frozenset()) | {one.metric}

    def threshold(name: str) -> float | None:
        return by[name].threshold if name in by else None

    def of(kind: str) -> dict[str, Guardrail]:
        found = (name.partition(":") for name in by)
        return {rest: by[f"{kind}:{rest}"] for first, _, rest in found if first == kind}

    return Measuring(
        model=project.models[model],
        services=tuple(s for s in project.services.values() if model in s.models),
        now=now,
        score_threshold=threshold("score_shift"),
        slow_us=threshold("slow"),
        maturity_s=max((one.maturity_s for one in guardrails if one.labels), default=0.0),
        kpi_weights={name: one.per for name, one in of("kpi").items()},
        decisions={name: one.threshold or 0.0 for name, one in of("decisions").items()},
        slices=slices,
        seen=frozenset(of("kpi_seen")),
    )


def noise(
    workspace: Workspace, project: Project, model: str, guardrails: Sequence[Guardrail]
) -> dict[str, Width]:
    """By guardrail, how long a bucket must be so that neighbours say different things.

    From what the running release answered lately; empty when nothing runs.
    """
    stable, now = workspace.route().stable, workspace.now()
    if stable is None:
        return {}
    ingest(workspace)
    it = replace(how_measured(guardrails, project, model, now), release=stable)
    counts = calm(workspace.warehouse, it, now - CALM)
    judged = [one for one in guardrails if one.form in ("rate", "mean") and not one.slice]
    return {one.name: width(one, counts, BUCKET_S) for one in judged}


def noise_notes(judging: Mapping[str, Any]) -> list[str]:
    """What the plan says of noise that lasts."""
    said = []
    for name, (seconds, likeness) in judging.get("noise", {}).items():
        if likeness is not None and likeness > MOST:
            said.append(
                f"noise of {name} lasts (neighbouring steps of {seconds // BUCKET_S} hours are "
                f"alike, {likeness:.2f}): its evidence may come too easily"
            )
        elif seconds > BUCKET_S:
            said.append(f"noise of {name} lasts: judged in steps of {seconds // BUCKET_S} hours")
    return said


def watched_only(judging: Mapping[str, Any]) -> list[str]:
    """Guardrails that can stop the rollout but are not waited for."""
    return [one["name"] for one in judging["guardrails"] if not one["gate"]]
