"""The same promises on every engine, each a real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.adapters.postgres import PostgresWarehouse
from interlock.ports import Warehouse
from interlock.testing.warehouse import WarehouseContract

if TYPE_CHECKING:
    from interlock.adapters.spark import SparkWarehouse


class TestDuckDB(WarehouseContract):
    def make(self, folder: Path) -> Warehouse:
        return DuckDBWarehouse(folder / "contract.duckdb")


class TestPostgres(WarehouseContract):
    @pytest.fixture
    def warehouse(self, postgres_url: str) -> Iterator[Warehouse]:
        opened = PostgresWarehouse(postgres_url)
        yield opened
        opened.close()


class TestSpark(WarehouseContract):
    @pytest.fixture
    def warehouse(self, spark_warehouse: SparkWarehouse) -> Warehouse:
        return spark_warehouse  # it takes long to start, and every test has its own schema
