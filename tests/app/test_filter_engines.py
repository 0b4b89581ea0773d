"""The view of batch scores, on real engines: who sees what is what a gateway says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.adapters.postgres import PostgresWarehouse
from interlock.app.decided import Decided
from interlock.app.ingest import LOG, MIRRORED
from interlock.app.shown import Place, made_ready, shares_of, shares_put, shown_sql
from interlock.define.release import Arm, Filter, Route
from interlock.features.dialect import dialect_of
from interlock.ports import Warehouse
from interlock.rollout.cohort import cohort, seen

STABLE, CANDIDATE, THIRD = "s" * 64, "c" * 64, "t" * 64
AT = datetime(2013, 4, 1, 12)  # engines keep UTC without saying so
ARMS = (Arm(CANDIDATE, "CR-1"), None, Arm(THIRD, "CR-3"))
ORIGINS = ("JFK", "EWR", "a|b", "a", "b||origin=JFK", "\\", "|", "", "it's", None)
ABOUT = tuple((origin, hour) for origin in ORIGINS for hour in (-1, 7, None))
FILTERS: tuple[Filter, ...] = (
    (),
    (("origin", ("JFK",)),),
    (("hour", ("-1", "7")),),
    (("hour", ("7",)), ("origin", ("EWR", "a\\|b", "\\\\", "it's", ""))),
    (("origin", ("b\\|\\|origin=JFK", "\\|")),),
)


@pytest.fixture(params=["duckdb", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    if request.param == "duckdb":
        opened: Warehouse = DuckDBWarehouse(tmp_path / "warehouse.duckdb")
    else:
        opened = PostgresWarehouse(request.getfixturevalue("postgres_database"))
    yield opened
    opened.close()


def subject_of(at: int) -> str | None:
    return str(at) if at else None


def routes() -> Iterator[Route]:
    """With each filter a lone candidate, and two with an empty place between them."""
    for filter in FILTERS:
        yield Route("prod", 0, STABLE, CANDIDATE, 0.5, salt="CR-1", filter=filter)
        yield Route("prod", 0, STABLE, None, 0.75, salt="CR-1", filter=filter, arms=ARMS)


def staged() -> pa.Table:
    """Every row scored by each release, each a subject of its own; one has none."""
    scored = (STABLE, CANDIDATE, THIRD)
    rows = [(at, *one, release) for release in scored for at, one in enumerate(ABOUT)]
    count, text = len(rows), pa.string()
    at, origin, hour, release = zip(*rows, strict=True)
    nothing = {
        name: pa.nulls(count, kind)
        for name, kind in {
            "version": text, "reason": text, "fallbacks": text, "error": text, "id": text,
            "score": pa.float64(), "oldest_s": pa.float64(), "stale": pa.bool_(),
            "inputs": pa.list_(pa.float64()), "scored_at": pa.timestamp("us"),
        }.items()
    }  # fmt: skip
    return pa.table(
        {
            "origin": pa.array(origin, text), "hour": pa.array(hour, pa.int64()),
            "subject": pa.array(map(subject_of, at), text), "cohort": pa.nulls(count, pa.int64()),
            "salt": pa.array(["another day's"] * count, text), "release": pa.array(release, text),
            **nothing,
        }
    )  # fmt: skip


def test_each_row_is_shown_once_under_the_arm_that_a_gateway_gives_it(engine: Warehouse) -> None:
    dialect = dialect_of(engine)
    engine.load("il.scored", staged())
    types = engine.columns("SELECT origin, hour FROM il.scored AS s")
    place = Place("ops.x", types, ("hour", "origin"))
    engine.load(place.staged, staged())
    made_ready(engine, place)
    engine.load(place.scores, staged(), append=True)
    told = set()
    for epoch, plain in enumerate(routes(), 1):
        route = replace(plain, epoch=epoch)
        shares = shares_of(route, [STABLE, CANDIDATE, THIRD], place)
        engine.replace([shares_put(place, dialect, route, shares)])
        view = f"SELECT subject, arm, release FROM ({shown_sql(dialect, place)}) AS v"
        rows = engine.query(view).to_pylist()
        found = {row["subject"]: (row["arm"], row["release"]) for row in rows}
        assert len(rows) == len(found) == len(ABOUT), "each row once"
        for at, (origin, hour) in enumerate(ABOUT):
            wanted = seen(route, subject_of(at), {"origin": origin, "hour": hour})
            assert found[subject_of(at)] == wanted, (route, origin, hour)
            told.add(wanted)
    assert told == {
        ("stable", STABLE), ("outside", STABLE), ("candidate", CANDIDATE), ("candidate", THIRD)
    }  # fmt: skip


def decided_rows(count: int) -> pa.Table:
    """`count` flights scored by each release at one moment; of one the third has no score."""
    scored = {STABLE: 0.1, CANDIDATE: 0.2, THIRD: 0.3}
    rows = [(flight, release) for release in scored for flight in range(count)]
    every, text = len(rows), pa.string()
    subjects = [str(flight) for flight, _ in rows]
    wrong = [release == THIRD and flight == 0 for flight, release in rows]
    score = [
        None if bad else scored[release] for (_, release), bad in zip(rows, wrong, strict=True)
    ]
    return pa.table(
        {
            "flight_id": [flight for flight, _ in rows],
            "cutoff": pa.array([AT] * every, pa.timestamp("us")), "subject": subjects,
            "cohort": [cohort("CR-1", one) for one in subjects],
            "salt": ["CR-1"] * every, "release": [release for _, release in rows],
            "version": ["late@1"] * every, "score": pa.array(score, pa.float64()),
            "reason": ["live"] * every, "stale": pa.array([False] * every),
            "oldest_s": pa.nulls(every, pa.float64()),
            "fallbacks": ["wind" if release == CANDIDATE else "" for _, release in rows],
            "error": pa.array(["bad" if bad else None for bad in wrong], text),
            "inputs": pa.nulls(every, pa.list_(pa.float64())),
            "id": [f"{flight}-{release[0]}" for flight, release in rows],
            "scored_at": pa.array([AT] * every, pa.timestamp("us")),
        }
    )  # fmt: skip


def test_batch_scores_of_several_candidates_are_counted_on_each_engine(engine: Warehouse) -> None:
    engine.load("il.decided", decided_rows(40))
    place = Place("ops.d", engine.columns("SELECT flight_id, cutoff FROM il.decided AS s"))
    engine.load(place.staged, decided_rows(40))
    route = Route("prod", 7, STABLE, None, 0.75, True, "CR-1", "CR-1", "ab", arms=ARMS)
    shares = shares_of(route, [STABLE, CANDIDATE, THIRD], place)
    names = ("late", "flight_id", "cutoff")
    decided = Decided(engine, place, names, route, shares, AT.replace(tzinfo=UTC))
    assert decided.is_counted
    engine.replace(decided.puts)
    rows = engine.query(f"SELECT id, key, arm, release, change FROM {LOG} AS l").to_pylist()
    assert {row["key"]: (row["arm"], row["release"]) for row in rows} == {
        flight: seen(route, str(flight)) for flight in range(40)
    }
    assert len(rows) == 40
    told = engine.query(f"SELECT * FROM {MIRRORED} AS m").to_pylist()
    sides: dict[str, set[str]] = {}
    for row in told:
        sides.setdefault(row["id"], set()).add(row["release"])
        assert row["fallback"] == (row["release"] == CANDIDATE)
        assert row["error"] == (row["score"] is None)
        assert row["us"] is None
    others = {"stable": {CANDIDATE, THIRD}, "candidate": {STABLE}, "outside": set()}
    assert {row["id"]: sides.get(row["id"], set()) for row in rows} == {
        row["id"]: others[row["arm"]] for row in rows
    }
    assert len(told) == sum(map(len, sides.values())), "each side once"


def test_a_filter_that_rows_say_nothing_of_shows_the_stable_release() -> None:
    place = Place("ops.x", {"origin": "VARCHAR"}, ("origin",))
    route = Route("prod", 1, STABLE, CANDIDATE, 1.0, salt="CR-1", filter=(("hour", ("7",)),))
    assert not place.tells(route)
    shares = shares_of(route, [STABLE, CANDIDATE], place)
    assert [(one.range.arm, one.release) for one in shares] == [("stable", STABLE)]
