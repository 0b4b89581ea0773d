"""Rows that were edited by hand: never a wrong release, and the next good row is followed."""

from __future__ import annotations

import copy
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from client_world import until
from serving_world import CANDIDATE, STABLE, THIRD, World, body, world

from interlock.adapters.sqlrecord import SqlRecord
from interlock.app.releases import Pace, Releases
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.ports import Put
from interlock.serve.published import Published
from interlock.web import oip, published

ROUTE = Ref("route", "flights")
SENT = orjson.dumps({"inputs": body(list(range(8)))["inputs"]})
NONSENSE: tuple[Any, ...] = (
    None, 0, -1, 1, 2, 1e300, float("nan"), float("inf"), True, "", "x", "\ud800", "\x00",
    10**400, [], [1], [None], ["x"], [[]], [{}], ["\ud800"], {}, {"a": 1}, {"a": ["\ud800"]},
    {"carrier": ["UA"]}, [{"release": CANDIDATE}], [{"release": ["b"], "change": "x"}],
    [{"release": CANDIDATE, "change": "CR-1"}, {"release": CANDIDATE, "change": "CR-2"}],
)  # fmt: skip
SPLIT = {"candidate": CANDIDATE, "weight": 0.5, "change": "CR-1", "stage": "step"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = world(tmp_path_factory.mktemp("hand"))
    made.gateway.replay_clock = False
    yield made
    made.gateway.stop()


def answered(served: World) -> set[str]:
    """The releases that answer; everything that tells of the Route must be able to."""
    orjson.dumps(served.gateway.status())
    Published.from_json(json.loads(published.said(served.gateway)))
    return set(served.gateway.answer(oip.parse(oip.Door("late"), SENT).ask).releases())


@pytest.mark.parametrize(
    "name", [*Route("flights").to_json(), "filter", "arms", "a_later_word"]
)  # fmt: skip
def test_nonsense_in_one_field_of_the_route_is_answered_from_stable(
    served: World, name: str
) -> None:
    for said in NONSENSE:
        served.route(**SPLIT)
        assert answered(served) == {STABLE, CANDIDATE}
        served.route(**SPLIT | {name: said})
        found = answered(served)
        flaws = served.gateway.releases.candidate_error or served.gateway.releases.stable_error
        assert found == {STABLE} or not flaws


def test_a_candidate_never_stands_beside_another_stable_release_than_its_own(
    served: World,
) -> None:
    served.route(**SPLIT)
    served.route(**SPLIT | {"stable": THIRD})  # which nobody ever brought
    assert answered(served) == {STABLE}
    assert "no serving spec" in served.gateway.status()["stable_error"]


def places(said: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a body of JSON."""
    inside = said.items() if type(said) is dict else enumerate(said) if type(said) is list else ()
    for name, value in inside:
        yield (*at, name)
        yield from places(value, (*at, name))


def test_nonsense_in_a_serving_spec_is_a_release_that_does_not_load(served: World) -> None:
    ref = Ref("serving", CANDIDATE)
    entry = served.record.get(ref)
    assert entry is not None
    spec = orjson.loads(orjson.dumps(entry.body))
    for place in places(spec):
        for said in (None, 99, -1.5, "x", "\ud800", [None], {"a": 1}, 10**30):
            edited = copy.deepcopy(spec)
            inside = edited
            for name in place[:-1]:
                inside = inside[name]
            inside[place[-1]] = said
            served.route()
            served.gateway.releases._warm.pop(CANDIDATE, None)
            served.record.put(ref, edited)
            served.route(**SPLIT)
            assert served.gateway.releases.record_error is None
            assert answered(served) <= {STABLE, CANDIDATE}
    served.record.put(ref, spec)


BY_HAND = {
    "no JSON": "UPDATE entry SET body = 'x' {}",
    "bytes": "UPDATE entry SET body = x'fffe' {}",
    "a depth": "UPDATE entry SET body = '" + "[" * 90_000 + "' {}",
    "author": "UPDATE entry SET \"by\" = x'ff' {}",
    "number": "UPDATE entry SET version = 'x' {}",
    "time": "UPDATE entry SET written_at = 'soon' {}",
}


@pytest.mark.parametrize("name", BY_HAND)
def test_what_cannot_be_read_costs_the_lease_until_it_was_mended(
    served: World, tmp_path: Path, name: str
) -> None:
    record = SqlRecord(str(tmp_path / "record.db"))
    at, by = datetime(2013, 4, 1, tzinfo=UTC), "priya"
    specs = [Ref("serving", one) for one in (STABLE, CANDIDATE)]
    bodies = {ref: served.record.entries[ref][0].body for ref in specs}
    bodies[ROUTE] = Route("flights", stable=STABLE, salt="s").to_json() | SPLIT
    record.write([Put(ref, body, 0) for ref, body in bodies.items()], at=at, by=by)
    watched = Releases(record, served.artifacts, "flights", Pace(poll=0.01, calm=0.01, lease=0.2))
    watched.start()
    assert watched.leased
    with sqlite3.connect(tmp_path / "record.db") as db:
        (number,) = db.execute("SELECT rowid FROM entry WHERE ref = 'route:flights'").fetchone()
        kept = db.execute("SELECT * FROM entry WHERE rowid = ?", (number,)).fetchone()
        db.execute(BY_HAND[name].format("WHERE ref = 'route:flights'"))
    assert until(lambda: not watched.leased)
    assert "route:flights" in str(watched.record_error)
    with sqlite3.connect(tmp_path / "record.db") as db:
        db.execute("DELETE FROM entry WHERE rowid = ?", (number,))
        db.execute(f"INSERT INTO entry VALUES ({','.join('?' * len(kept))})", kept)
    assert until(lambda: watched.leased)
    assert watched.record_error is None
    watched.stop()
    record.close()
