"""New data where the warehouse is Spark: what is left is what was built afresh from the files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import refresh_world as world

from interlock.app.refresh import refresh
from interlock.app.tick import look_until_fresh
from interlock.app.workspace import Workspace

if TYPE_CHECKING:
    from interlock.adapters.spark import SparkWarehouse

SPARK = f'{world.MAIN}    warehouse: "spark:local[2]"\n    refresh: 1h\n'
KEPT = ("sales.yaml", "hourly.yaml", "last.sql")  # a file, a sum by hours, the last value known


@pytest.fixture
def tills(spark_warehouse: SparkWarehouse, tmp_path: Path) -> Iterator[Workspace]:
    """A small project that runs; its days are in one month, and so in one step."""
    world.write_project(tmp_path, SPARK)
    for file in (*tmp_path.glob("tables/*"), *tmp_path.glob("features/*")):
        if file.name not in KEPT:
            file.unlink()
    world.write(tmp_path, "sales", sales())
    workspace = Workspace(tmp_path, "prod")
    workspace.__dict__["warehouse"] = spark_warehouse  # a process has one session
    world.release(workspace)
    yield workspace
    workspace.refreshing.close()
    workspace.record.close()
    for schema in ("il", "wh", "features"):  # other projects of these tests have such names too
        spark_warehouse.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def sales() -> list[world.Row]:
    return world.Shop(4, days=8, rows=15).sales


def plain(held: world.Held) -> dict[str, list[tuple[Any, ...]]]:
    """Instants without a zone: rounded to hours, Spark gives them one."""

    def bare(value: Any) -> Any:
        zoned = isinstance(value, datetime) and value.tzinfo
        return value.astimezone(UTC).replace(tzinfo=None) if zoned else value

    return {
        name: sorted((tuple(map(bare, row)) for row in rows), key=repr)
        for name, rows in held.items()
    }


# R-A13
def test_late_corrected_and_deleted_rows_end_where_a_rebuild_begins(tills: Workspace) -> None:
    first = "; ".join(look_until_fresh(tills, every=0.2))  # by its schedule, in a thread
    assert "refreshed wh.sales: 0 tables and views moved" in first
    rows = sales()
    late = {"id": 900, "till": 1, "ts": "2024-01-22T10:30:00+00:00"}
    rows.append({**late, "known_at": "2024-03-01T00:00:00+00:00", "amount": 5})
    rows[3] = {**rows[3], "amount": 999}
    del rows[7]
    world.write(tills.folder, "sales", rows)
    report = refresh(tills)
    assert plain(world.held(tills)) == plain(world.rebuilt(tills.folder))
    moved = {str(part.ref): part.difference for part in report.parts}
    assert (moved["table:wh.sales"].added, moved["table:wh.sales"].removed) == (2, 2)
    hourly = next(part for part in report.parts if part.ref.name == "wh.hourly")
    assert len(hourly.intervals) == 3, "only the hours of the three"
    assert not any(part.intervals for part in refresh(tills).parts), "nothing is left to do"
