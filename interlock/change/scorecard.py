"""How well changes go: lead time, failures, time to restore, false rollbacks, waiting.

Computed from what the record holds and nothing else. Every figure says of how many changes it is;
of none it is no number, and never zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from interlock.change.review import Finding

_BACK = ("ABORTING", "REVERTING")
_FORWARD = ("SHADOW", "STEP", "SOAKING", "COMMITTED")
_SERVING = ("STEP", "SOAKING", "COMMITTED")
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Life:
    """What a figure needs of one change: when each state was entered, in order.

    `team` is the author's (empty: none); `finding` is what its closed review found.
    """

    change: str
    team: str
    opened_at: datetime
    entered: tuple[tuple[str, datetime], ...]
    finding: Finding = ""

    def first(self, *states: str) -> datetime | None:
        """When the first of `states` was entered."""
        return next((at for state, at in self.entered if state in states), None)

    @property
    def back_at(self) -> datetime | None:
        return self.first(*_BACK)

    @property
    def served_at(self) -> datetime | None:
        """When it first answered real requests."""
        return self.first(*_SERVING)

    @property
    def harmed_s(self) -> float | None:
        """Seconds from the last move forward to the way back: the longest that harm can have
        lasted in the stage where it was seen. None when nobody was ever served by it.
        """
        back = self.back_at
        if back is None or self.served_at is None:
            return None
        last = max(at for state, at in self.entered if state in _FORWARD and at <= back)
        return (back - last).total_seconds()


@dataclass(frozen=True)
class Figure:
    """One number over `n` changes; `value` None: no data. Shares are 0 to 1, times hours."""

    name: str
    words: str
    unit: str
    value: float | None
    n: int

    @property
    def text(self) -> str:
        """The value as people read it."""
        if self.value is None:
            return "no data"
        if self.unit == "share":
            return f"{self.value * 100:.3g} %"
        return f"{self.value:.3g} h" if self.value < 72 else f"{self.value / 24:.3g} d"

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Period:
    """[since, until), aware instants."""

    since: datetime
    until: datetime

    def holds(self, at: datetime | None) -> bool:
        return at is not None and self.since <= at < self.until

    def parts(self) -> tuple[Period, ...]:
        """At most thirteen equal parts, of a whole number of days."""
        days = max(1, -(-(self.until - self.since).days // 13))
        starts = []
        at = self.since
        while at < self.until:
            starts.append(at)
            at += timedelta(days=days)
        ends = [*starts[1:], self.until]
        return tuple(Period(a, b) for a, b in zip(starts, ends, strict=True))


Measure = Callable[[Sequence[Life], Period], tuple[float | None, int]]


def figures(lives: Sequence[Life], period: Period) -> tuple[Figure, ...]:
    """All figures of the changes given, each over what falls into `period`."""
    return tuple(
        Figure(name, words, unit, *measure(lives, period)) for name, words, unit, measure in FIGURES
    )


def lead_time(lives: Sequence[Life], period: Period) -> tuple[float | None, int]:
    """Median hours from opening a change to everybody having it; of those done in the period."""
    done = ((one, one.first("COMMITTED")) for one in lives)
    return _median((at - one.opened_at) / HOUR for one, at in done if at and period.holds(at))


def failure_rate(lives: Sequence[Life], period: Period) -> tuple[float | None, int]:
    """Of the changes that began to answer real requests in the period: those taken back."""
    served = [one for one in lives if period.holds(one.served_at)]
    return _share([one.back_at is not None for one in served])


def caught_early(lives: Sequence[Life], period: Period) -> tuple[float | None, int]:
    """Of the changes taken back in the period: those that nobody was served by."""
    back = [one for one in lives if period.holds(one.back_at)]
    return _share([one.served_at is None for one in back])


def time_to_restore(lives: Sequence[Life], period: Period) -> tuple[float | None, int]:
    """Median hours of `Life.harmed_s`, of those taken back in the period."""
    found = (one.harmed_s for one in lives if period.holds(one.back_at))
    return _median(seconds / 3600 for seconds in found if seconds is not None)


def false_rollbacks(lives: Sequence[Life], period: Period) -> tuple[float | None, int]:
    """Of the changes taken back in the period whose review says what they were: the fine ones."""
    back = [one for one in lives if period.holds(one.back_at)]
    return _share([one.finding == "fine" for one in back if one.finding in ("fine", "harmful")])


def signoff_wait(lives: Sequence[Life], period: Period) -> tuple[float | None, int]:
    """Median hours from asking people to agree to all having agreed, of those agreed in it."""
    pairs = ((one.first("REVIEW"), one.first("APPROVED")) for one in lives)
    return _median((b - a) / HOUR for a, b in pairs if a and b and period.holds(b))


FIGURES: tuple[tuple[str, str, str, Measure], ...] = (
    ("lead_time", "from opening a change to everybody having it", "hours", lead_time),
    ("change_failure_rate", "taken back after it answered requests", "share", failure_rate),
    ("caught_early", "of those taken back, before it answered anybody", "share", caught_early),
    ("time_to_restore", "from the last step forward to the way back", "hours", time_to_restore),
    ("false_rollbacks", "of those reviewed, taken back though it was fine", "share",
     false_rollbacks),
    ("signoff_wait", "from asking to everybody having agreed", "hours", signoff_wait),
)  # fmt: skip


def _median(values: Iterator[float]) -> tuple[float | None, int]:
    found = list(values)
    return (median(found) if found else None), len(found)


def _share(hits: Sequence[bool]) -> tuple[float | None, int]:
    return (sum(hits) / len(hits) if hits else None), len(hits)
