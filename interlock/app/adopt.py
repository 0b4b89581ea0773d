"""The definitions of a change, written into the folder: people take over what a trigger proposed.

Only files that differ are touched. All new texts are on the disk before the first file is
replaced, so that a full disk leaves the folder as it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from interlock.app.changes import held
from interlock.app.files import read_folder
from interlock.app.versions import definitions
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.define.refs import Ref
from interlock.errors import NotFound, Refused, Stale, Unavailable


@dataclass(frozen=True)
class Adopted:
    """What was done to the folder. `kept` are files of its own that no release knows."""

    change: str
    written: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]


def adopt(workspace: Workspace, id: str, *, force: bool = False) -> Adopted:
    """Make the folder say what `id` says.

    Raises `Refused` naming every file with edits of the folder's own, and `Stale` when the
    change is about a release that no longer runs; `force` overwrites, but never removes a
    file that no release knows.
    """
    change = held(workspace.record, id).change
    if not change.release:
        raise Refused(f"{id} has no release yet", help="its plan was never finished; propose again")
    wanted, ours = _texts(workspace, change.release), read_folder(workspace.folder)
    before = {} if change.made_against is None else _texts(workspace, change.made_against)
    stable = workspace.route().stable
    running = {} if stable is None else _texts(workspace, stable)
    if not force:
        _refuse_stale(change, stable)
        edited = [f for f in ours if not _known(f, ours, (wanted, before, running))]
        _refuse_edits([*edited, *(f for f in wanted if f not in ours and f in before)])
    differ = {file: text for file, text in wanted.items() if ours.get(file) != text}
    gone = sorted(file for file in ours if file not in wanted and file in {**before, **running})
    kept = sorted(file for file in ours if file not in wanted and file not in gone)
    _write(workspace.folder, differ, gone)
    workspace.reread()
    return Adopted(id, tuple(sorted(differ)), tuple(gone), tuple(kept))


def _texts(workspace: Workspace, release: str) -> Mapping[str, str]:
    entry = workspace.record.get(Ref("release", release))
    if entry is None:
        raise NotFound(f"release {release[:12]} is not in the record")
    return definitions(workspace, entry.body["definitions"])


def _known(file: str, ours: Mapping[str, str], releases: tuple[Mapping[str, str], ...]) -> bool:
    """Does a release say exactly this of `file`? Then nothing is lost that cannot be had again."""
    return any(ours[file] == texts.get(file) for texts in releases)


def _refuse_stale(change: Change, stable: str | None) -> None:
    if stable not in (change.made_against, change.release):
        raise Stale(
            f"{change.id} was made against a release that no longer runs",
            help="its files would undo what came after; --force writes them all the same",
        )


def _refuse_edits(edited: list[str]) -> None:
    if edited:
        raise Refused(
            "the folder has edits of its own",
            help="commit or undo them first; --force overwrites them",
            objections=sorted(edited),
        )


def _write(folder: Path, texts: Mapping[str, str], gone: list[str]) -> None:
    places = {name: (folder / name).resolve() for name in texts}
    try:
        for name, file in places.items():
            _lay_down(_beside(file), file, texts[name])
        for file in places.values():
            _beside(file).replace(file)
        for name in gone:
            (folder / name).unlink()
    except OSError as error:
        for file in places.values():
            # Where nothing could be laid down, nothing lies.
            with suppress(OSError):
                _beside(file).unlink()
        raise Unavailable(
            f"{folder} cannot be written: {error}", help="is it writable, and the disk not full?"
        ) from error


def _beside(file: Path) -> Path:
    # Hidden: reading a folder passes over what a kill leaves behind.
    return file.with_name(f".{file.name}.adopted")


def _lay_down(beside: Path, file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    beside.write_text(text, encoding="utf-8", newline="\n")
    if file.exists():
        shutil.copymode(file, beside)
