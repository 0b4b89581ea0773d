"""What goes wrong with data in production, done on purpose to a copy of a table.

Each injection is SQL over one relation and repeats exactly: which rows it takes is decided
by a hash of the row, never by chance. DuckDB's SQL, because staging is embedded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from interlock.define.definitions import Table
from interlock.features.text import duration, instant, quoted

LATE = timedelta(hours=6)
_MODULUS = 10_000


@dataclass(frozen=True)
class Window:
    """[start, end): the stretch of time in which things go wrong."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Injection:
    """One kind of harm. `said` completes "in a rehearsal, ..."."""

    name: str
    said: str


INJECTIONS: Mapping[str, Injection] = {
    one.name: one
    for one in (
        Injection("gap", "a quarter of the time is missing"),
        Injection("outage", f"nothing arrives in the last {LATE.total_seconds() / 3600:g} hours"),
        Injection("late", f"one row in ten arrives {LATE.total_seconds() / 3600:g} hours later"),
        Injection("latency", f"every row arrives {LATE.total_seconds() / 3600:g} hours later"),
        Injection("outliers", "one row in a hundred has numbers a thousand times too large"),
        Injection("duplicates", "one row in twenty comes twice"),
    )
}


def stamp_of(table: Table) -> str | None:
    """The column by which rows of `table` arrive."""
    return table.available_at or table.event_time


def applicable(table: Table) -> tuple[str, ...]:
    """The injections that mean something for `table`: without a time nothing can be late."""
    if stamp_of(table) is None:
        return ()
    names = ["gap", "outage"]
    names += ["late", "latency"] if table.available_at else []
    names += ["outliers"] if _measures(table) else []
    return (*names, "duplicates")


def injected(name: str, table: Table, relation: str, window: Window) -> str:
    """The rows of `relation`, harmed inside `window`."""
    happened, arrived = _times(table)
    inside = f"{happened} >= {instant(window.start)} AND {happened} < {instant(window.end)}"
    every = f"SELECT * FROM {relation} AS r"
    match name:
        case "gap":
            cut = window.start + (window.end - window.start) * 3 / 4
            return (
                f"{every} WHERE {happened} IS NULL OR {happened} < {instant(cut)} "
                f"OR {happened} >= {instant(window.end)}"
            )
        case "outage":
            cut = max(window.end - LATE, window.start)
            return (
                f"{every} WHERE {arrived} IS NULL OR {arrived} < {instant(cut)} "
                f"OR {arrived} >= {instant(window.end)}"
            )
        case "late" | "latency":
            hit = inside if name == "latency" else f"{inside} AND {_chosen(table, 1000)}"
            moved = f"CASE WHEN {hit} THEN {arrived} + {duration(LATE)} ELSE {arrived} END"
            return f"SELECT * REPLACE ({moved} AS {arrived}) FROM {relation} AS r"
        case "outliers":
            hit = f"{inside} AND {_chosen(table, 100)}"
            wild = ", ".join(
                f"CASE WHEN {hit} THEN {quoted(c)} * 1000 ELSE {quoted(c)} END AS {quoted(c)}"
                for c in _measures(table)
            )
            return f"SELECT * REPLACE ({wild}) FROM {relation} AS r"
    return f"{every} UNION ALL {every} WHERE {inside} AND {_chosen(table, 500)}"


def harmed_sql(before: str, after: str) -> str:
    """How many rows the injection took or made: `rows`."""
    gone = f"SELECT * FROM {before} EXCEPT ALL SELECT * FROM {after}"
    made = f"SELECT * FROM {after} EXCEPT ALL SELECT * FROM {before}"
    return f"SELECT count(*) AS rows FROM (({gone}) UNION ALL ({made})) AS d"


def _times(table: Table) -> tuple[str, str]:
    """When rows happened, and when they arrived; one stands for the other."""
    happened = table.event_time or table.available_at
    return quoted(happened or ""), quoted(table.available_at or happened or "")


def _measures(table: Table) -> list[str]:
    """Columns that hold quantities: doubles, and whole numbers that have a unit; never a key."""
    return [
        name
        for name, column in table.columns.items()
        if name not in table.key
        and (column.type == "double" or (column.type == "integer" and column.unit))
    ]


def _chosen(table: Table, share: int) -> str:
    """True for `share` of 10,000 rows, the same rows each time; half-known rows count too."""
    whole = ", ".join(f"coalesce(CAST({quoted(name)} AS VARCHAR), '')" for name in table.columns)
    digits = f"substr(md5(concat_ws('|', {whole})), 1, 8)"
    return f"CAST('0x' || {digits} AS BIGINT) % {_MODULUS} < {share}"
