"""Views that only choose and rename columns of one table: their rows need no engine.

Anything else, a comment in the middle included, is not plain; that is never wrong, only
slower, because then the warehouse makes the rows.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_WHOLE = re.compile(
    r"\s*SELECT\s+(?P<columns>\*|[\w\s,]+?)\s+FROM\s+(?P<table>\w+\.\w+)\s*;?\s*", re.IGNORECASE
)
_COLUMN = re.compile(r"(?P<name>[A-Za-z_]\w*)(?:\s+AS\s+(?P<alias>[A-Za-z_]\w*))?", re.IGNORECASE)


def plain_table(sql: str) -> str | None:
    """The table that a plain query reads; None when it is not plain."""
    whole = _WHOLE.fullmatch(sql)
    return whole["table"].lower() if whole else None


def plain_columns(sql: str, known: Collection[str]) -> dict[str, str] | None:
    """Output column -> column of the table, which has the columns `known`."""
    whole = _WHOLE.fullmatch(sql)
    if whole is None:
        return None
    if whole["columns"] == "*":
        return {name: name for name in known}
    found: dict[str, str] = {}
    for text in whole["columns"].split(","):
        one = _COLUMN.fullmatch(text.strip())
        if one is None or one["name"] not in known:
            return None
        found[one["alias"] or one["name"]] = one["name"]
    return found
