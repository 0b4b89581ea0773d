"""The same rules in the words of five dialects: what is a name, what makes rows."""

from __future__ import annotations

import pytest

from interlock.define.catalog import read_catalog
from interlock.impact.compare import DIALECTS, Comparison, compare, errors_in, tables_of

SCHEMA = """
orders:
  columns: {id: integer, amount: double, note: varchar, tags: varchar, placed: timestamp}
  key: [id]
stores: {id: integer, city: varchar}
"""


def compared(old: str, new: str, dialect: str, schema: str = SCHEMA) -> Comparison:
    catalog, problems = read_catalog(schema, "schema.yaml")
    assert problems == []
    assert errors_in(old, dialect) == errors_in(new, dialect) == ()
    return compare(old, new, tables_of(catalog, dialect), dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SELECT id FROM orders WHERE amount > 1 AND note = 'x'",
         "select o.ID from Orders as o where (o.note = 'x') and 1 < o.amount -- same"),
        ("SELECT o.id FROM orders o JOIN stores s ON o.id = s.id",
         "SELECT o.id FROM stores s JOIN orders o ON s.id = o.id"),
        ("WITH a AS (SELECT * FROM orders) SELECT count(*) AS n FROM a",
         "SELECT count(*) AS n FROM orders"),
        ("SELECT note, sum(amount) AS m FROM orders GROUP BY 1",
         "SELECT note, sum(amount) AS m FROM orders GROUP BY note"),
        ("SELECT DISTINCT id, note FROM orders", "SELECT id, note FROM orders"),
    ],
    ids=["formatting", "join order", "CTE inlined", "GROUP BY 1", "DISTINCT over a key"],
)  # fmt: skip
def test_what_is_nothing_is_nothing_in_every_dialect(dialect: str, old: str, new: str) -> None:
    assert compared(old, new, dialect).same


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SELECT id FROM orders", "SELECT id FROM orders WHERE amount > 0"),
        ("SELECT note FROM orders", "SELECT DISTINCT note FROM orders"),
        ("SELECT 1 AS one FROM orders", "SELECT 1 AS one, max(amount) AS m FROM orders"),
        ("SELECT o.id FROM orders o JOIN stores s ON o.id = s.id",
         "SELECT o.id FROM orders o LEFT JOIN stores s ON o.id = s.id"),
        ("SELECT id FROM orders", "SELECT id FROM stores"),
    ],
    ids=["filter", "distinct", "aggregate", "join", "table"],
)  # fmt: skip
def test_what_changes_rows_changes_them_in_every_dialect(dialect: str, old: str, new: str) -> None:
    said = compared(old, new, dialect)
    assert said.row_set == "changed"
    assert said.reason


@pytest.mark.parametrize(
    ("dialect", "old", "new"),
    [
        ("spark", "SELECT id FROM orders LATERAL VIEW explode(split(tags, ',')) t AS tag",
         "SELECT id FROM orders LATERAL VIEW OUTER explode(split(tags, ',')) t AS tag"),
        ("spark", "SELECT note, id, count(*) AS n FROM orders GROUP BY note, id WITH ROLLUP",
         "SELECT note, id, count(*) AS n FROM orders GROUP BY id, note WITH ROLLUP"),
        ("spark", "SELECT id FROM orders", "SELECT id, explode(split(tags, ',')) AS t FROM orders"),
        ("spark", "SELECT id FROM orders o LEFT SEMI JOIN stores s ON o.id = s.id",
         "SELECT id FROM orders o LEFT ANTI JOIN stores s ON o.id = s.id"),
        ("snowflake", "SELECT o.id FROM orders o",
         "SELECT o.id FROM orders o, LATERAL FLATTEN(input => o.tags) f"),
        ("snowflake", "SELECT id FROM orders QUALIFY row_number() OVER (ORDER BY id) = 1",
         "SELECT id FROM orders QUALIFY row_number() OVER (ORDER BY id DESC) = 1"),
        ("bigquery", "SELECT id FROM orders", "SELECT id FROM orders, UNNEST([1, 2]) AS x"),
        ("bigquery", "SELECT id FROM orders",
         "SELECT id FROM orders TABLESAMPLE SYSTEM (10 PERCENT)"),
        ("postgres", "SELECT id FROM orders", "SELECT id, generate_series(1, 2) AS g FROM orders"),
        ("postgres", "SELECT DISTINCT ON (note) note, id FROM orders ORDER BY note, placed",
         "SELECT DISTINCT ON (note) note, id FROM orders ORDER BY note, placed DESC"),
        ("postgres", "SELECT id FROM orders",
         "SELECT o.id FROM orders o, LATERAL (SELECT s.id FROM stores s WHERE s.id = o.id) x"),
    ],
)  # fmt: skip
def test_what_a_dialect_makes_rows_with_is_never_safe(dialect: str, old: str, new: str) -> None:
    assert compared(old, new, dialect).row_set in ("changed", "unknown")


CASED = "t:\n  columns: {a: integer, A: integer}\n"


def test_quoted_names_are_told_apart_where_the_dialect_does() -> None:
    old, new = "SELECT a AS x FROM t", 'SELECT "A" AS x FROM t'
    assert compared(old, new, "postgres", CASED).columns["x"].verdict == "changed"
    one = "t: {a: integer}\n"
    assert compared(old, new, "snowflake", one).same  # a is "A" there
    assert compared(old, new, "duckdb", one).same


def test_names_that_a_dialect_cannot_tell_apart_are_a_problem() -> None:
    catalog, _ = read_catalog(CASED, "schema.yaml")
    assert tables_of(catalog, "duckdb").clashes == ("two columns of t are a",)
    assert tables_of(catalog, "postgres").clashes == ()


def test_a_name_that_may_be_a_column_or_an_alias_is_not_guessed() -> None:
    old = "SELECT upper(note) AS note, count(*) AS n FROM orders GROUP BY note"
    new = "SELECT upper(note) AS note, count(*) AS n FROM orders GROUP BY upper(note)"
    assert compared(old, new, "bigquery").row_set == "unknown"
    assert compared(old, new, "duckdb").row_set == "changed"
    assert compared(old, old, "bigquery").same


def test_two_catalogs_are_two_tables() -> None:
    said = compared("SELECT a FROM x.s.t", "SELECT a FROM y.s.t", "snowflake", "")
    assert said.row_set in ("changed", "unknown")
