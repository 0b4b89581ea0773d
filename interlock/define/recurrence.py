"""RFC 5545 rules in local wall time: which occurrences fall between two instants.

"Every day at 06:00" stays at 06:00 when the clocks change. A rule that never occurs costs
no more than one that does: nothing is looked at beyond what was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

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
    found = rrulestr(text, dtstart=_nearer(text, start, low))
    return found.between(low, high, inc=True)


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
