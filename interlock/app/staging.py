"""Made-up rows in the warehouse of another environment, so that a release can be tried there.

Each table is there whole or not at all, under the name that a release of the same definitions
looks for; what stands on it is built by that release.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from interlock.app.build import Say
from interlock.app.engines import fill
from interlock.app.stores import expanded
from interlock.app.synthesis import Asked, Made, chosen, synth
from interlock.app.workspace import Workspace
from interlock.define.definitions import Table
from interlock.errors import Refused
from interlock.features.compile import physical

_REAL = re.compile(r"prod|live|real", re.IGNORECASE)


def synth_into(workspace: Workspace, environment: str, asked: Asked, say: Say) -> list[Made]:
    """Make the rows up in the folder `asked.out`, then put them into `environment`.

    Raises `Refused` with every objection before anything is made.
    """
    target = Workspace(workspace.folder, environment)
    try:
        tables = chosen(workspace, asked)
        objections = list(_objections(workspace, target, tables))
        if objections:
            raise Refused(
                f"made-up rows cannot be put into {environment}",
                help="name an environment of its own warehouse in which nothing runs",
                objections=objections,
            )
        made = synth(workspace, replace(asked, tables=tuple(t.name for t in tables)), say)
        for table in tables:
            say(f"filling {table.ref} in {environment}")
            _fill(target, table, asked.out)
    finally:
        target.close()
    return made


def _objections(workspace: Workspace, target: Workspace, tables: Sequence[Table]) -> Iterator[str]:
    name, here = target.environment, workspace.declared
    there = target.settings
    if name == workspace.environment or _address(here.warehouse) == _address(there.warehouse):
        yield f"{name} keeps its tables where the real ones are"
        return
    stable = target.route().stable
    if stable is not None:
        yield f"release {stable[:12]} runs in {name}, and stands on rows that would be gone"
    for table in tables:
        if table.source is None:
            yield f"{table.name} is read from no file: it is built from those that are"
        elif _REAL.search(name) and target.warehouse.has(_physical(target, table)):
            yield f"{name} has {table.name}, and by its name its rows are real"


def _address(warehouse: str) -> str:
    return expanded(warehouse, "the warehouse")


def _physical(target: Workspace, table: Table) -> str:
    return physical(table.name, target.facts.fingerprint(table.ref))


def _fill(target: Workspace, table: Table, out: Path) -> None:
    built = _physical(target, table)
    fill(target.warehouse, built, table, out)
    target.warehouse.point({table.name: built})
