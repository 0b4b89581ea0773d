"""Which rows a table held: their number, a digest of them in any order, and how far they reach.

Two snapshots of one engine are equal when the rows are; of different engines they differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.errors import Unusable
from interlock.features.dialect import DUCKDB, Dialect


def snapshot_sql(relation: str, stamp: str | None = None, dialect: Dialect = DUCKDB) -> str:
    """One row: `digest` (text, NULL of no rows), `n`, and the newest `stamp` as text or NULL.

    The digest is a sum of hashes, so the order of rows does not matter and a duplicate does.
    """
    if not dialect.rows_digest:
        raise Unusable(f"{dialect.name} has no digest of rows here", help="read them elsewhere")
    newest = f"max(t.{dialect.quoted(stamp)})" if stamp else "NULL"
    digest = dialect.cast(dialect.rows_digest.format(t="t"), "string")
    newest = dialect.cast(dialect.utc.format(x=newest), "string")
    return f"SELECT count(*) AS n, {digest} AS digest, {newest} AS newest FROM {relation} AS t"


def rows_text(said: Mapping[str, Any]) -> str:
    """The row of `snapshot_sql` as text: equal where the rows are."""
    return f"{said['n']} rows {said['digest'] or 'none'}"
