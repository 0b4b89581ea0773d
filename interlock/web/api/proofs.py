"""Routes of proof: the audit, bundles, and policies tried, replayed and explained."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from interlock.app import answers
from interlock.app import audit as log
from interlock.web.api.people import Reading
from interlock.web.api.saying import Id, answered, answered_as, sent, told
from interlock.web.thinking import THINKING

router = APIRouter()
BUNDLE = "application/zip"


@router.get("/audit", **told("as `interlock audit verify --json`", 409, shape="Audited"))
def audit(
    ask: Reading,
    against: Annotated[
        list[str] | None, Query(max_length=20, description="earlier checkpoints, or SIZE:ROOT")
    ] = None,
    key: Annotated[str, Query(max_length=1000, description="the public key that signed")] = "",
) -> Response:
    """Whether anything in the record was edited, moved or removed since it was written."""
    return answered(answers.audited_json(log.audit(ask.stands.workspace, against or (), key)))


@router.get("/audit/checkpoint", **told("as `interlock audit checkpoint --json`"))
def checkpoint(ask: Reading) -> Response:
    """How far the audit has come, signed. Keep it where the record's writers cannot reach."""
    return answered({"said": log.checkpoint(ask.stands.workspace).rstrip("\n")})


@router.get("/audit/key", **told("as `interlock audit checkpoint --key --json`", 404))
def key(ask: Reading) -> Response:
    """The public key that signs checkpoints and bundles. Learn it by another way too."""
    return answered({"said": str(log.log_key(ask.stands.workspace))})


@router.get("/audit/proof", **told("as `interlock audit prove`", 404, 409, shape="Proof"))
def proof(
    ask: Reading,
    ref: Annotated[str, Query(max_length=1000, description="change:CR-12 or route:prod")],
    version: Annotated[int, Query(le=2**53, description="0: the newest")] = 0,
) -> Response:
    """That an entry is in the audit: `interlock verify` checks it, without this server."""
    return answered(log.prove(ask.stands.workspace, ref, version or None))


@router.get("/changes/{id}/bundle", **sent(BUNDLE, "one signed archive", 404, 409))
def bundle(ask: Reading, id: Id) -> Response:
    """Everything about a change as one signed archive that anybody can check."""
    from interlock.app.bundle import bundle as export

    return answered_as(BUNDLE, export(ask.stands.workspace, id))


# --- policies -------------------------------------------------------------------------


class Policies(BaseModel):
    """Policies and the cases they are tested by, by path as in a folder."""

    model_config = ConfigDict(extra="forbid")

    files: dict[str, str]


class Trial(Policies):
    """`cases` stand in the place of the folder's own; they may come from anywhere."""

    cases: dict[str, str] = Field(default={}, max_length=1000)


@router.post("/policies/test", **told("as `interlock policy test --json`", 404, shape="Tried"))
def tested(_: Reading, body: Trial) -> Response:
    """Try every case against these policies. Nothing of the server's own is asked."""
    from interlock.app.policies import run_texts

    with THINKING:
        return answered(run_texts(body.files, body.cases).to_json())


@router.post("/policies/replay", **told("as `interlock policy replay --json`", shape="Replays"))
def replayed(ask: Reading, body: Policies) -> Response:
    """Which past decisions would have come out otherwise under these policies."""
    from interlock.app.policies import replay_under

    with THINKING:
        return answered(replay_under(ask.stands.workspace, body.files).to_json())


@router.get(
    "/changes/{id}/policies",
    **told("as `interlock policy explain --json`", 404, 409, shape="Explained"),
)
def explained(
    ask: Reading,
    id: Id,
    by: Annotated[str, Query(max_length=100, description="who would act")] = "controller",
    action: Annotated[str, Query(max_length=100, description="only this, as start")] = "",
) -> Response:
    """What must still become true before the policies allow each action on a change."""
    from interlock.app.policies import explain

    with THINKING:
        return answered(explain(ask.stands.workspace, id, by, action).to_json())
