"""No query shows a clear value of a masked column, however it is written."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from masking_world import COLUMNS, KEY, Maker, canaries_in, fill, project, relations, table

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.adapters.postgres import PostgresWarehouse
from interlock.define.privacy import Mask
from interlock.errors import InterlockError
from interlock.features.covers import Cover
from interlock.features.dialect import DUCKDB, POSTGRES, dialect_of
from interlock.features.masking import Relation, masked, masked_relation, masked_sql
from interlock.impact.sql import substitute
from interlock.ports import Warehouse

QUERIES = 200
PROJECTS = 30


@pytest.fixture(scope="module")
def warehouse() -> Iterator[DuckDBWarehouse]:
    made = DuckDBWarehouse(None)
    fill(made)
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(postgres_database: str) -> Iterator[Warehouse]:
    made = PostgresWarehouse(postgres_database)
    fill(made)
    yield made
    made.close()


@pytest.fixture(params=["warehouse", "server"])
def engine(request: pytest.FixtureRequest) -> Warehouse:
    """Every engine that masks are written for."""
    found: Warehouse = request.getfixturevalue(request.param)
    return found


def shown(engine: Warehouse, sql: str, key: bytes | None = KEY) -> list[dict[str, Any]]:
    """Masked rows, or all that a refusal says."""
    try:
        return engine.query(
            masked_sql(sql, relations(project()), key, dialect_of(engine))
        ).to_pylist()
    except InterlockError as refusal:
        return [{"said": "".join((str(refusal), refusal.help or ""))}]


def test_no_random_query_shows_a_clear_value(engine: Warehouse) -> None:
    would = ran = 0
    count = QUERIES if dialect_of(engine) is DUCKDB else QUERIES // 4
    for seed in range(count):
        sql, _ = Maker(random.Random(seed)).query(depth=3)
        rows = shown(engine, sql)
        assert canaries_in(rows) == [], f"seed {seed}: {sql}"
        if rows and "said" not in rows[0]:
            ran += 1
            clear = engine.query(substitute(sql, {}, dialect_of(engine).name))
            would += bool(canaries_in(clear.to_pylist()))
    # Lists, and a minimum over every type, are not said on Postgres.
    least = count / 2 if dialect_of(engine) is DUCKDB else count / 5
    assert would > least, "the same queries without masks show canaries"
    assert ran > least, "masked queries still answer"


def test_a_mask_follows_values_into_tables_built_from_others(warehouse: DuckDBWarehouse) -> None:
    hidden = clear = would = 0
    for seed in range(PROJECTS):
        maker = Maker(random.Random(10_000 + seed))
        built = {}
        for at in range(3):
            sql, _ = maker.query()
            name = f"wh.built{at}"
            warehouse.build(name, sql)
            types = warehouse.columns(f"SELECT * FROM {name}")
            columns = {n: _declared(kind) for n, kind in types.items()}
            built[name] = table(name, columns, sql)
            maker.tables = {**maker.tables, name: columns}
        known = relations(project(built))
        for name in built:
            would += bool(canaries_in(warehouse.query(f"SELECT * FROM {name}").to_pylist()))
            rows = warehouse.query(f"SELECT * FROM {masked_relation(known[name], KEY)}")
            assert canaries_in(rows.to_pylist()) == [], f"seed {seed} {name}: {built[name].sql}"
            hidden += len(known[name].covers)
            clear += len(known[name].columns) - len(known[name].covers)
    assert would > PROJECTS
    assert hidden > 30 < clear, "neither everything nor nothing is masked"


def _declared(kind: str) -> str:
    known = {"VARCHAR": "string", "DATE": "date", "DOUBLE": "double", "DECIMAL(3,1)": "double"}
    return "integer" if "INT" in kind and "[" not in kind else known.get(kind, "other")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('x.csv')",
        "SELECT * FROM query('SELECT * FROM wh.people')",
        "SELECT * FROM query_table('wh.people')",
        "SELECT * FROM 'people.parquet'",
        "SELECT * FROM duckdb_columns()",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM people",
        "SELECT * FROM il.people__0123",
        "SELECT * FROM wh.people; SELECT 1",
        "DESCRIBE wh.people",
        "SUMMARIZE wh.people",
        "COPY wh.people TO 'x'",
        "DELETE FROM wh.people",
        "SELECT (SELECT max(x) FROM nowhere.people) FROM wh.people",
    ],
)
def test_what_is_not_declared_is_not_shown(sql: str) -> None:
    with pytest.raises(InterlockError):
        masked_sql(sql, relations(project()), KEY)


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT "SSN" FROM "WH"."People"',
        "SELECT p FROM wh.people p",
        "SELECT COLUMNS('s.*') FROM wh.people",
        "SELECT * FROM memory.wh.people",
        "FROM wh.people SELECT ssn",
        "WITH people AS (SELECT * FROM wh.people) SELECT * FROM people",
        "SELECT x.ssn FROM wh.orders o, LATERAL (SELECT ssn FROM wh.people) x",
        "SELECT t.* FROM (SELECT struct_pack(a := ssn) AS s, mail FROM wh.people) t",
        "SELECT ssn FROM wh.people WHERE mail LIKE 'mailnarwhal%'",
        "SELECT ssn FROM wh.people TABLESAMPLE 100%",
        "SELECT * FROM wh.people POSITIONAL JOIN wh.orders",
        "SELECT error(CAST(ssn AS VARCHAR)) FROM wh.people",
        "SELECT CAST(ssn AS INTEGER) FROM wh.people",
    ],
)
def test_no_spelling_gets_around_a_mask(engine: Warehouse, sql: str) -> None:
    assert canaries_in(shown(engine, sql)) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT query_to_xml('SELECT ssn FROM wh.people', true, true, '') AS x",
        "SELECT CAST(pg_catalog.table_to_xml('wh.people', true, true, '') AS VARCHAR) AS x",
        "SELECT * FROM pg_stats",
        # A name that is a CTE in one place and the engine's own table in another.
        "SELECT * FROM (WITH pg_stats AS (SELECT 1 AS a) SELECT * FROM pg_stats) AS a, pg_stats",
        "WITH pg_stats AS (SELECT * FROM pg_stats) SELECT * FROM pg_stats",
        "WITH a AS (SELECT * FROM b), b AS (SELECT 1 AS x) SELECT * FROM a",
        "SELECT * FROM (WITH people AS (SELECT 1 AS a) SELECT * FROM people) AS a, people",
    ],
)
def test_what_an_engine_would_find_by_itself_is_not_read(server: Warehouse, sql: str) -> None:
    server.execute("ANALYZE wh.people")
    server.build("people", "SELECT * FROM wh.people")
    with pytest.raises(InterlockError, match=r"may read anything|no table"):
        masked_sql(sql, relations(project()), KEY, dialect_of(server))
    assert canaries_in(shown(server, sql)) == []


def test_a_cte_stands_for_itself(engine: Warehouse) -> None:
    sql = (
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 3), "
        "p AS (SELECT town FROM wh.people WHERE id IN (SELECT i FROM n)) "
        "SELECT count(*) AS n FROM p"
    )
    assert shown(engine, sql) == [{"n": 3}]


def test_masks_and_hashes_are_the_same_on_every_engine(
    warehouse: Warehouse, server: Warehouse
) -> None:
    """Whole and broken numbers, dates before 1970, what is no number, and nothing at all."""
    rows = pa.table({
        "x": [1.0, -2.5, 1e20, 1e-5, float("nan"), float("inf"), 123456789.125, None],
        "n": [0, -7, 2**53 + 1, 5, 41, 10**15, 12, None],
        "day": [date(1969, 12, 31), date(2024, 2, 29), date(2, 1, 1), date(9999, 12, 31),
                date(1970, 1, 1), date(1970, 1, 8), date(2000, 1, 1), None],
        "at": [*(datetime(1969, 12, 31, 23, 59) + timedelta(days=d * 999) for d in range(7)), None],
        "word": ["é'\"\\\n✈", "", "NULL", "x" * 300, "1", "[redacted]", "雨", None],
        "place": list(range(8)),
    })  # fmt: skip
    kinds = {"x": "double", "n": "integer", "day": "date", "at": "timestamp", "word": "string"}
    buckets = (Mask(mask="bucket", width=7), Mask(mask="bucket", edges=(0, 10, 1000)))
    for engine in (warehouse, server):
        engine.load("wh.odd", rows)
    for mask in (Mask(mask="hash"), *buckets, Mask(mask="redact"), Mask(mask="null")):
        # Texts have no buckets, days none between edges.
        without = ("string",) if mask.width else ("string", "date", "timestamp")
        of = {n: k for n, k in kinds.items() if mask.mask != "bucket" or k not in without}
        hidden = {n: Cover(mask, "sensitive", k, ()) for n, k in of.items()}  # type: ignore[arg-type]  # texts of ColumnType
        relation = Relation("wh.odd", tuple(rows.column_names), hidden)
        mine, theirs = (
            one.query(f"SELECT * FROM {masked_relation(relation, KEY, dialect_of(one))} AS t "
                      "ORDER BY place").to_pylist()
            for one in (server, warehouse)
        )  # fmt: skip
        assert [repr(row) for row in mine] == [repr(row) for row in theirs], mask


def test_what_is_no_number_or_day_is_null_and_not_quoted(server: Warehouse) -> None:
    server.build("wh.wrong", "SELECT 'ssnquokka00' AS a, 'mailnarwhal00' AS b, "
                 "CAST('infinity' AS DATE) AS c, 'NaN' AS d, '12' AS e")  # fmt: skip
    of = {"a": "double", "b": "date", "c": "date", "d": "integer", "e": "double"}
    mask = Mask(mask="bucket", width=5)
    hidden = {n: Cover(mask, "sensitive", k, ()) for n, k in of.items()}  # type: ignore[arg-type]  # texts of ColumnType
    rows = masked_relation(Relation("wh.wrong", tuple(of), hidden), KEY, POSTGRES)
    (row,) = server.query(f"SELECT * FROM {rows} AS t").to_pylist()
    assert row == {**dict.fromkeys("abcd"), "e": 10.0}


def test_a_value_and_a_query_are_masked_alike(engine: Warehouse) -> None:
    known = relations(project())
    for name in COLUMNS:
        rows = masked_relation(known[name], KEY, dialect_of(engine))
        seen = engine.query(f"SELECT * FROM {rows} AS t ORDER BY id").to_pylist()
        clear = engine.query(f"SELECT * FROM {name} ORDER BY id").to_pylist()
        for column, cover in known[name].covers.items():
            for was, row in zip(clear, seen, strict=True):
                assert row[column] == masked(was[column], cover, KEY)


@pytest.mark.parametrize(
    ("mask", "kind", "value", "shown"),
    [
        (Mask(mask="bucket", width=10), "integer", 37, 30),
        (Mask(mask="bucket", width=10), "integer", -3, -10),
        (Mask(mask="bucket", width=0.5), "double", 1.7, 1.5),
        (Mask(mask="bucket", edges=(0, 18, 65)), "integer", 70, 65),
        (Mask(mask="bucket", edges=(0, 18, 65)), "integer", -1, None),
        (Mask(mask="bucket", width=3652), "date", date(1984, 5, 6), "1980-01-01"),
        (Mask(mask="redact"), "string", "x", "[redacted]"),
        (Mask(mask="null"), "string", "x", None),
        (Mask(mask="hash"), "string", None, None),
    ],
)
def test_masks_say_what_they_promise(
    warehouse: DuckDBWarehouse, mask: Mask, kind: str, value: object, shown: object
) -> None:
    cover = Cover(mask, "sensitive", kind, ())  # type: ignore[arg-type]  # texts of ColumnType
    assert masked(value, cover, KEY) == shown


def test_hashes_join_and_differ_by_key(engine: Warehouse) -> None:
    def seen(key: bytes | None) -> set[str]:
        return {row["ssn"] for row in shown(engine, "SELECT ssn FROM wh.people", key)}

    assert len(seen(KEY)) == 12
    assert seen(KEY) == seen(KEY)
    assert not seen(KEY) & seen(b"another key")
    assert seen(None) == {"[redacted]"}
