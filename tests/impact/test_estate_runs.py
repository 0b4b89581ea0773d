"""The made-up estate that is measured with is SQL that runs, not text that is nearly SQL."""

from __future__ import annotations

import duckdb

from bench.estate import ENGINE, Size, make

SMALL = Size(sources=6, tables=60, views=12, features=3, models=1, services=1, layers=6)


def test_every_query_gives_the_columns_it_declares() -> None:
    estate = make(SMALL)
    with duckdb.connect() as engine:
        engine.execute("CREATE SCHEMA raw; CREATE SCHEMA wh")
        for table in estate.tables.values():
            if table.sql:
                engine.execute(f"CREATE VIEW {table.name} AS {table.sql}")
            else:
                columns = ", ".join(f"{name} {ENGINE[t]}" for name, t in table.columns.items())
                engine.execute(f"CREATE TABLE {table.name} ({columns})")
        for query in estate.queries():
            found = engine.execute(query.sql)
            assert [one[0] for one in found.description] == list(query.columns), query.name
            assert found.fetchall() == []
