"""Lines of a monitoring system beside a rollout: what they say can hold it, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from string import Template
from typing import TYPE_CHECKING

from interlock.adapters.prometheus import query_range
from interlock.app.stores import expanded
from interlock.errors import InterlockError
from interlock.rollout.series import compare

if TYPE_CHECKING:
    from interlock.define.environment import Environment, Series
    from interlock.rollout.state import RolloutState


def objections(environment: Environment, state: RolloutState, now: datetime) -> str:
    """Why the stage is not left yet by what is monitored; empty when nothing speaks against it.

    What does not answer, or says too little, holds as well: silence is not health.
    """
    between = state.stage is not None and 0 < state.stage.weight < 1
    if not between:
        return ""  # only a ramp has two arms that people are answered from
    return "; ".join(filter(None, (_said(one, state, now) for one in environment.series)))


def _said(one: Series, state: RolloutState, now: datetime) -> str:
    try:
        stable, candidate = _arms(one, state, now)
    except InterlockError as error:
        return f"{one.name}: {error.message}" + (f": {error.help}" if error.help else "")
    found = compare(stable, candidate, one.margin, one.worse == "higher")
    if found.verdict == "fine":
        return ""
    word = "is worse" if found.verdict == "worse" else "is not known"
    return f"{one.name} {word}: {found.sentence}"


def _arms(one: Series, state: RolloutState, now: datetime) -> Iterator[dict[int, float]]:
    url = expanded(one.url, f"the address of {one.name}")
    start, step = state.entered_at.timestamp(), one.step.total_seconds()
    for release in (state.stable or "", state.release):
        query = Template(one.query).safe_substitute(release=release)
        yield query_range(url, query, start, now.timestamp(), step)
