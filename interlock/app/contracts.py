"""What definitions say, for other tools: contracts in the open standard, schemas for editors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.app.atomic import replaced
from interlock.define.definitions import Table
from interlock.define.editor import KINDS, editor_schema
from interlock.define.odcs import kept, tables_in
from interlock.define.odcs_write import as_yaml, contract_of
from interlock.define.project import Project
from interlock.define.schema import did_you_mean
from interlock.define.yaml import parse
from interlock.errors import NotFound, Unavailable

ELSEWHERE = "name another folder with --out"


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


def schemas_of(kind: str = "") -> dict[str, dict[str, Any]]:
    """JSON Schema by kind of definition file: of one, or of all."""
    if kind and kind not in KINDS:
        raise NotFound(f"no kind of file {kind}", help=did_you_mean(kind, KINDS))
    return {name: editor_schema(name) for name in KINDS if kind in ("", name)}


def schema_files(schemas: Mapping[str, Any], folder: Path) -> Iterator[Path]:
    """Write each schema into `folder`, as `table.schema.json`; the paths."""
    for name, body in schemas.items():
        path = folder / f"{name}.schema.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"{path} cannot be written: {error.strerror}"
            raise Unavailable(message, help=ELSEWHERE) from error
        with replaced(path, ELSEWHERE) as part:  # an editor never reads half a file
            part.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
        yield path
