"""Entries on their way into the tables and out of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from interlock.adapters.sqlrecord import tables
from interlock.change.names import hidden, pseudonyms_in
from interlock.define.digest import canonical
from interlock.errors import Unusable
from interlock.ports import Entry, Json, Put, Stored


def with_names(
    connection: sa.Connection, rows: Sequence[Any]
) -> tuple[Sequence[Any], Mapping[str, str]]:
    wanted = {who for row in rows for who in (row.by, row.source)}
    for row in rows:
        wanted |= pseudonyms_in(row.body)
    asked = {"pseudonyms": sorted(wanted)}
    found = connection.execute(tables.NAMES, asked).all() if wanted else ()
    return rows, {row.pseudonym: row.name for row in found}


def to_write(puts: Iterable[Put], at: datetime, by: str, source: str) -> tuple[Entry, ...]:
    if at.tzinfo is None:
        raise Unusable(f"{at} has no time zone", help="pass an aware instant")
    when = at.astimezone(UTC)
    return tuple(Entry(put.ref, put.expected + 1, _plain(put), when, by, source) for put in puts)


def _plain(put: Put) -> Json:
    try:
        body: Json = json.loads(canonical(put.body))
    except (TypeError, ValueError) as error:
        raise Unusable(
            f"the body of {put.ref} is not JSON: {error}", help="keep plain values in it"
        ) from error
    return body


def stored(entry: Entry, known: Mapping[str, str]) -> Stored:
    text = canonical(entry.body).decode()
    body = hidden(entry.body, known, text)
    text = text if body is entry.body else canonical(body).decode()
    by, source = known.get(entry.by, entry.by), known.get(entry.source, entry.source)
    at = entry.written_at.isoformat()
    return Stored(str(entry.ref), entry.version, text, at, by, source)
