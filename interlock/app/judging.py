"""What a rollout will be judged by, agreed before it starts and signed with the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.app.measure import slow_threshold
from interlock.app.modelchecks import KpiOnHistory
from interlock.app.versions import Version
from interlock.app.workspace import Workspace
from interlock.define.definitions import Service
from interlock.models.metrics import log_loss
from interlock.rollout.defaults import KpiPlan, Planned, default_guardrails
from interlock.rollout.metrics import registered_digest
from interlock.rollout.planner import days_to_show
from interlock.rollout.state import shares_of, stages_of

if TYPE_CHECKING:
    from interlock.app.propose import Measured

MATURITY_S = 86400.0


def agreed(workspace: Workspace, new: Version, measured: Mapping[str, Measured]) -> dict[str, Any]:
    """Guardrails with margins, weights and widths fixed from history, as JSON with its digest."""
    environment = new.project.environments[workspace.environment]
    if not measured:
        # Nothing that answers differs, so nothing is compared: it has no stages to be judged in.
        return {"guardrails": [], "alpha": environment.alpha, "beta": environment.beta,
                "digest": ""}  # fmt: skip
    model, found = next(iter(measured.items()))
    loss_old = log_loss(found.scored.rows.y, found.scored.old)
    difference = log_loss(found.scored.rows.y, found.scored.new) - loss_old
    hours = max((_days(new, model)) * 24, 1)
    services = new.project.services
    lasts = sum(stage.hold.total_seconds() for stage in stages_of(environment)) / 86400
    kpis = [_kpi_plan(services[name], history, lasts) for name, history in found.kpis.items()]
    planned = Planned(
        units_per_bucket=max(len(loss_old) / hours, 1.0),
        shares=shares_of(stages_of(environment)),
        log_loss=float(loss_old.mean()),
        log_loss_variance=float(loss_old.var()),
        log_loss_difference_variance=max(float(np.var(difference)), 1e-6),
        maturity_s=MATURITY_S,
        kpis=kpis,
    )
    guardrails = default_guardrails(planned)
    shift = found.compared.shift
    return {
        "guardrails": [one.to_json() for one in guardrails],
        "alpha": environment.alpha,
        "beta": environment.beta,
        "digest": registered_digest(guardrails, environment.alpha, environment.beta),
        "model": model,
        "score_threshold": shift.p90 if shift else 1.0,
        "slow_us": slow_threshold(list(services.values())),
        "maturity_s": MATURITY_S,
        "kpi_weights": {name: history.mean_weight for name, history in found.kpis.items()},
    }


def _kpi_plan(service: Service, history: KpiOnHistory, lasts: float) -> KpiPlan:
    """A margin that the whole rollout could not show is no gate: it would only wait."""
    plan = KpiPlan(
        service.service, history.baseline, history.difference_variance, service.kpi.margin,
        service.kpi.better, max(history.units_per_day, 1.0),
    )  # fmt: skip
    return replace(plan, required=days_to_show(plan, plan.units_per_bucket) <= lasts)


def watched_only(judging: Mapping[str, Any]) -> list[str]:
    """Guardrails that can stop the rollout but are not waited for."""
    return [one["name"] for one in judging["guardrails"] if not one["gate"]]


def _days(new: Version, model: str) -> int:
    window = new.project.models[model].evaluation
    return (window.end - window.start).days
