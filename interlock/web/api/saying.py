"""How routes answer: the JSON of the commands, and every no that a route may say, described."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Path
from starlette.responses import Response

from interlock.web.api.problems import HEADERS, MEDIA, SCHEMA
from interlock.web.api.shapes import ref, shapes

Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,100}$", description="the change, as CR-12")]
_NO = {"$ref": "#/components/schemas/Problem"}
_WHY = {
    401: "nobody is known who asks", 403: "the token does not cover this",
    404: "nothing has this address", 409: "refused: each objection is listed",
    412: "the plan is not the one that was looked at", 413: "the body is too large",
    422: "the request or the definitions are wrong: each mistake is listed",
    428: "say with If-Match which plan you looked at",
    429: "too many requests at once: Retry-After says when to come again",
    500: "a mistake in Interlock", 503: "an engine does not answer; try again",
}  # fmt: skip
ALWAYS = (401, 403, 413, 422, 429, 500, 503)


def answered(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`body` as a command prints it with `--json`."""
    text = json.dumps(body, default=str)
    return Response(text, status, {**HEADERS, **(headers or {})}, "application/json")


def answered_as(media: str, data: bytes) -> Response:
    """`data` as it is, for what is no JSON."""
    return Response(data, 200, HEADERS, media)


def told(
    what: str, *more: int, shape: str = "Said", status: int = 200, many: bool = False
) -> dict[str, Any]:
    """For a route's decorator: `what` it answers, in which shape, in which ways it says no."""
    one = ref(shape)
    shape_ = {"type": "array", "items": one} if many else one
    return _described(what, {"application/json": {"schema": shape_}}, more, status)


def sent(media: str, what: str, *more: int) -> dict[str, Any]:
    """The same for a route that answers with something else than JSON."""
    binary = {} if media.startswith("text/") else {"format": "binary"}
    made = _described(what, {media: {"schema": {"type": "string", **binary}}}, more, 200)
    return {**made, "response_class": Response}  # else JSON would be described beside it


def _described(what: str, content: Any, more: Sequence[int], status: int) -> dict[str, Any]:
    yes = {"description": what, "content": content}
    noes = {code: _no(code) for code in sorted({*ALWAYS, *more})}
    return {"status_code": status, "responses": {status: yes, **noes}, "response_model": None}


def _no(status: int) -> dict[str, Any]:
    return {"description": _WHY[status], "content": {MEDIA: {"schema": _NO}}}


def with_problem(schema: dict[str, Any]) -> dict[str, Any]:
    """The description of the API, with the shapes of answers and of a problem in it."""
    parts = schema.setdefault("components", {}).setdefault("schemas", {})
    taken = sorted(set(parts) & set(made := shapes()))
    assert not taken, f"two shapes are called {', '.join(taken)}"
    parts |= made
    parts["Problem"] = SCHEMA
    for unused in ("HTTPValidationError", "ValidationError"):
        parts.pop(unused, None)
    return schema
