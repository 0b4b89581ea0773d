"""No query shows a clear value of a masked column, however it is written."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date

import pytest
from masking_world import COLUMNS, KEY, Maker, canaries_in, fill, project, relations, table

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.define.privacy import Mask
from interlock.errors import InterlockError
from interlock.features.covers import Cover
from interlock.features.masking import masked, masked_relation, masked_sql

QUERIES = 200
PROJECTS = 30


@pytest.fixture(scope="module")
def warehouse() -> Iterator[DuckDBWarehouse]:
    made = DuckDBWarehouse(None)
    fill(made)
    yield made
    made.close()


def test_no_random_query_shows_a_clear_value(warehouse: DuckDBWarehouse) -> None:
    known, would, ran = relations(project()), 0, 0
    for seed in range(QUERIES):
        sql, _ = Maker(random.Random(seed)).query(depth=3)
        would += bool(canaries_in(warehouse.query(sql).to_pylist()))
        rows = warehouse.query(masked_sql(sql, known, KEY)).to_pylist()
        ran += bool(rows)
        assert canaries_in(rows) == [], f"seed {seed}: {sql}"
    assert would > QUERIES / 2, "the same queries without masks show canaries"
    assert ran > QUERIES / 2, "masked queries still answer"


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
def test_no_spelling_gets_around_a_mask(warehouse: DuckDBWarehouse, sql: str) -> None:
    try:
        rows = warehouse.query(masked_sql(sql, relations(project()), KEY)).to_pylist()
    except InterlockError as refusal:
        rows = [{"said": "".join((str(refusal), refusal.help or ""))}]
    assert canaries_in(rows) == []


def test_a_value_and_a_query_are_masked_alike(warehouse: DuckDBWarehouse) -> None:
    known = relations(project())
    for name in COLUMNS:
        sql = f"SELECT * FROM {masked_relation(known[name], KEY)} ORDER BY id"
        seen = warehouse.query(sql).to_pylist()
        clear = warehouse.query(f"SELECT * FROM {name} ORDER BY id").to_pylist()
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


def test_hashes_join_and_differ_by_key(warehouse: DuckDBWarehouse) -> None:
    known = relations(project())

    def seen(key: bytes | None) -> set[str]:
        sql = masked_sql("SELECT ssn FROM wh.people", known, key)
        return {row["ssn"] for row in warehouse.query(sql).to_pylist()}

    assert len(seen(KEY)) == 12
    assert seen(KEY) == seen(KEY)
    assert not seen(KEY) & seen(b"another key")
    assert seen(None) == {"[redacted]"}
