"""CR-4 of the flights story: a retrain of `late` at 25 %, as its page shows it."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime, timedelta

from interlock.web.figures import Chart, Edge, Graph, Lane, Line, Node, Point, StageDot
from interlock.web.views import (
    Action,
    Budget,
    ChangePage,
    Difference,
    EvidenceRow,
    Guardrail,
    LayerRow,
    Move,
    SignOffRow,
    SliceRow,
    StepRow,
)

NOW = datetime(2013, 5, 17, 15, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


STABLE, CANDIDATE, PLAN = digest("stable"), digest("candidate"), digest("plan")


def wave(i: int, seed: float) -> float:
    """Noise without a random source: the same picture every time."""
    return math.sin(i * 1.7 + seed) * 0.4 + math.sin(i * 0.31 + seed * 3) + math.cos(i * 2.9 + seed)


def series(middle: float, size: float, seed: float, count: int = 72) -> tuple[Point, ...]:
    points = []
    for i in range(count):
        value = middle + size * wave(i, seed)
        band = size * (0.8 + 6 / (i + 2))
        at = NOW - (count - i) * HOUR
        points.append(Point(at, value, value - band, value + band))
    return tuple(points)


def unbanded(points: tuple[Point, ...]) -> tuple[Point, ...]:
    return tuple(Point(p.at, p.value) for p in points)


def chart(metric: str, title: str, stable: float, candidate: float, bound: float | None) -> Chart:
    size = abs(stable) * 0.03
    lines = (
        Line("late@2", "candidate", series(candidate, size, 0.4)),
        Line("late@1", "stable", unbanded(series(stable, size, 1.1))),
    )
    note = "Per hour of arrived labels; the band is the interval of the candidate."
    return Chart(metric, title, lines, "", bound, "promised" if bound else "", note)


CHARTS = (
    chart("log-loss", "Log-loss of late@2 beside late@1", 0.482, 0.461, None),
    chart("alarm rate", "Share of flights called late", 0.212, 0.264, None),
    chart("latency p99", "Latency p99 in milliseconds", 41.0, 43.5, 60.0),
)

JUDGED = (
    Guardrail(
        "errors",
        "safe",
        "Fewer than 1.5 times the errors of the stable release.",
        0.31,
        52.4,
        18412,
        6133,
        0.0004,
        0.0003,
        -0.0004,
        0.0003,
    ),
    Guardrail(
        "log-loss",
        "safe",
        "Not worse by more than 2 %; 4.4 % better so far.",
        0.002,
        1834.0,
        15880,
        5290,
        0.482,
        0.461,
        -0.033,
        -0.009,
    ),
    Guardrail(
        "rebooking cost",
        "needs data",
        "5 290 decisions; about 9 000 more would rule out 2 % harm.",
        0.61,
        4.8,
        15880,
        5290,
        0.413,
        0.398,
        -0.041,
        0.011,
    ),
    Guardrail(
        "crew cover",
        "needs data",
        "Judged per origin and day: 9 units so far.",
        0.9,
        1.2,
        27,
        9,
        0.1481,
        0.1463,
        -0.02,
        0.016,
    ),
    Guardrail("gates error", "needs data", "No arrived labels for this origin-hour yet."),
)

TABLES = (
    "raw.flights",
    "raw.weather",
    "raw.planes",
    "wh.flights",
    "wh.departures",
    "wh.arrivals",
    "wh.weather",
    "wh.planes",
    "wh.spine",
)
VIEWS = {
    "origin_weather@1": "wh.weather",
    "origin_dep_delay_2h@1": "wh.departures",
    "origin_dep_delay_24h@1": "wh.departures",
    "origin_overdue@2": "wh.departures",
    "origin_cancel_rate_6h@1": "wh.departures",
    "carrier_origin_delay_3h@1": "wh.departures",
    "carrier_late_rate_7d@1": "wh.arrivals",
    "route_late_rate_28d@1": "wh.arrivals",
    "flightno_late_rate_28d@1": "wh.arrivals",
    "dest_late_rate_24h@1": "wh.arrivals",
    "tail_last_delay@1": "wh.departures",
    "origin_load_1h@1": "wh.flights",
}
SERVICES = ("rebooking", "crew", "gates")
FEEDS = {
    "wh.flights": ("raw.flights",),
    "wh.departures": ("raw.flights", "wh.flights"),
    "wh.arrivals": ("raw.flights", "wh.flights"),
    "wh.weather": ("raw.weather",),
    "wh.planes": ("raw.planes",),
    "wh.spine": ("wh.flights", "wh.planes"),
}


def graph() -> Graph:
    """The retrained model and `origin_overdue@2` changed; the three services are reached."""
    changed = {"view:origin_overdue@2", "model:late"}
    nodes = [Node(f"table:{name}", name, "Tables") for name in TABLES]
    nodes += [node("view", name, "Views", changed) for name in VIEWS]
    nodes += [node("model", "late", "Models", changed)]
    nodes += [Node(f"service:{name}", name, "Services", "reached") for name in SERVICES]
    edges = [Edge(f"table:{s}", f"table:{t}") for t, sources in FEEDS.items() for s in sources]
    edges += [Edge(f"table:{table}", f"view:{view}") for view, table in VIEWS.items()]
    edges += [Edge("table:wh.flights", "view:origin_overdue@2")]
    edges += [Edge(f"view:{v}", "model:late", f"view:{v}" in changed) for v in [*VIEWS]]
    edges += [Edge("table:wh.spine", "model:late")]
    edges += [Edge("model:late", f"service:{name}", hot=True) for name in SERVICES]
    return Graph(tuple(nodes), tuple(edges))


def node(kind: str, name: str, lane: Lane, changed: set[str]) -> Node:
    ref = f"{kind}:{name}"
    return Node(ref, name, lane, "changed" if ref in changed else "untouched")


SLICES = (
    SliceRow("origin=EWR", "pass", 28712, -0.021, -0.027, -0.015),
    SliceRow("origin=JFK", "pass", 26854, -0.018, -0.025, -0.011),
    SliceRow("carrier=HA", "not judged", 252, 0.004, -0.08, 0.09),
)
EVIDENCE = (
    EvidenceRow(
        digest("replay"),
        "as-of replay",
        "view:origin_overdue@2",
        "pass",
        "161 training rows rebuilt from what was known then; none differs.",
        0,
        0,
        0.019,
        "of rows",
    ),
    EvidenceRow(
        digest("values"),
        "value comparison",
        "view:origin_overdue@2",
        "pass",
        "Same values as origin_overdue@1 on all 336 776 flights.",
        1.0,
        0.99998,
        1.0,
    ),
    EvidenceRow(
        digest("backtest"),
        "model comparison",
        "model:late",
        "pass",
        "Log-loss is lower than the incumbent's from 1 to 12 May.",
        -0.0208,
        -0.0264,
        -0.0152,
        "log-loss",
        SLICES,
    ),
    EvidenceRow(
        digest("kpi-gates"),
        "KPI replay",
        "service:gates",
        "pass",
        "Mean absolute error per origin-hour falls by 5 %.",
        -0.14,
        -0.22,
        -0.05,
        "flights",
    ),
    EvidenceRow(
        digest("snapshot"),
        "availability",
        "table:wh.planes",
        "inconclusive",
        "The table declares no available_at: it cannot be proven free of leaks.",
    ),
)


def retrain() -> ChangePage:
    return ChangePage(
        id="CR-4",
        title="Retrain late on January–April",
        state="STEP[25 %]",
        environment="prod",
        team="delay-models",
        author="ana",
        plan=PLAN,
        next="50 % when every guardrail is safe, at the earliest 18:00",
        weight=0.25,
        stable_label="late@1",
        candidate_label="late@2",
        reason="Calibration broke in the week of 22 April: predicted 0.28, observed 0.44.",
        expected="Log-loss at least 2 % lower, rebooking cost lower, crew cover unchanged.",
        actions=(
            Action("hold", "Hold"),
            Action("rollback", "Roll back"),
            Action("promote", "Promote to 50 %", "three guardrails still need data"),
        ),
        stages=(
            StageDot("Shadow", "done"),
            StageDot("1 %", "done"),
            StageDot("5 %", "done"),
            StageDot("25 %", "now"),
            StageDot("50 %", "ahead"),
            StageDot("100 %", "ahead"),
            StageDot("Soak", "ahead"),
        ),
        charts=CHARTS,
        judged=JUDGED,
        judged_at=NOW - timedelta(seconds=40),
        graph=graph(),
        differences=(
            Difference(
                "model:late",
                "retrained",
                "Same inputs, four months of labels instead of three.",
                (
                    "service:rebooking decides on model:late",
                    "service:crew decides on model:late",
                    "service:gates decides on model:late",
                ),
            ),
            Difference(
                "view:origin_overdue@2",
                "row set",
                "Version 1 read only flights that had left.",
                (
                    "model:late reads feature:origin_overdue@2:origin_overdue, which reads "
                    "column:wh.departures.dep_delay (filter)",
                ),
            ),
            Difference("table:wh.flights", "additive", "One column more: flown_tail."),
        ),
        evidence=EVIDENCE,
        budgets=(
            Budget("rebooking", 0.9995, 0.9215, 182_340, 7, NOW - timedelta(days=28), NOW - HOUR),
            Budget("crew", 0.995, at=NOW - HOUR),
        ),
        layers=(
            LayerRow("data", "passed", ("contract:wh.flights",), (), ("chidi",), ("chidi",)),
            LayerRow("feature", "nothing to prove"),
            LayerRow(
                "model",
                "open",
                ("model_comparison:late",),
                ("model_comparison: too few",),
                ("dora", "edo"),
                ("dora",),
            ),
            LayerRow("integration", "waits for model", ("kpi:gates",)),
            LayerRow("release", "waits for model", (), (), ("ben",), ("ben",)),
        ),
        signoffs=(
            SignOffRow("change_sponsor", "delay-models", "ben", "approved", NOW - 90 * HOUR),
            SignOffRow("data_steward", "warehouse", "chidi", "approved", NOW - 89 * HOUR),
            SignOffRow("model_validator", "risk", "dora", "approved", NOW - 88 * HOUR),
            SignOffRow("service_owner", "gates"),
        ),
        objections=("gates has not signed: its KPI is judged by this change",),
        steps=(
            StepRow(
                "Build table il.origin_overdue__6f1c02ab9e10 beside the old one",
                "done",
                NOW - 80 * HOUR,
            ),
            StepRow("Fill the online rows of view:origin_overdue@2", "done", NOW - 80 * HOUR),
            StepRow("Load model:late on three gateways", "done", NOW - 79 * HOUR),
            StepRow("Route 25 % of flights", "now", NOW - 8 * HOUR),
            StepRow("Route 50 %, then 100 %"),
            StepRow("Make the candidate stable"),
        ),
        timeline=(
            Move(
                NOW - 8 * HOUR,
                "STEP[5 %]",
                "STEP[25 %]",
                "controller",
                "every guardrail is safe at 5 %",
            ),
            Move(
                NOW - 30 * HOUR,
                "STEP[1 %]",
                "STEP[5 %]",
                "controller",
                "every guardrail is safe at 1 %",
            ),
            Move(
                NOW - 54 * HOUR,
                "SHADOW",
                "STEP[1 %]",
                "ben",
                "shadow: 5 620 paired answers, none worse",
            ),
            Move(NOW - 78 * HOUR, "PREPARING", "SHADOW", "controller"),
            Move(NOW - 88 * HOUR, "REVIEW", "APPROVED", "dora", "signed by three roles"),
        ),
        criteria=(
            "any guardrail shows harm at 5 % over the whole rollout",
            "p99 latency above 60 ms for ten minutes",
            "a service owner asks for it",
        ),
    )
