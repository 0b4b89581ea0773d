"""What only a server can do wrong: lines that break, strangers' locks, passwords in messages."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from interlock.adapters.postgres import PostgresWarehouse
from interlock.errors import Unavailable, Unusable


@pytest.fixture
def warehouse(postgres_url: str) -> Iterator[PostgresWarehouse]:
    opened = PostgresWarehouse(postgres_url)
    yield opened
    opened.close()


def cut_every_other_line(url: str) -> None:
    other = PostgresWarehouse(url)
    other.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    other.close()


def test_a_line_that_broke_while_nobody_used_it_is_replaced_before_anybody_notices(
    warehouse: PostgresWarehouse, postgres_url: str
) -> None:
    warehouse.load("cut.a", pa.table({"x": [1]}))
    cut_every_other_line(postgres_url)
    assert warehouse.query("SELECT x FROM cut.a").to_pylist() == [{"x": 1}]


def test_a_line_that_breaks_in_a_build_leaves_nothing_behind(
    warehouse: PostgresWarehouse,
) -> None:
    warehouse.load("cut.kept", pa.table({"x": [1]}))
    with pytest.raises(Unavailable):
        warehouse.build("cut.kept", "SELECT 2 AS x, pg_terminate_backend(pg_backend_pid()) AS bye")
    assert warehouse.query("SELECT x FROM cut.kept").to_pylist() == [{"x": 1}]
    left = "SELECT tablename FROM pg_tables WHERE tablename LIKE '\\_\\_staged%'"
    assert warehouse.query(left).to_pylist() == []
    assert warehouse.build("cut.kept", "SELECT 3 AS x") == 1


def test_rows_read_in_batches_end_with_the_line(warehouse: PostgresWarehouse) -> None:
    reader = warehouse.batches(
        "SELECT CASE WHEN g = 900000 THEN pg_terminate_backend(pg_backend_pid()) END AS bye "
        "FROM generate_series(1, 1000000) AS g"
    )
    with pytest.raises(Unavailable, match="did not answer"):
        reader.read_all()


def test_a_value_that_cannot_be_is_met_on_the_way_and_named(warehouse: PostgresWarehouse) -> None:
    reader = warehouse.batches("SELECT 1 / (g - 900000) AS x FROM generate_series(1, 1000000) AS g")
    with pytest.raises(Unusable, match="division by zero"):
        reader.read_all()
    with pytest.raises(Unusable, match="division by zero"):
        warehouse.query("SELECT 1 / (g - 900000) AS x FROM generate_series(1, 1000000) AS g")


def test_a_view_that_people_made_on_a_pointer_survives_a_move(
    warehouse: PostgresWarehouse,
) -> None:
    for n in (1, 2):
        warehouse.load(f"own.v{n}", pa.table({"x": [n]}))
    warehouse.point({"own.live": "own.v1"})
    warehouse.execute("CREATE OR REPLACE VIEW own.theirs AS SELECT x * 10 AS ten FROM own.live")
    warehouse.point({"own.live": "own.v2"})
    assert warehouse.query("SELECT ten FROM own.theirs").to_pylist() == [{"ten": 20}]
    # With other columns theirs could not stand: the move is refused and nothing moves.
    warehouse.load("own.v3", pa.table({"y": ["3"]}))
    with pytest.raises(Unusable, match="depend"):
        warehouse.point({"own.live": "own.v3"})
    assert warehouse.query("SELECT ten FROM own.theirs").to_pylist() == [{"ten": 20}]


def test_sums_come_as_numbers(warehouse: PostgresWarehouse) -> None:
    sql = "SELECT sum(n) AS total, avg(n) AS mean FROM (VALUES (1::bigint), (2), (NULL)) AS t(n)"
    assert warehouse.columns(sql) == {"total": "DECIMAL", "mean": "DECIMAL"}
    assert warehouse.query(sql).to_pylist() == [{"total": 3.0, "mean": 1.5}]


def test_a_server_that_is_not_there_is_named_and_its_password_is_not() -> None:
    with pytest.raises(Unavailable) as refused:
        PostgresWarehouse("postgresql://ada:s3cret@127.0.0.1:1/none")
    assert "the warehouse on 127.0.0.1 cannot be reached" in str(refused.value)
    assert "s3cret" not in str(refused.value)
