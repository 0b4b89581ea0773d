"""A copy of an environment for an hour: its own record, warehouse, online store and artifacts.

Made by the engines themselves, so that it is whole while others write. Nothing that is done in
it reaches anybody: nobody delivers what its changes have to tell.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.adapters.lmdb import LmdbOnlineStore
from interlock.app.build import Say
from interlock.app.records import address_of, file_of, is_beside
from interlock.app.scratch import scratch
from interlock.app.stores import expanded
from interlock.app.workspace import Workspace
from interlock.errors import Refused

_MAIN = "interlock.yaml"


@contextmanager
def copied(workspace: Workspace, what: str, say: Say) -> Iterator[Workspace]:
    """The environment once more, in a folder of its own that is gone at the end.

    Raises `Refused`, naming every engine of which no copy can be made here.
    """
    _refuse_elsewhere(workspace)
    with scratch(workspace.state, what) as folder:
        copy = Workspace(folder, workspace.environment, door=workspace.door)
        copy.state.mkdir()
        with suppress(FileNotFoundError):
            shutil.copyfile(workspace.folder / _MAIN, folder / _MAIN)
        say("copying the record, models and definitions")
        _record(workspace, copy)
        shutil.copytree(workspace.state / "artifacts", copy.state / "artifacts")
        say("copying the warehouse")
        warehouse, online = workspace.warehouse, workspace.online
        assert isinstance(warehouse, DuckDBWarehouse)
        assert isinstance(online, LmdbOnlineStore)
        warehouse.copy_to(_made(_path(workspace, copy.folder, _warehouse_of(workspace))))
        say("copying the online store")
        online.copy_to(_made(_path(workspace, copy.folder, _online_of(workspace)[0])))
        try:
            yield copy
        finally:
            copy.close()


def _record(workspace: Workspace, copy: Workspace) -> None:
    address = address_of(workspace.folder, workspace.state, workspace.environment)
    here = file_of(address, workspace.folder, workspace.state)
    there = file_of(address, copy.folder, copy.state)
    # By SQLite itself: who opens and closes its file by hand drops the locks of this process.
    with closing(sqlite3.connect(here)) as old, closing(sqlite3.connect(_made(there))) as new:
        old.backup(new)


def _warehouse_of(workspace: Workspace) -> str:
    rest = expanded(workspace.declared.warehouse, "the warehouse").partition(":")[2]
    return rest.removeprefix("//") or ".interlock/warehouse.duckdb"


def _online_of(workspace: Workspace) -> list[str]:
    urls = list(workspace.declared.online) or ["lmdb://"]
    return [expanded(url).partition("://")[2] or ".interlock/online" for url in urls]


def _path(workspace: Workspace, folder: Path, name: str) -> Path:
    """Where what the project calls `name` is in `folder`."""
    inside = (workspace.folder / name).resolve().relative_to(workspace.folder.resolve())
    return folder / inside


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _refuse_elsewhere(workspace: Workspace) -> None:
    objections = list(_elsewhere(workspace))
    if objections:
        raise Refused(
            f"no copy can be made of {workspace.environment} here",
            help="copies are made of embedded engines inside the project's folder; try it in an "
            "environment that has them",
            objections=objections,
        )


def _elsewhere(workspace: Workspace) -> Iterator[str]:
    declared = workspace.declared
    if not is_beside(address_of(workspace.folder, workspace.state, workspace.environment)):
        yield "the record is on a server"
    if not declared.warehouse.startswith("duckdb:"):
        yield f"the warehouse is at {declared.warehouse}"
    elif _outside(workspace, _warehouse_of(workspace)):
        yield f"the warehouse is outside the folder: {declared.warehouse}"
    if len(declared.online) > 1 or not all(url.startswith("lmdb://") for url in declared.online):
        yield f"online rows are in {', '.join(declared.online)}"
    elif _outside(workspace, _online_of(workspace)[0]):
        yield f"the online store is outside the folder: {declared.online[0]}"


def _outside(workspace: Workspace, name: str) -> bool:
    return workspace.folder.resolve() not in (workspace.folder / name).resolve().parents
