"""Values of `app` again, from what a server said of them: the inverse of their `to_json`.

Who asks a server is shown the same page as who asks here, because the same value is shown.
What JSON leaves out, because no page shows it, is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from interlock.app.agenda import Shown
    from interlock.app.audit import Audited
    from interlock.app.lookback import Scorecard
    from interlock.app.outbox import Line as Told
    from interlock.app.policies import Explained, Replays, Tests
    from interlock.app.reviews import Looked
    from interlock.change.agenda import Booked, Line
    from interlock.change.decision import Replayed
    from interlock.change.notes import Note
    from interlock.change.releasenotes import ReleaseNote
    from interlock.change.scorecard import Figure, Period

Body = Mapping[str, Any]
T = TypeVar("T")


def as_kind(kind: type[T], body: Any) -> T:
    """`body` as a dataclass whose JSON is its fields, and perhaps what follows from them."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind).validate_python(body)


# --- audit ----------------------------------------------------------------------------


def audited_of(body: Body) -> Audited:
    """The inverse of `answers.audited_json`."""
    from interlock.app.audit import Audited

    return as_kind(Audited, body)


# --- calendar -------------------------------------------------------------------------


def shown_of(body: Body) -> Shown:
    """The inverse of `Shown.to_json`."""
    from interlock.app.agenda import Shown

    start, end = (datetime.fromisoformat(body[name]) for name in ("start", "end"))
    lines = tuple(map(_line_of, body["lines"]))
    return Shown(body["environment"], start, end, lines, tuple(body["conflicts"]))


def _line_of(body: Body) -> Line:
    from interlock.change.agenda import Line

    phases = [(name, {"start": a, "end": b}) for name, (a, b) in body["phases"].items()]
    return as_kind(Line, {**body, "phases": phases})


def booked_json(found: Booked) -> dict[str, Any]:
    """One booking, as `interlock book --json` says it."""
    return {
        "change": found.booking.change,
        "standing": found.standing,
        "phases": found.booking.phases.to_json(),
        "group": list(found.booking.group),
        "why": found.why,
    }


def booked_of(body: Body, environment: str) -> Booked:
    """The inverse of `booked_json`; its footprint stays where it is kept."""
    from interlock.change.agenda import Booked
    from interlock.change.conflicts import Booking
    from interlock.change.footprint import Footprint, Phases

    times = Phases.from_json(body["phases"])
    booking = Booking(body["change"], Footprint(), times, group=tuple(body["group"]))
    return Booked(booking, body["standing"], environment, body["why"], 0, times.start)


# --- looking back ---------------------------------------------------------------------


def looked_of(body: Body) -> Looked:
    """The inverse of `Looked.to_json`."""
    from interlock.app.reviews import Looked
    from interlock.change.change import Change
    from interlock.change.review import Comparison, Review

    brief = {name: body[name] for name in ("title", "expected", "metrics", "bounds")}
    unknown = {"author": "", "environment": "", "opened_at": body["opened_at"]}
    change = Change.from_json({"id": body["change"], **unknown, **brief})
    leaves = {one["version"]: one["audit"] for one in body["timeline"] if one["audit"] is not None}
    return Looked(
        change, as_kind(Review, body), tuple(as_kind(Comparison, one) for one in body["compared"]),
        tuple(stories_of(body["timeline"])), leaves,
    )  # fmt: skip


def stories_of(body: Sequence[Body]) -> list[Note]:
    """The inverse of `Note.to_json`, for each."""
    from interlock.change.notes import Note

    return [as_kind(Note, one) for one in body]


def notes_of(body: Sequence[Body]) -> list[ReleaseNote]:
    """The inverse of `ReleaseNote.to_json`, for each."""
    from interlock.change.releasenotes import ReleaseNote

    return [as_kind(ReleaseNote, one) for one in body]


def scorecard_of(body: Body) -> Scorecard:
    """The inverse of `Scorecard.to_json`."""
    from interlock.app.lookback import Scorecard

    return Scorecard(
        _period_of(body), body["team"], _figures_of(body["figures"]),
        {name: _figures_of(many) for name, many in body["teams"].items()},
        tuple((_period_of(part), _figures_of(part["figures"])) for part in body["parts"]),
    )  # fmt: skip


def _period_of(body: Body) -> Period:
    from interlock.change.scorecard import Period

    return as_kind(Period, body)


def _figures_of(body: Sequence[Body]) -> tuple[Figure, ...]:
    from interlock.change.scorecard import Figure

    return tuple(as_kind(Figure, one) for one in body)


def outbox_of(body: Sequence[Body]) -> list[Told]:
    """The inverse of the outbox's `Line.to_json`, for each."""
    from interlock.app.outbox import Line
    from interlock.change.outbox import Delivery

    return [Line(one["change"], one["state"], as_kind(Delivery, one)) for one in body]


# --- policies -------------------------------------------------------------------------


def tests_of(body: Body) -> Tests:
    """The inverse of `Tests.to_json`."""
    from interlock.app.policies import Tests

    return as_kind(Tests, body)


def replays_of(body: Body) -> Replays:
    """The inverse of `Replays.to_json`."""
    from interlock.app.policies import Replays

    differing = tuple(map(_replayed_of, body["differing"]))
    return Replays(body["asked"], differing, body["same_policies"])


def _replayed_of(body: Body) -> Replayed:
    from interlock.change.decision import PolicyDecision, Replayed

    at, who = datetime.fromisoformat(body["at"]), {"id": body["by"]}
    said, now = tuple(body["before"]), tuple(body["now"])
    return Replayed(PolicyDecision(body["change"], body["action"], at, who, {}, said, ""), now)


def explained_of(body: Body) -> Explained:
    """The inverse of `Explained.to_json`."""
    from interlock.app.policies import Explained, Lacking

    found = tuple(
        Lacking(
            one["action"], tuple(one["says"]),
            None if one["needs"] is None else tuple(one["needs"]),
        )
        for one in body["actions"]
    )  # fmt: skip
    return Explained(body["change"], body["by"], found, body["facts"])
