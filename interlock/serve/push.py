"""Rows that arrive one by one: are they what the table declares, and which of them go online?

A refusal names every bad row, and then nothing of the batch is taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import isfinite
from typing import Any

from interlock.define.definitions import FeatureView, Table
from interlock.define.digest import canonical
from interlock.define.keys import entity_key, instant_text
from interlock.define.project import Project
from interlock.errors import InterlockError, Unusable
from interlock.ports import Json, OnlineRow
from interlock.serve.request import instant

MOST_ROWS = 10_000
_NUMBERS = ("integer", "double", "boolean", "date", "timestamp")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Feed:
    """A view that only renames columns of the pushed table: which of them, in stored order."""

    fingerprint: str
    entity: tuple[str, ...]
    event_time: str
    features: tuple[str, ...]


@dataclass(frozen=True)
class PushSpec:
    """A table that takes rows: `columns` name -> (type, may be null); times and keys never may.

    `arrived` is filled on arrival and never sent. `buffer` bytes may wait for the warehouse.
    """

    table: str
    columns: Mapping[str, tuple[str, bool]]
    key: tuple[str, ...]
    event_time: str
    arrived: str
    buffer: int
    feeds: tuple[Feed, ...] = ()

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> PushSpec:
        columns = {name: (said[0], bool(said[1])) for name, said in body["columns"].items()}
        feeds = tuple(
            Feed(f["fingerprint"], tuple(f["entity"]), f["event_time"], tuple(f["features"]))
            for f in body["feeds"]
        )
        return cls(**{**body, "columns": columns, "key": tuple(body["key"]), "feeds": feeds})


def pushes_of(project: Project, fingerprints: Mapping[str, str]) -> tuple[PushSpec, ...]:
    """The pushed tables of a project, and the plain views that they feed."""
    return tuple(
        _spec(table, project, fingerprints) for table in project.tables.values() if table.push
    )


def _spec(table: Table, project: Project, fingerprints: Mapping[str, str]) -> PushSpec:
    assert table.push is not None
    never = {*table.key, table.event_time}
    feeds = (
        _feed(view, table, fingerprints[str(view.ref)])
        for view in project.views.values()
        if str(view.ref) in fingerprints
    )
    return PushSpec(
        table.name,
        {
            name: (said.type, said.nullable and name not in never)
            for name, said in table.columns.items()
            if name != table.available_at
        },
        table.key, str(table.event_time), str(table.available_at),
        int(table.push.buffer_mb * 1_000_000), tuple(feed for feed in feeds if feed),
    )  # fmt: skip


def _feed(view: FeatureView, table: Table, fingerprint: str) -> Feed | None:
    """None for a view whose rows only the warehouse can make."""
    from interlock.features.plain import plain_columns, plain_table  # a gateway needs no SQL

    columns = plain_columns(view.sql, table.columns)
    if plain_table(view.sql) != table.name or columns is None or view.tie_break:
        return None
    wanted = [*view.entity, view.event_time, *view.features]
    same = all(name in columns for name in wanted)
    numbers = all(table.columns[columns[n]].type in _NUMBERS for n in view.features if same)
    remembers = any(said.last_known for said in view.features.values())
    arrival = view.available_at and columns.get(view.available_at) == table.available_at
    if not (same and numbers and arrival) or remembers or view.availability != "applied":
        return None
    return Feed(
        fingerprint, tuple(columns[name] for name in view.entity), columns[view.event_time],
        tuple(columns[name] for name in view.features),
    )  # fmt: skip


def checked_rows(spec: PushSpec, rows: Sequence[Any]) -> list[Json]:
    """`rows` with every column and instants in their one text; refused with every bad row."""
    if not 1 <= len(rows) <= MOST_ROWS:
        raise Unusable(f"a push holds 1 to {MOST_ROWS} rows, not {len(rows)}")
    found: list[Json] = []
    wrong: list[str] = []
    for number, row in enumerate(rows):
        made, problems = _checked(spec, row)
        found.append(made)
        wrong += [f"row {number}: {said}" for said in problems]
    wrong += _torn_pairs(spec, found) if not wrong else []
    if wrong:
        raise Unusable(
            f"{len(wrong)} mistakes in rows for table:{spec.table}; none was taken",
            help=f"columns: {', '.join(f'{n} {kind}' for n, (kind, _) in spec.columns.items())}",
            objections=wrong,
        )
    return found


def _checked(spec: PushSpec, row: Any) -> tuple[Json, list[str]]:
    if not isinstance(row, dict):
        return {}, [f"is {type(row).__name__}, not an object of columns"]
    wrong = [f"unknown column {name!r}" for name in row if name not in spec.columns]
    made: Json = {}
    for name, (kind, nullable) in spec.columns.items():
        try:
            made[name] = _value(row.get(name), kind, name)
        except InterlockError as error:
            wrong.append(error.message)
            continue
        if made[name] is None and not nullable:
            wrong.append(f"{name!r} is missing or null")
    return made, wrong


def _value(value: Any, kind: str, name: str) -> Any:
    """In the one form in which equal values are equal texts."""
    if value is None:
        return None
    match kind, value:
        case "boolean", bool():
            return value
        case (("integer" | "double"), bool()):
            pass
        case "integer", int() if -(2**63) <= value < 2**63:
            return value
        case "double", int() | float() if isfinite(value):
            return float(value)
        case "string", str():
            if "\x00" in value:  # not every warehouse keeps it: no later row would come in either
                raise Unusable(f"{name!r} holds the character of code 0")
            return value
        case "timestamp", str():
            return instant_text(instant(value, name))
        case "timestamp", datetime() if value.tzinfo is not None:
            return instant_text(value)
        case "date", str():
            return _day(value, name)
    raise Unusable(f"{name!r} is {kind}: {value!r} is not")


def _day(text: str, name: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise Unusable(f"{name!r}: {text!r} is not an ISO 8601 date") from error


def _torn_pairs(spec: PushSpec, rows: Sequence[Json]) -> list[str]:
    """Two rows of one batch that claim the same key and time, and differ: which is right?"""
    seen: dict[tuple[Any, ...], tuple[int, Json]] = {}
    wrong = []
    for number, row in enumerate(rows):
        place = tuple(row[name] for name in (*spec.key, spec.event_time))
        first, other = seen.setdefault(place, (number, row))
        if other != row:
            wrong.append(f"row {number}: differs from row {first} of the same key and time")
    return wrong


def identity(row: Json) -> bytes:
    """The same for the same row, whenever and however often it arrives."""
    return hashlib.sha256(canonical(row)).digest()[:16]


def online_rows(
    feed: Feed, rows: Sequence[Json], spec: PushSpec, arrived: float
) -> list[tuple[str, OnlineRow]]:
    """Rows to store now. One stamped in the future waits for its time in the log."""
    found = []
    for row in rows:
        key = entity_key([_keyed(row[name], spec.columns[name][0]) for name in feed.entity])
        at = _seconds(row[feed.event_time], "timestamp")
        if key is None or at is None or at > arrived:
            continue
        values = tuple(
            arrived if name == spec.arrived else _seconds(row[name], spec.columns[name][0])
            for name in feed.features
        )
        found.append((key, OnlineRow(at, values, arrived, arrived)))
    return found


def _keyed(value: Any, kind: str) -> Any:
    return instant(value, "") if kind == "timestamp" and value is not None else value


def _seconds(value: Any, kind: str) -> float | None:
    """A value as a matrix holds it: times in seconds since 1970."""
    if value is None:
        return None
    if kind == "timestamp":
        return instant(value, "").timestamp()
    if kind == "date":
        return (date.fromisoformat(value) - _EPOCH.date()).days * 86400.0
    return float(value)
