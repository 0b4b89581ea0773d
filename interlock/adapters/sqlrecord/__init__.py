"""The record in a SQL database: SQLite beside the project, or Postgres for many machines."""

from interlock.adapters.sqlrecord.record import SqlRecord

__all__ = ["SqlRecord"]
