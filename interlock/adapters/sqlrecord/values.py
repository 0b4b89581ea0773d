"""Entries on their way into the tables and out of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from interlock.change.names import hidden, pseudonyms_in, shown
from interlock.define.digest import canonical
from interlock.define.refs import Ref
from interlock.errors import Corrupt, Unusable
from interlock.ports import Entry, Json, Put, Stored

SCHEMA_VERSION = 2


def named_in(rows: Iterable[Stored]) -> list[str]:
    """Every pseudonym that stands in `rows`."""
    wanted: set[str] = set()
    for row in rows:
        wanted |= {row.by, row.source} | pseudonyms_in(row.body)
    return sorted(wanted)


def entry_of(kept: Stored, names: Mapping[str, str], place: str) -> Entry:
    """What is kept, with the names of everybody who is still known."""
    by, source = names.get(kept.by, kept.by), names.get(kept.source, kept.source)
    try:
        body = json.loads(shown(kept.body, names))
        at = datetime.fromisoformat(kept.written_at)
    except ValueError as error:
        raise Corrupt(
            f"{kept.ref} version {kept.version} in {place} cannot be read: {error}",
            help="restore the record from a backup",
        ) from error
    return Entry(Ref.parse(kept.ref), kept.version, body, at, by, source)


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
