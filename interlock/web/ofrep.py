"""OFREP 0.3: the release of a subject as flags, over HTTP (`serve/flags.py` says which).

A bare ASGI handler: one evaluation is one hash, and a framework around it would cost more
than that. What can be answered is written out once per Route, for each arm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson
from starlette.types import Receive, Scope, Send

from interlock.app.releases import Live
from interlock.app.serving import Gateway
from interlock.define.digest import digest
from interlock.errors import Unavailable
from interlock.rollout.cohort import unknown
from interlock.serve.flags import flag_of, keys_of
from interlock.serve.scoring import Loaded
from interlock.web.bodies import read_body
from interlock.web.predictions import Slow, TooLarge
from interlock.web.upstream import upstream_of

PATH = "/ofrep/v1/evaluate/flags"
LARGEST_BODY, SLOWEST_BODY = 64 * 1024, 20.0  # bytes, seconds
_JSON = (b"content-type", b"application/json")
Header = tuple[bytes, bytes]


class Wrong(Exception):
    """An error of the protocol: its code, a status, and words."""

    def __init__(self, code: str, status: int, details: str) -> None:
        super().__init__(details)
        self.code, self.status, self.details = code, status, details


class Written(NamedTuple):
    """Every answer for one arm and release, as bytes."""

    one: dict[str, bytes]
    all: bytes
    tag: bytes


class Flags:
    """The ASGI application of the two routes below `PATH`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._live: Live | None = None
        self._written: dict[tuple[str, str], Written] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = scope["path"][len(PATH) + 1 :] or None
        headers: tuple[Header, ...] = ()
        try:
            if scope["path"][len(PATH) :][:1] not in ("", "/"):
                raise Wrong("GENERAL", 404, f"flags are evaluated at {PATH}")
            if scope["method"] != "POST":
                headers = ((b"allow", b"POST"),)
                raise Wrong("GENERAL", 405, "flags are evaluated by POST")
            given = await read_body(receive, LARGEST_BODY, SLOWEST_BODY)
            if given is None:
                return
            written = self._found(scope, given)
            if key is None:
                status, body, headers = _all(written, scope["headers"])
            elif key in written.one:
                status, body = 200, written.one[key]
            else:
                raise Wrong("FLAG_NOT_FOUND", 404, f"known flags: {', '.join(written.one)}")
        except (Slow, TooLarge) as error:
            headers = ((b"connection", b"close"),)  # what still comes belongs to no request
            status, body = _refusal(_unread(error), key)
        except (Wrong, Unavailable) as error:
            status, body = _refusal(error, key)
        if status != 304:  # which has nothing to measure
            headers = (*headers, _JSON, (b"content-length", str(len(body)).encode()))
        start = {"type": "http.response.start", "status": status}
        await send({**start, "headers": [*headers]})
        await send({"type": "http.response.body", "body": body})

    def _found(self, scope: Scope, body: bytes) -> Written:
        """The answers for the subject, or for the release that upstream decided on."""
        subject, about = _subject(body)
        live = self._gateway.live()
        upstream = upstream_of(scope["headers"])
        if upstream is None:
            found: tuple[str, Loaded] | None = live.assign(subject, about)
            if live.route.filter and unknown(live.route.filter, about):
                self._gateway.count("no_attribute")
        else:
            found = live.carried(upstream.release)
        if found is None:
            self._gateway.count("unknown_release")
            found = "pinned", live.stable
        arm, loaded = found
        return self._write_out(live, arm, loaded.spec.release)

    def _write_out(self, live: Live, arm: str, release: str) -> Written:
        if live is not self._live:
            self._live, self._written = live, {}
        known = self._written.get((arm, release))
        if known is None:
            keys = keys_of(live.stable.spec.services)
            flags = [flag_of(key, live.route, live.epoch, release, arm).to_json() for key in keys]
            body = {"flags": flags}
            one = {flag["key"]: orjson.dumps(flag) for flag in flags}
            known = Written(one, orjson.dumps(body), f'"{digest(body)[:32]}"'.encode())
            self._written[arm, release] = known
        return known


def _unread(error: Slow | TooLarge) -> Wrong:
    if isinstance(error, Slow):
        return Wrong("GENERAL", 408, error.message)
    return Wrong("INVALID_CONTEXT", 400, error.message)


def _subject(body: bytes) -> tuple[str, Mapping[str, object]]:
    """The subject, and what else the caller says of it."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Wrong("PARSE_ERROR", 400, f"the body is not JSON: {error}") from error
    context = said.get("context") if isinstance(said, dict) else None
    if not isinstance(context, dict):
        raise Wrong("INVALID_CONTEXT", 400, "the body needs an object `context`")
    key = context.get("targetingKey")
    if not isinstance(key, str) or not key:
        raise Wrong("TARGETING_KEY_MISSING", 400, "context.targetingKey is the subject, as text")
    return key, context


def _all(written: Written, headers: Sequence[Header]) -> tuple[int, bytes, tuple[Header, ...]]:
    """Every flag; nothing when the caller holds just that already."""
    tag = ((b"etag", written.tag),)
    lines = [value for name, value in headers if name == b"if-none-match"]
    held = {one.strip().removeprefix(b"W/") for one in b",".join(lines).split(b",")}
    if written.tag in held or b"*" in held:
        return 304, b"", tag
    return 200, written.all, tag


def _refusal(wrong: Wrong | Unavailable, key: str | None) -> tuple[int, bytes]:
    if isinstance(wrong, Unavailable):
        wrong = Wrong("PROVIDER_NOT_READY" if key is None else "GENERAL", 503, wrong.message)
    body = {"errorCode": wrong.code, "errorDetails": wrong.details}
    return wrong.status, orjson.dumps(body if key is None else {"key": key, **body})
