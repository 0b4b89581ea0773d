"""Reviews, release notes and scorecards as pages show them."""

from __future__ import annotations

from interlock.app.lookback import Scorecard, notes, period_of, scorecard_of
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.change.review import Review, compared
from interlock.define.refs import Ref
from interlock.errors import NotFound, Unusable
from interlock.web.desk_ledger import Ledger
from interlock.web.figures import Chart, Line, Point
from interlock.web.lookback_views import NotesPage, ReviewPart, ScorecardPage, TeamRow

_DRAWN = {
    "lead_time": ("Lead time in hours", 1.0, "h"),
    "change_failure_rate": ("Changes taken back, in percent", 100.0, "%"),
}


def review_part(workspace: Workspace, ledger: Ledger, change: Change) -> ReviewPart | None:
    """The review of `change`, when it has one."""
    entry = workspace.record.get(Ref("review", change.id))
    if entry is None:
        return None
    review = Review.from_json(entry.body)
    rows = compared(change, ledger.judgement(change.id), ledger.evidence_of(change))
    state = "open" if review.open else f"closed by {review.closed_by}: {review.finding}"
    return ReviewPart(state, review.because, review.silent, rows, review.feedback, review.actions)


def notes_page(workspace: Workspace, about: str) -> NotesPage | None:
    """Release notes; None for an address of nothing."""
    try:
        return NotesPage(about, tuple(notes(workspace, about)))
    except (NotFound, Unusable):
        return None


def scorecard_page(workspace: Workspace, ledger: Ledger, team: str) -> ScorecardPage:
    """The last ninety days."""
    owners = ledger.project().owners
    card = scorecard_of(workspace, owners, team, period_of("", "", ledger.now()))
    return ScorecardPage(
        team, card.period.since, card.period.until, card.figures,
        tuple(TeamRow(name, many) for name, many in card.teams.items()),
        tuple(owner.name for owner in owners),
        tuple(_chart(card, name) for name in _DRAWN),
    )  # fmt: skip


def _chart(card: Scorecard, name: str) -> Chart:
    """One figure over the parts of the period; where there is no data the line has a gap."""
    title, scale, unit = _DRAWN[name]
    points = []
    for part, many in card.parts:
        value = next(one.value for one in many if one.name == name)
        points.append(Point(part.since, None if value is None else value * scale))
    days = (card.parts[0][0].until - card.parts[0][0].since).days
    note = f"Each point is {days} days; where there is none, there is no data."
    return Chart(name, title, (Line("latest", "candidate", tuple(points)),), unit, note=note)
