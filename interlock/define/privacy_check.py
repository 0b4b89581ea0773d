"""Does what is said about privacy fit the tables and the people of the project?"""

from __future__ import annotations

from collections.abc import Iterator

from interlock.define.project import Project
from interlock.define.schema import did_you_mean
from interlock.define.yaml import Document, Path
from interlock.errors import Problem

_MAIN = "interlock.yaml"
_MEASURED = frozenset({"integer", "double", "date", "timestamp"})


def privacy_problems(project: Project, document: Document | None) -> Iterator[Problem]:
    """Every mask and clearance that names what is not there, or cannot be done."""

    def at(path: Path, message: str, fix: str) -> Problem:
        return Problem(_MAIN, document.line(path) if document else 1, message, fix)

    said = project.privacy
    for name, mask in said.columns.items():
        path = ("privacy", "columns", name)
        table = project.tables.get(name.rpartition(".")[0])
        column = table.columns.get(name.rpartition(".")[2]) if table else None
        if column is None:
            known = table.columns if table else project.tables
            yield at(path, f"no column {name}", did_you_mean(name, known))
        elif mask.mask == "bucket" and column.type not in _MEASURED:
            yield at(path, f"{name} is {column.type}: no buckets", "use hash, redact or null")
    masks = [*said.masks.values(), *said.columns.values()]
    if said.key is None and any(mask.mask == "hash" for mask in masks):
        yield at(("privacy",), "`hash` needs a key", "add key: ${INTERLOCK_MASK_KEY}")
    known_people = {person for owner in project.owners for person in owner.people}
    roles = {role for owner in project.owners for held in owner.people.values() for role in held}
    for who in said.clearance:
        if who not in known_people | roles:
            path = ("privacy", "clearance", who)
            yield at(path, f"no person or role {who}", did_you_mean(who, known_people | roles))
