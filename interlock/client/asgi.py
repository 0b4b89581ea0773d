"""ASGI middleware: one subject, one release, from the edge to everybody behind it.

Light: it needs no framework. At the edge it assigns once, by a function that finds the
subject in a request; without that function it takes the release that upstream carried.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from interlock.client.carry import carrying
from interlock.client.client import Assignment, Client
from interlock.errors import InterlockError, Stale
from interlock.rollout.cohort import NOTHING
from interlock.serve.carried import BAGGAGE, HEADER, Carried, carried
from interlock.serve.traced import HEADER as TRACE
from interlock.serve.traced import STATE

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CATCH_UP, LOOK = 0.25, 0.005  # seconds to wait for an epoch that upstream knows, between looks
_HEADER, _BAGGAGE = HEADER.encode(), BAGGAGE.encode()
_TRACE, _STATE = TRACE.encode(), STATE.encode()
# All that may begin an answer; a websocket that is refused answers like HTTP.
_BEGINS = frozenset(("http.response.start", "websocket.accept", "websocket.http.response.start"))


class OneRelease:
    """`app`, answering each request from one release.

    With `subject` this is the edge: what the outside says of a release is not believed, and
    the subject of the request (a function of the ASGI scope) decides; None, no subject, is
    the stable release. `about` gives what is known of it, for stages that only some take part
    in. Without `subject`, upstream has decided. Until a Route is known,
    requests are answered 503. `Stale`, raised by `app` before it answers, becomes a 409.
    """

    def __init__(
        self,
        app: App,
        client: Client,
        subject: Callable[[Scope], str | None] | None = None,
        about: Callable[[Scope], Mapping[str, object]] = lambda _: NOTHING,
    ) -> None:
        self.app, self.client, self.subject, self.about = app, client, subject, about

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = [(bytes(k), bytes(v)) for k, v in scope["headers"]]
        baggage = _lines(headers, _BAGGAGE)
        try:
            assigned = await self._assigned(scope, headers, baggage)
        except InterlockError as error:
            await _refuse(scope, send, 503, error)
            return
        traces, states = _lines(headers, _TRACE), _lines(headers, _STATE)
        with carrying(assigned, baggage, traces, states) as one:
            mine = (_HEADER, one.assigned.carried.text.encode())
            others = [(k, v) for k, v in headers if k != _HEADER]
            answer = _Answer(send, lambda: one.assigned)
            try:
                await self.app({**scope, "headers": [*others, mine]}, receive, answer)
            except Stale as error:
                if answer.began and scope["type"] == "http":
                    raise
                await _refuse(scope, answer, 409, error)

    async def _assigned(
        self, scope: Scope, headers: list[tuple[bytes, bytes]], baggage: tuple[str, ...]
    ) -> Assignment:
        if self.subject is not None:
            subject = self.subject(scope)
            if subject is None:
                self.client.count("no_subject")
                return self.client.stable()
            return self.client.assign(subject, self.about(scope))
        said = carried(_lines(headers, _HEADER), baggage)
        await self._catch_up(said)
        return self.client.accept(said)

    async def _catch_up(self, said: Carried | None) -> None:
        """A moment for the Route to arrive, when upstream has seen a later one."""
        if not self.client.behind(said):
            return
        for _ in range(int(CATCH_UP / LOOK)):
            if said is None or self.client.epoch >= said.epoch:
                return
            await asyncio.sleep(LOOK)


class _Answer:
    """`send`, which puts the release into the headers of the answer, and knows if it began."""

    def __init__(self, send: Send, assigned: Callable[[], Assignment]) -> None:
        self._send, self._assigned, self.began = send, assigned, False

    async def __call__(self, message: Message) -> None:
        if message["type"] in _BEGINS:
            self.began = True
            given = [(k, v) for k, v in message.get("headers", ()) if k.lower() != _HEADER]
            mine = (_HEADER, self._assigned().carried.text.encode())
            message = {**message, "headers": [*given, mine]}
        await self._send(message)


def _lines(headers: list[tuple[bytes, bytes]], name: bytes) -> tuple[str, ...]:
    return tuple(value.decode("latin-1") for key, value in headers if key.lower() == name)


async def _refuse(scope: Scope, send: Send, status: int, error: InterlockError) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1013, "reason": error.message[:100]})
        return
    body = json.dumps({"error": error.message, "help": error.help}).encode()
    headers = [(b"content-type", b"application/json"), (b"retry-after", b"1")]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
