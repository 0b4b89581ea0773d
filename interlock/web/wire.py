"""Prediction requests that came whole go from the parser to a turn, and their answers straight out.

For one row a task, its events and its messages cost more than the prediction. Everything else is
left to uvicorn and ASGI: other paths, bodies that come in parts, connections that end with the
answer, requests sent ahead of it, who does not read what he is told, a server that is leaving.
"""

from __future__ import annotations

import asyncio
import re
import time
from functools import partial
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from interlock.errors import InterlockError
from interlock.web import room
from interlock.web.batching import Busy
from interlock.web.gateway import DataPlane
from interlock.web.predictions import Question, Reply, Said, Slow, Wordy, refusal
from interlock.web.room import Room
from interlock.web.upstream import upstream_of

# What needs no decoding; all other paths take the long way.
_INFER = re.compile(rb"/v2/models/([\w.~-]+)(?:/versions/([\w.~@-]+))?/infer", re.ASCII)
_CLOSE = (b"connection", b"close")
_FRAMES = 8  # bytes that may stand around one of a body: a chunk has at least one


def protocol_of(plane: DataPlane) -> type[asyncio.Protocol]:
    """The protocol of a server whose predictions `plane` answers (`uvicorn.Config(http=...)`)."""
    return cast("type[asyncio.Protocol]", partial(Wire, plane, _Front(), plane.room))


class _Front:
    """The lines that uvicorn puts in front of each answer, written out once a second."""

    def __init__(self) -> None:
        self._of: object = None
        self._text = b""

    def text(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        if headers is not self._of:
            self._of, self._text = headers, _lines(headers)
        return self._text


class _Cycle:
    """What uvicorn's protocol asks of a request under way, for one that needs no events."""

    message_event = asyncio.Event()  # nobody waits for it
    response_complete = False
    disconnected = False
    keep_alive = True


class Wire(HttpToolsProtocol):
    """One connection."""

    _said: Said | None = None  # of a request that may go the short way, while its body comes
    _parts: list[bytes]
    _is_whole = False
    _came, _of_bodies = 0, 0  # bytes since a request began, and those of its body
    _until: float | None = None  # when what is coming has to be here; None: nothing is
    _reads_until: float | None = None  # the same, of somebody who does not read
    _unread = 0

    def __init__(
        self, plane: DataPlane, front: _Front, here: Room, *given: Any, **named: Any
    ) -> None:
        super().__init__(*given, **named)
        self._plane = plane
        self._front = front
        self._here = here

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._until = self.loop.time() + room.SLOWEST_HEAD
        if not self._here.enter(self, self.loop):
            self._plane.gateway.count("turned_away")
            self._end(Busy("as many callers as may be are connected already"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._here.leave(self)
        super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """Whether nobody asks anything here just now."""
        return not self._came if self.cycle is None else self._until is None and self._has_answered

    @property
    def _has_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def give_way(self) -> None:
        self._plane.gateway.count("hung_up")
        self.transport.close()

    def look(self, now: float) -> None:
        """End what takes longer than anybody should."""
        if self._until is not None and now > self._until:
            self._until = None
            self._plane.gateway.count("hung_up")
            self._end(Slow("the request did not come in time"))
        unread = self.transport.get_write_buffer_size()
        if not unread or unread < self._unread:
            self._reads_until = None
        elif self._reads_until is None:
            self._reads_until = now + room.SLOWEST_READER
        elif now > self._reads_until:
            self._plane.gateway.count("hung_up")
            self.transport.abort()
        self._unread = unread

    def _end(self, why: InterlockError) -> None:
        """The last that is said here; nothing, where an answer is under way."""
        if self._has_answered and not self.transport.is_closing():
            status, headers, body = refusal(why)
            front = self._front.text(self.server_state.default_headers)
            lines = _lines([*(one for one in headers if one != _CLOSE), _CLOSE])
            self.transport.write(b"".join([STATUS_LINE[status], front, lines, b"\r\n", body]))
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._until is None:
            self._began()
        self._came += len(data)
        super().data_received(data)
        said, self._said = self._said, None
        if self.transport.is_closing():
            return
        if self._came > room.LARGEST_HEAD + _FRAMES * self._of_bodies and self._until is not None:
            self._plane.gateway.count("hung_up")
            self._end(Wordy(f"the headers are larger than {room.LARGEST_HEAD} bytes"))
            return
        if said is None:
            return
        if self._is_whole:
            # Here, not in the parser: a mistake of ours is logged, and costs this connection only.
            self._ask(said)
        else:
            super().on_headers_complete()
            super().on_body(b"".join(self._parts))

    def on_message_begin(self) -> None:
        if self._said is not None:  # more was sent ahead of its answer
            self._ask(self._said)
            self._said = None
        self._began()
        super().on_message_begin()

    def _began(self) -> None:
        """Whoever begins a request has to end it."""
        self._until = self.loop.time() + room.SLOWEST_HEAD
        self._came, self._of_bodies = 0, 0

    def on_headers_complete(self) -> None:
        self._until = self.loop.time() + room.SLOWEST_REQUEST
        self._said = self._short()
        if self._said is None:
            super().on_headers_complete()
        else:
            self._parts, self._is_whole = [], False

    def on_body(self, body: bytes) -> None:
        self._of_bodies += len(body)
        if self._said is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        self._until = None
        if self._said is None:
            super().on_message_complete()
        else:
            self._is_whole = True

    def _ask(self, said: Said) -> None:
        cycle = _Cycle()
        self.cycle = cast("Any", cycle)
        tell = partial(self._tell, cycle, said)
        try:
            self._plane.batcher.put(Question(said, b"".join(self._parts), tell, self._gone))
        except InterlockError as error:
            tell(refusal(error))

    def _short(self) -> Said | None:
        """The request whose headers came, when nothing about it needs the long way."""
        found = _INFER.fullmatch(self.url)
        parser, cycle, plane = self.parser, self.cycle, self._plane
        if (
            found is None
            or (cycle is not None and not cycle.response_complete)
            or parser.get_method() != b"POST"
            or parser.get_http_version() != "1.1"
            or not parser.should_keep_alive()
            or parser.should_upgrade()
            or self.flow.write_paused
            or plane.gateway.draining
        ):
            return None
        carried = upstream_of(self.headers)
        if carried is not None and plane.upstream.lacks(carried):
            return None
        version = None if found[2] is None else found[2].decode()
        return Said(found[1].decode(), version, self.headers, carried, time.perf_counter())

    def _gone(self) -> bool:
        return self.transport.is_closing()

    def _tell(self, cycle: _Cycle, said: Said, reply: Reply) -> None:
        status, headers, body = reply
        self._plane.meter.note(status, time.perf_counter() - said.arrived)
        leaves = self._plane.gateway.draining or not cycle.keep_alive
        front = self._front.text(self.server_state.default_headers)
        lines = _lines([*headers, _CLOSE] if leaves else headers)
        self.transport.write(b"".join([STATUS_LINE[status], front, lines, b"\r\n", body]))
        cycle.response_complete = True
        if leaves:
            self.transport.close()
        self.on_response_complete()


def _lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % one for one in headers])
