"""Whatever is given: a clear answer, never a crash, never "safe". That it ends is the bound."""

from __future__ import annotations

import pytest

from interlock.define.catalog import read_catalog
from interlock.impact.asked import understand
from interlock.impact.compare import Tables, compare, errors_in, tables_of
from interlock.impact.query import QueryFacts, compare_queries

T = {"t": {"a": "integer", "b": "integer"}}
MANY = 10_000
WIDE = {"t": {f"c{i}": "integer" for i in range(MANY)}}


def verdict(old: str, new: str, schema: dict[str, dict[str, str]] = T) -> str:
    said = compare_queries(understand(old, schema), understand(new, schema))
    return "same" if said.same else said.row_set


@pytest.mark.parametrize(
    "sql",
    ["", "   ", "-- nothing", "SELECT", "SELECT FROM WHERE", "SELECT 'open FROM t", "DROP TABLE t",
     "SELECT 1; SELECT 2", "\x00\x01", "SELECT a FROM t WHERE (((", "INSERT INTO t VALUES (1)",
     "SELECT /* open", "🙂", "WITH x AS (SELECT 1)", "SELECT $$", "{{ ref('t') }}"],
)  # fmt: skip
def test_what_cannot_be_read_says_so(sql: str) -> None:
    facts = understand(sql, T)
    assert facts.errors
    assert facts.unknown
    assert errors_in(sql, "duckdb")
    assert verdict("SELECT a FROM t", sql) == "unknown"
    assert verdict(sql, "SELECT a FROM t") == "unknown"


def test_a_star_with_a_schema_is_its_columns_and_without_one_unknown() -> None:
    assert verdict("SELECT * FROM t", "SELECT a, b FROM t") == "same"
    assert verdict("SELECT * FROM t", "SELECT * FROM t WHERE a > 1") == "changed"
    assert verdict("SELECT * FROM nowhere", "SELECT * FROM nowhere WHERE a > 1") == "unknown"
    assert verdict("SELECT a FROM t", "SELECT * FROM nowhere") == "unknown"
    assert verdict("SELECT * FROM nowhere", "SELECT  *  FROM nowhere -- still") == "same"


def test_a_table_nobody_knows_is_compared_by_the_names_it_is_asked_for() -> None:
    said = compare("SELECT x FROM n", "SELECT x FROM n WHERE y", Tables({}, {}), "duckdb")
    assert said.row_set == "unknown"
    assert "no table n" in said.reason


DEEP = [
    lambda n: f"SELECT {'(' * n}a{')' * n} AS x FROM t",
    lambda n: f"SELECT {'abs(' * n}a{')' * n} AS x FROM t",
    lambda n: f"SELECT {'-' * 1}{'(-' * n}a{')' * n} AS x FROM t",
    lambda n: f"SELECT {'CASE WHEN a > 1 THEN ' * n}a{' END' * n} AS x FROM t",
    lambda n: f"SELECT x FROM {'(SELECT x FROM ' * n}(SELECT a AS x FROM t) q{') q' * n}",
    lambda n: f"SELECT {'(SELECT max(' * n}a{') FROM t)' * n} AS x FROM t",
    lambda n: f"SELECT a AS x FROM t WHERE {'a IN (SELECT a FROM t WHERE ' * n}a > 1{')' * n}",
    lambda n: f"SELECT a AS x FROM t WHERE {'NOT ' * n}a > 1",
    lambda n: f"SELECT {'[' * n}1{']' * n} AS x FROM t",
    lambda n: f"SELECT {'sum(' * n}a{') OVER ()' * n} AS x FROM t",
]


@pytest.mark.parametrize("depth", [10, 25, 60, 400, 5000])
@pytest.mark.parametrize("made", DEEP, ids=range(len(DEEP)))
def test_depth_ends_in_an_answer(made, depth: int) -> None:  # type: ignore[no-untyped-def]
    sql = made(depth)
    facts = understand(sql, T)
    other = understand(sql.replace("a", "b").replace("bbs", "abs"), T)
    assert facts.errors or facts.unknown or facts.columns
    if facts.unknown and depth == 5000:
        assert "deep" in facts.unknown or facts.errors
    said = compare_queries(facts, understand("SELECT a AS x FROM t LIMIT 3", T))
    assert not said.same
    assert isinstance(other, QueryFacts)


def test_names_that_double_do_not_take_twice_as_long_each() -> None:
    """Each name stands for two of the one before: expanded, there would be 2 ** 60 of them."""
    parts = ["a AS c0", *(f"c{i} + c{i} AS c{i + 1}" for i in range(60))]
    facts = understand(f"SELECT {', '.join(parts)} FROM t", T)
    assert len(facts.columns) == 61


def test_ctes_that_read_each_other_twice_are_worked_out_once() -> None:
    ctes = ["x0 AS (SELECT a FROM t)"]
    ctes += [f"x{i + 1} AS (SELECT l.a FROM x{i} l JOIN x{i} r ON l.a = r.a)" for i in range(60)]
    facts = understand(f"WITH {', '.join(ctes)} SELECT a FROM x60", T)
    assert [c.name for c in facts.columns] == ["a"]


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT a FROM t WHERE {' AND '.join(f'a <> {i}' for i in range(8_000))}",
        f"SELECT a FROM t WHERE {' OR '.join(f'a = {i}' for i in range(8_000))}",
        f"SELECT a FROM t WHERE a IN ({', '.join(str(i) for i in range(150_000))})",
        " UNION ALL ".join(f"SELECT {i} AS a" for i in range(5_000)),
        f"SELECT a FROM t WHERE b = {' + '.join(['a'] * 5_000)}",
        f"SELECT '{'x' * 1_000_000}' AS a FROM t",
    ],
    ids=["AND", "OR", "IN", "UNION ALL", "+", "literal"],
)
def test_a_megabyte_of_sql_is_answered(sql: str) -> None:
    facts = understand(sql, T)
    assert facts.unknown in (None, "nested too deeply")
    assert verdict(sql, sql) == "same"
    assert verdict(sql, "SELECT a FROM t WHERE a > 7") in ("changed", "unknown")


def test_ten_thousand_columns() -> None:
    assert verdict("SELECT * FROM t", "SELECT t.* FROM t WHERE TRUE", WIDE) == "same"
    named = ", ".join(f"c{i}" for i in range(MANY))
    assert verdict("SELECT * FROM t", f"SELECT {named} FROM t", WIDE) == "same"
    wrong = ", ".join(f"d{i}" for i in range(MANY))
    facts = understand(f"SELECT {wrong} FROM t", WIDE)
    assert facts.errors
    assert len(facts.errors) <= 50
    assert len(facts.errors[0].fix) < 1000
    both = understand("SELECT * FROM t JOIN t u USING (c1)", WIDE)
    assert len(both.columns) == 2 * MANY - 1


def test_a_recursive_query_is_never_safe_when_it_changed() -> None:
    old = ("WITH RECURSIVE r(n) AS (SELECT a FROM t UNION ALL SELECT n + 1 FROM r WHERE n < 9) "
           "SELECT n FROM r")  # fmt: skip
    assert verdict(old, old.replace("  ", " ").lower()) == "same"
    assert verdict(old, old.replace("9", "8")) == "unknown"
    assert verdict(old, old.replace("SELECT a FROM t", "SELECT b FROM t")) == "unknown"
    endless = "WITH RECURSIVE r AS (SELECT n FROM r) SELECT n FROM r"
    assert verdict(old, endless) == "unknown"


@pytest.mark.parametrize(
    "text",
    ["- a", "t", "t: 3", "t: [a]", "t: {a: 3}", "t: {columns: {a: integer}, key: [b]}",
     "t: {columns: {a: integer}, kee: [a]}", "t: {a: {tpye: integer}, b: integer}"],
)  # fmt: skip
def test_a_schema_file_that_is_wrong_says_where(text: str) -> None:
    _, problems = read_catalog(text, "schema.yaml")
    assert problems
    assert all(problem.file == "schema.yaml" and problem.line >= 1 for problem in problems)


def test_a_schema_file_in_each_of_its_forms() -> None:
    text = """
tables:
  wh:
    a: {id: integer}
    b:
      columns: {id: {type: integer, nullable: false}, x: }
      keys: [[id], [x]]
  c.d.e: {id: bigint}
"""
    catalog, problems = read_catalog(text, "schema.yaml")
    assert problems == []
    assert sorted(catalog.tables) == ["c.d.e", "wh.a", "wh.b"]
    assert catalog.tables["wh.b"].keys == (("id",), ("x",))
    assert catalog.tables["wh.b"].required == {"id"}
    assert sorted(tables_of(catalog, "duckdb").columns) == ["c.d.e", "wh.a", "wh.b"]
