"""RFC 5545 rules in local wall time: which occurrences fall between two instants.

"Every day at 06:00" stays at 06:00 when the clocks change. A rule that never occurs costs
no more than one that does: nothing is looked at beyond what was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rruleset, rrulestr

_UNTIL = re.compile(r"UNTIL=(\d{8}T\d{6})Z", re.IGNORECASE)
_OFTEN = re.compile(r"FREQ=(SECONDLY|MINUTELY)", re.IGNORECASE)
# dateutil looks for the occurrence after this one for ever.
_NEVER_ENDS = re.compile(r"INTERVAL=0*(?![0-9])", re.IGNORECASE)
_STEP = re.compile(r"FREQ=(HOURLY|DAILY|WEEKLY)", re.IGNORECASE)
_EVERY = re.compile(r"INTERVAL=(\d+)", re.IGNORECASE)
_LENGTH = {
    "HOURLY": timedelta(hours=1),
    "DAILY": timedelta(days=1),
    "WEEKLY": timedelta(weeks=1),
}


def beginnings(
    rule: str, start: datetime, low: datetime, high: datetime, zone: ZoneInfo
) -> Sequence[datetime]:
    """Occurrences of `rule` in [low, high]; `start`, `low`, `high` and they are local, naive.

    Raises `ValueError` on a rule that cannot be read, or that repeats too often.
    """
    text = rule.removeprefix("RRULE:")
    if "FREQ=" not in text.upper():
        raise ValueError(f"{text!r} is not a rule; write FREQ=WEEKLY;BYDAY=FR")
    if _OFTEN.search(text) or _NEVER_ENDS.search(text):
        raise ValueError(f"{text} repeats too often")
    # dateutil wants UNTIL in the same manner as the start: here local, without offset.
    text = _UNTIL.sub(lambda found: f"UNTIL={_local(found[1], zone)}", text)
    begins = _nearer(text, start, low)
    found = rrulestr(text, dtstart=begins)
    return _within(found, low, high, _steps(text, begins, high))


def _within(rule: rrule | rruleset, low: datetime, high: datetime, most: int) -> Sequence[datetime]:
    """Occurrences in [low, high]; stops where dateutil would look on to the year 9999."""
    if isinstance(rule, rrule):
        months = getattr(rule, "_bymonth", None) or range(1, 13)
        rule._bymonth = _Months(months, most)  # type: ignore[attr-defined]  # asked of each day
    found: list[datetime] = []
    try:
        for at in rule.xafter(low, inc=True):
            if at > high:
                break
            found.append(at)
    except _Enough:
        pass
    return found


def _steps(text: str, start: datetime, high: datetime) -> int:
    """How many days, or hours, a rule may look at before it is past `high`."""
    days = 366 * (max(high.year - start.year, 0) + 2)
    return days * 24 if "HOURLY" in text.upper() else days


class _Enough(Exception):
    """As many days were looked at as there are."""


class _Months(tuple[int, ...]):
    """The months of a rule, which count how often they are asked."""

    left: int

    def __new__(cls, months: Iterable[int], most: int) -> Self:
        made = super().__new__(cls, tuple(months))
        made.left = most
        return made

    def __contains__(self, month: object) -> bool:
        self.left -= 1
        if self.left < 0:
            raise _Enough
        return super().__contains__(month)


def _nearer(text: str, start: datetime, low: datetime) -> datetime:
    """A later start with the same occurrences from `low` on: years of days are not walked."""
    step = _STEP.search(text)
    if step is None or low <= start or "COUNT=" in text.upper():
        return start
    every = _EVERY.search(text)
    length = _LENGTH[step[1].upper()] * int(every[1] if every else 1)
    return start + (low - start) // length * length if length else start


def _local(text: str, zone: ZoneInfo) -> str:
    until = datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return until.astimezone(zone).strftime("%Y%m%dT%H%M%S")
