"""The desk of the pages over a record: reads are light, acts go to `app.decide`.

`decide` plans and parses SQL, so it is imported when somebody acts, never to show a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime

from interlock.app import alerts
from interlock.app.beside import company
from interlock.app.journeys import asked
from interlock.app.scheduled import planned
from interlock.app.versions import graph_of
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.define.definitions import Service
from interlock.define.environment import Owner
from interlock.define.release import Route, said_of
from interlock.errors import Corrupt, NotFound, Unavailable, Unusable
from interlock.ports import Json
from interlock.web import (
    desk_budgets,
    desk_charts,
    desk_evidence,
    desk_lookback,
    desk_service,
    desk_standing,
)
from interlock.web import desk_change as shown
from interlock.web.catalog_views import CatalogPage
from interlock.web.desk_calendar import calendar_page, feed
from interlock.web.desk_inbox import inbox_page
from interlock.web.desk_ledger import Ledger, Stored
from interlock.web.desk_moves import state_label
from interlock.web.figures import Chart, Graph
from interlock.web.inbox_views import InboxPage, Seen
from interlock.web.lookback_views import NotesPage, ScorecardPage
from interlock.web.prediction_views import PredictionPage, prediction_page
from interlock.web.service_views import ServicePage
from interlock.web.views import (
    Alert,
    ArmView,
    CalendarPage,
    ChangePage,
    ChangeRow,
    EvidencePage,
    Overview,
    RouteView,
    ServiceRow,
)
from interlock.web.words import short

_HEALTH = {"harm": "breached", "safe": "healthy", "error": "not measured"}
_FEW = 8


class RecordDesk:
    """Implements `views.Desk`. Safe to use from many threads."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.ledger = Ledger(workspace)

    # --- reads ------------------------------------------------------------------------

    def overview(self) -> Overview:
        stored, owners = self.ledger.changes(), desk_standing.owners_of(self.ledger)
        rows = [self._row(one, owners) for one in stored]
        still = {one.change.id for one in stored if one.change.open}
        project = self.ledger.project()
        return Overview(
            environment=f"{project.name} · {self.workspace.environment}",
            now=self.ledger.now(),
            route=_route_view(self.workspace.route()),
            open=tuple(row for row in rows if row.id in still),
            recent=tuple(rows),
            services=tuple(self._service(s, stored) for s in project.services.values()),
            budgets=desk_budgets.budgets(self.ledger),
            calibration=self._calibration(),
            alerts=tuple(sorted(self._alerts(stored), key=lambda a: a.at, reverse=True)[:_FEW]),
        )

    def _row(self, one: Stored, owners: Sequence[Owner]) -> ChangeRow:
        change, lacking = one.change, desk_standing.lacks(self.ledger, one.change)
        return ChangeRow(
            change.id, change.title, shown.team_of(change, owners),
            desk_standing.pill(change, lacking), one.written_at,
            desk_standing.waits_for(change, owners),
            desk_standing.next_step(change, lacking, owners, self.ledger.judgement(change.id))
            if change.open
            else "",
        )  # fmt: skip

    def change(self, id: str) -> ChangePage | None:
        one = self.ledger.change(id)
        if one is None:
            return None
        change, route = one.change, self.workspace.route()
        owners = desk_standing.owners_of(self.ledger)
        lacking = desk_standing.lacks(self.ledger, change)
        judgement = self.ledger.judgement(id)
        stable, candidate = _labels(change, route)
        return ChangePage(
            id=id,
            title=change.title,
            state=desk_standing.pill(change, lacking),
            environment=change.environment,
            team=shown.team_of(change, owners),
            author=change.author,
            plan=change.plan_digest,
            next=desk_standing.next_step(change, lacking, owners, judgement),
            hold=shown.hold_sentence(change),
            outcome=change.said if change.state in (*shown.BACK, "UNCHOSEN") else "",
            reason=change.reason,
            expected=change.expected,
            risks=change.risks,
            weight=shown.weight_of(change, route),
            beside=shown.beside(change, route),
            only="" if route.share_of(change.id) is None else said_of(route.filter),
            company=tuple((o.id, state_label(o.__dict__)) for o in company(self.workspace, change)),
            stable_label=stable,
            candidate_label=candidate,
            actions=shown.actions(change, judgement),
            stages=shown.dots(change),
            charts=desk_charts.charts(self.workspace.record.buckets(id)),
            judged=shown.judged(judgement),
            judged_at=datetime.fromisoformat(judgement["at"]) if judgement else None,
            graph=self._graph(change),
            differences=shown.differences(change),
            evidence=desk_evidence.evidence_rows(change, self.ledger.evidence_of(change)),
            signoffs=desk_standing.signoff_rows(change, owners),
            layers=desk_standing.layer_rows(self.ledger, change),
            objections=lacking.all,
            steps=shown.steps(change),
            timeline=self.ledger.timeline(id),
            criteria=shown.criteria(change),
            budgets=desk_budgets.at_risk(self.ledger, change),
            review=desk_lookback.review_part(self.workspace, self.ledger, change),
        )

    def _graph(self, change: Change) -> Graph | None:
        # Who comes to take a change back must find the page, whatever became of its drawing.
        try:
            drawn = graph_of(self.workspace, change)
        except (NotFound, Corrupt, Unavailable) as error:
            return Graph(lost=error.message)
        return shown.graph(drawn) if drawn else None

    def calendar(self) -> CalendarPage:
        return calendar_page(self.ledger)

    def feed(self) -> str:
        return feed(self.ledger)

    def evidence(self, digest: str) -> EvidencePage | None:
        found = self.ledger.evidence(digest)
        if found is None:
            return None
        changes = (one.change for one in self.ledger.changes())
        change = next((one for one in changes if digest in one.evidence), None)
        return desk_evidence.evidence_page(*found, change)

    def prediction(self, id: str) -> PredictionPage:
        return prediction_page(asked(self.workspace, id))

    def catalog(self) -> CatalogPage:
        route = self.workspace.route()
        release = self.ledger.release(route.stable) if route.stable else None
        if release is None or route.stable is None:
            return CatalogPage("nothing is released yet")
        made = self.ledger.change(release["change"])
        drawn = (graph_of(self.workspace, made.change) if made else None) or {}
        project = self.ledger.project_of(route.stable)
        rows = desk_evidence.catalog_rows(release, project, drawn)
        fresh = {f"table:{one.table}": one for one in planned(self.workspace, project)}
        told = (replace(r, note=fresh[r.ref].note(r.note)) if r.ref in fresh else r for r in rows)
        return CatalogPage(route.stable, tuple(told))

    def inbox(self, by: str) -> InboxPage:
        return inbox_page(self.workspace, by)

    def notes(self, about: str) -> NotesPage | None:
        return desk_lookback.notes_page(self.workspace, about)

    def scorecard(self, team: str) -> ScorecardPage:
        return desk_lookback.scorecard_page(self.workspace, self.ledger, team)

    def service(self, name: str) -> ServicePage | None:
        return desk_service.service_page(self.ledger, name)

    def version(self, id: str) -> str:
        entry, judged, review = (
            self.ledger.get(kind, id) for kind in ("change", "judgement", "review")
        )
        if entry is None:
            raise NotFound(f"there is no change {id}", "start from the list of changes")
        # The release that runs also decides who may sign, and what is frozen.
        more = ".".join(str(one.version if one else 0) for one in (judged, review))
        return f"{entry.version}.{more}.{self.workspace.route().epoch}"

    # --- acts -------------------------------------------------------------------------

    def acting(self, source: str) -> RecordDesk:
        other = copy(self)
        other.workspace = self.workspace.acting(source)
        return other

    def hold(self, id: str, by: str, reason: str) -> None:
        from interlock.app import decide

        decide.hold(self.workspace, id, by=by, reason=reason)

    def rollback(self, id: str, by: str, reason: str) -> None:
        from interlock.app import decide

        decide.rollback(self.workspace, id, by=by, reason=reason)

    def promote(self, id: str, by: str, reason: str) -> None:
        from interlock.app import decide

        if reason.strip():
            decide.promote(self.workspace, id, by=by, reason=reason)
            return
        one = self.ledger.change(id)
        if one is None or not shown.hold_sentence(one.change):
            # Without a reason nothing is waived, so nothing would happen.
            raise Unusable("a promotion needs a reason", "say what is waived, and why")
        decide.hold(self.workspace, id, by=by, reason=reason, resume=True)

    def withdraw(self, id: str, by: str, reason: str) -> None:
        from interlock.app import decide

        decide.withdraw(self.workspace, id, by=by, reason=reason)

    def approve(self, id: str, seen: Seen, by: str) -> None:
        from interlock.app import decide

        decide.sign(self.workspace, id, by=by, **seen.__dict__)

    def reject(self, id: str, seen: Seen, by: str, reason: str) -> None:
        from interlock.app import decide

        decide.sign(self.workspace, id, by=by, reject=reason, **seen.__dict__)

    # --- parts of the overview --------------------------------------------------------

    def _service(self, service: Service, stored: Sequence[Stored]) -> ServiceRow:
        """The number of its last comparison before release, and what the judge says since."""
        name, kpi = service.service, service.kpi
        label = kpi.name.replace("_", " ")
        value = self._measured(name)
        running = next((s.change.id for s in stored if s.change.under_way), None)
        ruling = self._ruling(running, f"kpi:{name}") if running else None
        if ruling is not None:
            health = _HEALTH.get(ruling["verdict"], "being judged")
            said = f"in {running}: {ruling['sentence'].partition(': ')[2]}"
        else:
            health = "not measured" if value is None else "as released"
            said = "" if value is None else "on the evaluation days of the release"
        return ServiceRow(name, service.owner, service.tier, label, value, health, sentence=said)

    def _measured(self, service: str) -> float | None:
        stable = self.workspace.route().stable
        release = self.ledger.release(stable) if stable else None
        made = self.ledger.change(release["change"]) if release else None
        pieces = self.ledger.evidence_of(made.change) if made else []
        found = [p.details.get("new") for p in pieces if p.check == f"kpi:{service}"]
        return found[-1] if found else None

    def _ruling(self, id: str, name: str) -> Json | None:
        judgement = self.ledger.judgement(id) or {}
        rulings: Sequence[Json] = judgement.get("per_guardrail", ())
        return next((ruling for ruling in rulings if ruling["name"] == name), None)

    def _calibration(self) -> Chart | None:
        for name, model in self.ledger.project().models.items():
            entry = self.ledger.get("note", f"calibration-{name}")
            limits = [t.over for t in model.triggers if t.metric == "ece"]
            if entry is not None:
                days = entry.body.get("days", ())
                return desk_charts.calibration(days, name, next(iter(limits), None))
        return None

    def _alerts(self, stored: Sequence[Stored]) -> Iterator[Alert]:
        for entry in self.workspace.record.list("trigger"):
            at = entry.body.get("fired_at")
            when = datetime.fromisoformat(at) if at else entry.written_at
            said = entry.body["sentence"]
            model = entry.body.get("model", "")
            title = f"Retraining of {model} is due" if model else "A trigger fired"
            yield Alert(when, "wait", title, said, change=entry.body.get("change"))
        wrong = alerts.standing(self.workspace.record, self.workspace.environment)
        for found in wrong.values():
            when = datetime.fromisoformat(found["since"])
            title, _, said = found["sentence"].partition("; ")
            yield Alert(when, "bad", title, said, owner=found["team"])
        for one in stored:
            change, held = one.change, shown.hold_sentence(one.change)
            if held:
                yield Alert(one.written_at, "wait", "A rollout is on hold", held, change=change.id)
            if change.state in shown.BACK:
                title = f"“{change.title}” went back"
                yield Alert(one.written_at, "bad", title, change.said, change=change.id)


def _route_view(route: Route) -> RouteView:
    arms = tuple(
        ArmView(one.release, one.change, route.share_of(one.change) or 0.0)
        for one in route.candidates if route.arms
    )  # fmt: skip
    # The subjects of an empty place are answered by stable.
    weight = sum(one.share for one in arms) if route.arms else route.weight
    return RouteView(
        route.stable or "nothing yet", route.epoch, route.candidate, weight, route.change,
        route.stage, route.mirror, said_of(route.filter), arms,
    )  # fmt: skip


def _labels(change: Change, route: Route) -> tuple[str, str]:
    """What stands at the two ends of the weight bar: what answers now, not what did then."""
    if change.state in shown.GOOD:
        return "Everything else", f"{short(change.release)} (this change)"
    before = f"Stable {short(route.stable)}" if route.stable else "No release yet"
    return before, f"Candidate {short(change.release) or 'not built'}"
