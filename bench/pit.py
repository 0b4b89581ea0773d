"""What the point-in-time build costs against ASOF SQL that a person wrote for the same table.

Both read the same physical tables in the same process and write a whole training table:
every flight of the real year with all 12 views (made-up flights when the real ones are not
installed). Rounds alternate, so that a busy machine is busy for both. The answers are
compared first: a quicker wrong table would not count.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from interlock.adapters.duckdb import DuckDBWarehouse, source_sql
from interlock.app.files import read_folder
from interlock.app.templates import init
from interlock.define.definitions import FeatureView, Model
from interlock.define.durations import format_duration
from interlock.define.load import read
from interlock.define.project import Project
from interlock.errors import Unavailable
from interlock.features.compile import build_view_sql, physical, point_in_time_sql
from interlock.impact.sql import substitute, tables_read

ROUNDS = 3


@dataclass(frozen=True)
class Row:
    """One line of the table: seconds are medians over the rounds."""

    what: str
    rows: int
    hand_written: float
    interlock: float

    @property
    def ratio(self) -> float:
        return self.interlock / self.hand_written


def project_in(folder: Path) -> Project:
    try:
        init("flights", folder)
    except Unavailable:
        init("flights", folder, generated_days=365, flights_per_day=900)
    reading = read(read_folder(folder))
    if reading.project is None:
        sys.exit("\n".join(map(str, reading.problems)))
    return reading.project


def build_tables(warehouse: DuckDBWarehouse, project: Project, folder: Path) -> dict[str, str]:
    """Every table, sources first; where each one is."""
    bound: dict[str, str] = {}
    waiting = dict(project.tables)
    while waiting:
        ready = [
            table
            for table in waiting.values()
            if not table.sql or all(name in bound for name in tables_read(table.sql))
        ]
        for table in ready:
            name = physical(table.name, "bench")
            sql = substitute(table.sql, bound) if table.sql else source_sql(table, folder)
            warehouse.build(name, sql)
            bound[table.name] = name
            del waiting[table.name]
    return bound


def hand_written(
    model: Model, views: list[FeatureView], built: Mapping[str, str], spine: str
) -> str:
    """A chain of ASOF LEFT JOINs with the TTL in a CASE: how it is usually written."""
    columns, joins = ["s.*"], []
    for i, view in enumerate(views):
        age = f"s.{model.time} - f{i}.{view.event_time}"
        for name in view.features:
            value = f"f{i}.{name}"
            if view.ttl is not None:
                hours = int(view.ttl.total_seconds() // 3600)
                value = f"CASE WHEN {age} <= INTERVAL '{hours} hours' THEN {value} END"
            columns.append(f"{value} AS {name}")
        same = " AND ".join(f"s.{key} = f{i}.{key}" for key in view.entity)
        # Where a view says when a row is known, that is when it can be used.
        on = f"{same} AND s.{model.time} >= f{i}.{view.available_at or view.event_time}"
        joins.append(f"ASOF LEFT JOIN {built[str(view.ref)]} AS f{i} ON {on}")
    return f"SELECT {', '.join(columns)} FROM {spine} AS s {' '.join(joins)}"


def seconds(warehouse: DuckDBWarehouse, name: str, sql: str) -> float:
    start = time.perf_counter()
    warehouse.build(name, sql)
    return time.perf_counter() - start


def measure(folder: Path) -> Row:
    project = project_in(folder / "flights")
    warehouse = DuckDBWarehouse(folder / "bench.duckdb")
    bound = build_tables(warehouse, project, folder / "flights")
    model = project.models["late"]
    views = [project.views[f"{ref.name}@{ref.version}"] for ref in model.view_refs]
    built = {str(view.ref): physical(f"{view.view}@{view.version}", "bench") for view in views}
    for view in views:
        warehouse.build(built[str(view.ref)], build_view_sql(view, bound))
    spine = bound[model.spine]
    ours_sql = point_in_time_sql(
        spine, model.key, model.time, [(view, built[str(view.ref)]) for view in views]
    )
    hand_sql = hand_written(model, views, built, spine)
    hand, ours = [], []
    for _ in range(ROUNDS):
        hand.append(seconds(warehouse, "il.by_hand", hand_sql))
        ours.append(seconds(warehouse, "il.by_interlock", ours_sql))
    check_equal(warehouse)
    rows = warehouse.query("SELECT count(*) AS n FROM il.by_interlock").to_pylist()[0]["n"]
    warehouse.close()
    ttls = sum(view.ttl is not None for view in views)
    longest = max(view.ttl for view in views if view.ttl is not None)
    what = f"{len(views)} views, {ttls} with a TTL up to {format_duration(longest)}"
    return Row(what, rows, statistics.median(hand), statistics.median(ours))


def check_equal(warehouse: DuckDBWarehouse) -> None:
    both = "(FROM il.by_hand EXCEPT ALL FROM il.by_interlock)"
    other = "(FROM il.by_interlock EXCEPT ALL FROM il.by_hand)"
    sql = f"SELECT (SELECT count(*) FROM {both}) + (SELECT count(*) FROM {other}) AS n"
    differing = warehouse.query(sql).to_pylist()[0]["n"]
    if differing:
        sys.exit(f"{differing} rows differ: the two tables are not the same")


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        return [measure(Path(folder))]


def main() -> None:
    print("point-in-time training table, DuckDB, 2 threads")
    for row in run():
        print(
            f"{row.what}: {row.rows} rows; by hand {row.hand_written:.2f} s, "
            f"interlock {row.interlock:.2f} s (ordered by time and key), ratio {row.ratio:.2f}"
        )


if __name__ == "__main__":
    main()
