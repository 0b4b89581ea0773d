"""A desk with the flights story, kept in memory; acts change the page of CR-4."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sample_change import (
    CANDIDATE,
    EVIDENCE,
    HOUR,
    NOW,
    SERVICES,
    STABLE,
    TABLES,
    VIEWS,
    digest,
    retrain,
)

from interlock.change.releasenotes import Agreed, ReleaseNote, Test
from interlock.change.scorecard import FIGURES, Figure
from interlock.errors import NotFound, Refused, Stale, Unusable
from interlock.web.catalog_views import CatalogField, CatalogPage, CatalogRow
from interlock.web.figures import Booking, Chart, Line, Mark, Point
from interlock.web.inbox_views import InboxPage, InboxRow, Option, Seen
from interlock.web.lookback_views import NotesPage, ScorecardPage, TeamRow
from interlock.web.prediction_views import PredictionPage, StageRow
from interlock.web.service_views import ServicePage
from interlock.web.views import (
    Alert,
    Budget,
    CalendarPage,
    ChangePage,
    ChangeRow,
    EvidencePage,
    Fact,
    Move,
    Overview,
    RouteView,
    ServiceRow,
)

OPTIONS = (
    Option("approve", "2 still open: waiting for science to sign; kpi:gates must pass"),
    Option("reject", "it goes back to its author with your reason"),
)
STATES = ("COMMITTED", "ABORTED", "RETIRED", "COMMITTED", "REVIEW")
TITLES = (
    "Repair weather wind unit",
    "Class weight 3x",
    "Drop temp and pressure",
    "Two-hour delays",
    "Seconds in dep_delay",
)

BUDGETS = (
    Budget("rebooking", 0.9995, 0.9215, 182_340, 7, NOW - timedelta(days=28), NOW - HOUR),
    Budget("gates", 0.99, 0.0, 91_170, 2_204, NOW - timedelta(days=28), NOW - HOUR),
    Budget("crew", 0.995, at=NOW - HOUR),
    Budget("lounge", 0.99),
)
ANSWER = "01a1ffc20e9219e2334d5ca146880001"


def recent(titles: tuple[str, ...] = TITLES) -> tuple[ChangeRow, ...]:
    rows = [
        ChangeRow(
            "CR-4",
            "Retrain late on January–April",
            "delay-models",
            "STEP[25 %]",
            NOW,
            ("gates as service owner",),
            "50 % when every guardrail is safe",
        )
    ]
    for i, title in enumerate(titles):
        team = "warehouse" if i % 2 else "delay-models"
        rows.append(ChangeRow(f"CR-{9 - i}", title, team, STATES[i % 5], NOW - i * 20 * HOUR))
    return tuple(rows)


def calibration() -> Chart:
    weekly = (0.021, 0.034, 0.158, 0.061, 0.032, 0.058, 0.041, 0.029)
    first = NOW - timedelta(weeks=len(weekly))
    points = tuple(
        Point(first + timedelta(weeks=i), v, v * 0.8, v * 1.2) for i, v in enumerate(weekly)
    )
    line = Line("late@1", "candidate", points)
    return Chart(
        "ece",
        "Calibration error by week",
        (line,),
        "",
        0.07,
        "retrain above",
        "Labels arrive within a day; weeks with under 1 000 labels are left out.",
    )


def overview() -> Overview:
    route = RouteView(STABLE, 41, CANDIDATE, 0.25, "CR-4", "25 %", mirror=True)
    services = (
        ServiceRow(
            "rebooking", "passenger-care", 1, "cost per 100 flights", 41.3, "healthy", 39.8, 42.9
        ),
        ServiceRow(
            "crew", "crew-control", 1, "severe disruptions covered", 0.1481, "healthy", 0.139, 0.157
        ),
        ServiceRow(
            "gates",
            "gates",
            2,
            "error per origin-hour",
            2.61,
            "breached",
            2.49,
            2.74,
            "8 % over its budget since Monday",
        ),
        ServiceRow("lounge", "passenger-care", 3, "guests per hour", None, "not measured"),
    )
    alerts = (
        Alert(
            NOW - 25 * HOUR,
            "bad",
            "Calibration of late is 0.158",
            "Over 0.07 on 6 312 labels; a retrain was proposed.",
            "delay-models",
            "CR-4",
        ),
        Alert(
            NOW - 4 * HOUR,
            "wait",
            "wh.weather is 5 h old",
            "warn after 4 h, error after 12 h",
            "warehouse",
        ),
    )
    rows = recent()
    return Overview(
        "flights · prod", NOW, route, (rows[0], rows[5]), rows, services, BUDGETS, calibration(),
        alerts,
    )  # fmt: skip


def calendar() -> CalendarPage:
    day = NOW.replace(hour=0, minute=0)

    def at(days: float) -> datetime:
        return day + timedelta(days=days)

    bookings = (
        Booking(
            "Retrain late on January–April",
            "change",
            at(-1),
            at(2.5),
            "good",
            "CR-4",
            "delay-models",
            (),
            ("log-loss 2 % lower",),
        ),
        Booking(
            "Seconds in dep_delay",
            "change",
            at(3),
            at(4),
            "bad",
            "CR-5",
            "warehouse",
            ("CR-4",),
            ("0 changed values",),
        ),
        Booking("Warehouse reload", "window", at(1), at(1.25), "wait", None, "warehouse"),
        Booking("Memorial Day freeze", "freeze", at(2.75), at(5), "wait", None, "operations"),
    )
    clash = "CR-5 falls inside the Memorial Day freeze; next free slot 22 May 00:00."
    return CalendarPage(NOW, at(-1), at(6), bookings, (clash,))


def catalog() -> CatalogPage:
    weather = (
        CatalogField("temp_f", "double", "degF", "air temperature"),
        CatalogField("wind_mph", "double", "mph", "wind speed"),
    )
    rows = [CatalogRow(f"table:{t}", "Tables", digest(t), "warehouse") for t in TABLES[3:]]
    rows += [
        CatalogRow(
            f"view:{v}",
            "Views",
            digest(v),
            "delay-models",
            "by origin",
            (f"table:{t}",),
            weather if "weather" in v else (),
        )
        for v, t in VIEWS.items()
    ]
    rows.append(
        CatalogRow(
            "model:late",
            "Models",
            digest("late"),
            "delay-models",
            "Probability that a flight arrives over 15 minutes late.",
            tuple(VIEWS),
        )
    )
    rows += [
        CatalogRow(f"service:{s}", "Services", digest(s), s, reads=("model:late",))
        for s in SERVICES
    ]
    return CatalogPage(STABLE, tuple(rows))


@dataclass
class SampleDesk:
    """Acts change the page in memory, so that a test can see them arrive."""

    page: ChangePage = field(default_factory=retrain)
    moved: int = 1
    front: Callable[[], Overview] = overview

    def acting(self, source: str) -> SampleDesk:
        return self

    def overview(self) -> Overview:
        return self.front()

    def change(self, id: str) -> ChangePage | None:
        return self.page if id == self.page.id else None

    def calendar(self) -> CalendarPage:
        return calendar()

    def feed(self) -> str:
        return "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"

    def evidence(self, digest: str) -> EvidencePage | None:
        row = next((e for e in EVIDENCE if e.digest == digest), None)
        inputs = (Fact("model:late", STABLE), Fact("table:wh.arrivals", CANDIDATE))
        facts = (Fact("Query", "6f1c02ab9e10"), Fact("Rows", "82 110"))
        return EvidencePage(row, "CR-4", NOW, "controller", None, inputs, facts) if row else None

    def prediction(self, id: str) -> PredictionPage:
        if id != ANSWER:
            raise NotFound(f"there is no prediction {id}")
        facts = (Fact("Subject", "8731"), Fact("Arm", "candidate"), Fact("Epoch", "7"))
        stages = (
            StageRow("inference", "model:late", "live", "0.2 ms", (Fact("version", "late@4"),)),
            StageRow("service", "service:crew", "answered", "not measured"),
        )
        return PredictionPage(
            id, "late", 0.314, "live", NOW, CANDIDATE, "CR-4", facts, stages,
            "rows are looked up where the warehouse is: interlock trace",
        )  # fmt: skip

    def catalog(self) -> CatalogPage:
        return catalog()

    def notes(self, about: str) -> NotesPage | None:
        test = Test("model_comparison:late", "inconclusive", "too few rows", "waived by dana")
        note = ReleaseNote(
            "CR-4", self.page.title, "wei", "STEP", CANDIDATE, None, self.page.reason,
            "fewer alarms", "a reader nobody knows of", "", "rebooking, crew and gates", "",
            ("model:late changed",), (test,), "any harm", "",
            (Agreed("priya", "change_sponsor", "product-ops", NOW),), "", (),
        )  # fmt: skip
        return NotesPage(about, (note,)) if about == "CR-4" else None

    def service(self, name: str) -> ServicePage | None:
        if name != "rebooking":
            return None
        marks = (Mark(NOW - 96 * HOUR, "CR-4 answers", "CR-4"),
                 Mark(NOW - 90 * HOUR, "CR-4 committed", "CR-4", "good"),
                 Mark(NOW - 40 * HOUR, "CR-5 went back", "CR-5", "bad"))  # fmt: skip
        points = tuple(Point(NOW - 24 * HOUR * i, 5.0 + i) for i in range(9, 0, -1))
        span = (NOW - 240 * HOUR, NOW)
        charts = tuple(
            Chart(name, title, (Line(name, "candidate", points),), marks=marks, span=span)
            for name, title in (("failed", "Answers that failed"), ("rows", "Rows per day"))
        )
        return ServicePage(
            name, "ops", 1, "99.9 % of answers without error, within 250 ms", NOW,
            budget="81 % of its error budget is left", marks=marks, answers=charts[:1],
            data=charts[1:], missing=("raw.weather has 0 rows for 2013-06-12, usually 72",),
            further=("raw.planes",),
        )  # fmt: skip

    def scorecard(self, team: str) -> ScorecardPage:
        figures = tuple(Figure(n, w, u, 0.25 if n[0] == "c" else None, 8) for n, w, u, _ in FIGURES)
        points = tuple(Point(NOW - 24 * HOUR * i, 5.0 + i) for i in range(9, 0, -1))
        line = (Line("latest", "candidate", points),)
        charts = (Chart("a", "Lead time in hours", line), Chart("b", "Taken back", line))
        teams = (TeamRow("delay-models", figures), TeamRow("product-ops", figures))
        known = ("delay-models", "product-ops")
        since = NOW - 2000 * HOUR
        return ScorecardPage(team, since, NOW, figures, teams, known, charts)

    def version(self, id: str) -> str:
        if id != self.page.id:
            raise NotFound(f"there is no change {id}", "see the list of changes")
        return f"{self.moved}"

    def hold(self, id: str, by: str, reason: str) -> None:
        self._move(id, "HOLD[MANUAL]", by, reason)

    def rollback(self, id: str, by: str, reason: str) -> None:
        self._move(id, "ABORTED", by, reason)

    def promote(self, id: str, by: str, reason: str) -> None:
        raise Refused(
            f"{id} cannot go to 50 %",
            "wait for the labels of today",
            ("rebooking cost needs about 9 000 more decisions", "gates has not signed"),
        )

    def inbox(self, by: str) -> InboxPage:
        """Of whoever may sign what is still open; `wei` opened it."""
        rows = tuple(
            InboxRow(
                self.page.id,
                self.page.title,
                "REVIEW",
                f"sign as {s.role} of {s.team}",
                "KPI of gates moves with it",
                self.page.plan,
                OPTIONS,
                Seen(s.role, s.team, self.page.plan),
            )
            for s in self.page.signoffs
            if s.person is None
        )
        own = Option("withdraw", "it is closed, and stays in the record")
        mine = InboxRow(
            self.page.id, self.page.title, "REVIEW", "you opened it", "nothing is missing",
            self.page.plan, (own,),
        )  # fmt: skip
        return InboxPage(by, () if by == "wei" else rows, (mine,) if by == "wei" else ())

    def withdraw(self, id: str, by: str, reason: str) -> None:
        self._move(id, "WITHDRAWN", by, reason)

    def reject(self, id: str, seen: Seen, by: str, reason: str) -> None:
        self.approve(id, seen, by)
        self._move(id, "REVIEW", by, reason)

    def approve(self, id: str, seen: Seen, by: str) -> None:
        role, team = seen.role, seen.team
        if seen.plan != self.page.plan:
            raise Stale(f"the plan of {id} changed since you looked; nothing was signed")
        if (role, team) not in {(s.role, s.team) for s in self.page.signoffs}:
            raise Unusable(f"{role} of {team} is not asked to sign {id}")
        signed = tuple(
            replace(s, person=by, decision="approved", at=NOW) if s.team == team else s
            for s in self.page.signoffs
        )
        self.page, self.moved = replace(self.page, signoffs=signed), self.moved + 1

    def _move(self, id: str, state: str, by: str, why: str) -> None:
        move = Move(NOW, self.page.state, state, by, why)
        self.page = replace(self.page, state=state, timeline=(move, *self.page.timeline))
        self.moved += 1
