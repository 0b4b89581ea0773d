"""How many rows hold which value: three ways, because engines count differently.

One engine has a histogram of its own. One counts each value that may come with an aggregate of
its own, and values nobody foresaw with a query beside. One has the most frequent values, which
is exact as long as it may track more values than there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interlock.features.dialect import Dialect

_ROOM = 8  # values tracked for each that is asked for


@dataclass(frozen=True)
class Rows:
    """What is counted: the relation a query reads, and the column it groups by, if any.

    `alias` is the relation's name there: a query beside it finds its own group by it.
    """

    relation: str
    alias: str
    by: str = ""


def places(column: str, most: int, dialect: Dialect, when: str = "TRUE") -> str:
    """Rows by the whole number in `column`, which is from 0 up to `most` and never NULL."""
    if dialect.tally == "top":
        return f"approx_top_k({column}, {most}, {most * _ROOM}) FILTER (WHERE {when})"
    each = (f"count(*) FILTER (WHERE {column} = {at} AND {when})" for at in range(most))
    return f"ARRAY[{', '.join(each)}]"


def read_places(found: Any, most: int) -> list[int]:
    """The answer of `places`."""
    counts = [0] * most
    for at, one in enumerate(found or ()):
        if isinstance(one, Mapping):
            counts[int(one["item"])] = int(one["count"])
        else:
            counts[at] = int(one)
    return counts


def values(value: str, most: int, rows: Rows, dialect: Dialect, when: str = "TRUE") -> str:
    """Rows by value: all values where there are at most `most`, NULL left out."""
    known = f"{value} IS NOT NULL AND {when}"
    if dialect.tally == "histogram":
        return f"histogram({value}) FILTER (WHERE {known})"
    if dialect.tally == "top":
        return f"approx_top_k({value}, {most}, {most * _ROOM}) FILTER (WHERE {known})"
    return _beside("n || ':' || v", dialect.cast(value, "string"), most, rows, known)


def read_values(found: Any) -> dict[Any, int]:
    """The answer of `values`; where one engine counts dates, another counts their texts."""
    made: dict[Any, int] = {}
    for one in found or ():
        if isinstance(one, Mapping):
            made[one["item"]] = int(one["count"])
        elif isinstance(one, str):
            rows, _, value = one.partition(":")
            made[value] = int(rows)
        else:
            made[one[0]] = int(one[1])
    return made


def frequent(value: str, most: int, rows: Rows, dialect: Dialect) -> str:
    """The `most` most frequent values of the whole relation, as a list."""
    if dialect.tally == "histogram":
        return f"approx_top_k({value}, {most})"
    if dialect.tally == "top":
        return f"transform({values(value, most, rows, dialect)}, one -> one.item)"
    return _beside("v", value, most, rows, f"{value} IS NOT NULL")


def _beside(told: str, value: str, most: int, rows: Rows, known: str) -> str:
    """A query beside the one that asks, of the same rows and of its group."""
    same = f" AND b.{rows.by} IS NOT DISTINCT FROM {rows.alias}.{rows.by}" if rows.by else ""
    counted = (
        f"SELECT {value} AS v, count(*) AS n FROM {rows.relation} AS b WHERE {known}{same} "
        f"GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {most}"
    )
    return f"(SELECT array_agg({told} ORDER BY n DESC, v) FROM ({counted}) AS t)"
