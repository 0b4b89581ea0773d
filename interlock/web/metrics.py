"""`/metrics`: what a gateway did and how it stands, in Prometheus's text format.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from interlock import __version__
from interlock.app.serving import Gateway
from interlock.client.elapsed import elapsed

PATH = "/metrics"
TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds: the upper ends of the histogram's buckets."""
_COUNTED = {
    "requests": "Requests that were answered.",
    "refused": "Requests refused because too many were waiting.",
    "turned_away": "Connections refused because as many as may be were open.",
    "hung_up": "Connections ended by us: they sent or read too slowly, or sent too much.",
    "too_late": "Requests whose answer would have come too late.",
    "rows": "Rows that were answered.",
    "rows_stable": "Rows that the stable release answered by cohort.",
    "rows_candidate": "Rows that the candidate answered by cohort.",
    "rows_pinned": "Rows whose release was chosen by a version or by a service upstream.",
    "errors": "Rows without a score.",
    "fallbacks": "Rows in which something declared stood in for what was missing.",
    "unknown_release": "Requests that named a release which is not known here.",
    "no_attribute": "Rows of which it is not known whether the filter of a stage lets them in.",
    "unlogged": "Rows that were answered and could not be written to the log.",
    "mirrored": "Rows that the other release scored too.",
    "mirror_drops": "Rows that should have been mirrored and were not.",
    "mirror_broken": "Rows on which the process that mirrors ended.",
}
_LETTERS = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Meter:
    """What is only known at the door: how requests ended, and how long they took."""

    def __init__(self) -> None:
        self.ended: Counter[int] = Counter()
        self.seconds = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def note(self, status: int, seconds: float) -> None:
        self.ended[status] += 1
        self.seconds[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class _Family(NamedTuple):
    name: str
    kind: str
    help: str
    values: Mapping[str, float]  # labels as they are written, and the value


def route(gateway: Gateway, meter: Meter, waiting: Callable[[], int]) -> Route:
    """`GET /metrics`. `waiting` is how many requests wait for a turn."""

    async def metrics(_: Request) -> Response:
        return Response(exposition(gateway, meter, waiting()), 200, media_type=TYPE)

    return Route(PATH, metrics)


def exposition(gateway: Gateway, meter: Meter, waiting: int) -> str:
    """Every family with its help and type, each value on a line of its own."""
    families = [*_counters(gateway), *_gauges(gateway, waiting), *_releases(gateway)]
    return "".join([*map(_text, families), _histogram(meter)])


def _counters(gateway: Gateway) -> Iterator[_Family]:
    counts = gateway.counts()
    for name, said in _COUNTED.items():
        yield _Family(f"interlock_{name}_total", "counter", said, {"": counts.get(name, 0)})


def _gauges(gateway: Gateway, waiting: int) -> Iterator[_Family]:
    releases = gateway.releases
    mirrors = gateway.mirrors.waiting if gateway.mirrors else 0
    yield _Family("interlock_queue_requests", "gauge", "Requests that wait for a turn.",
                  {"": waiting})  # fmt: skip
    yield _Family("interlock_mirror_queue_rows", "gauge", "Rows handed on to be mirrored.",
                  {"": mirrors})  # fmt: skip
    yield _Family("interlock_features_oldest_seconds", "gauge",
                  "Age of the oldest feature row in the last answer.",
                  {"": gateway.oldest} if gateway.oldest is not None else {})  # fmt: skip
    yield _Family("interlock_log_error", "gauge", "1 when the last row could not be logged.",
                  {"": float(gateway.log_error is not None)})  # fmt: skip
    live = releases.live
    yield _Family("interlock_route_epoch", "gauge", "The epoch of the Route that is followed.",
                  {"": live.epoch} if live else {})  # fmt: skip
    yield _Family("interlock_route_age_seconds", "gauge", "Since the Route was read last.",
                  {"": elapsed() - releases.seen} if live else {})  # fmt: skip
    yield _Family("interlock_route_leased", "gauge",
                  "1 while the Route was seen lately enough for a candidate to answer.",
                  {"": float(releases.leased)})  # fmt: skip
    yield _Family("interlock_draining", "gauge", "1 once this gateway was told to stop.",
                  {"": float(gateway.draining)})  # fmt: skip


def _releases(gateway: Gateway) -> Iterator[_Family]:
    live, stores = gateway.releases.live, gateway.stores
    named = [("candidate", release) for release in live.candidates] if live else []
    roles = [("stable", live.stable.spec.release), *named] if live else []
    yield _Family(
        "interlock_release_info", "gauge", "The releases that are loaded, by what they are.",
        {_label(role=role, release=release): 1 for role, release in roles},
    )  # fmt: skip
    yield _Family("interlock_build_info", "gauge", "The version of Interlock.",
                  {_label(version=__version__): 1})  # fmt: skip
    up = {_label(store=one["store"]): float(one["healthy"]) for one in stores}
    yield _Family("interlock_store_up", "gauge", "Whether each of several stores answers.", up)
    behind = {_label(store=s["store"]): s["behind_s"] for s in stores if s["behind_s"] is not None}
    yield _Family("interlock_store_behind_seconds", "gauge",
                  "What each store has missed of what is known elsewhere; -1: everything.",
                  behind)  # fmt: skip


def _label(**said: str) -> str:
    parts = (f'{name}="{value.translate(_LETTERS)}"' for name, value in said.items())
    return "{" + ",".join(parts) + "}"


def _text(family: _Family) -> str:
    if not family.values:
        return ""
    head = f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n"
    return head + "".join(f"{family.name}{on} {value}\n" for on, value in family.values.items())


def _histogram(meter: Meter) -> str:
    name = "interlock_request_seconds"
    ended = _Family("interlock_responses_total", "counter", "Prediction requests by status.",
                    {_label(status=str(s)): n for s, n in sorted(meter.ended.items())})  # fmt: skip
    sums = list(accumulate(meter.seconds))
    ends = [*map(str, BOUNDS), "+Inf"]
    lines = [
        f'{name}_bucket{{le="{end}"}} {count}\n' for end, count in zip(ends, sums, strict=True)
    ]
    return "".join(
        [
            _text(ended),
            f"# HELP {name} From the first byte of a prediction request to its answer.\n",
            f"# TYPE {name} histogram\n",
            *lines,
            f"{name}_sum {meter.total}\n{name}_count {sums[-1]}\n",
        ]
    )
