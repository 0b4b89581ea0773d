"""What one change may take: an estimate held against a budget."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.define.environment import Budget
from interlock.plan.plan import Estimate


def over(estimate: Estimate, budget: Budget) -> tuple[str, ...]:
    """What `estimate` takes more than `budget` allows, one sentence each; empty when it fits."""
    return tuple(_over(estimate, budget))


def _over(estimate: Estimate, budget: Budget) -> Iterator[str]:
    takes = {
        "trainings": estimate.trainings,
        "builds": estimate.tables + estimate.views,
        "hours": estimate.least_s / 3600,
    }
    for name, amount in takes.items():
        limit = getattr(budget, name)
        if limit is not None and amount > limit:
            yield f"{amount:g} {name}, {limit:g} allowed"
