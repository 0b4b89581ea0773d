"""Routes of long work, answered at once with the address of a job; and those of tokens."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from interlock.app import tokens
from interlock.app.beside import Placed
from interlock.app.files import uploaded
from interlock.app.jobs import Job, find, open_job
from interlock.app.once import Answer
from interlock.app.workspace import Workspace
from interlock.web.api.looks import Sent
from interlock.web.api.people import Act, Admitting, Proposing, Reading, Ruling, Signed
from interlock.web.api.saying import Id, answered, told

router = APIRouter()
LONG, MANY = 10_000, 100


class Proposal(Signed, Sent):
    """A change to open from these files, in the words of `interlock propose`."""

    title: str = Field(min_length=1, max_length=200)
    reason: str = Field("", max_length=LONG)
    expected: str = Field("", max_length=LONG)
    rollback_criteria: str = Field("", max_length=LONG)
    risks: str = Field("", max_length=LONG)
    metrics: list[str] = Field(default=[], max_length=MANY)
    bounds: list[str] = Field(default=[], max_length=MANY)
    emergency: str = Field("", max_length=LONG)


class Awaiting(Signed):
    """What a change waits for from now on; empty: as it was."""

    after: str = Field("", max_length=100)


class TokenWish(Signed):
    """A token to make."""

    person: str = Field(max_length=1000)
    scopes: list[str] = Field(max_length=MANY)
    expires: str = Field("", max_length=100, description="a day that still counts, or an instant")
    environment: str = Field("", max_length=100, description="empty: any")


class Ending(Signed):
    """Why a token ends."""

    reason: str = Field("", max_length=LONG)


# --- jobs -----------------------------------------------------------------------------


@router.post(
    "/changes", **told("a job; its change is known when it is done", 409, status=202, shape="Job")
)
def propose(act: Proposing, body: Proposal) -> Response:
    """Open a change from these files and gather its evidence. Runs on: look at the job."""
    Placed(body.after, body.beside)  # refuses both
    texts = uploaded(body.files)
    asked = body.model_dump(exclude={"by", "files"})
    return _begun(act, body, "propose", asked, texts)


@router.post("/changes/{id}/replan", **told("a job", 404, 409, status=202, shape="Job"))
def replan(act: Proposing, id: Id, body: Awaiting) -> Response:
    """Plan a deferred change again, once what it waits for is through."""
    return _begun(act, body, "replan", {"change": id, "after": body.after})


@router.post("/changes/{id}/prove", **told("a job", 404, 409, status=202, shape="Job"))
def prove(act: Proposing, id: Id, body: Signed) -> Response:
    """Make evidence anew whose rows were refreshed since; plan, slot and signatures stay."""
    return _begun(act, body, "prove", {"change": id})


def _begun(act: Act, body: Signed, kind: str, asked: dict[str, Any], texts: Any = None) -> Response:
    def work(workspace: Workspace, by: str) -> Answer:
        # Named by the request, so that a request cut off before its answer finds its job.
        wanted = Job(act.name(by), kind, by, workspace.source, asked)
        job = open_job(workspace, wanted, texts)
        act.stands.runner.look_at(job)
        return Answer(202, _shown(job), {"Location": f"/api/v1/jobs/{job.id}"})

    return act.do(body, work, status=202)


@router.get("/jobs/{id}", **told("how it stands, and what it said so far", 404, shape="Job"))
def job(ask: Reading, id: Id) -> Response:
    """A job: queued, running, done with a change, or failed with a problem."""
    found = find(ask.stands.workspace, id)
    ask.stands.runner.look_at(found)
    return answered(_shown(found))


def _shown(job: Job) -> dict[str, Any]:
    names = ("id", "kind", "state", "person", "said", "change", "error")
    body = job.to_json()
    return {name: body[name] for name in names}


# --- tokens ---------------------------------------------------------------------------


@router.get("/tokens", **told("as `interlock token list --json`", many=True, shape="Token"))
def listed(ask: Ruling) -> Response:
    """Every token there ever was, without its secret."""
    return answered([one.shown() for one in tokens.listed(ask.stands.workspace)])


@router.post("/tokens", **told("the token; a replay does not show it again", 409, shape="NewToken"))
def create(act: Admitting, body: TokenWish) -> Response:
    """Make a token. Its text is in this answer only."""
    wish = tokens.Wish(body.person, body.scopes, body.expires, body.environment)

    def work(workspace: Workspace, by: str) -> Answer:
        made = tokens.create(workspace, wish, by)
        return Answer(200, made.to_json(), kept=made.token.shown())

    return act.do(body, work)


@router.post("/tokens/{id}/revoke", **told("that it is revoked", 404))
def revoke(act: Admitting, id: Id, body: Ending) -> Response:
    """End a token: it lets nobody in from the next request on."""

    def work(workspace: Workspace, by: str) -> str:
        gone = tokens.revoke(workspace, id, by, body.reason)
        return f"token {gone.id} of {gone.person} is revoked"

    return act.do(body, work)
