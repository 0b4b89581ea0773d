"""Routes that only look: one call of `app` each, answered as the command answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from interlock.app import answers
from interlock.app.changes import all_changes, describe, evidence_of, held
from interlock.app.files import uploaded
from interlock.app.history import evidence as find_evidence
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.errors import Unusable
from interlock.web.api.people import Backing, Reading
from interlock.web.api.saying import Id, answered, told
from interlock.web.thinking import THINKING
from interlock.web.to_json import to_json

router = APIRouter()
MOST = 200

Filter = Annotated[str, Query(max_length=100)]


class Sent(BaseModel):
    """The definition files of a folder, by their path in it."""

    model_config = ConfigDict(extra="forbid")

    files: dict[str, str] = Field(description="path in the folder -> text")
    after: str = Field("", max_length=100, description="plan on what this change leads to")
    beside: str = Field("", max_length=100, description="as a candidate beside this change")


class Wanted(Sent):
    """What is asked about the plan of these files."""

    show: Literal["plan", "comment", "explain"] = "plan"
    explain: str = Field("", max_length=1000, description="with show=explain: an address")
    graph: bool = Field(False, description="with show=comment: also a picture of the impact")


class Queries(BaseModel):
    """Two versions of a query, and the tables they read."""

    model_config = ConfigDict(extra="forbid")

    old: str = Field(max_length=1_000_000)
    new: str = Field(max_length=1_000_000)
    schema_: str = Field("", alias="schema", max_length=4_000_000, description="YAML of tables")
    dialect: str = Field("duckdb", max_length=100)


@router.get("/me", **told("whose token this is, and what it may do", shape="Me"))
def me(ask: Reading) -> Response:
    """Who you are here."""
    who = ask.caller
    scopes = list(who.token.scopes) if who.token else []
    return answered({"person": who.person, "source": who.source, "scopes": scopes})


@router.get("/status", **told("as `interlock status --json`", shape="Status"))
def status(ask: Reading) -> Response:
    """What the environment runs, and its changes."""
    return answered(answers.status_json(describe(ask.stands.workspace, None)))


@router.get("/changes", **told("a page of changes, newest first", shape="Page"))
def changes(
    ask: Reading,
    state: Filter = "",
    author: Filter = "",
    open: bool | None = None,
    cursor: Annotated[str, Query(max_length=100, description="`next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
) -> Response:
    """Changes in brief. `next` is the cursor of the next page, null on the last."""
    found = [
        one
        for one in all_changes(ask.stands.workspace)
        if (not state or one.state == state.upper())
        and (not author or one.author == author)
        and (open is None or one.open == open)
    ]
    page = _from(found, cursor)[:limit]
    more = bool(page) and page[-1].id != found[-1].id
    body = {"changes": answers.changes_json(page), "next": page[-1].id if more else None}
    return answered(body)


def _from(found: list[Change], cursor: str) -> list[Change]:
    """What comes after `cursor`. Changes only appear before it, so no page skips or repeats."""
    if not cursor:
        return found
    number = cursor.removeprefix("CR-")
    if not number.isdigit() or len(number) > 12:
        raise Unusable(f"{cursor!r} is no cursor", help="send `next` of the page before")
    return [one for one in found if int(one.id.rpartition("-")[2]) < int(number)]


@router.get("/changes/{id}", **told("as `interlock status CR-n --json`", 404, shape="Standing"))
def change(ask: Reading, id: Id) -> Response:
    """One change, whole. Its ETag is the digest of its plan, which a signature names."""
    found = describe(ask.stands.workspace, id)
    digest = found.change.plan_digest if found.change else ""
    return answered(answers.status_json(found), headers={"ETag": f'"{digest}"'})


@router.get(
    "/changes/{id}/evidence", **told("every check that was made", 404, many=True, shape="Kept")
)
def evidence_made(ask: Reading, id: Id) -> Response:
    """The evidence of one change, in the order it was made."""
    record = ask.stands.workspace.record
    found = evidence_of(record, held(record, id).change)
    return answered([answers.evidence_json(one) for one in found])


@router.get(
    "/changes/{id}/timeline", **told("every transition, newest first", 404, many=True, shape="Move")
)
def timeline(ask: Reading, id: Id) -> Response:
    """What happened to a change, by whom and why."""
    stands = ask.stands
    held(stands.workspace.record, id)
    return answered(to_json(stands.desk.ledger.timeline(id)))


@router.get("/evidence/{digest}", **told("as `interlock evidence --json`", 404, shape="Kept"))
def evidence(ask: Reading, digest: Id) -> Response:
    """One stored check, by its digest or how that starts."""
    return answered(answers.evidence_json(find_evidence(ask.stands.workspace, digest)))


@router.get("/calendar", **told("as the page /calendar.json", shape="CalendarPage"))
def calendar(ask: Reading) -> Response:
    """What is booked and frozen in the next days."""
    return answered(to_json(ask.stands.desk.calendar()))


@router.get("/catalog", **told("as `interlock catalog --json`", many=True, shape="Listed"))
def catalog(
    ask: Reading,
    words: Annotated[str, Query(max_length=1000, description="each of them must occur")] = "",
) -> Response:
    """Everything that runs, or stands in the files of the server's folder."""
    from interlock.app.catalog import catalog as listed

    with _looking(ask.stands) as workspace:
        return answered([one.to_json() for one in listed(workspace, words.split())])


@router.get("/lineage", **told("as `interlock lineage --json`", 404, shape="Lineage"))
def lineage(
    ask: Reading,
    ref: Annotated[str, Query(max_length=1000, description="table:, column:, view:, ...")],
    direction: Literal["upstream", "downstream"] = "downstream",
    show: Literal["paths", "text", "mermaid"] = "paths",
) -> Response:
    """What a thing reads, or who reads it, in the files of the server's folder."""
    from interlock.impact.lineage import lineage as trace

    with _looking(ask.stands) as workspace:
        found = trace(workspace.facts, ref, direction)
    if show == "paths":
        return answered(found.to_json())
    return answered({"said": found.text() if show == "text" else found.mermaid()})


@router.post("/plan", **told("as `interlock plan --json`", 404, 409, shape="Planned"))
def plan(ask: Reading, wanted: Wanted) -> Response:
    """What these files would change here, what breaks or moves, and who must sign."""
    from interlock.app.planning import look
    from interlock.plan.comment import comment, marker

    with _looking(ask.stands, wanted.files) as workspace:
        found = look(workspace, wanted.after, wanted.beside)
        if wanted.show == "explain":
            why = found.why(wanted.explain)
            return answered({"why": why.to_json(), "said": why.text()})
        if wanted.show == "comment":
            text = comment(found.plan, found.graph() if wanted.graph else None)
            return answered({"marker": marker(found.plan), "body": text, **_verdict(found.plan)})
        return answered(answers.plan_json(found.plan))


def _verdict(made: Any) -> dict[str, Any]:
    """What the exit code of `plan` says."""
    return {"empty": made.empty, "objections": list(made.objections)}


@router.post("/compare", **told("as `interlock compare --json`", shape="Compared"))
def compare(_: Reading, queries: Queries) -> Response:
    """What a new version of a query changes: its rows, and each of its columns."""
    from interlock.app.comparing import Text, compare_texts

    old, new = Text("old", queries.old), Text("new", queries.new)
    schema = Text("schema", queries.schema_) if queries.schema_ else None
    with THINKING:
        return answered(compare_texts(old, new, schema, queries.dialect).to_json())


@contextmanager
def _looking(stands: Backing, files: dict[str, str] | None = None) -> Iterator[Workspace]:
    """The environment as it is, with these files or those of the folder as they are now.

    On the record that is open: SQLite does not like to be opened here twice.
    """
    texts = uploaded(files) if files is not None else None
    known = stands.workspace
    with THINKING:
        yield known.acting(known.source, texts)
