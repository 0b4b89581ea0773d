"""What holds a ramp is read from Prometheus itself, a long ramp and its refusals included."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_server import Point, prometheus

from interlock.adapters.prometheus import query_range
from interlock.app.monitored import objections
from interlock.define.environment import Environment, Series, Stage
from interlock.errors import Unusable
from interlock.rollout.state import RolloutState, State

OLD, NEW, WORSE, DEAD = ("a1" * 32, "b2" * 32, "c3" * 32, "d4" * 32)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTES = 12_000  # Prometheus gives 11,000 points to one question
HALF = Stage(name="half", weight=0.5, hold=timedelta(hours=1))


def lines() -> Iterator[Point]:
    """Noise around 10, 10.2 and 14; the last line ends after an hour in a NaN."""
    for release, level in ((OLD, 10.0), (NEW, 10.2), (WORSE, 14.0), (DEAD, 10.0)):
        chance = random.Random(release)
        for minute in range(61 if release == DEAD else MINUTES):
            at = NOON.timestamp() + 60 * minute
            ended = release == DEAD and minute == 60
            noise = math.nan if ended else chance.gauss(0, 0.1)
            yield f'queue{{release="{release}"}}', at, level + noise


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus(tmp_path_factory.mktemp("prometheus"), lines()) as there:
        yield there


def said(url: str, release: str, query: str, hours: float) -> str:
    """What speaks against a ramp of `release` that began `hours` ago."""
    one = Series(name="queue", url=url, query=query, margin=0.1)
    environment = Environment(subject=("id",), stages=(HALF,), series=(one,))
    state = RolloutState("CR-1", release, OLD, (HALF,), timedelta(days=7), NOON)
    state = replace(state, state=State.STEP, index=0)
    return objections(environment, state, NOON + timedelta(hours=hours))


OWN = 'queue{release="$release"}'


@pytest.mark.parametrize("hours", [2, 199])
def test_a_worse_line_holds_and_a_fine_one_does_not(url: str, hours: float) -> None:
    assert said(url, NEW, OWN, hours) == ""
    assert said(url, WORSE, OWN, hours).startswith("queue is worse: 14")


def test_an_average_over_time_counts_as_few_points_as_it_has(url: str) -> None:
    smooth = 'avg_over_time(queue{release="$release"}[30m])'
    assert said(url, WORSE, smooth, 2).startswith("queue is not known")
    assert said(url, WORSE, smooth, 48).startswith("queue is worse")


def test_a_line_that_ended_is_not_drawn_on(url: str) -> None:
    found = query_range(url, f'queue{{release="{DEAD}"}}', *_hours(3), 60)
    assert max(found) == NOON.timestamp() + 59 * 60
    assert said(url, "e5" * 32, OWN, 2) == "queue is not known: 0 points tell too little"


def test_every_point_of_a_long_stage_comes_once(url: str) -> None:
    found = query_range(url, f'queue{{release="{OLD}"}}', *_hours(199.5), 60)
    assert list(found) == [int(NOON.timestamp()) + 60 * n for n in range(199 * 60 + 31)]
    assert len(set(found.values())) > 11_000


def test_its_refusals_are_told_with_its_reason(url: str) -> None:
    assert "refuses the query: " in said(url, NEW, "sum(queue{release='$release'}", 2)
    assert "gives 4 series" in said(url, NEW, 'queue{release!="x$release"}', 1)
    with pytest.raises(Unusable, match="zero or negative"):
        query_range(url, "queue", *_hours(1), 0)


# "open sesame", as bcrypt hashes it
WHO = '{ada: "$2b$04$WLzqM1H.xAHssISv8VWG3.UooxQD.bplvGQX1u.tFaGVwQxKoPbnq"}'


def test_one_behind_a_password_is_asked_with_it_and_never_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with prometheus(tmp_path, list(lines())[:120], WHO) as there:
        own = there.replace("http://", "http://ada:${PASSWORD}@")
        monkeypatch.setenv("PASSWORD", "open%20sesame")
        assert said(own, OLD, OWN, 1) == ""
        monkeypatch.setenv("PASSWORD", "hunter2")
        for url in (own, there):
            found = said(url, OLD, OWN, 1)
            assert found.startswith("queue: Prometheus at 127.0.0.1 asks for user and password: ")
            assert "hunter2" not in found


def _hours(many: float) -> tuple[float, float]:
    return NOON.timestamp(), NOON.timestamp() + many * 3600
