"""One prediction request at the door: from its headers and bytes to those of its answer.

However a request came in, by ASGI or by the short way (`wire`), it is read and answered here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import orjson

from interlock.app.asked import Answered, Ask
from interlock.app.chance import chance
from interlock.errors import InterlockError, NotFound, Unavailable, Unusable
from interlock.serve import traced
from interlock.serve.carried import Carried
from interlock.web import oip, tensors
from interlock.web.batching import Busy

RELEASE_HEADER = b"x-interlock-release"
_TRACE, _TRACED = traced.HEADER.encode(), traced.RESPONSE.encode()
_JSON = (b"content-type", b"application/json")
_BYTES = (b"content-type", b"application/octet-stream")
_ENCODING = b"content-encoding"


class Slow(Unusable):
    """The caller began a request and did not go on with it."""


class TooLarge(Unusable):
    """More bytes than any request needs."""


class Wordy(TooLarge):
    """More bytes of headers than any request needs."""


class Said(NamedTuple):
    """A request line and headers; `carried` is the release in them, if any.

    `arrived` is by `perf_counter`: from then on the caller waits.
    """

    model: str
    version: str | None
    headers: list[tuple[bytes, bytes]]
    carried: Carried | None
    arrived: float


class Reply(NamedTuple):
    """What the caller gets. No header holds what somebody sent, but for ids that were read."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Question:
    """A request that waits for its turn. `tell` is called once, with the answer or the refusal;
    `gone` says whether there is still somebody to tell."""

    __slots__ = ("_body", "_inquiry", "_said", "_tell", "gone")

    def __init__(
        self, said: Said, body: bytes, tell: Callable[[Reply], None], gone: Callable[[], bool]
    ) -> None:
        self._said = said
        self._body = body
        self._tell = tell
        self.gone = gone
        self._inquiry: oip.Inquiry | None = None

    def ask(self) -> Ask:
        """What is asked; raises `Unusable`."""
        self._inquiry = oip.parse(_door(self._said), self._body)
        return self._inquiry.ask

    def told(self, found: Answered | InterlockError) -> None:
        inquiry = self._inquiry
        if isinstance(found, InterlockError):
            self._tell(refusal(found, inquiry))
        elif inquiry is not None:  # else nothing was asked
            self._tell(_reply(inquiry, found))


def refusal(error: InterlockError, inquiry: oip.Inquiry | None = None) -> Reply:
    """What somebody is told whose request is not answered."""
    body = orjson.dumps({"error": error.message})
    headers = [_JSON, *_traced(inquiry)]
    if isinstance(error, Busy):
        headers.append((b"retry-after", str(error.after).encode()))
    if isinstance(error, Slow | TooLarge):  # what still comes belongs to no request
        headers.append((b"connection", b"close"))
    headers.append((b"content-length", str(len(body)).encode()))
    return Reply(_status(error), headers, body)


def _reply(inquiry: oip.Inquiry, answered: Answered) -> Reply:
    reasons = answered.column("reasons")
    headers = [_JSON, *_traced(inquiry)]
    json_length = None
    if "error" in reasons and all(reason == "error" for reason in reasons):
        # Nothing could be said about any row, and no fallback is declared.
        status, body = 503, orjson.dumps({"error": answered.column("errors")[0]})
    else:
        status, (body, json_length) = 200, oip.reply(inquiry, answered)
    if len(answered.shares) == 1:
        # Only when one release answered the whole request: downstream must not have to guess.
        release = f"{answered.shares[0][1].release};e={answered.epoch}"
        headers.append((RELEASE_HEADER, release.encode()))
    if json_length is not None:
        headers[0] = _BYTES
        headers.append((tensors.HEADER, str(json_length).encode()))
    headers.append((b"content-length", str(len(body)).encode()))
    return Reply(status, headers, body)


def _traced(inquiry: oip.Inquiry | None) -> list[tuple[bytes, bytes]]:
    trace = inquiry.ask.trace if inquiry else None
    return [(_TRACED, trace.text.encode())] if trace else []


def _door(said: Said) -> oip.Door:
    by_name = dict(said.headers)
    if by_name.get(_ENCODING, b"identity") != b"identity":
        raise Unusable("the body is compressed; send it as it is, without content-encoding")
    length, traces = by_name.get(tensors.HEADER), []
    if _TRACE in by_name:
        traces = [v.decode("latin-1") for k, v in said.headers if k == _TRACE]
    return oip.Door(
        said.model, said.version, said.carried and said.carried.text, said.arrived,
        None if length is None else length.decode("latin-1"),
        traced.entered(traces, chance(traced.NOISE)),
    )  # fmt: skip


def _status(error: InterlockError) -> int:
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, Busy):
        return 429
    if isinstance(error, Slow):
        return 408
    if isinstance(error, TooLarge):
        return 431 if isinstance(error, Wordy) else 413
    return 503 if isinstance(error, Unavailable) else 400
