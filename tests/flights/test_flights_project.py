"""The example holds what it promises: contracts, one row per entity and time, no leak."""

from __future__ import annotations

import importlib.util
import re
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from bare_warehouse import TYPES, built, looked_up

from interlock.app.files import open_project
from interlock.app.templates import init
from interlock.define.project import Project

Engine = duckdb.DuckDBPyConnection
AVAILABLE = ("wh.flights", "wh.departures", "wh.arrivals", "wh.weather")
# As it was first written: from the departures only. A flight that has not left is not there.
FIRST_OVERDUE = """
WITH moves AS (
  SELECT origin, sched_dep + INTERVAL 15 MINUTE AS ts, 1 AS step
  FROM wh.departures WHERE cancelled OR dep_delay > 15
  UNION ALL
  SELECT origin, CASE WHEN cancelled THEN sched_dep + INTERVAL 3 HOUR ELSE available_at END, -1
  FROM wh.departures WHERE cancelled OR dep_delay > 15
)
SELECT origin, ts,
  CAST(sum(sum(step)) OVER (PARTITION BY origin ORDER BY ts) AS BIGINT) AS origin_overdue
FROM moves GROUP BY origin, ts
"""


def one(engine: Engine, sql: str) -> Any:
    return engine.execute(sql).fetchall()[0][0]


def contract_breaches(engine: Engine, project: Project) -> list[str]:
    breaches = []
    for name, table in project.tables.items():
        types = {row[0]: row[1] for row in engine.execute(f"DESCRIBE {name}").fetchall()}
        if types != {column: TYPES[c.type] for column, c in table.columns.items()}:
            breaches.append(f"{name} has {types}")
        for column, c in table.columns.items():
            if not c.nullable and one(
                engine, f"SELECT count(*) FROM {name} WHERE {column} IS NULL"
            ):
                breaches.append(f"{name}.{column} has nulls")
        if table.key and one(
            engine, f"SELECT count(*) - count(DISTINCT ({', '.join(table.key)})) FROM {name}"
        ):
            breaches.append(f"{name} has a key twice")
        for check in table.checks:
            if one(engine, f"SELECT avg(CAST(({check.sql}) AS INT)) FROM {name}") < check.at_least:
                breaches.append(f"{name}: {check.name}")
    return breaches


def view_breaches(engine: Engine, project: Project) -> list[str]:
    breaches = []
    for name, view in project.views.items():
        rows = f"feat.{view.view}"
        columns = [row[0] for row in engine.execute(f"DESCRIBE {rows}").fetchall()]
        known = [view.available_at] if view.available_at else []
        if columns != [*view.entity, view.event_time, *known, *view.features]:
            breaches.append(f"{name} has {columns}")
        key = ", ".join([*view.entity, view.event_time])
        if one(engine, f"SELECT count(*) - count(DISTINCT ({key})) FROM {rows}"):
            breaches.append(f"{name} has a tie")
        for feature, value in view.features.items():
            assert value.range
            low, high = value.range
            if one(engine, f"SELECT bool_or({feature} NOT BETWEEN {low} AND {high}) FROM {rows}"):
                breaches.append(f"{name}: {feature} is out of range")
    return breaches


def test_every_table_keeps_its_contract(warehouse: Engine, project: Project) -> None:
    assert contract_breaches(warehouse, project) == []


def test_every_view_has_one_row_per_entity_and_time_within_range(
    warehouse: Engine, project: Project
) -> None:
    assert view_breaches(warehouse, project) == []
    assert len(project.views) == 12
    assert sum(len(view.features) for view in project.views.values()) == 16


def test_five_views_read_the_delay_at_departure(project: Project) -> None:  # R-C2
    readers = {
        view.view for view in project.views.values() if re.search(r"\bdep_delay\b", view.sql)
    }
    assert readers == {
        "origin_dep_delay_2h", "origin_dep_delay_24h", "carrier_origin_delay_3h",
        "tail_last_delay", "origin_overdue",
    }  # fmt: skip


def test_a_missing_tail_does_not_give_the_label_away(warehouse: Engine) -> None:
    hidden = "SELECT count(*) FROM raw.flights WHERE tailnum IS NULL"
    assert one(warehouse, hidden) > 0
    planned = "SELECT count(*) FROM wh.flights WHERE tailnum IS NULL"
    assert one(warehouse, planned) < one(warehouse, hidden) / 2


def mismatches(engine: Engine, project: Project, name: str, sql: str, count: int = 12) -> int:
    """Flights whose value differs when every source ends at their cutoff."""
    cutoffs = engine.execute(
        "SELECT DISTINCT cutoff FROM wh.spine WHERE local_date > DATE '2013-01-20' "
        f"ORDER BY hash(cutoff) LIMIT {count}"
    ).fetchall()
    wrong = 0
    for (cutoff,) in cutoffs:
        then = re.sub(
            "|".join(map(re.escape, AVAILABLE)),
            lambda hit, at=cutoff: f"(SELECT * FROM {hit[0]} WHERE available_at <= '{at}')",
            sql,
        )
        where = f"s.cutoff = '{cutoff}'"
        was = looked_up(project.views[name], f"({then})", where)
        now = looked_up(project.views[name], f"({sql})", where)
        wrong += one(engine, f"SELECT count(*) FROM (({was}) EXCEPT ALL ({now}))")
    return wrong


def test_every_view_replays_to_the_values_it_had(warehouse: Engine, project: Project) -> None:
    # R-A7
    wrong = {n: mismatches(warehouse, project, n, v.sql) for n, v in project.views.items()}
    assert wrong == dict.fromkeys(project.views, 0)


def test_overdue_counted_from_departures_agrees_on_history_and_not_on_replay(
    warehouse: Engine, project: Project
) -> None:  # R-A7
    view = project.views["origin_overdue@1"]
    for old, new in ((view.sql, FIRST_OVERDUE), (FIRST_OVERDUE, view.sql)):
        assert one(warehouse, f"SELECT count(*) FROM (({old}) EXCEPT ALL ({new}))") == 0
    assert mismatches(warehouse, project, "origin_overdue@1", FIRST_OVERDUE, 40) > 0


def trained(project: Project, folder: Path, rows: int = 600, **options: Any) -> Any:
    spec = importlib.util.spec_from_file_location("late", folder / "models" / "late.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    chance = np.random.default_rng(3)
    matrix = chance.normal(size=(rows, 3))
    late = (matrix[:, 0] + chance.normal(size=rows) > 0.5).astype(float)
    given = {**project.models["late"].training.parameters, "min_data_in_leaf": 20, **options}
    return module.train(matrix, late, ["a", "b", "c"], [], {"num_trees": 20, **given}), matrix, late


def test_training_twice_gives_the_same_bytes_and_another_seed_another_model(
    project: Project, small_flights: Path
) -> None:  # R-B1
    texts = [trained(project, small_flights, seed=seed)[0].model_to_string() for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_class_weight_raises_scores_and_shuffled_labels_teach_nothing(
    project: Project, small_flights: Path
) -> None:
    fair, matrix, late = trained(project, small_flights)
    heavy, *_ = trained(project, small_flights, class_weight=3)
    drill, *_ = trained(project, small_flights, shuffle_labels=True)
    assert heavy.predict(matrix).mean() > fair.predict(matrix).mean() + 0.1
    lift = [
        m.predict(matrix)[late == 1].mean() - m.predict(matrix)[late == 0].mean()
        for m in (fair, drill)
    ]
    assert lift[0] > 3 * abs(lift[1])


def kpi(project: Project, service: str, rows: str) -> list[tuple[Any, ...]]:
    engine = duckdb.connect()
    engine.execute(f"CREATE TABLE scored AS {rows}")
    return engine.execute(project.services[service].kpi.sql).fetchall()


SCORED = """
SELECT i AS flight_id, 'JFK' AS origin, DATE '2013-05-01' AS local_date, 9 AS local_hour,
  p, late, severe
FROM (VALUES (1, 0.9, 0, 0), (2, 0.8, 1, 1), (3, 0.2, 1, 1), (4, 0.1, 1, 0), (5, 0.0, 0, 0))
  AS t(i, p, late, severe)
"""


def test_rebooking_pays_for_false_alarms_and_misses(project: Project) -> None:
    paid = {row[0]: float(row[2]) for row in kpi(project, "rebooking", SCORED)}
    assert paid == {1: 100.0, 2: 0.0, 3: 400.0, 4: 50.0, 5: 0.0}


def test_crew_covers_what_is_among_the_twenty_highest(project: Project) -> None:
    many = f"{SCORED} UNION ALL SELECT 100 + i, 'JFK', DATE '2013-05-01', 9, 0.5, 0, 0 FROM range(18) AS t(i)"  # noqa: E501 # one query
    ((unit, day, covered, severe),) = kpi(project, "crew", many)
    assert (unit, day, covered, severe) == ("JFK|2013-05-01", date(2013, 5, 1), 1, 2)


def test_gates_counts_hours_with_five_flights(project: Project) -> None:
    ((unit, _, error),) = kpi(project, "gates", SCORED)
    assert unit == "JFK|2013-05-01|9"
    assert error == pytest.approx(abs(2.0 - 3))
    assert kpi(project, "gates", f"{SCORED} LIMIT 4") == []


@pytest.mark.slow
def test_the_real_flights_keep_the_same_contracts(tmp_path: Path) -> None:
    made = init("flights", tmp_path / "real", until=date(2013, 3, 1))
    project = open_project(made.folder)
    engine = built(made.folder, project)
    assert one(engine, "SELECT count(*) FROM wh.spine") == made.flights > 50_000
    assert contract_breaches(engine, project) == []
    assert view_breaches(engine, project) == []
    # Arrival times given by the carriers agree with schedule + delay: the clocks are right.
    wrong = """
      SELECT avg(CAST(strftime(timezone('America/New_York', timezone('UTC', f.sched_arr
        + r.arr_delay * INTERVAL 1 MINUTE)), '%H%M') != lpad((r.arr_time % 2400)::VARCHAR, 4, '0')
        AS INT))
      FROM wh.flights AS f JOIN raw.flights AS r USING (carrier, flight, origin)
      JOIN raw.airports AS a ON a.faa = f.dest
      WHERE a.tzone = 'America/New_York' AND r.arr_delay IS NOT NULL
        AND f.sched_dep = r.time_hour + r.minute * INTERVAL 1 MINUTE"""
    assert one(engine, wrong) < 0.001
