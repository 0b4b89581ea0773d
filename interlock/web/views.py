"""What the pages show: plain, flat values, and the one door (`Desk`) they come through.

Every field is text, a number, a bool, an aware UTC instant, None ("not measured",
never zero), or a tuple of such values. Nothing here knows the record or an engine,
so a page can be tested with values written by hand.

Addresses in these values are texts of Refs. `tone` is how a value is coloured:
good (green), wait (amber), bad (red), quiet (grey); colour never stands alone, the
word is always printed beside it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal, Protocol

Tone = Literal["good", "wait", "bad", "quiet"]
Act = Literal["hold", "rollback", "promote", "approve"]

_TONES: Mapping[str, Tone] = {
    **dict.fromkeys(("committed", "approved", "safe", "pass", "live", "healthy", "done"), "good"),
    **dict.fromkeys(("aborted", "aborting", "fail", "harm", "refused", "error", "void"), "bad"),
    **dict.fromkeys(("rolled", "reverting", "rejected", "blocked", "breached"), "bad"),
    **dict.fromkeys(("draft", "planned", "retired", "withdrawn", "waived"), "quiet"),
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
class Chart:
    """A metric over time. `metric` is its address in `?metric=`; `bound` a dashed limit."""

    metric: str
    title: str
    lines: tuple[Line, ...]
    unit: str = ""
    bound: float | None = None
    bound_label: str = ""
    note: str = ""


# --- the overview -------------------------------------------------------------------


@dataclass(frozen=True)
class RouteView:
    """Who gets which release now. `weight` is the candidate's share of subjects, 0 to 1."""

    stable: str
    epoch: int
    candidate: str | None = None
    weight: float = 0.0
    change: str | None = None
    stage: str | None = None
    mirror: bool = False


@dataclass(frozen=True)
class ChangeRow:
    """One change in a list. `waits_for` are the people who must sign; `next` the next step."""

    id: str
    title: str
    team: str
    state: str
    at: datetime
    waits_for: tuple[str, ...] = ()
    next: str = ""


@dataclass(frozen=True)
class ServiceRow:
    """A service that acts on predictions: its business number and whether it keeps its promise."""

    name: str
    owner: str
    tier: int
    kpi: str
    value: float | None
    health: str
    low: float | None = None
    high: float | None = None
    sentence: str = ""


@dataclass(frozen=True)
class Alert:
    """Something that fired: an alert, a trigger, an incident."""

    at: datetime
    tone: Tone
    title: str
    text: str = ""
    owner: str = ""
    change: str | None = None


@dataclass(frozen=True)
class Overview:
    """`open` changes are not finished yet; `recent` is every change, newest first."""

    environment: str
    now: datetime
    route: RouteView
    open: tuple[ChangeRow, ...] = ()
    recent: tuple[ChangeRow, ...] = ()
    services: tuple[ServiceRow, ...] = ()
    calibration: Chart | None = None
    alerts: tuple[Alert, ...] = ()


# --- one change ---------------------------------------------------------------------


@dataclass(frozen=True)
class Action:
    """A button. `refused` says why it is not offered now; empty means it may be tried."""

    act: Act
    label: str
    refused: str = ""


@dataclass(frozen=True)
class StageDot:
    """One stop of the stage track, in order."""

    label: str
    state: Literal["done", "now", "ahead", "failed"]


@dataclass(frozen=True)
class Guardrail:
    """What the judge says of one guardrail.

    `verdict` is harm, safe, needs data or error. `harm_e` and `safe_e` are e-values
    (evidence against "no worse" and against "worse by the margin"); `low` and `high` the
    interval of candidate minus stable. None means not measured.
    """

    name: str
    verdict: str
    sentence: str
    harm_e: float | None = None
    safe_e: float | None = None
    n_stable: float | None = None
    n_candidate: float | None = None
    mean_stable: float | None = None
    mean_candidate: float | None = None
    low: float | None = None
    high: float | None = None


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
    """What this change touches, drawn."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()


@dataclass(frozen=True)
class Difference:
    """One thing that differs, how (breaking, additive, ...), and each path that explains the reach."""

    ref: str
    kind: str
    sentence: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class SliceRow:
    """A check on one slice; a slice too small to judge says so in `verdict`."""

    slice: str
    verdict: str
    n: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class EvidenceRow:
    """One stored check: `digest` is its address under /evidence/."""

    digest: str
    check: str
    subject: str
    verdict: str
    sentence: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    slices: tuple[SliceRow, ...] = ()


@dataclass(frozen=True)
class SignOffRow:
    """One required signature; `person` None is still waiting, `decision` then empty."""

    role: str
    team: str
    person: str | None = None
    decision: str = ""
    at: datetime | None = None


@dataclass(frozen=True)
class StepRow:
    """One step of the plan, in order. `state` is done, now, ahead or failed."""

    text: str
    state: str = "ahead"
    at: datetime | None = None


@dataclass(frozen=True)
class Move:
    """One journaled transition."""

    at: datetime
    before: str
    after: str
    by: str
    why: str = ""


@dataclass(frozen=True)
class ChangePage:
    """Everything about one change, in the order of the page."""

    id: str
    title: str
    state: str
    environment: str
    team: str
    author: str
    plan: str
    next: str = ""
    hold: str = ""
    reason: str = ""
    expected: str = ""
    weight: float = 0.0
    stable_label: str = "stable"
    candidate_label: str = "candidate"
    actions: tuple[Action, ...] = ()
    stages: tuple[StageDot, ...] = ()
    charts: tuple[Chart, ...] = ()
    judged: tuple[Guardrail, ...] = ()
    judged_at: datetime | None = None
    graph: Graph = Graph()
    differences: tuple[Difference, ...] = ()
    evidence: tuple[EvidenceRow, ...] = ()
    signoffs: tuple[SignOffRow, ...] = ()
    objections: tuple[str, ...] = ()
    steps: tuple[StepRow, ...] = ()
    timeline: tuple[Move, ...] = ()
    criteria: tuple[str, ...] = ()


# --- calendar, evidence, catalog ----------------------------------------------------


@dataclass(frozen=True)
class Booking:
    """One lane of the calendar: a booked change, a window of the warehouse, or a freeze."""

    label: str
    kind: Literal["change", "window", "freeze"]
    start: datetime
    end: datetime
    tone: Tone = "good"
    change: str | None = None
    owner: str = ""
    after: tuple[str, ...] = ()
    criteria: tuple[str, ...] = ()


@dataclass(frozen=True)
class CalendarPage:
    """Bookings that touch [start, end); `conflicts` are sentences naming both sides."""

    now: datetime
    start: datetime
    end: datetime
    bookings: tuple[Booking, ...] = ()
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fact:
    """A name and its value, both text."""

    name: str
    value: str


@dataclass(frozen=True)
class EvidencePage:
    """One evidence record. `inputs` are what it stands on; `facts` everything else worth reading."""

    row: EvidenceRow
    change: str | None = None
    at: datetime | None = None
    by: str = ""
    expires: datetime | None = None
    inputs: tuple[Fact, ...] = ()
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class CatalogField:
    """A column of a table, a feature of a view, an input of a model."""

    name: str
    type: str = ""
    unit: str = ""
    description: str = ""


@dataclass(frozen=True)
class CatalogRow:
    """One component of the stable release; `version` is the digest the release pins."""

    ref: str
    lane: Lane
    version: str
    owner: str
    description: str = ""
    reads: tuple[str, ...] = ()
    fields: tuple[CatalogField, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class CatalogPage:
    """What runs now."""

    release: str
    rows: tuple[CatalogRow, ...] = field(default=())


class Desk(Protocol):
    """Everything the pages may ask and do. Methods may block; pages call them in threads.

    Reads return None for an unknown address. Acts raise an `InterlockError`, whose
    objections the page lists all at once; `by` is the person.
    """

    def overview(self) -> Overview: ...
    def change(self, id: str) -> ChangePage | None: ...
    def calendar(self) -> CalendarPage: ...
    def evidence(self, digest: str) -> EvidencePage | None: ...
    def catalog(self) -> CatalogPage: ...
    def version(self, id: str) -> str:
        """Moves whenever the page of `id` would look different; `NotFound` if there is none.

        Asked twice a second for each open page: keep it one cheap read.
        """
        ...

    def hold(self, id: str, by: str, reason: str) -> None: ...
    def rollback(self, id: str, by: str, reason: str) -> None: ...
    def promote(self, id: str, by: str, reason: str) -> None:
        """Go to the next stage if nothing objects; this also ends a manual hold."""
        ...

    def approve(self, id: str, role: str, team: str, by: str) -> None: ...


def iso(at: datetime) -> str:
    """`at` as a UTC instant with a Z."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def to_json(value: Any) -> Any:
    """A view as JSON values.

    JSON has no infinity: endless evidence becomes the largest float, because null would
    say "not measured". NaN is not measured.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    match value:
        case tuple() | list():
            return [to_json(item) for item in value]
        case datetime():
            return iso(value)
        case date():
            return value.isoformat()
        case float() if math.isnan(value):
            return None
        case float() if math.isinf(value):
            return math.copysign(sys.float_info.max, value)
    return value
