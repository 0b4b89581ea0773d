"""WSGI middleware: the same as `interlock.client.asgi`, for services that answer in threads."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import Context, copy_context
from typing import Any

from interlock.client.asgi import CATCH_UP, LOOK
from interlock.client.carry import Carrying, carrying
from interlock.client.client import Assignment, Client
from interlock.errors import InterlockError, Stale
from interlock.rollout.cohort import NOTHING
from interlock.serve.carried import HEADER, carried

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]
_RELEASE, _BAGGAGE = "HTTP_X_INTERLOCK_RELEASE", "HTTP_BAGGAGE"
_TRACE, _STATE = "HTTP_TRACEPARENT", "HTTP_TRACESTATE"


class OneRelease:
    """`app`, answering each request from one release; `subject` and `about` are functions of
    `environ`."""

    def __init__(
        self,
        app: App,
        client: Client,
        subject: Callable[[Environ], str | None] | None = None,
        about: Callable[[Environ], Mapping[str, object]] = lambda _: NOTHING,
    ) -> None:
        self.app, self.client, self.subject, self.about = app, client, subject, about

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        baggage, traces, states = (
            (environ[name],) if name in environ else () for name in (_BAGGAGE, _TRACE, _STATE)
        )
        try:
            assigned = self._assigned(environ, baggage)
        except InterlockError as error:
            return _refuse(start_response, "503 Service Unavailable", error)
        # A context of its own: whoever goes on with the body, in whichever thread, is inside of
        # this request, and nobody else is, also where the body is never closed.
        with carrying(assigned, baggage, traces, states) as one:
            inside = copy_context()
        start = _Start(start_response, one)
        try:
            body = inside.run(self.app, {**environ, _RELEASE: assigned.carried.text}, start)
        except Stale as error:
            if start.began:
                raise
            return _refuse(start, "409 Conflict", error)
        return _Body(body, inside)

    def _assigned(self, environ: Environ, baggage: tuple[str, ...]) -> Assignment:
        if self.subject is not None:
            subject = self.subject(environ)
            if subject is None:
                self.client.count("no_subject")
                return self.client.stable()
            return self.client.assign(subject, self.about(environ))
        said = carried([environ[_RELEASE]] if _RELEASE in environ else [], baggage)
        ends = time.monotonic() + (CATCH_UP if self.client.behind(said) else 0.0)
        while said is not None and self.client.epoch < said.epoch and time.monotonic() < ends:
            time.sleep(LOOK)
        return self.client.accept(said)


class _Start:
    """`start_response`, which names the release that the answer is from."""

    def __init__(self, start: StartResponse, one: Carrying) -> None:
        self._start, self._one, self.began = start, one, False

    def __call__(self, status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        self.began = True
        given = [(k, v) for k, v in headers if k.lower() != HEADER]
        return self._start(status, [*given, (HEADER, self._one.assigned.carried.text)], *more)


class _Body:
    """What the app answers: a generator has not begun yet, and begins inside of the request."""

    def __init__(self, body: Iterable[bytes], inside: Context) -> None:
        self._body, self._inside = body, inside

    def __iter__(self) -> Iterator[bytes]:
        parts = self._inside.run(iter, self._body)
        while (part := self._inside.run(next, parts, None)) is not None:
            yield part

    def close(self) -> None:
        self._inside.run(getattr(self._body, "close", lambda: None))


def _refuse(start: StartResponse, status: str, error: InterlockError) -> list[bytes]:
    body = json.dumps({"error": error.message, "help": error.help}).encode()
    headers = [("content-type", "application/json"), ("retry-after", "1")]
    start(status, [*headers, ("content-length", str(len(body)))])
    return [body]
