"""Point-in-time rows with their outcomes, as SQL: what a model is trained and judged on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from interlock.define.definitions import Label
from interlock.features.dialect import DUCKDB, Dialect


@dataclass(frozen=True)
class Interval:
    """Rows with time in [start, end) whose label was available at `known_by` (aware instants)."""

    start: datetime
    end: datetime
    known_by: datetime


def model_sql(
    relation: str,
    label: Label,
    key: str,
    time: str,
    interval: Interval,
    dialect: Dialect = DUCKDB,
) -> str:
    """Rows of the point-in-time `relation` (a SELECT or a name) with `label` and its instant.

    A label whose availability is NULL is never known. Ordered, so that the same rows
    train the same model.
    """
    q = dialect.quoted
    start, end, known = map(dialect.instant, (interval.start, interval.end, interval.known_by))
    return (
        f"SELECT p.*, l.{q(label.column)} AS label, "
        f"l.{q(label.available_at)} AS label_available_at\n"
        f"FROM {_relation(relation)} AS p\n"
        f"JOIN ({_select(label.sql)}) AS l ON l.{q(key)} = p.{q(key)}\n"
        f"WHERE p.{q(time)} >= {start} AND p.{q(time)} < {end}\n"
        f"  AND l.{q(label.available_at)} <= {known} AND l.{q(label.column)} IS NOT NULL\n"
        f"ORDER BY p.{q(time)}, p.{q(key)}"
    )


def duplicate_labels_sql(label: Label, key: str, dialect: Dialect = DUCKDB) -> str:
    """How many keys have more than one label; anything but 0 would multiply training rows."""
    return (
        f"SELECT count(*) AS duplicates FROM (SELECT 1 FROM ({_select(label.sql)}) AS l "
        f"GROUP BY l.{dialect.quoted(key)} HAVING count(*) > 1) AS d"
    )


def _select(sql: str) -> str:
    return sql.strip().rstrip(";")


def _relation(relation: str) -> str:
    text = _select(relation)
    return f"({text})" if any(c.isspace() for c in text) else text
