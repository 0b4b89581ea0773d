"""What the pages show: plain, flat values, and the one door (`Desk`) they come through.

Every field is text, a number, a bool, an aware UTC instant, None ("not measured",
never zero), or a tuple of such values. Nothing here knows the record or an engine,
so a page can be tested with values written by hand.

Addresses in these values are texts of Refs. What is drawn stands in `figures`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol

from interlock.web.catalog_views import CatalogPage
from interlock.web.figures import Booking, Chart, Graph, StageDot, Tone
from interlock.web.inbox_views import InboxPage, Seen
from interlock.web.lookback_views import NotesPage, ReviewPart, ScorecardPage
from interlock.web.service_views import ServicePage

if TYPE_CHECKING:
    from interlock.web.prediction_views import PredictionPage

Act = Literal["hold", "rollback", "promote", "approve", "reject", "withdraw"]

# --- the overview -------------------------------------------------------------------


@dataclass(frozen=True)
class ArmView:
    """One of several candidates, the change that brings it, and its share of subjects, 0 to 1."""

    release: str
    change: str
    share: float


@dataclass(frozen=True)
class RouteView:
    """Who gets which release now. `weight` is the share of subjects that candidates answer, 0 to
    1, of those whom `only` names; everybody when it is empty. `arms` are those of an experiment,
    in place of a lone candidate."""

    stable: str
    epoch: int
    candidate: str | None = None
    weight: float = 0.0
    change: str | None = None
    stage: str | None = None
    mirror: bool = False
    only: str = ""
    arms: tuple[ArmView, ...] = ()


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
class Budget:
    """What a service promises (the share of good answers), and `left` of its error budget.

    Both 0 to 1. `bad` of `answers` between `since` and `at` failed or were late; None where
    nobody measured or nobody asked.
    """

    service: str
    promised: float
    left: float | None = None
    answers: int | None = None
    bad: int | None = None
    since: datetime | None = None
    at: datetime | None = None


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
    budgets: tuple[Budget, ...] = ()
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


@dataclass(frozen=True)
class Difference:
    """A thing that differs, how (breaking, additive, ...), and each path of its reach."""

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
class LayerRow:
    """One layer of proof: its `state` in words, what it lacks, who answers for it, who signed."""

    layer: str
    state: str
    checks: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    accountable: tuple[str, ...] = ()
    signed: tuple[str, ...] = ()


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
    outcome: str = ""
    reason: str = ""
    expected: str = ""
    risks: str = ""
    weight: float = 0.0
    beside: float = 0.0
    only: str = ""
    stable_label: str = "stable"
    candidate_label: str = "candidate"
    actions: tuple[Action, ...] = ()
    stages: tuple[StageDot, ...] = ()
    charts: tuple[Chart, ...] = ()
    judged: tuple[Guardrail, ...] = ()
    judged_at: datetime | None = None
    graph: Graph | None = None
    differences: tuple[Difference, ...] = ()
    evidence: tuple[EvidenceRow, ...] = ()
    signoffs: tuple[SignOffRow, ...] = ()
    layers: tuple[LayerRow, ...] = ()
    objections: tuple[str, ...] = ()
    steps: tuple[StepRow, ...] = ()
    timeline: tuple[Move, ...] = ()
    criteria: tuple[str, ...] = ()
    budgets: tuple[Budget, ...] = ()
    review: ReviewPart | None = None
    company: tuple[tuple[str, str], ...] = ()


# --- calendar, evidence -------------------------------------------------------------


@dataclass(frozen=True)
class CalendarPage:
    """Bookings that touch [start, end); `conflicts` are sentences naming both sides."""

    now: datetime
    start: datetime
    end: datetime
    bookings: tuple[Booking, ...] = ()
    conflicts: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[tuple[Booking, int], ...]:
        """One row per lane: its first bar that is not over, and how many more follow."""
        lanes: dict[tuple[str, ...], list[Booking]] = {}
        for one in self.bookings:
            lanes.setdefault(one.lane, []).append(one)
        found = []
        for bars in lanes.values():
            left = [one for one in bars if one.end > self.now] or bars[-1:]
            found.append((left[0], len(left) - 1))
        return tuple(found)


@dataclass(frozen=True)
class Fact:
    """A name and its value, both text."""

    name: str
    value: str


@dataclass(frozen=True)
class EvidencePage:
    """One evidence record; `inputs` are what it stands on, `facts` what else is worth reading."""

    row: EvidenceRow
    change: str | None = None
    at: datetime | None = None
    by: str = ""
    expires: datetime | None = None
    inputs: tuple[Fact, ...] = ()
    facts: tuple[Fact, ...] = ()


class Desk(Protocol):
    """Everything the pages may ask and do. Methods may block; pages call them in threads.

    Reads return None for an unknown address. Acts raise an `InterlockError`, whose
    objections the page lists all at once; `by` is the person.
    """

    def overview(self) -> Overview: ...
    def change(self, id: str) -> ChangePage | None: ...
    def calendar(self) -> CalendarPage: ...
    def feed(self) -> str:
        """The calendar as iCalendar text (RFC 5545)."""
        ...

    def evidence(self, digest: str) -> EvidencePage | None: ...
    def prediction(self, id: str) -> PredictionPage: ...
    def catalog(self) -> CatalogPage: ...
    def inbox(self, by: str) -> InboxPage: ...
    def notes(self, about: str) -> NotesPage | None: ...
    def scorecard(self, team: str) -> ScorecardPage: ...
    def service(self, name: str) -> ServicePage | None: ...
    def version(self, id: str) -> str:
        """Moves whenever the page of `id` would look different; `NotFound` if there is none.

        Asked twice a second for each open page: keep it one cheap read.
        """
        ...

    def acting(self, source: str) -> Desk:
        """The same desk for acts that come from `source`, as `token:<id>`."""
        ...

    def hold(self, id: str, by: str, reason: str) -> None: ...
    def rollback(self, id: str, by: str, reason: str) -> None: ...
    def promote(self, id: str, by: str, reason: str) -> None:
        """Go to the next stage if nothing objects; this also ends a manual hold."""
        ...

    def withdraw(self, id: str, by: str, reason: str) -> None: ...
    def approve(self, id: str, seen: Seen, by: str) -> None:
        """Sign the plan that was seen; raises `Stale` when it is another one by now."""
        ...

    def reject(self, id: str, seen: Seen, by: str, reason: str) -> None: ...
