"""Routes by which people decide about a change: one call of `app` each, done once per key."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from interlock.app.once import Answer
from interlock.app.workspace import Workspace
from interlock.web.api.people import Proposing, Reading, Releasing, Signed, Signing
from interlock.web.api.saying import Id, answered, told
from interlock.web.thinking import THINKING

router = APIRouter()
LONG, SHORT = 10_000, 100


class Reasoned(Signed):
    """Something that must be explained."""

    reason: str = Field(max_length=LONG)


class Decision(Signed):
    """One decision in one role for one team. A rejection, or taking one back, has a reason."""

    role: str = Field(max_length=SHORT)
    team: str = Field(max_length=SHORT)
    decision: Literal["approve", "reject", "withdraw"] = "approve"
    reason: str = Field("", max_length=LONG)


class Waiving(Reasoned):
    """A check that is to block no more."""

    check_: str = Field(alias="check", max_length=1000, description="as model_comparison:late")
    role: str = Field(max_length=SHORT)


class Holding(Signed):
    """Stop, or with `resume` go on."""

    reason: str = Field("", max_length=LONG)
    resume: bool = False


@router.post("/changes/{id}/signoffs", **told("what was signed", 404, 409, 412, 428))
def sign(act: Signing, id: Id, body: Decision) -> Response:
    """Sign, or reject, exactly the plan whose digest If-Match names (the ETag of the change)."""
    from interlock.app import decide

    if not act.match:
        raise HTTPException(428, "say with If-Match which plan you looked at: its ETag")
    who = {"role": body.role, "team": body.team}
    reject = (body.reason or "rejected") if body.decision == "reject" else ""
    plan = act.match.strip().strip('"') or "none"

    def work(workspace: Workspace, by: str) -> str:
        if body.decision == "withdraw":
            return decide.unsign(workspace, id, by=by, reason=body.reason, **who)
        return decide.sign(workspace, id, by=by, reject=reject, plan=plan, **who)

    return act.do(body, work)


@router.post("/changes/{id}/waivers", **told("what was waived", 404, 409))
def waive(act: Signing, id: Id, body: Waiving) -> Response:
    """Let one check not block, under your name and with your reason; it stays visible."""
    from interlock.app import decide

    def work(workspace: Workspace, by: str) -> str:
        decide.waive(workspace, id, body.check_, by=by, role=body.role, reason=body.reason)
        return f"{body.check_} is waived for {id} by {by}"

    return act.do(body, work)


@router.post("/changes/{id}/withdraw", **told("that it is withdrawn", 404, 409))
def withdraw(act: Proposing, id: Id, body: Reasoned) -> Response:
    """Close a change that has not started. It stays in the record with its evidence."""
    from interlock.app import decide

    def work(workspace: Workspace, by: str) -> str:
        decide.withdraw(workspace, id, by=by, reason=body.reason)
        return f"{id} is withdrawn by {by}"

    return act.do(body, work)


@router.post("/changes/{id}/apply", **told("that it has started", 404, 409))
def apply(act: Releasing, id: Id, body: Signed) -> Response:
    """Start the release of an approved change. A controller drives it, step by step."""
    from interlock.app import decide

    return act.do(body, lambda workspace, by: decide.apply(workspace, id, by=by))


@router.post("/changes/{id}/hold", **told("that it stands, or goes on", 404, 409))
def hold(act: Releasing, id: Id, body: Holding) -> Response:
    """Stop a rollout where it is, or let it go on."""
    from interlock.app import decide

    return act.do(
        body,
        lambda workspace, by: decide.hold(
            workspace, id, by=by, reason=body.reason, resume=body.resume
        ),
    )


@router.post("/changes/{id}/promote", **told("that it goes on", 404, 409))
def promote(act: Releasing, id: Id, body: Reasoned) -> Response:
    """Waive what a stage has not shown yet and go on. Never waives harm, nor silence."""
    from interlock.app import decide

    return act.do(
        body, lambda workspace, by: decide.promote(workspace, id, by=by, reason=body.reason)
    )


@router.post("/changes/{id}/retry", **told("that its stage begins again", 404, 409))
def more_time(act: Releasing, id: Id, body: Reasoned) -> Response:
    """Begin the stage again: more time for what is open. Evidence stays."""
    from interlock.app import decide

    return act.do(
        body, lambda workspace, by: decide.retry(workspace, id, by=by, reason=body.reason)
    )


@router.post("/changes/{id}/rollback", **told("who answers now", 404, 409))
def rollback(act: Releasing, id: Id, body: Reasoned) -> Response:
    """Take a change back now, in one step. Never waits for a freeze or a sign-off."""
    from interlock.app import decide

    return act.do(
        body, lambda workspace, by: decide.rollback(workspace, id, by=by, reason=body.reason)
    )


# --- what is lent ---------------------------------------------------------------------


class Lending(Signed):
    """A role of yours that somebody else may sign in until the end of a day."""

    to: str = Field(min_length=1, max_length=SHORT)
    role: str = Field(max_length=SHORT)
    team: str = Field(max_length=SHORT)
    until: str = Field("", max_length=SHORT, description="the last day, as 2027-01-31 (UTC)")
    end: bool = Field(False, description="end it now instead")


@router.get("/delegations", **told("as `interlock delegate --json`", many=True, shape="Delegation"))
def delegations(ask: Reading) -> Response:
    """Everything that was ever lent, as it stands now."""
    from interlock.app.delegate import delegations as lent

    return answered([one.to_json() for one in lent(ask.stands.workspace.record)])


@router.post("/delegations", **told("what is lent now", 404, 409, shape="Delegation"))
def delegate(act: Signing, body: Lending) -> Response:
    """Lend a role of yours, or end that."""
    from interlock.app import delegate as lending

    lent = lending.Lent(body.to, body.role, body.team)

    def work(workspace: Workspace, by: str) -> Answer:
        made = (
            lending.end(workspace, lent, by=by)
            if body.end
            else lending.delegate(workspace, lent, by=by, until=body.until)
        )
        return Answer(200, made.to_json())

    return act.do(body, work)


@router.get("/inbox", **told("as `interlock inbox --json`", shape="Inbox"))
def inbox(
    ask: Reading,
    by: Annotated[str, Query(max_length=SHORT, description="only where no token is shown")] = "",
) -> Response:
    """What waits for you, why, and what each decision would lead to."""
    from interlock.app.inbox import inbox as find

    with THINKING:
        return answered(find(ask.stands.workspace, ask.caller.named(by)).to_json())
