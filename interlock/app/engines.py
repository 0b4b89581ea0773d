"""Which warehouse an environment works on, and how the rows of a file get there."""

from __future__ import annotations

from pathlib import Path

from interlock.app.stores import expanded
from interlock.errors import Refused, Unavailable
from interlock.features.dialect import DUCKDB
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


def able_to_prove(warehouse: Warehouse) -> None:
    """Refuse to gather evidence where its queries have not been written yet."""
    speaks = warehouse.abilities.dialect
    if speaks != DUCKDB.name:
        raise Refused(
            f"evidence cannot be gathered on {speaks} yet: tables, views and training rows are "
            "built there, and compared, replayed and judged on DuckDB only",
            help="propose in an environment whose warehouse is duckdb://",
        )


def fill(warehouse: Warehouse, name: str, source_sql: str) -> None:
    """`name` with the rows of a file. Files are read by the embedded engine, everywhere alike."""
    if warehouse.abilities.dialect == DUCKDB.name:
        warehouse.build(name, source_sql)
        return
    from interlock.adapters.duckdb import DuckDBWarehouse

    reader = DuckDBWarehouse(None)
    try:
        warehouse.load(name, reader.query(source_sql))
    finally:
        reader.close()


def _duckdb(path: str, folder: Path, state: Path) -> Warehouse:
    from interlock.adapters.duckdb import DuckDBWarehouse

    return DuckDBWarehouse(folder / path if path else state / "warehouse.duckdb")
