"""Every line of the point-in-time contract, on every engine, against the oracle of `pit_world`.

`running` is the form for engines without an ASOF join, tried on DuckDB too.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pit_world import (
    KINDS,
    RAW,
    SPINE,
    VIEWS,
    Row,
    as_a_bag,
    as_table,
    expected,
    histories,
    questions,
)  # fmt: skip

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.define.definitions import FeatureView
from interlock.features.compile import (
    build_view_sql,
    duplicates_sql,
    point_in_time_sql,
    view_rows_sql,
)
from interlock.features.dialect import DUCKDB, Dialect
from interlock.features.join import Join
from interlock.ports import Warehouse


@dataclass(frozen=True)
class Engine:
    warehouse: Warehouse
    dialect: Dialect

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return self.warehouse.query(sql).to_pylist()  # type: ignore[no-any-return]

    def load(self, spine: Sequence[Row], rows: Sequence[Row]) -> None:
        self.warehouse.load("wh.raw", as_table(rows, RAW))
        self.warehouse.load("wh.spine", as_table(spine, SPINE))

    def build(self, view: FeatureView) -> str:
        bound, name = {"wh.raw": "wh.raw"}, f"il.{view.view}"
        ties = duplicates_sql(
            view, f"({view_rows_sql(view, bound, self.dialect)})", 5, self.dialect
        )
        assert self.rows(ties) == []
        self.warehouse.build(name, build_view_sql(view, bound, self.dialect))
        return name

    def ask(self, views: Sequence[FeatureView]) -> list[dict[str, Any]]:
        how = Join(self.dialect, tuple(SPINE.names), stamps=True)
        built = [(view, self.build(view)) for view in views]
        return self.rows(point_in_time_sql("wh.spine", "id", "t", built, None, how))


@pytest.fixture(scope="module", params=["duckdb", "running"])
def engine(request: pytest.FixtureRequest) -> Any:
    dialect = DUCKDB if request.param == "duckdb" else replace(DUCKDB, asof=False)
    warehouse = DuckDBWarehouse(None)
    yield Engine(warehouse, dialect)
    warehouse.close()


def test_ten_thousand_questions_of_every_kind_of_view_agree_with_the_oracle(  # R-A7, R-B3
    engine: Engine,
) -> None:
    rng = random.Random(20130310)
    rows, spine = histories(rng, 60), questions(rng, 60, 35)
    assert len(spine) > 10_000
    engine.load(spine, rows)
    found = engine.ask(VIEWS)
    assert len(found) == len(spine)
    for view in VIEWS:
        told = [_of(view, row) for row in found]
        assert as_a_bag(told) == expected(view, rows, spine), view.view
        seen = {row["status"] for row in told}
        assert seen == (
            {"missing", "fresh"} if _never_stale(view) else {"missing", "fresh", "stale"}
        )


def _never_stale(view: FeatureView) -> bool:
    return view.ttl is None or view.ttl.days > 10**6


def _of(view: FeatureView, row: Row) -> dict[str, Any]:
    """The columns of one view, under short names."""
    name = f"{view.view}_1"
    own = {kind: row[f"{name}__{kind}"] for kind in KINDS}
    return {
        **{column: row[column] for column in SPINE.names}, **own,
        "ts": row[f"{name}__ts"], "status": row[f"{name}__status"],
    }  # fmt: skip
