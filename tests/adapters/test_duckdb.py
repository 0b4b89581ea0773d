"""The embedded warehouse: atomic builds, pointers that move together, honest refusals."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from interlock.adapters.duckdb import DuckDBWarehouse, source_sql, zones_sql
from interlock.define.definitions import Column, CsvSource, Table
from interlock.errors import Invalid, Unavailable, Unusable


@pytest.fixture
def warehouse() -> Iterator[DuckDBWarehouse]:
    opened = DuckDBWarehouse(None)
    yield opened
    opened.close()


def rows(warehouse: DuckDBWarehouse, sql: str) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in warehouse.query(sql).to_pylist()]


def test_a_built_table_is_replaced_whole_and_counted(warehouse: DuckDBWarehouse) -> None:
    assert warehouse.build("il.a", "SELECT range AS x FROM range(5)") == 5
    assert warehouse.build("il.a", "SELECT range AS x FROM range(7)") == 7
    assert rows(warehouse, "SELECT count(*) FROM il.a") == [(7,)]


def test_a_build_that_fails_leaves_what_was_there(warehouse: DuckDBWarehouse) -> None:
    warehouse.build("il.a", "SELECT 1 AS x")
    with pytest.raises(Unusable, match="Could not convert string 'zz'"):
        warehouse.build("il.a", "SELECT CAST(v AS INT) AS x FROM (VALUES ('1'), ('zz')) t(v)")
    assert rows(warehouse, "SELECT x FROM il.a") == [(1,)]


def test_pointers_move_together_or_not_at_all(warehouse: DuckDBWarehouse) -> None:
    for name in ("il.a1", "il.a2", "il.b1"):
        warehouse.build(name, f"SELECT '{name}' AS x")
    warehouse.point({"wh.a": "il.a1", "wh.b": "il.b1"})
    with pytest.raises(Unusable, match="b2"):
        warehouse.point({"wh.a": "il.a2", "wh.b": "il.b2"})
    assert rows(warehouse, "SELECT x FROM wh.a") == [("il.a1",)]
    warehouse.point({"wh.a": "il.a2"})
    assert rows(warehouse, "SELECT x FROM wh.a") == [("il.a2",)]


def test_a_pointer_never_replaces_a_table(warehouse: DuckDBWarehouse) -> None:
    warehouse.build("wh.a", "SELECT 1 AS x")
    warehouse.build("il.a", "SELECT 2 AS x")
    with pytest.raises(Unusable, match="Table"):
        warehouse.point({"wh.a": "il.a"})
    assert rows(warehouse, "SELECT x FROM wh.a") == [(1,)]


def test_columns_are_known_without_running_the_query(warehouse: DuckDBWarehouse) -> None:
    sql = "SELECT 1 AS a, TIMESTAMP '2013-01-01' AS t, error('it ran') AS boom"
    assert list(warehouse.columns(sql)) == ["a", "t", "boom"]
    assert warehouse.columns(sql)["t"] == "TIMESTAMP"


def test_has_knows_tables_and_pointers_by_their_whole_name(warehouse: DuckDBWarehouse) -> None:
    warehouse.build("il.a", "SELECT 1 AS x")
    warehouse.point({"wh.p": "il.a"})
    assert (warehouse.has("il.a"), warehouse.has("wh.p")) == (True, True)
    assert (warehouse.has("wh.a"), warehouse.has("a")) == (False, False)


def test_loaded_rows_replace_or_append_by_column_name(warehouse: DuckDBWarehouse) -> None:
    warehouse.load("il.a", pa.table({"x": [1], "y": ["p"]}), append=True)
    warehouse.load("il.a", pa.table({"y": ["q"], "x": [2]}), append=True)
    assert rows(warehouse, "SELECT x, y FROM il.a ORDER BY x") == [(1, "p"), (2, "q")]
    warehouse.load("il.a", pa.table({"x": [9]}))
    assert rows(warehouse, "SELECT * FROM il.a") == [(9,)]


def test_the_zone_is_utc_wherever_the_machine_stands(warehouse: DuckDBWarehouse) -> None:
    told = rows(warehouse, "SELECT CAST(TIMESTAMPTZ '2013-07-01 10:00:00+02' AS TIMESTAMP)")
    assert told == [(datetime(2013, 7, 1, 8),)]


def test_a_second_process_is_told_who_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    holder = DuckDBWarehouse(path)
    code = (
        "import sys; from pathlib import Path\n"
        "from interlock.adapters.duckdb import DuckDBWarehouse\n"
        "from interlock.errors import Unavailable\n"
        "try: DuckDBWarehouse(Path(sys.argv[1]))\n"
        "except Unavailable as e: sys.stdout.write(str(e))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert "in use by another interlock process" in said
    assert "help:" in said
    holder.close()
    DuckDBWarehouse(path).close()  # and closing lets go


def test_what_was_built_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    first = DuckDBWarehouse(path)
    first.build("il.a", "SELECT 1 AS x")
    first.close()
    second = DuckDBWarehouse(path)
    assert rows(second, "SELECT x FROM il.a") == [(1,)]
    second.close()


def test_a_schema_named_like_the_file_is_refused_with_a_reason(tmp_path: Path) -> None:
    opened = DuckDBWarehouse(tmp_path / "warehouse.duckdb")
    with pytest.raises(Unusable, match="has the name of the warehouse file"):
        opened.build("warehouse.a", "SELECT 1 AS x")
    opened.close()


def test_a_file_that_is_no_warehouse_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    path.write_bytes(b"hello" * 5000)
    with pytest.raises(Unavailable, match="not a valid DuckDB database"):
        DuckDBWarehouse(path)


def test_a_full_disk_is_the_engine_s_trouble_not_the_query_s(tmp_path: Path) -> None:
    opened = DuckDBWarehouse(tmp_path / "warehouse.duckdb")
    opened.execute("SET GLOBAL memory_limit = '20MB'")
    opened.execute("SET GLOBAL max_temp_directory_size = '1MB'")
    big = "SELECT hash(range) AS h, repeat('x', 200) || range AS s FROM range(500000) ORDER BY h"
    with pytest.raises(Unavailable, match="did not answer"):
        opened.build("il.big", big)
    assert not opened.has("il.big")
    opened.close()


def test_bad_sql_is_refused_with_the_first_line_only(warehouse: DuckDBWarehouse) -> None:
    with pytest.raises(Unusable) as refused:
        warehouse.query("SELECT x FROM nowhere")
    assert refused.value.message.endswith("Table with name nowhere does not exist!")


CSV = CsvSource(csv="data/f.csv")


def table(**columns: str) -> Table:
    declared = {name: Column(type=type) for name, type in columns.items()}  # type: ignore[arg-type]
    return Table(name="raw.f", owner="data", columns=declared, source=CSV)


def put(root: Path, text: str) -> None:
    (root / "data").mkdir(exist_ok=True)
    (root / "data" / "f.csv").write_bytes(text.encode())


def test_a_csv_is_read_in_the_types_of_its_contract(
    warehouse: DuckDBWarehouse, tmp_path: Path
) -> None:
    put(tmp_path, 'n,code,at,spare\r\n517.0,"01,5",2013-01-01T10:00:00Z,x\r\nNA,,NA,y\r\n')
    sql = source_sql(table(at="timestamp", code="string", n="integer"), tmp_path)
    assert warehouse.columns(sql) == {"at": "TIMESTAMP", "code": "VARCHAR", "n": "BIGINT"}
    assert rows(warehouse, sql) == [(datetime(2013, 1, 1, 10), "01,5", 517), (None, None, None)]


def test_a_csv_time_with_an_offset_becomes_utc(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    # New York, in the hour that occurs twice, and Delhi: several offsets in one column.
    zoned = ("2013-07-01 10:00:00+02:00", "2013-11-03T01:30:00-04:00", "2013-11-03T01:30:00-05:00",
             "2013-11-03T12:00:00.5+05:30", "2013-11-03 06:30:00Z")  # fmt: skip
    put(tmp_path, "\n".join(["at", *zoned, ""]))
    assert [at for (at,) in rows(warehouse, source_sql(table(at="timestamp"), tmp_path))] == [
        datetime(2013, 7, 1, 8), datetime(2013, 11, 3, 5, 30), datetime(2013, 11, 3, 6, 30),
        datetime(2013, 11, 3, 6, 30, 0, 500_000), datetime(2013, 11, 3, 6, 30),
    ]  # fmt: skip
    assert rows(warehouse, zones_sql(table(at="timestamp"), tmp_path)) == [("at", 5, 0)]


def test_a_time_without_an_offset_is_told_from_one_with(
    warehouse: DuckDBWarehouse, tmp_path: Path
) -> None:
    naive = ("2013-07-01", "2013-07-01 10:00", "2013-07-01T10:00:00.123", "NA", "")
    put(tmp_path, "\n".join(["at,day,n", *(f"{at},2013-01-01,1" for at in naive), ""]))
    asked = table(at="timestamp", day="date", n="integer")
    assert rows(warehouse, zones_sql(asked, tmp_path)) == [("at", 0, 3)]
    assert zones_sql(table(n="integer"), tmp_path) == ""
    put(tmp_path, "at\n2013-07-01 10:00 America/New_York\n2013-07-01 10:00\n")
    assert rows(warehouse, zones_sql(table(at="timestamp"), tmp_path)) == [("at", 1, 1)]


def test_a_zipped_csv_is_read_too(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "f.csv.gz").write_bytes(gzip.compress(b"n\n1\n"))
    zipped = table(n="integer").model_copy(update={"source": CsvSource(csv="data/f.csv.gz")})
    assert rows(warehouse, source_sql(zipped, tmp_path)) == [(1,)]


def test_a_csv_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"data/f\.csv, and there is no such file"):
        source_sql(table(n="integer"), tmp_path)


def test_a_renamed_csv_column_is_named_with_what_is_there(tmp_path: Path) -> None:
    put(tmp_path, "delay_s,origin\n1,EWR\n")
    with pytest.raises(Invalid, match=r"no column dep_delay \(it has delay_s, origin\)"):
        source_sql(table(dep_delay="double", origin="string"), tmp_path)


def test_a_csv_value_of_the_wrong_type_fails_the_build(
    warehouse: DuckDBWarehouse, tmp_path: Path
) -> None:
    put(tmp_path, "n\n1\nmany\n")
    with pytest.raises(Unusable, match=r'Line: 3 .* Could not convert string "many"'):
        warehouse.build("il.f", source_sql(table(n="integer"), tmp_path))
    assert not warehouse.has("il.f")
