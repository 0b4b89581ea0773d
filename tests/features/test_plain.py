"""Which views only rename columns: a wrong yes would put wrong rows online."""

from __future__ import annotations

import pytest

from interlock.features.plain import plain_columns, plain_table

KNOWN = ("a", "b", "at")


@pytest.mark.parametrize(("sql", "columns"), [
    ("SELECT a, b AS c FROM wh.t", {"a": "a", "c": "b"}),
    ("  select a\n  from wh.t ;\n", {"a": "a"}),
    ("SELECT * FROM wh.t", {"a": "a", "b": "b", "at": "at"}),
])  # fmt: skip
def test_choosing_and_renaming_is_plain(sql: str, columns: dict[str, str]) -> None:
    assert plain_columns(sql, KNOWN) == columns
    assert plain_table(sql) == "wh.t"


@pytest.mark.parametrize("sql", [
    "SELECT DISTINCT a FROM wh.t", "SELECT a + 1 AS a FROM wh.t", "SELECT max(a) AS a FROM wh.t",
    "SELECT a FROM wh.t WHERE a > 1", "SELECT a FROM wh.t LIMIT 1", "SELECT a FROM wh.t AS x",
    "SELECT a FROM wh.t JOIN wh.u ON true", "SELECT 1 AS a FROM wh.t", "SELECT 'x' AS a FROM wh.t",
    "SELECT NULL AS a FROM wh.t", "SELECT current_date AS a FROM wh.t", "SELECT a b FROM wh.t",
    "SELECT a -- b\n FROM wh.t", 'SELECT "a" FROM wh.t', "SELECT a FROM wh.t GROUP BY a",
    "SELECT a, FROM wh.t", "SELECT a FROM t", "SELECT wh.t.a FROM wh.t",
    "SELECT a FROM wh.t UNION SELECT a FROM wh.t", "WITH x AS (SELECT a FROM wh.t) SELECT a FROM x",
])  # fmt: skip
def test_anything_else_is_left_to_the_warehouse(sql: str) -> None:
    assert plain_columns(sql, KNOWN) is None
