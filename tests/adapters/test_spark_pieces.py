"""Parts of tables on Spark: at every statement all old or all new, and never stuck afterwards."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from interlock.adapters.spark.pieces import Pieces
from interlock.errors import InterlockError
from interlock.ports import Replacement

if TYPE_CHECKING:
    from interlock.adapters.spark import SparkWarehouse

S = "pieces_of_tests"


class Cut(Exception):
    """Here the process ends."""


class Watched:
    """A session that looks at both tables before it writes, and ends where a text begins so."""

    def __init__(self, warehouse: SparkWarehouse, end: str = "nowhere") -> None:
        self.warehouse, self.end = warehouse, end
        self.seen: list[tuple[list[int], list[int]]] = []

    def sql(self, text: str) -> Any:
        if text.startswith(self.end) or text.endswith(self.end):
            raise Cut
        if self.end == "nowhere" and " VIEW " in text:
            self.seen.append(both(self.warehouse))
        return self.warehouse._spark.sql(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.warehouse._spark, name)


def both(warehouse: SparkWarehouse) -> tuple[list[int], list[int]]:
    one = " UNION ALL ".join(f"SELECT '{name}' AS t, x FROM {S}.{name}" for name in "ab")
    rows = warehouse.query(one).to_pylist()
    a, b = (sorted(row["x"] for row in rows if row["t"] == name) for name in "ab")
    return a, b


def more(number: int) -> list[Replacement]:
    """One more row in a, and it alone in b."""
    row = f"SELECT CAST({number} AS BIGINT) AS x"
    return [Replacement(f"{S}.a", "FALSE", row), Replacement(f"{S}.b", "TRUE", row)]


def cut(warehouse: SparkWarehouse, end: str, parts: list[Replacement]) -> None:
    """They are replaced until the statement that begins, or ends, like `end`."""
    with pytest.raises(Cut):
        Pieces(Watched(warehouse, end)).replace(parts)  # type: ignore[arg-type]  # as below


def test_a_cut_at_any_statement_leaves_all_or_nothing_and_nothing_to_mend_by_hand(
    spark_warehouse: SparkWarehouse,
) -> None:
    for name in "ab":
        spark_warehouse.load(f"{S}.{name}", pa.table({"x": pa.array([0], pa.int64())}))
    try:
        # Tables become views: whoever was killed between the two is mended by a question.
        cut(spark_warehouse, f"CREATE VIEW `{S}`.`b`", more(1))
        for name in "ab":
            assert spark_warehouse.has(f"{S}.{name}")
        assert both(spark_warehouse) == ([0], [0])

        watched = Watched(spark_warehouse)
        Pieces(watched).replace(more(1))  # type: ignore[arg-type]  # as much of a session as is asked
        old, new = ([0], [0]), ([0, 1], [1])
        turned = watched.seen.index(new)
        assert watched.seen == [old] * turned + [new] * (len(watched.seen) - turned)
        assert 3 < turned < len(watched.seen) - 1

        cut(spark_warehouse, "SELECT turned FROM", more(2))
        assert both(spark_warehouse) == ([0, 1, 2], [2])
        cut(spark_warehouse, "true AS turned", more(3))
        assert both(spark_warehouse) == ([0, 1, 2], [2])
        spark_warehouse.replace(more(4))
        assert both(spark_warehouse) == ([0, 1, 2, 4], [4])
        left = spark_warehouse.query(f"SHOW TABLES IN {S}").column("tableName").to_pylist()
        assert not [name for name in left if name.startswith("turning_")]
        assert len(left) < 10, "what nobody shows is swept"
    finally:
        spark_warehouse.execute(f"DROP SCHEMA {S} CASCADE")


def test_who_reads_while_parts_are_replaced_and_names_move_is_never_turned_away(
    spark_warehouse: SparkWarehouse,
) -> None:
    """A view that is created OR REPLACEd is gone for a moment; so is a table that becomes one."""
    name, pointer, lost, found = f"{S}.c", f"{S}.shown", [], []
    spark_warehouse.load(name, pa.table({"x": pa.array(range(100), pa.int64())}))
    spark_warehouse.point({pointer: name})
    moved = threading.Event()

    def read(name: str) -> None:
        while not moved.is_set():
            try:
                rows = spark_warehouse.query(f"SELECT sum(x) AS n FROM {name}").to_pylist()
                found.append(rows[0]["n"])
            except InterlockError as error:
                lost.append(error.message)

    readers = [threading.Thread(target=read, args=(one,)) for one in (name, pointer)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(3):
            part = f"SELECT x FROM {name} WHERE x < 50"
            spark_warehouse.replace([Replacement(name, "x < 50", part)])
            spark_warehouse.point({pointer: name})
    finally:
        moved.set()
        for reader in readers:
            reader.join()
        spark_warehouse.execute(f"DROP SCHEMA {S} CASCADE")
    assert lost == []
    assert set(found) == {4950}
