"""What each gate of a rollout will need, in samples and days, as the plan says it beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from interlock.app.changes import all_changes
from interlock.define.environment import Environment
from interlock.plan.plan import GateNeed, Plan
from interlock.rollout.metrics import Guardrail
from interlock.rollout.planner import Need, needs
from interlock.rollout.state import apart_of, ladder_of, shares_of, split_of, stages_of

if TYPE_CHECKING:
    from interlock.app.workspace import Workspace


FORESEEN = "the gates are foreseen"


def with_gates(plan: Plan, environment: Environment, judging: Mapping[str, Any]) -> Plan:
    """`plan` with what its gates need, and an objection for each that cannot be passed in time.

    `judging` is what a change is judged by; the stages are those of `environment`.
    """
    stages = stages_of(environment)
    guardrails = [_on(Guardrail.from_json(body), environment) for body in judging["guardrails"]]
    per_day = daily(guardrails, judging["units_per_day"])
    inside = judging.get("inside", {})
    needed = needs(guardrails, stages, per_day, inside, environment.arms)
    against = [need.objection for need in needed if need.objection]
    gates = tuple(map(_told, needed))
    notes = tuple(note for note in plan.notes if not note.startswith(FORESEEN))
    objections = (*plan.objections, *_each_once(against))
    return replace(plan, gates=gates, notes=notes, objections=objections)


def foreseen(workspace: Workspace, plan: Plan, environment: Environment) -> Plan:
    """`plan` with its gates by what the last change was judged by, if there was one."""
    if plan.empty or plan.only_rules or plan.made_against is None:
        return plan
    known = _last_judged(workspace)
    if known is None:
        return plan
    id, judging = known
    found = with_gates(plan, environment, judging)
    note = f"{FORESEEN} by what {id} was judged by, and measured when this is proposed"
    return replace(found, notes=(*found.notes, note))


def _last_judged(workspace: Workspace) -> tuple[str, Mapping[str, Any]] | None:
    for change in reversed(all_changes(workspace)):
        judging = change.details.get("judge", {})
        if change.environment == workspace.environment and judging.get("units_per_day"):
            return change.id, judging
    return None


def _on(guardrail: Guardrail, environment: Environment) -> Guardrail:
    """`guardrail` in the stages as they are declared now."""
    stages = stages_of(environment)
    if guardrail.form == "split":
        weights = shares_of(stages)
        shares = {name: split_of(share, environment.arms) for name, share in weights.items()}
        return replace(guardrail, shares=shares or guardrail.shares)
    apart = apart_of(stages, guardrail.slice) if guardrail.slice else ()
    return replace(guardrail, ladder=ladder_of(stages), apart=apart)


def daily(guardrails: Sequence[Guardrail], units: float) -> dict[str, float]:
    """Units per day by metric: a KPI counts its own, in buckets of a day."""
    return {
        one.metric: one.bucket_units if one.metric.startswith("kpi:") else units
        for one in guardrails
    }


def _told(need: Need) -> GateNeed:
    return GateNeed(need.stage, need.guardrail, _known(need.units), _known(need.days))


def _known(amount: float) -> float | None:
    return None if amount == inf else round(amount, 2)


def _each_once(said: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(said))
