"""A ramp is held by what is monitored, over HTTP, and goes on by itself when that is fine again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from listener import Heard, Listener, Said, listening
from pydantic import ValidationError

from interlock.adapters.prometheus import query_range
from interlock.app.monitored import objections
from interlock.define.environment import Environment, Series, Stage
from interlock.errors import Unavailable, Unusable
from interlock.rollout.state import RolloutState, State

OLD, NEW = "a1" * 32, "b2" * 32
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HALF = Stage(name="half", weight=0.5, hold=timedelta(hours=1))
Line = Callable[[float], float]


class Monitoring:
    """Answers as Prometheus does: a matrix of text values at the steps that were asked for."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}

    def __call__(self, heard: Heard) -> Said:
        assert (heard.method, heard.path) == ("POST", "/prom/api/v1/query_range")
        asked = {name: said[0] for name, said in parse_qs(heard.body.decode()).items()}
        at, end, step = (float(asked[name]) for name in ("start", "end", "step"))
        line, points = self.lines.get(asked["query"]), []
        while line is not None and at <= end:
            value = line(at)
            points.append([at, "NaN" if math.isnan(value) else repr(value)])
            at += step
        found = [{"metric": {}, "values": points}] if points else []
        body = {"status": "success", "data": {"resultType": "matrix", "result": found}}
        return Said(200, json.dumps(body).encode())


def jitter(at: float) -> float:
    """Noise without memory, the same at every asking."""
    return math.sin(at * 12.9898) * 0.1


World = tuple[Listener, Monitoring, Environment]


@pytest.fixture
def world() -> Iterator[World]:
    monitoring = Monitoring()
    with listening(monitoring) as there:
        series = Series(
            name="queue", url=f"{there.url}/prom", query='queue{release="$release"}', margin=0.1
        )
        yield there, monitoring, Environment(subject=("id",), stages=(HALF,), series=(series,))


def ramping() -> RolloutState:
    state = RolloutState("CR-1", NEW, OLD, (HALF,), timedelta(days=7), NOON)
    return replace(state, state=State.STEP, index=0)


def said(environment: Environment, state: RolloutState | None = None) -> str:
    return objections(environment, state or ramping(), NOON + timedelta(hours=2))


def test_a_worse_line_holds_and_a_fine_one_lets_go_on(world: World) -> None:
    there, monitoring, environment = world
    monitoring.lines = {
        f'queue{{release="{OLD}"}}': lambda at: 10 + jitter(at),
        f'queue{{release="{NEW}"}}': lambda at: 10.2 + jitter(at + 7),
    }
    assert said(environment) == ""
    asked = parse_qs(there.heard[0].body.decode())
    assert (asked["start"], asked["step"]) == ([f"{NOON.timestamp():.3f}"], ["60"])
    monitoring.lines[f'queue{{release="{NEW}"}}'] = lambda at: 14 + jitter(at + 7)
    assert said(environment).startswith("queue is worse: 14 after ")
    monitoring.lines[f'queue{{release="{NEW}"}}'] = lambda at: 9 + jitter(at + 7)
    assert said(environment) == "", "it goes on by itself"


def test_silence_holds(world: World) -> None:
    _, monitoring, environment = world
    assert said(environment).startswith("queue is not known: 0 points")
    monitoring.lines = {f'queue{{release="{r}"}}': lambda _: math.nan for r in (OLD, NEW)}
    assert said(environment).startswith("queue is not known")


def test_outside_of_a_ramp_nobody_is_asked(world: World) -> None:
    there, _, environment = world
    whole = HALF.model_copy(update={"weight": 1.0})
    state = replace(ramping(), stages=(whole,), state=State.SOAKING)
    assert said(environment, state) == ""
    assert there.heard == []


MATRIX = '{"status":"success","data":{"resultType":"matrix","result":%s}}'


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (400, '{"status": "error", "error": "parse error"}', "refuses the query: parse"),
        (200, "<html>", "answered no JSON"),
        (200, "[]", "answered no object"),
        (200, '{"status": "success"}', "no answer of Prometheus"),
        (200, MATRIX.replace("matrix", "scalar") % "[]", "gives 0"),
        (200, MATRIX % "[{},{}]", "gives 2 series"),
        (200, MATRIX % '[{"values":[1]}]', "no answer of Prometheus"),
    ],
)
def test_what_is_no_answer_holds_with_its_reason(
    world: World, status: int, body: str, why: str
) -> None:
    there, _, environment = world
    there.answer = lambda _: Said(status, body.encode())
    with pytest.raises(Unusable, match=why):
        query_range(there.url, "up", 0, 60, 60)
    assert why in said(environment)


def test_a_monitoring_that_is_away_holds(world: World) -> None:
    _, _, environment = world
    gone: Any = environment.series[0].model_copy(update={"url": "http://127.0.0.1:9"})
    with pytest.raises(Unavailable):
        query_range(gone.url, "up", 0, 60, 60)
    away = environment.model_copy(update={"series": (gone,)})
    assert said(away).startswith("queue: Prometheus at 127.0.0.1 did not answer")


def test_a_query_without_the_release_compares_nothing() -> None:
    with pytest.raises(ValidationError, match="both arms are the same line"):
        Series(name="queue", url="http://x", query="queue")
