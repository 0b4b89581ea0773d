"""Bookings for tests: what they touch in a few words, and when, in hours from one Monday."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from interlock.change.conflicts import Booking, World
from interlock.change.footprint import Footprint, Measure, Need, Phases
from interlock.define.calendar import Calendar

MONDAY = datetime(2013, 3, 4, tzinfo=UTC)
HOUR = timedelta(hours=1)
SETS = ("writes", "breaking", "reads", "impact", "high", "evidence", "retires", "loads")


def at(hours: float) -> datetime:
    return MONDAY + hours * HOUR


def footprint(**said: Any) -> Footprint:
    """`writes="table:a table:b"`, `measures="split"`; the rest as it is."""
    held: dict[str, Any] = {n: frozenset(said.pop(n, "").split()) for n in SETS}
    held["measures"] = tuple(Measure(name) for name in said.pop("measures", "").split())
    held["needs"] = tuple(Need(name, "prepare") for name in said.pop("needs", "").split())
    return Footprint(**{**held, **said})


def phases(start: float, *lengths: float) -> Phases:
    """Hours of prepare, ramp, soak and rollback window; 1, 2, 1 and 4 unless told."""
    instants = [start]
    for length in lengths or (1, 2, 1, 4):
        instants.append(instants[-1] + length)
    return Phases(*map(at, instants))


def booking(change: str, start: float = 0, *lengths: float, **said: Any) -> Booking:
    own = {name: said.pop(name) for name in ("after", "emergency", "owner") if name in said}
    return Booking(change, footprint(**said), phases(start, *lengths), **own)


def world(now: float = -48, calendar: Calendar | None = None, **said: Any) -> World:
    return World(at(now), calendar or Calendar(), **said)
