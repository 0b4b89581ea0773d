"""A table's contract as a document of the Open Data Contract Standard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from interlock.define.definitions import Project, Table
from interlock.define.odcs import kept, tables_in
from interlock.define.odcs_write import as_yaml, contract_of
from interlock.define.schema import did_you_mean
from interlock.define.yaml import parse
from interlock.errors import NotFound


@dataclass(frozen=True)
class Contract:
    """The document, and what in it Interlock carries without using it (paths, dotted)."""

    document: dict[str, Any]
    kept: tuple[str, ...]

    @property
    def text(self) -> str:
        return as_yaml(self.document, list(self.kept))

    def to_json(self) -> dict[str, Any]:
        return {"contract": self.document, "kept": list(self.kept)}


def contract(project: Project, name: str) -> Contract:
    """The contract of table `name`; raises `NotFound` with the nearest name."""
    table = project.tables.get(name.removeprefix("table:"))
    if table is None:
        raise NotFound(f"no table {name}", help=did_you_mean(name, project.tables))
    return Contract(contract_of(table), tuple(_kept(project, table)))


def _kept(project: Project, table: Table) -> list[str]:
    if not table.odcs:
        return []
    document, _ = parse(project.texts[table.file], table.file)
    assert document is not None  # it was read when the project was
    return next(kept(document, s) for s in tables_in(document)[0] if s.within == table.within)
