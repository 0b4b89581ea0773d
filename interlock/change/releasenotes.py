"""Release notes of one change, from its last version, its evidence and its review.

The plan is read as the data it is kept as: a page must not load what parses SQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from interlock.change.change import Change
from interlock.change.evidence import Evidence
from interlock.change.notes import affected, rollout_of
from interlock.change.review import Review
from interlock.define.refs import Ref

_SAID = {"added": "new", "removed": "removed", "retyped": "another type"}
# How the sentences begin by which several candidates became one.
_CHOICE = ("chosen: ", "not chosen: ")
_ENDED = ("COMMITTED", "RETIRED", "REVERTING", "ABORTED", "UNCHOSEN")


@dataclass(frozen=True)
class Test:
    """One check as it stood when people agreed; `waived` says who let it through and why."""

    check: str
    verdict: str
    sentence: str
    waived: str = ""


@dataclass(frozen=True)
class Agreed:
    """Who agreed, in which role for which team, and when (an aware UTC instant)."""

    person: str
    role: str
    team: str
    at: datetime


@dataclass(frozen=True)
class ReleaseNote:
    """Everything that is worth knowing of a change later on.

    `released_at` is when everybody got it; None: never. `impact` says what it does to the thing
    asked about. `taken_back` is why it went back; empty when it did not. `review` is what the
    review found, looking back.
    """

    change: str
    title: str
    author: str
    state: str
    release: str
    released_at: datetime | None
    reason: str
    expected: str
    risks: str
    urgent: str
    affected: str
    impact: str
    differences: tuple[str, ...]
    tests: tuple[Test, ...]
    rollback: str
    taken_back: str
    agreed: tuple[Agreed, ...]
    review: str
    actions: tuple[str, ...]
    beside: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "released_at": self.released_at.isoformat() if self.released_at else None,
            "differences": list(self.differences),
            "tests": [dict(test.__dict__) for test in self.tests],
            "agreed": [{**one.__dict__, "at": one.at.isoformat()} for one in self.agreed],
            "actions": list(self.actions),
        }


def release_note(
    change: Change, evidence: Sequence[Evidence], review: Review | None, about: Ref | None = None
) -> ReleaseNote:
    """The notes of `change`; with `about`, also what it does to that one thing."""
    plan = change.plan or {}
    return ReleaseNote(
        change=change.id,
        title=change.title,
        author=change.author,
        state=change.state,
        release=change.release,
        released_at=released_at(change),
        reason=change.reason.strip(),
        expected=change.expected.strip(),
        risks=change.risks.strip(),
        urgent=change.emergency.strip(),
        affected=affected(change),
        impact=impact_on(change, about) if about else "",
        differences=tuple(
            f"{one['ref']}: {'; '.join(difference_words(one)) or one['change']}"
            for one in plan.get("differences", ())
        ),
        tests=_tests(change, evidence),
        rollback=change.rollback_criteria.strip(),
        taken_back=_taken_back(change),
        agreed=_agreed(change),
        review=(review.finding or "open") if review else "",
        actions=tuple(action.text for action in review.actions) if review else (),
        beside=_beside(change),
    )


def _beside(change: Change) -> str:
    """In whose experiment it ran, and how it was chosen or not."""
    history = rollout_of(change).get("history", ())
    chosen = [line["sentence"] for line in history if line["sentence"].startswith(_CHOICE)]
    joined = [f"in one experiment with {change.experiment}"] * (change.experiment != change.id)
    return "; ".join((*joined, *chosen))


def was_released(change: Change) -> bool:
    """Did anybody but a mirror ever get it, for good or for a while?"""
    return change.state in _ENDED


def released_at(change: Change) -> datetime | None:
    """When everybody got it, as the history of the rollout says."""
    return next(
        (
            datetime.fromisoformat(line["at"])
            for line in rollout_of(change).get("history", ())
            if line["state"] == "committed"
        ),
        None,
    )


def impact_on(change: Change, about: Ref) -> str:
    """What `change` does to one thing, in a sentence; empty when it does not touch it."""
    plan = change.plan or {}
    edited = [d for d in plan.get("differences", ()) if _covers(Ref.parse(d["ref"]), about)]
    if edited:
        return "; ".join("; ".join(difference_words(d)) or str(d["change"]) for d in edited)
    reached = plan.get("reached", ())
    touched = [str(one["sentence"]) for one in reached if _covers(about, Ref.parse(one["ref"]))]
    steps = [f"{about} is made anew" for step in plan.get("steps", ()) if _step(step, about)]
    return next(iter([*touched, *steps]), "")


def difference_words(difference: Mapping[str, Any]) -> Iterator[str]:
    """What a difference, as a plan keeps it, is: one part per thing that is not what it was."""
    if difference["change"] == "added":
        yield "new in this release"
    if difference["row_set"] != "same":
        yield f"its set of rows: {difference['row_set']}"
    yield from difference["reasons"]
    for name, (verdict, reason) in difference["columns"].items():
        yield f"{name}: {_SAID.get(verdict, verdict)}" + (f", {reason}" if reason else "")
    yield from (f"{name} changed (no value moves)" for name in difference["settings"])


def _covers(whole: Ref, part: Ref) -> bool:
    """Is `part` the same thing, or a feature of that view?"""
    if whole == part:
        return True
    same = (whole.name, whole.version) == (part.name, part.version)
    return whole.kind == "view" and part.kind == "feature" and same


def _step(step: Mapping[str, Any], about: Ref) -> bool:
    return step.get("ref") == str(about) or (
        about.kind == "feature" and step.get("ref") == f"view:{about.name}@{about.version}"
    )


def _tests(change: Change, evidence: Sequence[Evidence]) -> tuple[Test, ...]:
    """The newest piece of each check that the plan asked for."""
    required = (change.plan or {}).get("evidence", ())
    waived = {waiver.check: str(waiver) for waiver in change.waivers if waiver.counts}
    newest = {piece.check: piece for piece in sorted(evidence, key=lambda one: one.made_at)}
    return tuple(
        Test(check, newest[check].verdict, newest[check].sentence, waived.get(check, ""))
        if check in newest
        else Test(check, "not made", "there is no evidence", waived.get(check, ""))
        for check in required
    )


def _taken_back(change: Change) -> str:
    if change.state not in ("ABORTING", "REVERTING", "ABORTED"):
        return ""
    history = rollout_of(change).get("history", ())
    found = (line["sentence"] for line in history if line["state"] in ("aborting", "reverting"))
    return next(found, change.said)


def _agreed(change: Change) -> tuple[Agreed, ...]:
    counting = (
        one
        for one in change.signoffs
        if one.decision == "approve" and one.plan_digest == change.plan_digest
    )
    return tuple(Agreed(one.person, one.role, one.team, one.at) for one in counting)
