"""Ready means: a release is loaded, its rows can be read, and answers can be remembered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from serving_world import CANDIDATE, STABLE, World, world

from interlock.adapters.predictions import JsonLinesLog
from interlock.app.stores import RedundantStore
from interlock.errors import Unavailable
from interlock.web.gateway import gateway_app


@pytest.fixture
def served(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    yield made
    made.gateway.stop()


def ready(served: World) -> tuple[int, list[str]]:
    """Status and objections, as a load balancer is told."""
    transport = httpx.ASGITransport(gateway_app(served.gateway))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            assert (await client.get("/v2/health/live")).status_code == 200
            return await client.get("/v2/health/ready")

    reply = anyio.run(ask)
    return reply.status_code, reply.json().get("why", [])


def test_ready_once_a_release_is_loaded(served: World) -> None:
    served.gateway.releases.poll()
    status, why = ready(served)
    assert (status, "nothing is released" in why[0]) == (503, True)
    served.route()
    assert ready(served) == (200, [])


def test_a_model_that_does_not_load_is_named(served: World) -> None:
    spec = served.release(STABLE, 1)
    served.artifacts.kept[spec.artifact] = b"damaged"
    served.route()
    status, (why,) = ready(served)
    assert (status, "model:late" in why) == (503, True)
    served.release(CANDIDATE, 2)
    served.route(stable=CANDIDATE)
    assert ready(served) == (200, [])


def test_a_store_that_is_away_is_named(served: World) -> None:
    served.route()
    served.store.close()
    status, (why,) = ready(served)
    assert (status, "online store" in why) == (503, True)

    def away() -> Any:
        raise Unavailable("nobody is at home")

    served.gateway._store = RedundantStore([away, away])
    served.gateway._store.look()
    status, why = ready(served)
    assert (status, len(why)) == (503, 2)
    assert all("nobody is at home" in one for one in why)


def test_a_log_that_cannot_be_written_is_named_with_everything_else(
    served: World, tmp_path: Path
) -> None:
    (tmp_path / "full").write_text("no folder")
    served.gateway._log = JsonLinesLog(tmp_path / "full" / "predictions")
    served.gateway.drain()
    served.gateway.releases.poll()
    status, why = ready(served)
    assert status == 503
    assert ["is stopping" in why[0], "no release" in why[1], "the log at" in why[2]] == [True] * 3


def test_without_a_lease_it_stays_ready_for_the_stable_release(served: World) -> None:
    served.route(candidate=CANDIDATE, weight=1.0)
    served.record.away = True
    served.gateway.releases._seen = float("-inf")
    assert not served.gateway.releases.leased
    assert ready(served) == (200, [])
