"""Routes that look back and forward: notes, scorecards, reviews, the calendar, what is told."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, Field
from starlette.responses import Response

from interlock.app import lookback, reviews
from interlock.app.once import Answer
from interlock.app.outbox import outbox_lines, story
from interlock.app.returned import booked_json
from interlock.app.workspace import Workspace
from interlock.web.api.people import Proposing, Reading, Releasing, Signed, Signing
from interlock.web.api.saying import Id, answered, answered_as, sent, told
from interlock.web.thinking import THINKING

router = APIRouter()
LONG, SHORT = 10_000, 100
Text = Annotated[str, Query(max_length=1000)]
Number = Annotated[int, Path(ge=1, le=1_000_000, description="the number of an action")]


@router.get("/notes", **told("as `interlock notes --json`", 404, many=True, shape="ReleaseNote"))
def notes(
    ask: Reading,
    about: Annotated[
        str, Query(max_length=1000, description="CR-12, how a release starts, or feature:v@1:f")
    ],
) -> Response:
    """Release notes of a change, a release, or everything that was ever done to a thing."""
    return answered([one.to_json() for one in lookback.notes(ask.stands.workspace, about)])


@router.get(
    "/changes/{id}/story",
    **told("as `interlock notes CR-n --story --json`", 404, many=True, shape="Note"),
)
def told_of(ask: Reading, id: Id) -> Response:
    """What was said of each transition: in plain words, and in those of engineers."""
    return answered([one.to_json() for one in story(ask.stands.workspace, id)])


@router.get("/scorecard", **told("as `interlock scorecard --json`", 404, shape="Scorecard"))
def scorecard(ask: Reading, team: Text = "", since: Text = "", until: Text = "") -> Response:
    """How changes went in [since, until), ISO days; the usual is the last ninety days."""
    with THINKING:
        return answered(lookback.scorecard(ask.stands.workspace, team, since, until).to_json())


# --- reviews --------------------------------------------------------------------------


class Saying(Signed):
    """What somebody has to say of a change."""

    text: str = Field(min_length=1, max_length=LONG)
    section: str = Field(
        "system", max_length=SHORT, description="well, difficult, surprise or system"
    )


class Following(Signed):
    """What is to be done. With a check, later plans must pass it until then."""

    text: str = Field(min_length=1, max_length=LONG)
    check_: str = Field("", alias="check", max_length=SHORT)
    sql: str = Field("", max_length=LONG, description="with check: each row it gives is a fault")


class Closing(Signed):
    """What it was, looking back."""

    finding: str = Field(max_length=SHORT, description="harmful, fine or unclear")


@router.get(
    "/changes/{id}/review", **told("as `interlock review CR-n --json`", 404, shape="Looked")
)
def review(ask: Reading, id: Id) -> Response:
    """Planned beside measured, what was said, what follows, and the timeline."""
    return answered(reviews.look_back(ask.stands.workspace, id).to_json())


@router.post("/changes/{id}/review/feedback", **told("that it is kept", 404, 409))
def feedback(act: Signing, id: Id, body: Saying) -> Response:
    """Say something of a change; it counts for each team asked that you speak for."""

    def work(workspace: Workspace, by: str) -> str:
        section: Any = body.section  # refused there
        reviews.give_feedback(workspace, id, body.text, by=by, section=section)
        return f"what {by} says of {id} is kept"

    return act.do(body, work)


@router.post("/changes/{id}/review/actions", **told("that it is kept", 404, 409))
def action(act: Signing, id: Id, body: Following) -> Response:
    """Add what is to be done; its check is asked of later plans that touch the same."""

    def work(workspace: Workspace, by: str) -> str:
        with THINKING:
            reviews.add_action(workspace, id, body.text, by=by, check=body.check_, sql=body.sql)
        return f"an action follows from {id}"

    return act.do(body, work)


@router.post("/changes/{id}/review/actions/{number}/done", **told("that it is done", 404, 409))
def action_done(act: Signing, id: Id, number: Number, body: Signed) -> Response:
    """An action is done: its check is asked of no plan any more."""

    def work(workspace: Workspace, by: str) -> str:
        reviews.mark_done(workspace, id, number, by=by)
        return f"action {number} of {id} is done"

    return act.do(body, work)


@router.post("/changes/{id}/review/close", **told("that it is closed", 404, 409))
def close(act: Signing, id: Id, body: Closing) -> Response:
    """Close a review, once every team asked was heard."""

    def work(workspace: Workspace, by: str) -> str:
        finding: Any = body.finding  # refused there
        reviews.close(workspace, id, by=by, finding=finding)
        return f"the review of {id} is closed by {by}"

    return act.do(body, work)


# --- the calendar ---------------------------------------------------------------------


class Time(Signed):
    """Another time: a moment, or null for where it is free next."""

    at: AwareDatetime | None = None


@router.get("/agenda", **told("as `interlock calendar --json`", shape="Agenda"))
def agenda(ask: Reading, days: Annotated[int, Query(ge=1, le=366)] = 30) -> Response:
    """What is booked, by whom, when and until when; freezes, open hours and schedules."""
    from interlock.app.agenda import agenda as ahead

    with THINKING:
        return answered(ahead(ask.stands.workspace, timedelta(days=days)).to_json())


@router.get("/calendar.ics", **sent("text/calendar", "the whole calendar as iCalendar"))
def feed(ask: Reading) -> Response:
    """The calendar for programs that subscribe to one (RFC 5545)."""
    from interlock.app.agenda import feed as whole

    with THINKING:
        text = whole(ask.stands.workspace)
    return answered_as("text/calendar; charset=utf-8", text.encode())


@router.post(
    "/changes/{id}/booking", **told("as `interlock book --json`", 404, 409, shape="Booked")
)
def book(act: Proposing, id: Id, body: Time) -> Response:
    """Move a change that has not started to another time; it is signed for that time again."""
    from interlock.app.booking import book as move

    at: datetime | None = body.at

    def work(workspace: Workspace, by: str) -> Answer:
        with THINKING:
            return Answer(200, booked_json(move(workspace, id, by=by, at=at)))

    return act.do(body, work)


# --- what is told ---------------------------------------------------------------------


@router.get("/outbox", **told("as `interlock outbox --json`", many=True, shape="Waiting"))
def outbox(ask: Reading) -> Response:
    """What waits to be told or was given up, and why."""
    return answered([one.to_json() for one in outbox_lines(ask.stands.workspace)])


@router.post("/outbox/{id}/retry", **told("what became of it", 404))
def retry(act: Releasing, id: Id, body: Signed) -> Response:
    """Try to tell somebody again now."""
    from interlock.app.outbox import retry as again

    return act.do(body, lambda workspace, by: again(workspace, id, by=by))
