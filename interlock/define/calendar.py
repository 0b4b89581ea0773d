"""The calendar as it is declared: when nothing may move, and the notice a change gives."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from interlock.define.base import Definition, Name
from interlock.define.durations import Duration


class Freeze(Definition):
    """No forward move while it lasts: an RFC 5545 rule, or one interval, in `timezone`.

    `start` and `end` are local times (ISO, without offset) of the first occurrence.
    """

    name: Name
    start: str
    end: str
    timezone: str
    rrule: str | None = None
    scope: tuple[str, ...] = ("*",)
    reason: str = ""


class Calendar(Definition):
    """Deny windows and the notice a change must give."""

    file: str = Field(default="", exclude=True)
    freezes: tuple[Freeze, ...] = ()
    notice: Duration = timedelta(0)
