"""Each leak of the scenario, planted in the project, is found by one command; honesty passes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import app_world as world
import pytest

from interlock.app.checks import no_step
from interlock.app.replays import Replayed, replay_view
from interlock.app.workspace import Workspace
from interlock.cli.main import run
from interlock.cli.profiles import replayed
from interlock.errors import NotFound

HEADER = "/*\nview: {name}\nversion: 1\nowner: data-science\nentity: [{entity}]\nttl: 24h\n" \
         "features:\n  x: {{}}\n*/\n{sql}\n"  # fmt: skip
# SCENARIO section 4 (e): entity and SQL of each leak.
PLANTED = {
    "own_delay": (
        "flight_id",
        "SELECT flight_id, sched_dep - INTERVAL 3 HOUR AS ts, CAST(dep_delay AS DOUBLE) AS x "
        "FROM wh.departures",
    ),
    "by_schedule": (
        "origin",
        "SELECT DISTINCT origin, sched_dep AS ts, avg(dep_delay) OVER w AS x FROM wh.departures "
        "WHERE NOT cancelled WINDOW w AS (PARTITION BY origin ORDER BY sched_dep "
        "RANGE BETWEEN INTERVAL 2 HOUR PRECEDING AND CURRENT ROW)",
    ),
    "day_at_midnight": (
        "origin",
        "SELECT origin, date_trunc('day', sched_dep) AS ts, avg(late) AS x FROM wh.arrivals "
        "GROUP BY origin, date_trunc('day', sched_dep)",
    ),
    # The tail that flew: the carriers' file was put right afterwards, and cancelled flights
    # have none. Its row is dated as the schedule's, so that cutting at T changes nothing.
    "no_tail": (
        "flight_id",
        "SELECT flight_id, available_at AS ts, CAST(flown_tail IS NULL AS DOUBLE) AS x "
        "FROM wh.flights",
    ),
}
UNDATED = (
    "SELECT tailnum, make_timestamp(built, 1, 1, 0, 0, 0.0) AS ts, CAST(seats AS DOUBLE) AS x "
    "FROM wh.planes"
)


@pytest.fixture(scope="module")
def folder(small_flights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = world.copied(small_flights, tmp_path_factory.mktemp("leaks") / "project")
    for name, (entity, sql) in {**PLANTED, "seats": ("tailnum", UNDATED)}.items():
        text = HEADER.format(name=name, entity=entity, sql=sql)
        ttl = text.replace("ttl: 24h", "ttl: 36500d") if entity != "origin" else text
        (folder / f"features/{name}.sql").write_text(ttl)
    flights = (
        "tables/wh_flights.sql",
        "  ) AS tailnum,\n",
        "  ) AS tailnum,\n  tailnum AS flown_tail,\n",
    )
    world.edit(folder, *flights)
    column = '  tailnum: {type: string, description: "planned aircraft"}\n'
    world.edit(
        folder, "tables/wh_flights.yaml", column, f"{column}  flown_tail: {{type: string}}\n"
    )
    return folder


@pytest.fixture(scope="module")
def project(folder: Path) -> Iterator[Workspace]:
    with world.opened(folder) as workspace:
        yield workspace


def asked(project: Workspace, name: str) -> Replayed:
    return replay_view(project, f"view:{name}@1", 12, no_step)


@pytest.mark.parametrize("name", ["own_delay", "by_schedule", "day_at_midnight"])
def test_a_leak_is_found_with_the_values_that_show_it(project: Workspace, name: str) -> None:
    found = asked(project, name)  # R-A7
    assert found.replay.verdict == "fail"
    assert (found.replay.value or 0) > 0.05 * found.replay.n
    said = replayed(found)
    assert f"fail          replay:{name}@1" in said
    assert "trained on" in said
    assert "then known" in said


def test_an_edit_in_place_is_found_by_what_it_left_out(project: Workspace) -> None:
    found = asked(project, "no_tail")  # R-A7
    assert (found.replay.verdict, found.replay.value) == ("pass", 0)  # what replay cannot see
    assert found.missingness.verdict == "fail"
    assert "column:wh.flights.flown_tail: 100% of " in found.missingness.sentence
    json.dumps(found.missingness.to_json(), allow_nan=False)


def test_an_undated_source_is_named_as_what_it_is(project: Workspace) -> None:
    found = asked(project, "seats")
    assert found.replay.verdict == "inconclusive"
    assert "unprovable, wh.planes does not say when its rows were available" in replayed(found)
    assert "declare available_at on table:wh.planes" in replayed(found)


@pytest.mark.parametrize("name", ["origin_dep_delay_2h", "origin_overdue", "tail_last_delay"])
def test_an_honest_view_passes_both(project: Workspace, name: str) -> None:
    found = asked(project, name)
    assert (found.replay.verdict, found.missingness.verdict) == ("pass", "pass")
    assert found.replay.n >= 12
    assert found.missingness.n > 1000


def test_an_unknown_view_is_named(project: Workspace) -> None:
    with pytest.raises(NotFound, match="no view is called origin_overdu@1"):
        asked(project, "origin_overdu")


def test_the_exit_code_says_what_was_proven(
    project: Workspace, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project.close()
    for name, code in (("origin_overdue", 0), ("seats", 2), ("own_delay", 3)):
        with pytest.raises(SystemExit) as ended:
            run(["replay", f"view:{name}@1", "--cutoffs", "3", "-C", str(folder), "--json"])
        assert ended.value.code == code
        told = json.loads(capsys.readouterr().out)
        assert told["replay"]["check"] == f"replay:{name}@1"
        assert told["missingness"]["check"] == f"missingness:{name}@1"
