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
from interlock.web.gateway import DataPlane
from interlock.web.predictions import Question, Reply, Said, refusal
from interlock.web.upstream import upstream_of

# What needs no decoding; all other paths take the long way.
_INFER = re.compile(rb"/v2/models/([\w.~-]+)(?:/versions/([\w.~@-]+))?/infer", re.ASCII)
_CLOSE = (b"connection", b"close")


def protocol_of(plane: DataPlane) -> type[asyncio.Protocol]:
    """The protocol of a server whose predictions `plane` answers (`uvicorn.Config(http=...)`)."""
    return cast("type[asyncio.Protocol]", partial(Wire, plane, _Front()))


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

    def __init__(self, plane: DataPlane, front: _Front, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._plane = plane
        self._front = front

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        said, self._said = self._said, None
        if said is None or self.transport.is_closing():
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
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._said = self._short()
        if self._said is None:
            super().on_headers_complete()
        else:
            self._parts, self._is_whole = [], False

    def on_body(self, body: bytes) -> None:
        if self._said is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
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
        if self.transport.is_closing():
            return
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
