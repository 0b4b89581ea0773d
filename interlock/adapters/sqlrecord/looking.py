"""A record that is only looked at: a file of SQLite, and nothing between it and the driver.

A plan asks a handful of questions. The layer that speaks to every database takes 0.3 s of
CPU to load, which is a third of a plan after one edit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.adapters.sqlrecord.values import SCHEMA_VERSION, entry_of, named_in
from interlock.define.refs import Kind, Ref
from interlock.ports import Entry, Stored

if TYPE_CHECKING:
    from interlock.adapters.sqlrecord.record import SqlRecord

_COLUMNS = 'SELECT e.ref, e.version, e.body, e.written_at, e."by", e.source FROM entry e'
_NEWEST = f"{_COLUMNS} WHERE e.ref = ? ORDER BY e.version DESC LIMIT 1"
_HISTORY = f"{_COLUMNS} WHERE e.ref = ? AND e.version > ? ORDER BY e.version"
_LIST = f"""{_COLUMNS} LEFT JOIN leaf l ON l.ref = e.ref AND l.version = 1
    WHERE e.ref >= ? AND e.ref < ?
    AND e.version = (SELECT max(same.version) FROM entry same WHERE same.ref = e.ref)
    ORDER BY l.seq IS NULL, l.seq"""


class LookedAt:
    """What a record holds. Everything but entries, and every trouble, is for the whole record."""

    def __init__(self, file: Path, whole: Callable[[], SqlRecord]) -> None:
        self._file = file
        self._open_whole = whole
        self._connection = sqlite3.connect(
            # Not `ro`: who may not write could not put away the log of writes when it closes.
            f"{file.resolve().as_uri()}?mode=rw",
            uri=True,
            check_same_thread=False,
        )

    @cached_property
    def _whole(self) -> SqlRecord:
        return self._open_whole()

    @property
    def current(self) -> bool:
        """Is it a record as this program writes them?"""
        try:
            asked = "SELECT value FROM meta WHERE name = 'schema'"
            found: tuple[str] | None = self._connection.execute(asked).fetchone()
            return found == (str(SCHEMA_VERSION),)
        except sqlite3.Error:
            return False

    def get(self, ref: Ref) -> Entry | None:
        try:
            return next(iter(self._entries(_NEWEST, str(ref))), None)
        except sqlite3.Error:
            return self._whole.get(ref)

    def list(self, kind: Kind) -> tuple[Entry, ...]:
        try:
            # ";" follows ":" in the order of characters, so this range is exactly one kind.
            return self._entries(_LIST, f"{kind}:", f"{kind};")
        except sqlite3.Error:
            return self._whole.list(kind)

    def history(self, ref: Ref, after: int = 0) -> tuple[Entry, ...]:
        try:
            return self._entries(_HISTORY, str(ref), after)
        except sqlite3.Error:
            return self._whole.history(ref, after)

    def close(self) -> None:
        self._connection.close()
        if "_whole" in self.__dict__:
            self._whole.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    def _entries(self, question: str, *asked: object) -> tuple[Entry, ...]:
        # One transaction: a person who is forgotten meanwhile is not half forgotten.
        self._connection.execute("BEGIN")
        try:
            rows = [Stored(*row) for row in self._connection.execute(question, asked)]
            names = self._names(named_in(rows))
        finally:
            self._connection.rollback()
        return tuple(entry_of(row, names, str(self._file)) for row in rows)

    def _names(self, pseudonyms: Sequence[str]) -> dict[str, str]:
        marks = ", ".join("?" * len(pseudonyms))
        asked = f"SELECT pseudonym, name FROM name WHERE pseudonym IN ({marks})"
        return dict(self._connection.execute(asked, pseudonyms))
