"""Following the Route of an environment, from a thread beside the service: events, else asking.

When a gateway saw the Route is told in the gateway's own seconds. The first thing it says on
a connection was said after we asked: so everything later on the same connection is placed at
or before its true moment on our own clock. Buffered, delayed or repeated events can only
shorten a lease, never lengthen it, and no clock that can be set takes part.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from math import isfinite
from typing import NamedTuple
from urllib.parse import urlsplit
from weakref import WeakSet

from interlock.client.elapsed import elapsed
from interlock.errors import Corrupt, InterlockError, Unavailable, Unusable
from interlock.serve.published import Published

ROUTE = "/interlock/route"
EVENTS = "/interlock/route/events"
LARGEST = 1 << 20  # bytes of one answer or event; more is no Route
FRUITLESS = 1.0  # seconds in which nobody waits again for an epoch that did not come


@dataclass(frozen=True)
class Pace:
    """Seconds: how long the Route may be trusted unseen, how often it is asked for where
    events do not come, how long to wait for a gateway's word, and when to connect anew."""

    lease: float = 3.0
    poll: float = 0.25
    patience: float = 1.0
    renew: float = 300.0


_started: WeakSet[Follower] = WeakSet()


def _follow_again() -> None:
    for one in tuple(_started):
        one.again()


os.register_at_fork(after_in_child=_follow_again)
Take = Callable[[Published, float], bool]


class Told(NamedTuple):
    """What a gateway said: the Route, when it saw it, and when it said so, in its seconds."""

    published: Published
    seen: float
    now: float


class Follower:
    """One thread that keeps a Route fresh from whichever of `urls` answers."""

    def __init__(
        self, urls: Sequence[str], pace: Pace, take: Take, count: Callable[[str], None]
    ) -> None:
        if not urls:
            raise Unusable("no gateway is named", help="give the address of at least one")
        self._urls = [_address(url) for url in urls]
        self._pace, self._take, self._count = pace, take, count
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._no_events_until = 0.0
        self._waited = 0.0
        self._events = 0
        self.heard = threading.Event()
        self.following: str | None = None
        self.error: str | None = None

    def start(self) -> None:
        """Follow, from a thread of this process and of each that is forked from it."""
        _started.add(self)
        self._thread = threading.Thread(target=self._run, name="interlock-client", daemon=True)
        self._thread.start()

    def again(self) -> None:
        """In a process that was just forked: no thread came along, and no lock can be trusted."""
        heard = self.heard.is_set()
        self._stop, self.heard = threading.Event(), threading.Event()
        if heard:
            self.heard.set()
        self.start()

    def stop(self) -> None:
        _started.discard(self)
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * self._pace.patience)

    def may_wait(self) -> bool:
        """Whether somebody may wait now for an epoch that was not told yet."""
        if elapsed() - self._waited < FRUITLESS:
            return False
        self._waited = elapsed()
        return True

    def _run(self) -> None:
        at = 0
        while not self._stop.is_set():
            url = self._urls[at % len(self._urls)]
            try:
                self._follow(url)
            except (InterlockError, OSError, HTTPException, ValueError) as error:
                self.error, self.following = f"{url}: {error}", None
                self._count("lost")
            at += 1
            # Round all of them at once, then a breath: a lease is not long.
            self._stop.wait(0.0 if at % len(self._urls) else self._pace.poll)

    def _follow(self, url: str) -> None:
        """Until this gateway has nothing new to say any more."""
        if time.monotonic() >= self._no_events_until:
            heard = self._events
            try:
                self._listen(url)
            except ConnectionRefusedError:
                raise
            except (InterlockError, OSError, HTTPException, ValueError):
                if self._events != heard:
                    raise  # it spoke, and broke off
                # A proxy that holds events back still answers a question.
                self._no_events_until = time.monotonic() + self._pace.lease
                self._count("no_events")
            return
        while time.monotonic() < self._no_events_until and not self._stop.is_set():
            began = elapsed()
            said = self._ask(url)
            self._hear(url, said, began - said.now)
            self._stop.wait(self._pace.poll)

    def _ask(self, url: str) -> Told:
        with closing(_connect(url, self._pace.patience)) as link:
            response = _get(link, ROUTE)
            ends = elapsed() + self._pace.patience
            return _told(b"".join(_chunks(response, ends)))

    def _listen(self, url: str) -> None:
        began, fresh, offset = elapsed(), elapsed(), None
        with closing(_connect(url, self._pace.patience)) as link:
            response = _get(link, EVENTS)
            for event in _events(_chunks(response, began + self._pace.renew)):
                if self._stop.is_set():
                    return
                said = _told(event)
                self._events += 1
                offset = began - said.now if offset is None else offset
                if self._hear(url, said, offset):
                    fresh = elapsed()
                if elapsed() - fresh > self._pace.lease / 2:
                    # It talks and has not seen the Route itself: ask another.
                    raise Unavailable("it has lost sight of the Route")
        if elapsed() - began < self._pace.patience:
            raise Unavailable("its events end at once")

    def _hear(self, url: str, said: Told, offset: float) -> bool:
        """Whether what was said is newer than what is known; `offset` turns its seconds to ours."""
        # Not after now: then even two clocks that drift apart cannot lend us time.
        seen = min(offset + said.seen, elapsed())
        news = self._take(said.published, seen)
        if news:
            self.following, self.error = url, None
            self.heard.set()
        return news


def _told(said: bytes) -> Told:
    body = json.loads(said)
    published = Published.from_json(body)
    seen, now = body.get("seen"), body.get("now")
    if not all(type(one) in (int, float) and isfinite(one) for one in (seen, now)):
        raise Corrupt("a gateway did not say when it saw the Route")
    return Told(published, seen, now)


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unusable(f"{url!r} is not the address of a gateway", help="http://host:port")
    return url.rstrip("/")


def _connect(url: str, patience: float) -> HTTPConnection:
    parts = urlsplit(url)
    made = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    return made(parts.hostname or "", parts.port, timeout=patience)


def _get(link: HTTPConnection, path: str) -> HTTPResponse:
    link.request("GET", path, headers={"accept": "application/json, text/event-stream"})
    response = link.getresponse()
    if response.status != 200:
        raise Unavailable(f"it said {response.status} to {path}")
    return response


def _chunks(response: HTTPResponse, until: float) -> Iterator[bytes]:
    """What comes, as it comes. Silence raises by the socket's timeout, `until` ends a trickle."""
    while elapsed() < until:
        chunk = response.read1(65536)
        if not chunk:
            return
        yield chunk


def _events(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The data of each server-sent event. An event that was cut off is dropped."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        if len(rest) > LARGEST:
            raise Unavailable("an event has no end")
        *whole, rest = rest.split(b"\n\n")
        for event in whole:
            data = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
            if data:
                yield b"\n".join(data)
