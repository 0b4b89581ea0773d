"""Looking back at a change: planned against measured, who says what of it, and what follows.

A review is about what happened and what in the system let it happen, never about whose fault it
was: its sections ask no question that a name would answer. Opened by itself, in the same write
as the transition that asks for it; what people add are versions of `review:CR-n`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from interlock.change.change import Change
from interlock.change.evidence import Evidence
from interlock.change.notes import in_words
from interlock.errors import Refused, Unusable

Section = Literal["well", "difficult", "surprise", "system"]
Finding = Literal["", "harmful", "fine", "unclear"]
QUESTIONS: Mapping[str, str] = {
    "well": "What went well, and should be kept?",
    "difficult": "What was difficult to see, to decide or to do?",
    "surprise": "What surprised you?",
    "system": "What in the system let it happen?",
}
"""The sections of every review. They ask about the work and the system, not about people."""
ACTION = "action:"
_NAME = re.compile(r"[a-z][a-z0-9_]*$")


@dataclass(frozen=True)
class Feedback:
    """What one person says. `team` is the team spoken for; empty when for nobody but oneself."""

    by: str
    text: str
    at: str
    team: str = ""
    section: Section = "system"


@dataclass(frozen=True)
class Action:
    """What is to be done. With a `check`, later plans that touch `about` must pass it until then.

    `check` is `action:NAME`, made by running `sql` (a row that comes back is a fault), or the
    name of evidence that is made anyway (`contract:wh.weather`), which is then asked for.
    """

    number: int
    text: str
    by: str
    at: str
    check: str = ""
    sql: str = ""
    about: tuple[str, ...] = ()
    done_by: str = ""
    done_at: str = ""

    @property
    def open(self) -> bool:
        return not self.done_by

    def concerns(self, touched: frozenset[str]) -> bool:
        """Does a plan that touches these addresses have to pass it?"""
        return self.open and bool(self.check) and (not self.about or bool(touched & {*self.about}))


@dataclass(frozen=True)
class Review:
    """`teams` own what acts on the change: each is asked. `finding` is what it was, looking back.

    `because` is why it was opened. Times are UTC instants as text.
    """

    change: str
    opened_at: str
    because: tuple[str, ...]
    teams: tuple[str, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    actions: tuple[Action, ...] = ()
    finding: Finding = ""
    closed_by: str = ""
    closed_at: str = ""

    @property
    def open(self) -> bool:
        return not self.closed_by

    @property
    def silent(self) -> tuple[str, ...]:
        """Teams that have not said anything yet."""
        return tuple(team for team in self.teams if team not in {f.team for f in self.feedback})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Review:
        read = {
            "because": tuple(body["because"]),
            "teams": tuple(body["teams"]),
            "feedback": tuple(Feedback(**one) for one in body["feedback"]),
            "actions": tuple(
                Action(**{**one, "about": tuple(one["about"])}) for one in body["actions"]
            ),
        }
        return cls(**{**body, **read})


# --- when one is opened ---------------------------------------------------------------


def reasons(before: Change | None, after: Change) -> tuple[str, ...]:
    """Why the move from `before` to `after` asks for a review; empty when it does not."""
    if before is not None and before.state == after.state:
        return ()
    found = []
    if after.state == "ABORTED":
        was_done = before is not None and before.state == "REVERTING"
        found.append(f"it was taken back {'after it was done' if was_done else 'on its way'}")
    if after.state in ("COMMITTED", "ABORTED"):
        found += [f"it could not wait: {after.emergency.strip()}"] if after.emergency else []
        found += [str(said) for said in after.details.get("high_risk", ())]
    return tuple(found)


def opened(known: Review | None, change: Change, because: Sequence[str], now: datetime) -> Review:
    """A new review, or the one there is with one more reason, open again."""
    required = (change.plan or {}).get("requirements", ())
    teams = dict.fromkeys(need["team"] for need in required if need["role"] == "service_owner")
    if known is None:
        return Review(change.id, _instant(now), tuple(because), tuple(teams))
    every = tuple(dict.fromkeys((*known.because, *because)))
    return replace(known, because=every, closed_by="", closed_at="", finding="")


# --- what people add ------------------------------------------------------------------


def heard(review: Review, feedback: Feedback) -> Review:
    """With what somebody says. A closed review is not added to."""
    if feedback.section not in get_args(Section):
        raise Unusable(f"no section {feedback.section!r}", help=f"one of {', '.join(QUESTIONS)}")
    _refuse_closed(review)
    if not feedback.text.strip():
        raise Unusable("feedback says nothing", help="give it in words")
    return replace(review, feedback=(*review.feedback, feedback))


def with_action(review: Review, action: Action) -> Review:
    """With one more thing to do, numbered; refuses a check that nothing could ever pass."""
    _refuse_closed(review)
    found = list(_check_objections(action))
    if not action.text.strip():
        found.append("say what is to be done")
    if found:
        raise Refused(f"this action of {review.change} cannot be kept", "mend it", found)
    named = f"{ACTION}{action.check}" if action.sql else action.check
    numbered = replace(action, number=len(review.actions) + 1, check=named)
    return replace(review, actions=(*review.actions, numbered))


def _check_objections(action: Action) -> Iterator[str]:
    if action.sql and not action.check:
        yield "a query needs the name of a check: say --check"
    if action.check and action.sql and not _NAME.match(action.check):
        yield f"{action.check!r} is no name for a query: use lower-case letters, digits and _"
    if action.check and not action.sql and ":" not in action.check:
        yield (
            f"nothing makes evidence named {action.check}: give --sql, or the name of a check "
            "that is made, as contract:wh.weather"
        )


def done(review: Review, number: int, by: str, now: datetime) -> Review:
    """With action `number` done, also after the review was closed."""
    known = [one.number for one in review.actions]
    if number not in known:
        raise Unusable(f"{review.change} has no action {number}", help=f"it has {known or 'none'}")
    marked = (
        replace(one, done_by=by, done_at=_instant(now)) if one.number == number and one.open
        else one for one in review.actions
    )  # fmt: skip
    return replace(review, actions=tuple(marked))


def closed(review: Review, finding: Finding, by: str, now: datetime) -> Review:
    """Closed with what it was, looking back; refuses while somebody was not heard."""
    _refuse_closed(review)
    found = [f"{team} has not said anything yet" for team in review.silent]
    if not finding or finding not in get_args(Finding):
        found.append("say what it was, looking back: --finding harmful, fine or unclear")
    if found:
        help = f"`interlock review {review.change} --feedback ... --by ...`"
        raise Refused(f"the review of {review.change} cannot be closed", help, found)
    return replace(review, finding=finding, closed_by=by, closed_at=_instant(now))


def _refuse_closed(review: Review) -> None:
    if not review.open:
        help = "propose a change; an action may still be marked as done"
        raise Refused(f"the review of {review.change} was closed by {review.closed_by}", help)


# --- planned against measured ---------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """One number that was agreed on beforehand. None was not measured, which is never zero.

    `promise` says how far it might go; `before` is the relative difference that history
    showed before the release; `stable` and `candidate` are means of the two releases in the
    rollout, `low` and `high` where candidate minus stable lies.
    """

    name: str
    words: str
    promise: str
    before: float | None = None
    stable: float | None = None
    candidate: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: str = "not measured"


def compared(
    change: Change, judgement: Mapping[str, Any] | None, evidence: Sequence[Evidence]
) -> tuple[Comparison, ...]:
    """What was agreed when the change was approved, beside what the judge had seen at the end."""
    agreed = (change.details.get("judge") or {}).get("guardrails", ())
    rulings = {one["name"]: one for one in (judgement or {}).get("per_guardrail", ())}
    shown = {piece.check: piece.value for piece in evidence}
    return tuple(_comparison(one, rulings.get(one["name"]), shown) for one in agreed)


def _comparison(
    agreed: Mapping[str, Any], ruling: Mapping[str, Any] | None, shown: Mapping[str, float | None]
) -> Comparison:
    name = agreed["name"]
    begun = Comparison(name, in_words(name), _promise(agreed), before=shown.get(name))
    if ruling is None:
        return begun
    low, high = ruling["interval"] or (None, None)
    return replace(
        begun, stable=ruling["mean_stable"], candidate=ruling["mean_candidate"], low=low,
        high=high, verdict=ruling["verdict"].replace("_", " "),
    )  # fmt: skip


def _promise(agreed: Mapping[str, Any]) -> str:
    if agreed["form"] == "split":
        return "shared out as planned"
    sides = {"higher_is_worse": "higher", "lower_is_worse": "lower", "two_sided": "away from it"}
    said = []
    if agreed["margin"]:
        said.append(f"{agreed['margin'] * 100:.3g} %")
    if agreed["margin_absolute"]:
        said.append(f"{agreed['margin_absolute']:.3g}")
    return f"at most {' or '.join(said)} {sides[agreed['direction']]}"


# --- what the next plan must pass -----------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """The checks that open actions ask of one plan, and why."""

    checks: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def asked(reviews: Sequence[Review], touched: frozenset[str]) -> Asked:
    """What a plan that touches these addresses must pass because of earlier changes."""
    found = [(r, a) for r in reviews for a in r.actions if a.concerns(touched)]
    notes = [f"{a.check}: asked by the review of {r.change}: {a.text}" for r, a in found]
    return Asked(tuple(dict.fromkeys(a.check for _, a in found)), tuple(notes))


def still_asked(reviews: Sequence[Review], checks: Sequence[str]) -> tuple[str, ...]:
    """`checks` without those of actions that are done by now: nothing else is dropped."""
    live = {action.check for review in reviews for action in review.actions if action.open}
    return tuple(one for one in checks if not one.startswith(ACTION) or one in live)


def _instant(now: datetime) -> str:
    return now.astimezone(UTC).isoformat()
