"""Release notes and scorecards: what the record says of changes that are over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from interlock.app import reliability
from interlock.app.changes import all_changes, evidence_of, held
from interlock.change.change import Change
from interlock.change.releasenotes import (
    ReleaseNote,
    impact_on,
    release_note,
    released_at,
    was_released,
)
from interlock.change.review import Review
from interlock.change.scorecard import Figure, Life, Period, figures
from interlock.define.refs import Ref
from interlock.errors import NotFound, Unusable
from interlock.ports import Entry
from interlock.watch.outcomes import Accuracy, Outcome, accuracy, outcomes
from interlock.watch.reliability import Spent

if TYPE_CHECKING:
    from interlock.app.workspace import Workspace
    from interlock.define.environment import Owner

_RELEASE = re.compile(r"[0-9a-f]{6,64}$")
_USUAL = timedelta(days=90)
_STAGE = "details.rollout.index"
_TOLD = ("state", "author", "opened_at", "environment", _STAGE)


# --- release notes --------------------------------------------------------------------


def notes(workspace: Workspace, about: str) -> list[ReleaseNote]:
    """Of a change (`CR-4`), a release (how its digest starts) or a thing (`feature:v@1:f`).

    The newest first. Of a thing: every change that reached people and touched it.
    """
    if about.startswith("CR-"):
        return [_note(workspace, held(workspace.record, about).change)]
    mine = [c for c in all_changes(workspace) if c.environment == workspace.environment]
    if _RELEASE.match(about):
        found = [c for c in mine if c.release.startswith(about)]
        if not found:
            raise NotFound(f"no release starts with {about}", help="`interlock status` names it")
        return [_note(workspace, change) for change in found]
    ref = Ref.parse(about)
    touched = [c for c in mine if was_released(c) and impact_on(c, ref)]
    return [_note(workspace, change, ref) for change in sorted(touched, key=_when, reverse=True)]


def _when(change: Change) -> datetime:
    return released_at(change) or change.opened_at


def _note(workspace: Workspace, change: Change, about: Ref | None = None) -> ReleaseNote:
    entry = workspace.record.get(Ref("review", change.id))
    review = Review.from_json(entry.body) if entry else None
    return release_note(change, evidence_of(workspace.record, change), review, about)


# --- scorecards -----------------------------------------------------------------------


@dataclass(frozen=True)
class Scorecard:
    """Figures of all changes, of each team, and of each part of the period.

    `models` say how right they were, `services` what they reached; `budgets` what is left of
    what they promise, as it was measured last.
    """

    period: Period
    team: str
    figures: tuple[Figure, ...]
    teams: Mapping[str, tuple[Figure, ...]]
    parts: tuple[tuple[Period, tuple[Figure, ...]], ...]
    models: tuple[Accuracy, ...] = ()
    services: tuple[Outcome, ...] = ()
    budgets: tuple[Spent, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "since": self.period.since.isoformat(),
            "until": self.period.until.isoformat(),
            "team": self.team,
            "figures": [one.to_json() for one in self.figures],
            "teams": {name: [f.to_json() for f in many] for name, many in self.teams.items()},
            "parts": [
                {"since": part.since.isoformat(), "until": part.until.isoformat(),
                 "figures": [f.to_json() for f in many]}
                for part, many in self.parts
            ],
            "models": [one.to_json() for one in self.models],
            "services": [one.to_json() for one in self.services],
            "budgets": [one.to_json() for one in self.budgets],
        }  # fmt: skip


def scorecard(workspace: Workspace, team: str = "", since: str = "", until: str = "") -> Scorecard:
    """How changes went in [since, until), ISO days; the usual is the last ninety days."""
    owners = (workspace.released or workspace.project).owners
    return scorecard_of(workspace, owners, team, period_of(since, until, workspace.now()))


def scorecard_of(
    workspace: Workspace, owners: Sequence[Owner], team: str, period: Period
) -> Scorecard:
    """The same for a caller that knows owners and time already."""
    known = [owner.name for owner in owners]
    if team and team not in known:
        raise NotFound(f"there is no team {team}", help=f"teams: {', '.join(known)}")
    moved = _moved_since(workspace, period.since)
    lives = list(_lives(workspace, owners, moved))
    mine = [one for one in lives if team in ("", one.team)]
    by_team = {
        name or "no team": figures([one for one in mine if one.team == name], period)
        for name in dict.fromkeys(one.team for one in sorted(mine, key=lambda one: one.team))
    }
    parts = tuple((part, figures(mine, part)) for part in period.parts())
    budgets = reliability.kept(workspace.record, workspace.environment)
    return Scorecard(
        period, team, figures(mine, period), by_team, parts, tuple(_models(workspace, period)),
        tuple(_services(workspace, moved, period)), budgets.services if budgets else (),
    )  # fmt: skip


def _models(workspace: Workspace, period: Period) -> Iterator[Accuracy]:
    """How right each model was, as `watch` has kept it."""
    for entry in workspace.record.list("note"):
        kind, _, model = entry.ref.name.partition("-")
        if kind == "calibration":
            yield from accuracy(model, entry.body["days"], period.since, period.until)


def _services(
    workspace: Workspace, moved: Mapping[str, Sequence[Entry]], period: Period
) -> Iterator[Outcome]:
    """What services reached under each arm of what was rolled out."""
    for id, versions in moved.items():
        if versions[-1].body[_STAGE] is not None:
            buckets = workspace.record.buckets(id)
            yield from outcomes(id, buckets, period.since, period.until)


def _moved_since(workspace: Workspace, since: datetime) -> dict[str, list[Entry]]:
    """By change that moved since, its versions in order: only the parts that figures are of.

    What moved before falls into no figure, but a change that moved since is told whole.
    """
    # One question for all: a body holds a graph, and most of it would be read for nothing.
    late = workspace.record.parts("change", _TOLD, since)
    found: dict[str, list[Entry]] = {}
    for one in late:
        if one.body["environment"] == workspace.environment:
            found.setdefault(one.ref.name, []).append(one)
    for id, versions in found.items():
        if versions[0].version > 1:
            # It was opened before the period: few are, and these are read whole.
            found[id] = [*map(_told, _until(workspace, versions[0])), *versions]
    return found


def _until(workspace: Workspace, first: Entry) -> tuple[Entry, ...]:
    return workspace.record.history(first.ref)[: first.version - 1]


def _told(entry: Entry) -> Entry:
    """A version that was read whole, as those of which only parts are."""
    rollout = entry.body.get("details", {}).get("rollout") or {}
    parts = {name: entry.body.get(name) for name in _TOLD if name != _STAGE}
    return replace(entry, body={**parts, _STAGE: rollout.get("index")})


def period_of(since: str, until: str, now: datetime) -> Period:
    """[since, until) as instants; `Unusable` for what is no day, or the wrong way round."""
    # Up to now, and what happens at this very instant with it.
    end = _day(until) if until else now + timedelta(microseconds=1)
    start = _day(since) if since else end - _USUAL
    if start >= end:
        raise Unusable(f"{since or start:} is not before {until or end:}", help="turn them round")
    return Period(start, end)


def _day(text: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError as error:
        raise Unusable(f"{text!r} is not a day", help="write it as 2026-06-01") from error


def _lives(
    workspace: Workspace, owners: Sequence[Owner], moved: Mapping[str, Sequence[Entry]]
) -> Iterator[Life]:
    record = workspace.record
    findings = {e.ref.name: Review.from_json(e.body).finding for e in record.list("review")}
    for id, versions in moved.items():
        author = versions[-1].body["author"]
        team = next((o.name for o in owners if author in o.people), "")
        opened_at = datetime.fromisoformat(versions[-1].body["opened_at"])
        entered = tuple(_entered(versions))
        yield Life(id, team, opened_at, entered, findings.get(id, ""))


def _entered(history: Sequence[Entry]) -> Iterator[tuple[str, datetime]]:
    """Each state and when it was entered; a step of a ramp is entered anew at each stage."""
    last: tuple[str, int] | None = None
    for entry in history:
        stage = entry.body[_STAGE]
        place = entry.body["state"], -1 if stage is None else stage
        if place != last:
            yield entry.body["state"], entry.written_at
        last = place
