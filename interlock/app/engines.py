"""Which warehouse an environment works on, and how the rows of a file get there."""

from __future__ import annotations

from pathlib import Path

from interlock.app.stores import expanded
from interlock.define.definitions import Table
from interlock.define.project import Project
from interlock.errors import Refused, Unavailable
from interlock.features.dialect import DUCKDB, POSTGRES, Dialect
from interlock.ports import Warehouse


def open_warehouse(url: str, folder: Path, state: Path) -> Warehouse:
    """The warehouse at `url`; a path in it is seen from the project's `folder`.

    `duckdb://` alone is a file in `state`. Raises `Unavailable` when the extra that speaks
    to the engine is not installed or nobody answers.
    """
    address = expanded(url, "the warehouse")
    scheme, _, rest = address.partition(":")
    try:
        if scheme == "duckdb":
            return _duckdb(rest.removeprefix("//"), folder, state)
        if scheme == "spark":
            from interlock.adapters.spark import SparkWarehouse

            return SparkWarehouse(address if rest.startswith("//") else rest, state / "spark")
        from interlock.adapters.postgres import PostgresWarehouse

        return PostgresWarehouse(address)
    except ModuleNotFoundError as error:
        extra = "spark" if scheme == "spark" else "postgres"
        raise Unavailable(
            f"{error.name} is not installed, and the warehouse is on {extra}",
            help=f"pip install 'interlock-ml[{extra}]'",
        ) from error


def refuse_unable(project: Project, environment: str, warehouse: Warehouse) -> None:
    """Refuse a change that this warehouse could prove and not carry to its end."""
    objections = []
    speaks, able = warehouse.abilities.dialect, warehouse.abilities
    if not able.parts_atomic:
        objections.append(
            f"{speaks} cannot replace parts of two tables at one instant, so answers and the place "
            "up to which they were read could part, and a rollout could not be judged"
        )
    if not able.pointers_atomic and not project.environments[environment].pointers_one_by_one:
        objections.append(
            f"{speaks} moves the names of tables and views one after the other, so that who reads "
            "two of them at a commit, or on the way back, may meet two releases: where that is "
            f"acceptable, write reason and name under pointers_one_by_one of {environment}"
        )
    pushed = sorted(table.name for table in project.tables.values() if table.push)
    if pushed and speaks not in (DUCKDB.name, POSTGRES.name):
        objections.append(
            f"{', '.join(pushed)} takes pushed rows, which reach DuckDB and Postgres only"
        )
    if objections:
        raise Refused(
            f"a change cannot be released on {speaks}",
            help="tables, views and training sets can be built here; do what is named, or "
            "release in an environment whose warehouse can",
            objections=tuple(objections),
        )


def embedded_only(warehouse: Warehouse, what: str, also: Dialect | None = None) -> None:
    """Refuse, by name, what is written for the embedded engine alone, or for one more."""
    speaks = warehouse.abilities.dialect
    if speaks not in (DUCKDB.name, also.name if also else ""):
        known = f"DuckDB and {also.name.title()}" if also else "DuckDB"
        raise Refused(
            f"{what} runs on {known} only, and the warehouse here is {speaks}",
            help=f"do it in an environment whose warehouse is on {known.replace('and', 'or')}",
        )


def fill(warehouse: Warehouse, name: str, table: Table, root: Path) -> None:
    """`name` with the rows of a table's file, `root` being the folder its path starts from.

    Files are read by the embedded engine, everywhere alike. Refused where one column holds
    times with an offset and times without: nobody knows any more which hour was meant.
    """
    from interlock.adapters.duckdb import DuckDBWarehouse, source_sql

    sql = source_sql(table, root)
    if warehouse.abilities.dialect == DUCKDB.name:
        _refuse_mixed_times(warehouse, table, root)
        warehouse.build(name, sql)
        return
    reader = DuckDBWarehouse(None)
    try:
        _refuse_mixed_times(reader, table, root)
        warehouse.load(name, reader.query(sql))
    finally:
        reader.close()


def _refuse_mixed_times(reader: Warehouse, table: Table, root: Path) -> None:
    from interlock.adapters.duckdb import zones_sql

    sql = zones_sql(table, root)
    counted = reader.query(sql).to_pylist() if sql else []
    objections = tuple(
        f"{one['column']}: {one['zoned']} times have an offset and {one['naive']} have none"
        for one in counted
        if one["zoned"] and one["naive"]
    )
    if objections:
        raise Refused(
            f"the times of {table.ref} mean different things in one column",
            help="write every time with its offset, or none with one: then all are UTC",
            objections=objections,
        )


def _duckdb(path: str, folder: Path, state: Path) -> Warehouse:
    from interlock.adapters.duckdb import DuckDBWarehouse

    return DuckDBWarehouse(folder / path if path else state / "warehouse.duckdb")
