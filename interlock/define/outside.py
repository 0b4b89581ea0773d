"""A table that another tool fills, and how much of its SQL is known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outside:
    """The tool, its own name for the table (`relation`), and the dialect of its SQL.

    `reads` are the tables it stands on, whether or not its SQL is understood. `unread` says
    why there is no SQL; then every column stands on everything that is read, and on `text`.
    """

    tool: str
    relation: str = ""
    dialect: str = "duckdb"
    reads: tuple[str, ...] = ()
    unread: str = ""
    text: str = ""
