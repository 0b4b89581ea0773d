"""The one module that understands SQL text.

Parse text, walk, and write text back; nodes are never built from keyword arguments
and classes never extended, so that either build of the parser does.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlglot
from sqlglot import exp

DIALECT = "duckdb"


def tables_read(sql: str) -> frozenset[str]:
    """Names (`schema.table`, lower case) of the tables a query reads; its own CTEs left out."""
    tree = sqlglot.parse_one(sql, dialect=DIALECT)
    return frozenset(_name(table) for table in tree.find_all(exp.Table) if table.db)


def substitute(sql: str, replacements: Mapping[str, str]) -> str:
    """`sql` with every table of `replacements` read from its replacement instead.

    A replacement is a table name or a parenthesised query. Aliases are kept: a table
    without one is aliased to its own last name, so that its columns still resolve.
    """
    tree = sqlglot.parse_one(sql, dialect=DIALECT)
    for table in list(tree.find_all(exp.Table)):
        replacement = replacements.get(_name(table))
        if replacement is None:
            continue
        alias = table.alias or table.name
        joins = table.args.get("joins")
        item = sqlglot.parse_one(
            f"SELECT * FROM {replacement} AS {_quoted(alias)}", dialect=DIALECT
        ).args["from_"].this  # fmt: skip
        if joins:
            item.set("joins", joins)
        table.replace(item)
    return tree.sql(dialect=DIALECT)


def _name(table: exp.Table) -> str:
    return f"{table.db}.{table.name}".lower() if table.db else table.name.lower()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
