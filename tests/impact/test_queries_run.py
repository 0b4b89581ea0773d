"""The verdicts held against a real engine: what is called the same gives the same rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.impact.asked import understand
from interlock.impact.query import compare_queries

SCHEMA = {
    "wh.departures": {
        "flight_id": "integer", "carrier": "string", "origin": "string", "dest": "string",
        "dep_delay": "integer", "cancelled": "boolean",
    },
    "wh.weather": {"origin": "string", "temp_f": "double"},
}  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA wh")
    connection.execute(
        "CREATE TABLE wh.departures AS SELECT i AS flight_id, ['UA', 'AA', 'DL'][1 + i % 3] AS "
        "carrier, ['JFK', 'LGA'][1 + i % 2] AS origin, ['BOS', 'JFK', 'ORD'][1 + i // 2 % 3] AS "
        "dest, (i * 37) % 50 - 10 AS dep_delay, i % 7 = 0 AS cancelled FROM range(40) r(i)"
    )
    connection.execute(
        "CREATE TABLE wh.weather AS SELECT * FROM (VALUES ('JFK', 50.0), ('LGA', 51.0), "
        "('LGA', 52.0)) w(origin, temp_f)"
    )
    yield connection
    connection.close()


SELECTED = st.lists(
    st.sampled_from(
        ["origin", "carrier", "dep_delay AS d", "(dep_delay) AS d", "dep_delay * 2 AS d",
         "2 * dep_delay AS d", "count(*) AS n", "max(dep_delay) AS m", "unnest([1, 2]) AS u",
         "row_number() OVER (ORDER BY flight_id) AS r",
         "count(*) OVER (PARTITION BY carrier) AS c"]
    ),
    min_size=1, max_size=3, unique_by=lambda text: text.rsplit(" ", 1)[-1],
)  # fmt: skip
CONDITIONS = st.lists(
    st.sampled_from(
        ["NOT cancelled", "dep_delay > 15", "15 < dep_delay", "carrier = 'UA'",
         "'UA' = carrier", "carrier IN ('UA', 'AA')", "carrier IN ('AA', 'UA')", "TRUE",
         "(cancelled OR dep_delay > 15)", "(dep_delay > 15 OR cancelled)"]
    ),
    max_size=2,
)  # fmt: skip


TAILS = st.sampled_from(
    ["", " GROUP BY ALL",
     " QUALIFY row_number() OVER (PARTITION BY origin ORDER BY flight_id) = 1"]
)  # fmt: skip
SOURCES = st.sampled_from(["table", "alias", "subquery", "cte", "limited", "joined"])
PARTS = (SELECTED, CONDITIONS, TAILS, st.sampled_from(["", "DISTINCT "]), SOURCES)


def _query(columns: list[str], where: list[str], tail: str, distinct: str, source: str) -> str:
    filtered = f" WHERE {' AND '.join(where)}" if where else ""
    base = f"SELECT * FROM wh.departures{filtered}"
    top, start = "", ""
    match source:
        case "table" | "alias":
            start = f"wh.departures{' AS d' if source == 'alias' else ''}{filtered}"
        case "subquery":
            start = f"({base}) AS x"
        case "cte":
            top, start = f"WITH t AS ({base}) ", "t"
        case "limited":
            start = f"({base} ORDER BY flight_id LIMIT 11) AS x"
        case "joined":
            # Its origin is that of the weather too, so every column still has one meaning.
            start = f"wh.departures JOIN wh.weather USING (origin){filtered}"
    return f"{top}SELECT {distinct}{', '.join(columns)} FROM {start}{tail}"


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, str]:
    """Two queries of a small grammar that share most of their parts, written in many ways."""
    old = [draw(part) for part in PARTS]
    new = [had if draw(st.booleans()) else draw(part) for had, part in zip(old, PARTS, strict=True)]
    return _query(*old), _query(*new)


def _rows(engine: duckdb.DuckDBPyConnection, sql: str, names: list[str]) -> Counter[Any] | None:
    picked = ", ".join(names) or "1"
    try:
        return Counter(engine.execute(f"SELECT {picked} FROM ({sql}) AS q").fetchall())
    except duckdb.Error:
        return None  # the grammar also makes queries that no engine runs


@settings(max_examples=300, derandomize=True, deadline=None)
@given(pairs())
def test_what_is_called_the_same_is_the_same_in_the_engine(
    engine: duckdb.DuckDBPyConnection, pair: tuple[str, str]
) -> None:
    """Soundness, the half of the law that keeps people safe."""  # R-C2
    old, new = pair
    said = compare_queries(understand(old, SCHEMA), understand(new, SCHEMA))
    if said.row_set != "same":
        return  # nothing was promised
    same = [name for name, verdict in said.columns.items() if verdict.verdict == "same"]
    before, after = _rows(engine, old, same), _rows(engine, new, same)
    assert (before is None) == (after is None)
    assert before == after, f"{old}\n{new}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SELECT DISTINCT origin FROM wh.departures",
         "SELECT DISTINCT origin, carrier FROM wh.departures"),
        ("SELECT 1 AS one FROM wh.departures",
         "SELECT 1 AS one, max(dep_delay) AS m FROM wh.departures"),
        ("WITH d AS (SELECT DISTINCT origin FROM wh.departures) SELECT count(*) AS n FROM d",
         "WITH d AS (SELECT DISTINCT origin, carrier FROM wh.departures) "
         "SELECT count(*) AS n FROM d"),
        ("SELECT origin FROM wh.departures UNION SELECT origin FROM wh.departures",
         "SELECT origin, carrier FROM wh.departures UNION "
         "SELECT origin, carrier FROM wh.departures"),
        ("SELECT origin FROM wh.departures",
         "SELECT origin, unnest([1, 2]) AS u FROM wh.departures"),
    ],
    ids=["distinct", "aggregate", "counted distinct", "union", "generator"],
)  # fmt: skip
def test_the_five_that_others_call_harmless_change_the_rows(
    engine: duckdb.DuckDBPyConnection, old: str, new: str
) -> None:
    """An added column that changes what readers of the old ones see."""  # R-C2
    name = understand(old, SCHEMA).columns[0].name
    assert _rows(engine, old, [name]) != _rows(engine, new, [name])
    assert compare_queries(understand(old, SCHEMA), understand(new, SCHEMA)).row_set == "changed"
