"""The HTTP API of Prometheus, as far as a rollout needs it: one query over a range of time."""

from __future__ import annotations

import base64
import http.client
import json
import math
import ssl
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from interlock.errors import Unavailable, Unusable

_MOST_READ = 16 * 1024 * 1024
_MOST_POINTS = 10_000  # to one question Prometheus gives 11,000: at one a minute, a week


def query_range(
    url: str, query: str, start: float, end: float, step: float, timeout: float = 5.0
) -> dict[int, float]:
    """Values of the one series that `query` gives, by seconds since 1970; what is no number is out.

    From `start` to `end`, both inclusive, one every `step` seconds. Raises `Unavailable` when
    there is no answer in time, `Unusable` for an answer that is not one series of numbers.
    """
    found: dict[int, float] = {}
    while True:
        last = min(end, start + (_MOST_POINTS - 1) * step)
        found |= _piece(url, query, start, last, step, timeout)
        start += _MOST_POINTS * step
        if last == end or start > end:
            return found


def _piece(
    url: str, query: str, start: float, end: float, step: float, timeout: float
) -> dict[int, float]:
    asked = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
    body = _answer(url, asked, timeout)
    if body.get("status") != "success":
        raise Unusable(f"Prometheus refuses the query: {str(body.get('error'))[:200]}")
    try:
        found = body["data"]["result"]
        if body["data"]["resultType"] != "matrix" or len(found) > 1:
            help = "aggregate it, as sum(...), so that one series is left"
            raise Unusable(f"the query gives {len(found)} series", help=help)
        return dict(_points(found))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unusable(f"this is no answer of Prometheus: {error}") from error


def _points(found: list[Mapping[str, Any]]) -> Iterator[tuple[int, float]]:
    for at, said in found[0]["values"] if found else ():
        value = float(said)  # text in the protocol: "NaN" and "+Inf" are numbers there
        if math.isfinite(value):
            yield round(float(at)), value


def _answer(url: str, asked: Mapping[str, str], timeout: float) -> Mapping[str, Any]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    link = kind(parts.hostname or "", parts.port, timeout=timeout)
    path = f"{parts.path.rstrip('/')}/api/v1/query_range"
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    if parts.username:
        said = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["authorization"] = f"Basic {base64.b64encode(said.encode()).decode()}"
    try:
        # POST, as Prometheus allows: a query may be longer than an address.
        link.request("POST", path, urlencode(asked), headers)
        reply = link.getresponse()
        answer = reply.read(_MOST_READ)
    except (OSError, http.client.HTTPException, ssl.SSLError) as error:
        raise Unavailable(f"Prometheus at {parts.hostname} did not answer ({error})") from error
    finally:
        link.close()
    if reply.status in (401, 403):
        help = "name them in the address: https://${WHO}:${PASSWORD}@host"
        raise Unusable(f"Prometheus at {parts.hostname} asks for user and password", help=help)
    try:
        body = json.loads(answer)
    except ValueError as error:
        raise Unusable(f"Prometheus at {parts.hostname} answered no JSON") from error
    if not isinstance(body, dict):
        raise Unusable(f"Prometheus at {parts.hostname} answered no object")
    return body
