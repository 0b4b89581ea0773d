"""The way to a server: one request, its JSON, and every no as the error that it was there.

What does something carries a key of its own, so that a connection that breaks is tried
again without anything being done twice.
"""

from __future__ import annotations

import http.client
import json
import os
import stat
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from interlock.errors import InterlockError, Refused, Unavailable, Unusable

PREFIX = "/api/v1"
TRIES, PAUSE_SECONDS, TIMEOUT_SECONDS = 4, 0.5, 120.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TYPE = "urn:interlock:error:"


@dataclass(frozen=True)
class Answer:
    """What a server said: its JSON, and the headers that came with it (lower case)."""

    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True)
class _Raw:
    """An answer before anybody looked into it."""

    status: int
    said: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Client:
    """A server, and the token that is shown there. Raises what the server raised."""

    url: str
    token: str = ""
    environment: str = "prod"

    def get(self, path: str, **query: str | Sequence[str]) -> Any:
        """The JSON of `path`; empty values of `query` are left out."""
        return self.ask("GET", path + _query(query)).body

    def post(self, path: str, body: Mapping[str, Any], match: str = "") -> Any:
        """Do something, once, however often the connection breaks."""
        named = {"Idempotency-Key": uuid.uuid4().hex, **({"If-Match": match} if match else {})}
        return self.ask("POST", path, json.dumps(body).encode(), named).body

    def fetch(self, path: str) -> bytes:
        """What `path` answers that is no JSON, as it is."""
        return self._tried("GET", path, b"", {}).said

    def ask(
        self, method: str, path: str, body: bytes = b"", more: Mapping[str, str] | None = None
    ) -> Answer:
        """One request, and its JSON."""
        raw = self._tried(method, path, body, more or {})
        return Answer(_json(raw.said, self.url, raw.status), raw.headers)

    def _tried(self, method: str, path: str, body: bytes, more: Mapping[str, str]) -> _Raw:
        """One request, tried again while nobody answers."""
        for left in reversed(range(TRIES)):
            try:
                return self._ask(method, path, body, {**self._headers(), **more})
            except (OSError, http.client.HTTPException) as error:
                if not left:
                    raise Unavailable(
                        f"{self.url} does not answer: {error or type(error).__name__}",
                        help="is the address right, and does the server run?",
                    ) from error
                time.sleep(PAUSE_SECONDS)
        raise AssertionError("unreachable: the last try answers or raises")

    def _headers(self) -> dict[str, str]:
        shown = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {
            "Accept": "application/json, */*",
            "X-Interlock-Environment": self.environment,
            **shown,
        }

    def _ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> _Raw:
        typed = {**headers, "Content-Type": "application/json"} if body else dict(headers)
        at = urlsplit(self.url)
        kind = http.client.HTTPSConnection if at.scheme == "https" else http.client.HTTPConnection
        connection = kind(at.hostname or "", at.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, at.path.rstrip("/") + PREFIX + path, body or None, typed)
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        if answer.status >= 400:
            raise error_in(_json(said, self.url, answer.status), answer.status)
        return _Raw(answer.status, said, found)


def _query(query: Mapping[str, str | Sequence[str]]) -> str:
    given = {name: value for name, value in query.items() if value}
    return f"?{urlencode(given, doseq=True)}" if given else ""


def part(text: str) -> str:
    """`text` as one part of a path."""
    return quote(text, safe="") or "-"


def _json(said: bytes, url: str, status: int) -> Any:
    try:
        return json.loads(said)
    except ValueError as error:
        raise Unavailable(
            f"{url} answers {status} with something that is not JSON",
            help="is this the address of `interlock serve`?",
        ) from error


def error_in(problem: Any, status: int) -> InterlockError:
    """The error that a problem (RFC 9457) was made from."""
    from interlock.app.answers import error_of

    if not isinstance(problem, Mapping) or not str(problem.get("type", "")).startswith(_TYPE):
        return Unavailable(f"the server answers {status}: {problem}", "see its log")
    code = str(problem["type"]).removeprefix(_TYPE)
    return error_of({**problem, "error": code, "message": problem.get("detail", "")})


def client(url: str, environment: str) -> Client:
    """The way to the server at `url`; raises `Unusable` or `Refused` before anything is sent."""
    at = urlsplit(url)
    if at.scheme not in ("http", "https") or not at.hostname or at.query or at.username:
        raise Unusable(f"{url!r} is no address of a server", help="write https://host:port")
    token = shown_token(os.environ)
    plain = at.scheme == "http" and at.hostname not in LOOPBACK
    if token and plain and not os.environ.get("INTERLOCK_PLAIN_HTTP"):
        raise Refused(
            f"the token would go to {at.hostname} for everybody in between to read",
            help="use https://, or set INTERLOCK_PLAIN_HTTP=1 where the way is safe",
        )
    return Client(url.rstrip("/"), token, environment)


def shown_token(variables: Mapping[str, str]) -> str:
    """`$INTERLOCK_TOKEN`, or the file that only its owner may read; empty when there is neither."""
    if variables.get("INTERLOCK_TOKEN"):
        return variables["INTERLOCK_TOKEN"].strip()
    home = Path(variables.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    file = home / "interlock" / "token"
    try:
        mode = file.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise Refused(f"{file} may be read by others", help=f"chmod 600 {file}")
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
