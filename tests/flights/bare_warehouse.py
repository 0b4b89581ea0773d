"""The flights project in a bare DuckDB: its SQL must stand without Interlock."""

from __future__ import annotations

from pathlib import Path

import duckdb

from interlock.define.definitions import FeatureView, Table
from interlock.define.project import Project

TYPES = {
    "integer": "BIGINT", "double": "DOUBLE", "string": "VARCHAR", "boolean": "BOOLEAN",
    "date": "DATE", "timestamp": "TIMESTAMP",
}  # fmt: skip
BUILT = ("wh.flights", "wh.departures", "wh.arrivals", "wh.weather", "wh.planes", "wh.spine")


def built(folder: Path, project: Project) -> duckdb.DuckDBPyConnection:
    """All tables and views (`feat.<name>`) of a project, in memory."""
    engine = duckdb.connect()
    engine.execute("SET TimeZone = 'UTC'; SET threads = 1")
    for schema in ("raw", "wh", "feat"):
        engine.execute(f"CREATE SCHEMA {schema}")
    for table in project.tables.values():
        if table.source:
            _load(engine, folder, table)
    for name in BUILT:
        engine.execute(f"CREATE TABLE {name} AS {project.tables[name].sql}")
    for view in project.views.values():
        engine.execute(f"CREATE TABLE feat.{view.view} AS {view.sql}")
    return engine


def _load(engine: duckdb.DuckDBPyConnection, folder: Path, table: Table) -> None:
    assert table.source
    types = {name: TYPES[column.type] for name, column in table.columns.items()}
    engine.execute(
        f"CREATE TABLE {table.name} AS SELECT * FROM read_csv("
        f"'{folder / table.source.csv}', nullstr = {list(table.source.nulls)}, types = {types})"
    )


def looked_up(view: FeatureView, relation: str, where: str) -> str:
    """Each flight with the newest row of its entity that was known at its cutoff."""
    same = " AND ".join(f"s.{name} = v.{name}" for name in view.entity)
    values = ", ".join(f"v.{name}" for name in view.features)
    if view.available_at:
        known = f"v.ts <= s.cutoff AND v.{view.available_at} <= s.cutoff"
        newest = f"SELECT * FROM {relation} AS v WHERE {same} AND {known} ORDER BY ts DESC LIMIT 1"
        return (
            f"SELECT s.flight_id, {values} FROM wh.spine AS s "
            f"LEFT JOIN LATERAL ({newest}) AS v ON true WHERE {where}"
        )
    return (
        f"SELECT s.flight_id, {values} FROM wh.spine AS s ASOF LEFT JOIN {relation} AS v "
        f"ON {same} AND s.cutoff >= v.ts WHERE {where}"
    )
