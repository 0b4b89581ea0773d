"""The record in a SQL database: SQLite beside the project, or Postgres for many machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interlock.adapters.sqlrecord.record import SqlRecord

__all__ = ["SqlRecord"]


def __getattr__(name: str) -> Any:
    # Who only looks into a file does without the layer over all databases (0.3 s of CPU).
    if name == "SqlRecord":
        from interlock.adapters.sqlrecord.record import SqlRecord

        return SqlRecord
    raise AttributeError(name)
