"""What the pages show of changes that are over: reviews, release notes, scorecards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from interlock.change.releasenotes import ReleaseNote
from interlock.change.review import Action, Comparison, Feedback
from interlock.change.scorecard import Figure
from interlock.web.figures import Chart


@dataclass(frozen=True)
class ReviewPart:
    """The review of one change. `silent` are the teams that have still to say something."""

    state: str
    because: tuple[str, ...]
    silent: tuple[str, ...]
    rows: tuple[Comparison, ...]
    feedback: tuple[Feedback, ...]
    actions: tuple[Action, ...]


@dataclass(frozen=True)
class NotesPage:
    """Release notes of what was asked about, newest first."""

    about: str
    notes: tuple[ReleaseNote, ...]


@dataclass(frozen=True)
class TeamRow:
    """The figures of one team, in the order of the page's."""

    team: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class ScorecardPage:
    """How changes went in [since, until); `team` is empty for everybody."""

    team: str
    since: datetime
    until: datetime
    figures: tuple[Figure, ...]
    teams: tuple[TeamRow, ...]
    known: tuple[str, ...]
    charts: tuple[Chart, ...]
