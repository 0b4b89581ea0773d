"""Entries on their way into the tables and out of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from interlock.change.names import hidden, pseudonyms_in, shown
from interlock.define.digest import canonical
from interlock.define.refs import Ref
from interlock.errors import Corrupt, Stale, Unusable
from interlock.ports import Entry, Json, Put, Stored

SCHEMA_VERSION = 3


def named_in(rows: Iterable[Stored]) -> list[str]:
    """Every pseudonym that stands in `rows`; raises `Corrupt` for a row that nobody wrote."""
    wanted: set[str] = set()
    for row in rows:
        texts = {type(one) for one in (row.body, row.by, row.source, row.written_at)}
        if texts != {str} or type(row.version) is not int:
            raise _unreadable(row, "the record", "it holds what is neither text nor a number")
        wanted |= {row.by, row.source} | pseudonyms_in(row.body)
    return sorted(wanted)


def entry_of(kept: Stored, names: Mapping[str, str], place: str) -> Entry:
    """What is kept, with the names of everybody who is still known."""
    by, source = names.get(kept.by, kept.by), names.get(kept.source, kept.source)
    try:
        body = json.loads(shown(kept.body, names))
        at = datetime.fromisoformat(kept.written_at)
    except (ValueError, RecursionError) as error:
        raise _unreadable(kept, place, str(error)) from error
    return Entry(Ref.parse(kept.ref), kept.version, body, at, by, source)


def _unreadable(kept: Stored, place: str, why: str) -> Corrupt:
    return Corrupt(
        f"{kept.ref} version {kept.version} in {place} cannot be read: {why}",
        help="restore the record from a backup",
    )


class Draft(NamedTuple):
    """An entry on its way in, and its body as text, so that nobody writes that twice."""

    entry: Entry
    text: str


def to_write(puts: Iterable[Put], at: datetime, by: str, source: str) -> tuple[Draft, ...]:
    """The entries that `puts` make; raises `Unusable` for what cannot be kept."""
    if at.tzinfo is None:
        raise Unusable(f"{at} has no time zone", help="pass an aware instant")
    when = at.astimezone(UTC)
    return tuple(_draft(put, when, by, source) for put in puts)


def _draft(put: Put, when: datetime, by: str, source: str) -> Draft:
    try:
        text = canonical(put.body).decode()
        body: Json = json.loads(text)
    except (TypeError, ValueError) as error:
        raise Unusable(
            f"the body of {put.ref} is not JSON: {error}", help="keep plain values in it"
        ) from error
    return Draft(Entry(put.ref, put.expected + 1, body, when, by, source), text)


def stored(draft: Draft, known: Mapping[str, str]) -> Stored:
    """What is kept of an entry: pseudonyms stand for the people in `known`."""
    entry, text = draft
    text = hidden(entry.body, known, text)
    by, source = known.get(entry.by, entry.by), known.get(entry.source, entry.source)
    at = entry.written_at.isoformat()
    return Stored(str(entry.ref), entry.version, text, at, by, source)


def moved_on(refs: Sequence[str], said: Sequence[str]) -> Stale:
    """The answer to a write that was made against older versions of `refs`."""
    return Stale(
        f"{', '.join(refs)} moved since it was read; nothing was written",
        help="read again, look at what changed, and retry",
        objections=said,
    )
