"""Every no as `application/problem+json` (RFC 9457), made from the tree of errors.

`type` is a stable address of the error's code. The rest of what a command would say on
standard error stands beside it, with the exit code that the command would have had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from interlock.app.answers import error_json
from interlock.errors import InterlockError, NotFound, Unavailable, Unusable

MEDIA = "application/problem+json"
TYPE = "urn:interlock:error:"
STATUS = {
    "invalid": 422, "unusable": 422, "refused": 409, "conflict": 409, "stale": 409,
    "unidentified": 401, "denied": 403, "not-found": 404, "unavailable": 503, "corrupt": 503,
}  # fmt: skip
_TITLES = {
    "invalid": "Definitions are wrong", "unusable": "The request cannot be understood",
    "refused": "Not allowed", "conflict": "Another change holds what this needs",
    "unidentified": "Nobody is known who asks", "denied": "The token does not cover this",
    "stale": "Made against a state that has moved", "not-found": "Nothing has this address",
    "unavailable": "An engine does not answer", "corrupt": "Stored bytes are damaged",
}  # fmt: skip
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}

# The shape of a problem, for the description of the API.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "exit_code"],
    "properties": {
        "type": {"type": "string", "description": f"`{TYPE}` and the code of the error"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what happened, naming the thing"},
        "instance": {"type": "string", "description": "the path that was asked for"},
        "help": {"type": "string", "description": "what to do next"},
        "objections": {"type": "array", "items": {"type": "string"}},
        "problems": {"type": "array", "items": {"type": "object"}},
        "notes": {"type": "array", "items": {"type": "string"}},
        "exit_code": {"type": "integer", "description": "of the command that does the same"},
    },
}


def body_of(error: InterlockError, status: int, path: str) -> dict[str, Any]:
    """The problem that `error` is."""
    said = error_json(error)
    return {
        "type": TYPE + error.code,
        "title": _TITLES.get(error.code, "A mistake in Interlock"),
        "status": status,
        "detail": error.message,
        "instance": path,
        "help": error.help,
        **{name: said[name] for name in ("objections", "problems", "notes")},
        "exit_code": error.exit_code,
    }


def response(
    error: InterlockError,
    path: str,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer that says no with `error`."""
    status = status or STATUS.get(error.code, 500)
    more = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    text = json.dumps(body_of(error, status, path), default=str)
    return Response(text, status, {**HEADERS, **more, **(headers or {})}, MEDIA)


async def refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, InterlockError)
    # Who named the plan they looked at is told that the condition failed, not that they clash.
    moved = error.code == "stale" and "if-match" in request.headers
    return response(error, request.url.path, 412 if moved else None)


async def misunderstood(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [_sentence(one) for one in error.errors()]
    said = Unusable("the request cannot be understood", "mend what is listed", wrong)
    return response(said, request.url.path)


def _sentence(one: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in one.get("loc", ()))
    return f"{where}: {one.get('msg', 'is wrong')}"


async def http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status, path = error.status_code, request.url.path
    if status == 404:
        said: InterlockError = NotFound(
            f"nothing has the address {path}", "see /api/v1/openapi.json"
        )
    elif status in (429, 503):
        said = Unavailable(str(error.detail), "try again in a moment")
    else:
        said = Unusable(str(error.detail or HTTPStatus(status).phrase))
    return response(said, path, status, error.headers)


async def broken(request: Request, _: Exception) -> Response:
    said = InterlockError("this could not be done", "the log of the server says why")
    return response(said, request.url.path, 500)
