"""What can be drawn: charts, the stage track, the impact graph, bookings, as plain values.

`tone` is how a value is coloured: good (green), wait (amber), bad (red), quiet (grey);
colour never stands alone, the word is always printed beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Tone = Literal["good", "wait", "bad", "quiet"]

_TONES: Mapping[str, Tone] = {
    **dict.fromkeys(("committed", "approved", "safe", "pass", "passed", "live"), "good"),
    **dict.fromkeys(("healthy", "done"), "good"),
    **dict.fromkeys(("aborted", "aborting", "fail", "harm", "refused", "error", "void"), "bad"),
    **dict.fromkeys(
        ("rolled", "rolling", "reverting", "taking", "rejected", "blocked", "breached"), "bad"
    ),
    **dict.fromkeys(("draft", "planned", "retired", "withdrawn", "waived"), "quiet"),
    **dict.fromkeys(("additive", "added", "settings", "none", "as"), "quiet"),
    "breaking": "bad",
}


def tone_of(word: str) -> Tone:
    """The tone of a state, verdict or health by its first word; anything unknown waits."""
    first = word.replace("[", " ").replace(":", " ").lower().split()
    return _TONES.get(first[0], "wait") if first else "quiet"


@dataclass(frozen=True)
class Point:
    """One time bucket of a line. `low` and `high` are the band; `value` None breaks the line."""

    at: datetime
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """One series. `role` decides its colour: candidate is strong, stable is thin and grey."""

    label: str
    role: Literal["candidate", "stable"]
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Mark:
    """Something that happened at an instant of the time axis, as `CR-6 committed`."""

    at: datetime
    label: str
    change: str
    tone: Tone = "quiet"


@dataclass(frozen=True)
class Chart:
    """A metric over time. `metric` is its address in `?metric=`; `bound` a dashed limit.

    `marks` stand on the time axis, which is `span` where several charts share one.
    """

    metric: str
    title: str
    lines: tuple[Line, ...]
    unit: str = ""
    bound: float | None = None
    bound_label: str = ""
    note: str = ""
    marks: tuple[Mark, ...] = ()
    span: tuple[datetime, datetime] | None = None


@dataclass(frozen=True)
class StageDot:
    """One stop of the stage track, in order."""

    label: str
    state: Literal["done", "now", "ahead", "failed"]


Lane = Literal["Tables", "Views", "Models", "Services"]


@dataclass(frozen=True)
class Node:
    """One thing of the impact graph; edges may also join two nodes of one lane."""

    ref: str
    label: str
    lane: Lane
    mark: Literal["changed", "reached", "untouched"] = "untouched"


@dataclass(frozen=True)
class Edge:
    """`target` reads `source`. `hot`: the change travels along it."""

    source: str
    target: str
    hot: bool = False


@dataclass(frozen=True)
class Graph:
    """What this change touches, drawn. `lost`: why what was drawn cannot be shown."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    lost: str = ""


@dataclass(frozen=True)
class Part:
    """One phase of a booked change."""

    name: str
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Booking:
    """One bar of the calendar: a booked change, a freeze, an allow window, a run by schedule.

    Bars of one kind and label share a lane.
    """

    label: str
    kind: Literal["change", "window", "freeze", "allow", "absence", "refresh", "retrain"]
    start: datetime
    end: datetime
    tone: Tone = "good"
    change: str | None = None
    owner: str = ""
    after: tuple[str, ...] = ()
    criteria: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()

    @property
    def lane(self) -> tuple[str, ...]:
        return (self.kind, self.change or "", self.label)
