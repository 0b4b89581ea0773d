"""What a rollout will be judged by, agreed before it starts and signed with the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.app.measure import slow_threshold
from interlock.app.versions import Version
from interlock.app.workspace import Workspace
from interlock.models.metrics import log_loss
from interlock.rollout.defaults import KpiPlan, Planned, default_guardrails
from interlock.rollout.metrics import registered_digest
from interlock.rollout.state import shares_of, stages_of

if TYPE_CHECKING:
    from interlock.app.propose import Measured

MATURITY_S = 86400.0


def agreed(workspace: Workspace, new: Version, measured: Mapping[str, Measured]) -> dict[str, Any]:
    """Guardrails with margins, weights and widths fixed from history, as JSON with its digest."""
    environment = new.project.environments[workspace.environment]
    model, found = next(iter(measured.items()))
    loss_old = log_loss(found.scored.rows.y, found.scored.old)
    difference = log_loss(found.scored.rows.y, found.scored.new) - loss_old
    hours = max((_days(new, model)) * 24, 1)
    services = new.project.services
    planned = Planned(
        units_per_bucket=max(len(loss_old) / hours, 1.0),
        shares=shares_of(stages_of(environment)),
        log_loss=float(loss_old.mean()),
        log_loss_variance=float(loss_old.var()),
        log_loss_difference_variance=max(float(np.var(difference)), 1e-6),
        maturity_s=MATURITY_S,
        kpis=[
            KpiPlan(
                name, history.baseline, history.difference_variance,
                services[name].kpi.margin, services[name].kpi.better,
            )
            for name, history in found.kpis.items()
        ],
    )  # fmt: skip
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


def _days(new: Version, model: str) -> int:
    window = new.project.models[model].evaluation
    return (window.end - window.start).days
