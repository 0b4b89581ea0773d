"""What the request being answered carries, and how it goes on to whoever is called for it.

It lives in a context variable: it follows `await` and `asyncio.to_thread`, and it does not
follow work handed to a pool of threads (wrap that with `contextvars.copy_context().run`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, TypeVar

from interlock.client.client import Assignment, Client
from interlock.errors import Stale
from interlock.serve.carried import BAGGAGE, HEADER, read_header, with_release
from interlock.serve.traced import HEADER as TRACE
from interlock.serve.traced import NOISE, STATE, entered, state_of


class HasHeaders(Protocol):
    """A request of httpx, requests or urllib."""

    @property
    def headers(self) -> MutableMapping[str, str]: ...


Request = TypeVar("Request", bound=HasHeaders)


@dataclass
class Carrying:
    """One request: the release it is answered from, the baggage and the trace that came with it."""

    assigned: Assignment
    baggage: tuple[str, ...] = ()
    trace: str = ""
    state: str = ""


_now: ContextVar[Carrying | None] = ContextVar("interlock_release", default=None)


def current() -> Assignment | None:
    """The release that this request is answered from; None outside of a request."""
    carrying = _now.get()
    return carrying.assigned if carrying else None


@contextmanager
def carrying(
    assigned: Assignment,
    baggage: tuple[str, ...] = (),
    traces: tuple[str, ...] = (),
    states: tuple[str, ...] = (),
) -> Iterator[Carrying]:
    """Inside, calls carry `assigned`. Middleware does this for every request.

    `traces` are the `traceparent` headers that came in; without a good one a journey begins.
    With it, what stands in `states` (`tracestate`) goes on.
    """
    step = entered(traces, os.urandom(NOISE)).text
    one = Carrying(assigned, baggage, step, state_of(traces, states))
    token = _now.set(one)
    try:
        yield one
    finally:
        _now.reset(token)


def outgoing_headers(baggage: str | None = None) -> dict[str, str]:
    """The headers for a call made on behalf of this request; empty outside of one.

    They name this request as the step that asks (W3C trace context). `baggage` is what the
    call would have sent anyway; without it, what came in goes on.
    """
    one = _now.get()
    if one is None:
        return {}
    lines = one.baggage if baggage is None else (baggage,)
    said = {TRACE: one.trace, STATE: one.state}
    trace = {name: text for name, text in said.items() if text}
    return {**with_release(one.assigned.carried, lines), **trace}


def carry(request: Request) -> Request:
    """Put the headers into a request of httpx, requests or urllib; the same request.

    `httpx.Client(event_hooks={"request": [carry]})`, `urlopen(carry(Request(url)))`,
    `requests.get(url, auth=carry)`.
    """
    mine = outgoing_headers(_said(request.headers, BAGGAGE))
    if _said(request.headers, TRACE) is not None:
        # A tracer has said already which of its steps is asking.
        mine = {name: said for name, said in mine.items() if name not in (TRACE, STATE)}
    request.headers.update(mine)
    return request


async def carry_async(request: Request) -> None:
    """The same, as a hook of `httpx.AsyncClient`."""
    carry(request)


def agree(headers: Mapping[str, str]) -> None:
    """Raises `Stale` when who was called answered from another release than this request's.

    That happens when a release is taken back between two calls. Nothing was decided yet:
    decide it again (`attempts`).
    """
    mine, said = current(), _said(headers, HEADER)
    if mine is None or said is None:
        return
    theirs = read_header(said)
    if theirs.release != mine.release:
        raise Stale(
            f"release {mine.release[:12]} was asked for and {theirs.release[:12]} answered",
            help="decide again: the Route moved in between",
        )


def attempts(client: Client) -> Iterator[Assignment]:
    """Releases to decide this request from, one after the other, until all who are asked agree.

    First what was assigned; then the stable one, which everybody knows, twice, as it may
    just have moved. A decision is whole, or it is not made.
    """
    one = _now.get()
    if one is None:
        return
    yield one.assigned
    for _ in range(2):
        client.count("decided_again")
        one.assigned = client.stable()
        yield one.assigned


def _said(headers: Mapping[str, str], name: str) -> str | None:
    """One header of a mapping that may or may not care about upper and lower case."""
    for key, value in headers.items():
        if key.lower() == name:
            return value
    return None
