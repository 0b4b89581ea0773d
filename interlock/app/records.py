"""Where the record of an environment is, and how it is opened.

The address is read from `interlock.yaml` alone, without understanding the project: a broken
definition must not stand in the way of a rollback. When even that file cannot be read, the
address it last gave is used.
"""

from __future__ import annotations

import os
import socket
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.app.atomic import replaced
from interlock.app.stores import expanded
from interlock.define.yaml import parse
from interlock.errors import Invalid, Unavailable, Unusable

if TYPE_CHECKING:
    from interlock.adapters.sqlrecord import SqlRecord
    from interlock.adapters.sqlrecord.looking import LookedAt

BESIDE = "sqlite://"  # in the state folder
_MAIN = "interlock.yaml"


def source_of(door: str) -> str:
    """Where this process's writes come from: its door and its machine."""
    return f"{door}@{socket.gethostname()}"


def address_of(folder: Path, state: Path, environment: str) -> str:
    """The record as the environment declares it, `${VAR}` still in it."""
    try:
        text = (folder / _MAIN).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    kept = state / f"record-{environment}"
    if "record:" not in text:
        return _last(kept) if not text and kept.exists() else BESIDE
    document, problems = parse(text, _MAIN)
    if document is None:
        if kept.exists():
            return _last(kept)
        raise Invalid.of(problems)
    environments = document.value.get("environments")
    mine = environments.get(environment) if isinstance(environments, dict) else None
    found = mine.get("record", BESIDE) if isinstance(mine, dict) else BESIDE
    if not isinstance(found, str) or not found.startswith(("sqlite://", "postgres", "${")):
        raise Unusable(
            f"the record of {environment} cannot be at {found!r}",
            help="write sqlite://, sqlite://file or postgresql://user:${PASSWORD}@host/database",
        )
    return found


def _last(kept: Path) -> str:
    return kept.read_text(encoding="utf-8").strip()


def is_beside(address: str) -> bool:
    """Is it a file of this machine, which may not be there yet?"""
    return address.startswith("sqlite://")


def file_of(address: str, folder: Path, state: Path) -> Path:
    path = expanded(address, "the record").removeprefix("sqlite://")
    return folder / path if path else state / "record.db"


def open_record(
    address: str, folder: Path, state: Path, environment: str, source: str
) -> SqlRecord:
    """The record at `address`; a path in it is seen from the project's `folder`."""
    from interlock.adapters.sqlrecord import SqlRecord

    if is_beside(address):
        return SqlRecord(file_of(address, folder, state), source=source)
    try:
        opened = SqlRecord(expanded(address, "the record"), source=source)
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"{error.name} is not installed, and the record is on postgres",
            help="pip install 'interlock-ml[postgres]'",
        ) from error
    _remember(state / f"record-{environment}", address)
    return opened


def look_into(file: Path, source: str) -> SqlRecord | LookedAt:
    """The record in `file`, for a process that reads a few entries of it."""
    from interlock.adapters.sqlrecord.looking import LookedAt

    def whole() -> SqlRecord:
        from interlock.adapters.sqlrecord import SqlRecord

        return SqlRecord(file, source=source)

    try:
        looked = LookedAt(file, whole)
    except sqlite3.Error:
        return whole()
    if looked.current:
        return looked
    # Not a record, or of another version: the whole one says so, or brings it up to date.
    looked.close()
    return whole()


def _remember(kept: Path, address: str) -> None:
    if kept.exists() and _last(kept) == address:
        return
    with replaced(kept) as beside:
        # An address may hold a password that should have been a ${VAR}.
        os.chmod(beside, 0o600)
        beside.write_text(address + "\n", encoding="utf-8")
