"""The page of one service, from what was counted last and from the changes of the time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from interlock.app import health, reliability
from interlock.define.definitions import Service
from interlock.ports import Json
from interlock.rollout.state import RolloutState, State
from interlock.watch.reliability import PERIOD
from interlock.web import desk_charts
from interlock.web.desk_ledger import Ledger
from interlock.web.figures import Chart, Line, Mark, Point, Tone
from interlock.web.service_views import ServicePage

Span = tuple[datetime, datetime]
_TABLES = 4
_DAY = timedelta(days=1)
_SAID: Mapping[str, tuple[str, Tone]] = {
    State.STEP.value: ("answers", "quiet"),
    State.COMMITTED.value: ("committed", "good"),
    State.ABORTED.value: ("went back", "bad"),
}
_TROUBLE = {"errors": "failed", "slow": "too late", "fallbacks": "with a fallback"}


def service_page(ledger: Ledger, name: str) -> ServicePage | None:
    """The last four weeks of the service; None when nothing that runs declares it."""
    service = ledger.project().services.get(name)
    if service is None:
        return None
    workspace = ledger.workspace
    body = health.kept(workspace.record, workspace.environment)
    latency = f"{service.slo.latency / timedelta(milliseconds=1):g} ms"
    promise = f"{service.slo.availability * 100:.6g} % of answers without error, within {latency}"
    counted = datetime.fromisoformat(body["at"]) if body else None
    page = ServicePage(name, service.owner, service.tier, promise, counted)
    if counted is None:
        return page
    span = (counted - PERIOD, counted)
    marks = tuple(_marks(ledger, span))
    tables = {n: one for n, one in body["tables"].items() if name in one["services"]}
    # Those that lack something first: they are why one looks.
    order = sorted(tables, key=lambda n: (not tables[n]["missing"], n))
    charts = (
        _answers(body["services"].get(name, ())),
        tuple(_models(ledger, service)),
        tuple(_rows(n, tables[n]["days"], span) for n in order[:_TABLES]),
    )
    answers, models, data = (
        tuple(replace(one, marks=marks, span=span) for one in many) for many in charts
    )
    return replace(
        page, budget=_budget(ledger, name), marks=marks, answers=answers, models=models, data=data,
        missing=tuple(gap["said"] for n in order for gap in tables[n]["missing"]),
        further=tuple(order[_TABLES:]),
    )  # fmt: skip


def _budget(ledger: Ledger, name: str) -> str:
    found = reliability.kept(ledger.workspace.record, ledger.workspace.environment)
    services = found.services if found else ()
    said = next((one.sentence for one in services if one.service == name), "")
    return said.partition("; ")[2].capitalize()  # the promise itself stands above it


def _marks(ledger: Ledger, span: Span) -> Iterator[Mark]:
    """When a change began to answer people, was committed, or went back."""
    for one in reversed(ledger.changes()):
        rollout = one.change.details.get("rollout")
        if rollout is None:
            continue
        seen = ""
        for move in RolloutState.from_json(rollout).history:
            at = datetime.fromisoformat(move.at)
            said, tone = _SAID.get(move.state, ("", "quiet"))
            if said and move.state != seen and span[0] <= at <= span[1]:
                yield Mark(at, f"{one.change.id} {said}", one.change.id, tone)
            seen = move.state


def _answers(days: Sequence[Json]) -> tuple[Chart, ...]:
    """How many were answered, and the share of each trouble."""
    if not days:
        return ()
    counts = Line("answers", "candidate", tuple(_point(day, day["n"]) for day in days))
    shares = tuple(
        Line(said, "candidate" if name == "errors" else "stable",
             tuple(_point(day, 100 * day[name] / day["n"]) for day in days))
        for name, said in _TROUBLE.items()
    )  # fmt: skip
    return (
        Chart("troubles", "Answers that failed, came late, or had a fallback, in percent",
              shares, unit="%", note="Of all answers of the models that it acts on, per day."),
        Chart("answers", "Answers per day", (counts,)),
    )  # fmt: skip


def _models(ledger: Ledger, service: Service) -> Iterator[Chart]:
    models = ledger.project().models
    for name in service.models:
        entry = ledger.get("note", f"calibration-{name}")
        limits = [t.over for t in models[name].triggers if t.metric == "ece"]
        days = entry.body.get("days", ()) if entry else ()
        made = desk_charts.calibration(days, name, next(iter(limits), None))
        if made is not None:
            yield made


def _rows(table: str, days: Sequence[Json], span: Span) -> Chart:
    """Rows per day; a day without any is nought and no gap in the line."""
    found = {day["day"]: day["n"] for day in days}
    first = span[0].date() + _DAY  # the first day of the period may be half a day
    whole = [first + _DAY * n for n in range(max((span[1].date() - first).days, 0))]
    points = tuple(_point({"day": str(day)}, found.get(str(day), 0)) for day in whole)
    line = Line("rows", "candidate", points)
    return Chart(f"rows:{table}", f"Rows of {table} per day", (line,))


def _point(day: Mapping[str, Any], value: float) -> Point:
    # A day is drawn at its noon: its rows came all through it.
    return Point(datetime.fromisoformat(day["day"]).replace(hour=12, tzinfo=UTC), float(value))
