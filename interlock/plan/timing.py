"""Schedules held against each other: nobody learns from rows that come later the same day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from interlock.define.project import Project
from interlock.define.schedules import Schedule, latest, occurrences, refreshes
from interlock.impact.nodes import owner_node

if TYPE_CHECKING:
    from interlock.impact.facts import Facts

# Far enough for monthly rules, and over every change of clocks but one.
_AHEAD = timedelta(days=183)
_DAY = timedelta(days=1)


def untimely(project: Project, facts: Facts, environment: str, now: datetime) -> Iterator[str]:
    """Retraining that is scheduled before a table behind the model is refreshed that day."""
    tables = refreshes(project, environment)
    for model in project.models.values():
        times = [trigger.at for trigger in model.triggers if trigger.at is not None]
        below = tables_below([str(model.ref)], facts) if times else frozenset()
        for schedule in times:
            for name in sorted(tables):
                if f"table:{name}" in below:
                    yield from _before(str(model.ref), schedule, name, tables[name], now)


def _before(model: str, training: Schedule, table: str, refresh: Schedule, now: datetime) \
        -> Iterator[str]:  # fmt: skip
    """The first day, if any, on which the table is refreshed, and only after the training."""
    zone = ZoneInfo(training.timezone)
    for at in occurrences(training, now, now + _AHEAD):
        day = at.astimezone(zone).date()
        first, last = (datetime.combine(d, time(), zone) for d in (day, day + _DAY))
        runs = occurrences(refresh, first.astimezone(UTC), last.astimezone(UTC))
        if runs and runs[0] >= at and _old(refresh, at):
            yield (
                f"{model} is trained {training}, before table:{table} is refreshed {refresh}: on "
                f"{day:%d %b %Y} at {at:%H:%M}, with its rows at {runs[0]:%H:%M} UTC; "
                "train after the refresh"
            )
            return


def _old(refresh: Schedule, at: datetime) -> bool:
    """Rows that are refreshed all day long are never old."""
    before = latest(refresh, at - timedelta(microseconds=1))
    return before is None or at - before > _DAY / 2


def tables_below(touched: Iterable[str], facts: Facts) -> frozenset[str]:
    """Tables that anything touched is fed from: late rows there are late rows here."""
    found: set[str] = set()
    open_ = [owner_node(name) for name in touched]
    while open_:
        name = open_.pop()
        if name not in found:
            found.add(name)
            open_ += facts.nodes.below(name)
    return frozenset(name for name in found if name.startswith("table:"))
