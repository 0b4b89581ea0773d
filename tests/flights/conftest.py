"""The small flights project, read and built once."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from bare_warehouse import built

from interlock.app.files import open_project
from interlock.define.project import Project


@pytest.fixture(scope="session")
def project(small_flights: Path) -> Project:
    return open_project(small_flights)


@pytest.fixture(scope="session")
def warehouse(small_flights: Path, project: Project) -> duckdb.DuckDBPyConnection:
    return built(small_flights, project)
