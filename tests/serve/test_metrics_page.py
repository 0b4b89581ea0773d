"""`/metrics` as Prometheus reads it: by its own parser, and by `promtool`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_server import program
from serving_world import CANDIDATE, STABLE, World, body, world

from interlock.app.stores import RedundantStore
from interlock.errors import Unavailable
from interlock.ports import OnlineStore
from interlock.web.gateway import gateway_app

INFER = "/v2/models/late/infer"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    made.route(candidate=CANDIDATE, weight=0.5)
    yield made
    made.gateway.stop()


def scraped(served: World, *sent: object) -> str:
    """What is exposed after these requests."""
    transport = httpx.ASGITransport(gateway_app(served.gateway))

    async def ask() -> str:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            for one in sent:
                await client.post(INFER, json=one)
            reply = await client.get("/metrics")
            assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
            return reply.text

    return anyio.run(ask)


def values(text: str) -> dict[str, float]:
    return {
        sample.name + "".join(f" {k}={v}" for k, v in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_was_asked_is_counted_timed_and_told_apart(served: World) -> None:
    found = values(scraped(served, body(list(range(40))), body([1]), body([]), {"inputs": 7}))
    assert found["interlock_requests_total"] == 2
    assert found["interlock_responses_total status=200"] == 2
    assert found["interlock_responses_total status=400"] == 2
    assert found["interlock_rows_total"] == 41
    by_arm = found["interlock_rows_stable_total"] + found["interlock_rows_candidate_total"]
    assert by_arm == 41
    assert found["interlock_request_seconds_count"] == 4
    assert found["interlock_request_seconds_bucket le=+Inf"] == 4
    assert found["interlock_request_seconds_sum"] > 0
    assert found[f"interlock_release_info release={STABLE} role=stable"] == 1
    assert found[f"interlock_release_info release={CANDIDATE} role=candidate"] == 1
    assert found["interlock_route_epoch"] == 1
    assert found["interlock_route_leased"] == 1
    assert found["interlock_route_age_seconds"] >= 0
    assert found["interlock_features_oldest_seconds"] == 9 * 3600
    assert found["interlock_queue_requests"] == 0
    assert found["interlock_log_error"] == 0


def test_what_went_wrong_is_seen(served: World) -> None:
    def away() -> OnlineStore:
        raise Unavailable('nobody is "at home"')

    served.gateway._store = RedundantStore([away, away])
    served.gateway._store.look()
    served.gateway.mirrors = None
    served.route(candidate=CANDIDATE, weight=0.0, mirror=True)
    served.log._folder = Path("/dev/null/predictions")
    served.gateway.drain()
    found = values(scraped(served, body([1, 2])))
    assert found["interlock_errors_total"] == 2
    assert found["interlock_responses_total status=503"] == 1
    assert found["interlock_mirror_drops_total"] == 2
    assert found["interlock_unlogged_total"] == 2
    assert found["interlock_log_error"] == 1
    assert found["interlock_draining"] == 1
    assert found["interlock_store_up store=primary"] == 0


def test_before_a_release_there_is_something_to_scrape(tmp_path: Path) -> None:
    found = values(scraped(world(tmp_path)))
    assert found["interlock_requests_total"] == 0
    assert "interlock_route_epoch" not in found


def test_promtool_has_nothing_to_say(served: World) -> None:
    text = scraped(served, body([1, 2, 3]), body([]))
    command = [program("promtool"), "check", "metrics"]
    ran = subprocess.run(command, input=text, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")
