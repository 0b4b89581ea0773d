"""What a schema file says of tables: columns with types, and keys and NOT NULL if it knows them.

wh.orders: {id: integer, note: varchar}        # the short form

wh.flights:                                    # the long form
  columns:
    id: integer
    origin: {type: varchar, nullable: false}
  key: [id]                                    # or keys: [[id], [origin, flight]]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.define.schema import did_you_mean
from interlock.define.yaml import Document, Path, parse
from interlock.errors import Problem

_LONG = ("columns", "key", "keys", "description")
_COLUMN = ("type", "nullable", "description")


@dataclass(frozen=True)
class Known:
    """One table. Columns of a key are never NULL, and together never the same in two rows."""

    columns: Mapping[str, str]
    keys: tuple[tuple[str, ...], ...] = ()
    required: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Catalog:
    """Tables by name, as the file writes them."""

    tables: Mapping[str, Known] = field(default_factory=dict)


def read_catalog(text: str, file: str) -> tuple[Catalog, list[Problem]]:
    """What the file says, and every problem in it."""
    if not text.strip():
        return Catalog(), []
    document, problems = parse(text, file)
    if document is None:
        return Catalog(), problems
    reader = _Reader(document, problems)
    top: Mapping[str, Any] = document.value
    path: Path = ()
    if set(top) == {"tables"} and isinstance(top["tables"], dict):
        top, path = top["tables"], ("tables",)
    return Catalog(dict(reader.tables(top, path, ""))), reader.problems


@dataclass
class _Reader:
    document: Document
    problems: list[Problem]

    def say(self, path: Path, message: str, fix: str) -> None:
        self.problems.append(Problem(self.document.file, self.document.line(path), message, fix))

    def tables(
        self, held: Mapping[str, Any], path: Path, above: str
    ) -> Iterator[tuple[str, Known]]:
        for name, said in held.items():
            full, here = f"{above}{name}", (*path, name)
            if not isinstance(said, dict):
                self.say(here, f"`{full}` has no columns", "write column: type below it")
            elif isinstance(said.get("columns"), dict):
                yield full, self.long(said, here)
            elif said and all(isinstance(v, dict) and "type" not in v for v in said.values()):
                yield from self.tables(said, here, f"{full}.")  # a schema with tables in it
            else:
                columns, required = self.columns(said, here)
                yield full, Known(columns, (), required)

    def long(self, said: Mapping[str, Any], path: Path) -> Known:
        for key in set(said) - set(_LONG):
            self.say((*path, key), f"unknown key `{key}`", did_you_mean(key, _LONG))
        columns, required = self.columns(said["columns"], (*path, "columns"))
        keys = []
        if "key" in said:
            keys.append(self.key(said["key"], columns, (*path, "key")))
        for at, key in enumerate(said.get("keys") or ()):
            keys.append(self.key(key, columns, (*path, "keys", at)))
        return Known(columns, tuple(key for key in keys if key), required)

    def key(self, said: Any, columns: Mapping[str, str], path: Path) -> tuple[str, ...]:
        names = [said] if isinstance(said, str) else said
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            self.say(path, "a key is a list of columns", "write key: [id]")
            return ()
        for name in names:
            if name not in columns:
                self.say(path, f"no column {name} for the key", did_you_mean(name, columns))
        return tuple(names)

    def columns(self, said: Mapping[str, Any], path: Path) -> tuple[dict[str, str], frozenset[str]]:
        columns: dict[str, str] = {}
        required = set()
        for name, kind in said.items():
            here = (*path, name)
            if isinstance(kind, dict):
                for key in set(kind) - set(_COLUMN):
                    self.say((*here, key), f"unknown key `{key}`", did_you_mean(key, _COLUMN))
                if kind.get("nullable") is False:
                    required.add(name)
                kind = kind.get("type")
            if kind is not None and not isinstance(kind, str):
                self.say(here, f"the type of `{name}` is no text", "write a SQL type")
            columns[name] = kind if isinstance(kind, str) else ""
        return columns, frozenset(required)
