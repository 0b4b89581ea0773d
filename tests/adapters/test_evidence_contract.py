"""The same evidence on every engine, each a real one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from interlock.adapters.postgres import PostgresWarehouse
from interlock.ports import Warehouse
from interlock.testing.evidence import EvidenceContract

if TYPE_CHECKING:
    from interlock.adapters.spark import SparkWarehouse


class TestPostgres(EvidenceContract):
    @pytest.fixture(scope="class")
    @classmethod
    def warehouse(cls, postgres_url: str) -> Iterator[Warehouse]:
        opened = PostgresWarehouse(postgres_url)
        yield opened
        opened.close()


class TestSpark(EvidenceContract):
    @pytest.fixture(scope="class")
    @classmethod
    def warehouse(cls, spark_warehouse: SparkWarehouse) -> Warehouse:
        return spark_warehouse
