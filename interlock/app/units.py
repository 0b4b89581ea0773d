"""What rollouts split by and services decide on, counted: how many units, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any

from interlock.app.gating import daily
from interlock.plan.require import common_unit
from interlock.rollout.cohort import inside_sql
from interlock.rollout.planner import lasts, needs
from interlock.rollout.state import stages_of

if TYPE_CHECKING:
    from interlock.app.build import Builder
    from interlock.define.definitions import Model
    from interlock.define.environment import Environment
    from interlock.define.release import Filter
    from interlock.rollout.metrics import Guardrail


@dataclass(frozen=True)
class Units:
    """How many different `columns` a day of the evaluation window has, and an hour of it."""

    columns: tuple[str, ...]
    per_day: float
    per_hour: float


def counted(builder: Builder, model: Model, columns: Sequence[str], filter: Filter = ()) -> Units:
    """Subjects that `filter` lets in, when a subject is what these columns say."""
    days = max((model.evaluation.end - model.evaluation.start).days, 1)
    relation = builder.table(model.spine)
    types = builder.workspace.warehouse.columns(f"SELECT * FROM {relation} AS s") if filter else {}
    named = {name: (f"s.{builder.dialect.quoted(name)}", type) for name, type in types.items()}
    where = inside_sql(builder.dialect, named, filter)
    found = {span: _distinct(builder, model, columns, span, where) for span in ("day", "hour")}
    return Units(tuple(columns), found["day"] / days, found["hour"] / days / 24)


def shares_inside(builder: Builder, model: Model, environment: Environment) -> dict[str, float]:
    """The share of subjects that takes part, for stages in which not everybody does."""
    every = counted(builder, model, environment.subject).per_day
    return {
        stage.name: counted(builder, model, environment.subject, stage.filter).per_day / every
        for stage in stages_of(environment)
        if stage.filter and every
    }


def _distinct(builder: Builder, model: Model, columns: Sequence[str], span: str, where: str) -> int:
    dialect = builder.dialect
    stamp = dialect.quoted(model.time)
    seconds = {"day": 86400, "hour": 3600}[span]
    at = f"floor({dialect.epoch.format(x=stamp)} / {seconds})"
    picked = ", ".join(map(dialect.quoted, columns))
    first, last = (
        dialect.instant(datetime.combine(day, time(), UTC))
        for day in (model.evaluation.start, model.evaluation.end)
    )
    sql = (
        f"SELECT count(*) AS n FROM (SELECT DISTINCT {at} AS at, {picked} "
        f"FROM {builder.table(model.spine)} AS s "
        f"WHERE {stamp} >= {first} AND {stamp} < {last} AND {where}) AS u"
    )
    return int(builder.workspace.warehouse.query(sql).to_pylist()[0]["n"])


def cost(
    builder: Builder, model: Model, environment: Environment, guardrails: Sequence[Guardrail]
) -> dict[str, Any]:
    """What it would take to split by the common unit of the services, beside what it takes now."""
    found, inside = {}, shares_inside(builder, model, environment)
    for name, columns in (
        ("subject", environment.subject),
        ("common", common_unit(builder.project, environment)),
    ):
        units = counted(builder, model, columns) if columns else Units((), 1.0, 1.0)
        stages = stages_of(environment)
        per_day = daily(guardrails, units.per_day)
        takes = lasts(stages, needs(guardrails, stages, per_day, inside, environment.arms))
        days = round(takes.total_seconds() / 86400, 1)
        found[name] = {"columns": list(columns), "per_day": units.per_day, "days": days}
    return found


def notes(judging: Mapping[str, Any]) -> Iterator[str]:
    """What the plan says of units: which is split by, which all services share, what that costs."""
    found = judging.get("units")
    if not found:
        return
    subject, common = found["subject"], found["common"]
    if subject["columns"] == common["columns"]:
        yield f"{_said(subject)}; no service decides on more at once"
        return
    yield (
        f"{_said(subject)}; split by the common unit of the services, {_unit(common)}, there "
        f"would be {common['per_day']:,.0f} a day and the gates would take about "
        f"{common['days']:,.0f} days"
    )


def _said(one: Mapping[str, Any]) -> str:
    return (
        f"split by {_unit(one)}: {one['per_day']:,.0f} a day, the gates take about "
        f"{one['days']:,.0f} days"
    )


def _unit(one: Mapping[str, Any]) -> str:
    return f"({', '.join(one['columns'])})" if one["columns"] else "nothing, everybody at once"
