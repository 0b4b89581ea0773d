"""What was read and understood before, kept beside the state so that the next plan is quick.

Plain JSON in `facts.json` and `project-*.json`. Each file opens with the digest of the rest
and names the code that made it: a torn, edited or older file is as good as none. Files are
written whole and swapped in, only where a state folder stands that may be written to, and
may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Mapping
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
from pydantic_core import to_jsonable_python

import interlock
from interlock.define.base import Declared
from interlock.define.check import check
from interlock.define.digest import digest, digest_bytes
from interlock.define.project import Project
from interlock.impact.kept import Kept

_ROOMS = ("define", "impact")
_KINDS = ("tables", "views", "models", "services")
_MOST = 4  # projects: what runs, what is wanted, and another branch of each


class KeptFolder:
    """What one state folder keeps; everything it says is checked before it is believed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._projects: dict[str, Project] = {}

    @cached_property
    def facts(self) -> Kept:
        """Facts of queries."""
        with contextlib.suppress(ValueError):
            held = orjson.loads(_load(self._folder / "facts.json") or b"{}")
            return Kept(held if isinstance(held, dict) else {})
        return Kept()

    def save_facts(self) -> None:
        if self.facts.more:
            self.facts.more = False
            _save(self._folder / "facts.json", orjson.dumps(self.facts.worth_keeping()))

    def project(self, texts: Mapping[str, str]) -> Project | None:
        """The project that `texts` declare, if they were read before or only SELECTs are new.

        None when they must be read: whatever else is edited may change what is wrong with it.
        """
        key = _frame(texts)
        if key not in self._projects:
            held = _load(self._file(key))
            with contextlib.suppress(ValueError):
                if held is not None:
                    self._projects[key] = Project.model_validate_json(held)
        last = self._projects.get(key)
        found = _with_selects(last, texts) if last else None
        return None if found is None or check(found, {}, []) else found

    def keep_project(self, project: Project) -> None:
        """Remember a project without problems, once it is sure that it comes back as it was."""
        key, plain = _frame(project.texts), _plain(project)
        with contextlib.suppress(ValueError):
            again = Project.model_validate_json(plain)
            if again.model_copy(update={"texts": project.texts}) == project:
                self._projects[key] = project
                _save(self._file(key), plain)
                self._forget()

    def _file(self, key: str) -> Path:
        return self._folder / f"project-{key[:16]}.json"

    def _forget(self) -> None:
        with contextlib.suppress(OSError):
            files = sorted(self._folder.glob("project-*.json"), key=lambda f: f.stat().st_mtime)
            for file in files[:-_MOST]:
                file.unlink(missing_ok=True)


# --- files ---------------------------------------------------------------------------


@cache
def made_by(package: Path = Path(interlock.__file__).parent) -> str:
    """The code that reads and understands: another one may make something else of a text."""
    files = sorted(file for room in _ROOMS for file in (package / room).glob("*.py"))
    code = [digest_bytes(file.read_bytes()) for file in (*files, package / "app" / "kept.py")]
    return digest([code, *(version(name) for name in ("sqlglot", "pydantic", "pyyaml"))])


def _load(file: Path) -> bytes | None:
    """What `_save` wrote; None for anything else."""
    try:
        first, _, rest = file.read_bytes().partition(b"\n")
    except OSError:
        return None
    made, _, held = rest.partition(b"\n")
    right = first == digest_bytes(rest).encode() and made == made_by().encode()
    return held if right else None


def _save(file: Path, held: bytes) -> None:
    """All of it or nothing; a folder that is not there or not ours to write is no mistake."""
    rest = made_by().encode() + b"\n" + held
    beside = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    with contextlib.suppress(OSError):
        beside.write_bytes(digest_bytes(rest).encode() + b"\n" + rest)
        beside.replace(file)
    with contextlib.suppress(OSError):
        beside.unlink(missing_ok=True)


# --- projects --------------------------------------------------------------------------


def _frame(texts: Mapping[str, str]) -> str:
    """A digest of all that is declared but the SELECTs, which are only carried along."""
    return digest({name: _declared(name, text) for name, text in texts.items()})


def _declared(name: str, text: str) -> str:
    if name.startswith("tables/") and name.endswith(".sql"):
        return ""
    if name.startswith("features/") and name.endswith(".sql"):
        return text[: text.find("*/") + 2]
    return text


def _with_selects(last: Project, texts: Mapping[str, str]) -> Project | None:
    tables, views = dict(last.tables), dict(last.views)
    for name, table in last.tables.items():
        if table.sql_file:
            path = posixpath.join(posixpath.dirname(table.file), table.sql_file)
            tables[name] = _with_select(table, texts.get(posixpath.normpath(path), ""))
    for name, view in last.views.items():
        text = texts.get(view.file, "")
        views[name] = _with_select(view, text[text.find("*/") + 2 :])
    if not all(thing.sql for thing in views.values()):
        return None
    return last.model_copy(update={"tables": tables, "views": views, "texts": dict(texts)})


def _with_select(thing: Any, text: str) -> Any:
    sql = text.strip().removesuffix(";").rstrip()
    return thing if thing.sql == sql else thing.model_copy(update={"sql": sql})


def _plain(project: Project) -> bytes:
    plain = project.model_dump(mode="json")
    for kind in _KINDS:
        for name, thing in getattr(project, kind).items():
            plain[kind][name] |= _unsaid(thing)
    plain["calendar"]["file"] = project.calendar.file
    # Texts are given by whoever asks: here they would only double the file.
    return orjson.dumps({**plain, "texts": {}})


def _unsaid(thing: Declared) -> dict[str, Any]:
    """What stands in no file, and so is left out when a definition is written."""
    fields = type(thing).model_fields.items()
    return {n: to_jsonable_python(getattr(thing, n)) for n, field in fields if field.exclude}
