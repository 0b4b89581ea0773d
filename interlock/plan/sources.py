"""The lines of the files behind a definition: what changed in them, and where they use a name."""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from interlock.define.base import Declared
from interlock.define.definitions import Model, Table
from interlock.define.project import Project
from interlock.define.refs import Ref

MOST_LINES = 40  # of one file's difference; the files are at hand


@dataclass(frozen=True)
class Line:
    """One line of a file. `mark` is `+` or `-` in a difference, else empty."""

    file: str
    number: int
    text: str
    mark: str = ""

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def definition_of(project: Project | None, ref: Ref) -> Declared | None:
    """What declares `ref`, or the thing that `ref` is a part of."""
    if project is None:
        return None
    name = ref.name.rpartition(".")[0] if ref.kind == "column" else ref.name
    where: Mapping[str, Mapping[str, Declared]] = {
        "table": project.tables, "column": project.tables, "view": project.views,
        "feature": project.views, "model": project.models, "service": project.services,
    }  # fmt: skip
    key = f"{name}@{ref.version}" if ref.kind in ("view", "feature") else name
    return where.get(ref.kind, {}).get(key)


def files_of(thing: Declared | None) -> tuple[str, ...]:
    """The file of a definition, and the one beside it that holds its SQL or its training."""
    if thing is None or not thing.file:
        return ()
    folder, beside = posixpath.dirname(thing.file), ""
    if isinstance(thing, Table):
        beside = thing.sql_file or ""
    elif isinstance(thing, Model):
        beside = thing.training.entry.partition(":")[0]
    other = posixpath.normpath(posixpath.join(folder, beside)) if beside else ""
    return (thing.file, other) if other else (thing.file,)


def edited(old: Project | None, new: Project, ref: Ref) -> tuple[Line, ...]:
    """What was taken out of the files of `ref` and what was put in, in the order of the files."""
    before, after = definition_of(old, ref), definition_of(new, ref)
    files = dict.fromkeys((*files_of(before), *files_of(after)))
    found: list[Line] = []
    for file in files:
        was = (old.texts.get(file, "") if old else "").splitlines()
        now = new.texts.get(file, "").splitlines()
        found += list(_changed(file, was, now))[:MOST_LINES]
    return tuple(found)


def _changed(file: str, was: list[str], now: list[str]) -> Iterator[Line]:
    for tag, a, b, c, d in difflib.SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
        if tag != "equal":
            yield from (Line(file, i + 1, was[i], "-") for i in range(a, b))
            yield from (Line(file, i + 1, now[i], "+") for i in range(c, d))


def uses(project: Project, reader: Ref, source: Ref) -> tuple[Line, ...]:
    """The lines of `reader` that name `source`: a column by its name, a table by the table's."""
    word = source.part or source.name
    word = word.rpartition(".")[2] if source.kind == "column" else word
    pattern = re.compile(rf"(?<![\w.]){re.escape(word)}(?!\w)|(?<=\.){re.escape(word)}(?!\w)")
    found = []
    for file in files_of(definition_of(project, reader)):
        lines = project.texts.get(file, "").splitlines()
        start = _below_header(file, lines)
        found += [
            Line(file, at, text.strip())
            for at, text in enumerate(lines, 1)
            if at > start and pattern.search(text) and not text.lstrip().startswith(("--", "#"))
        ]
    return tuple(found[:MOST_LINES])


def _below_header(file: str, lines: list[str]) -> int:
    """A view's header names its features too; the SQL is below it."""
    if not file.endswith(".sql") or not lines or not lines[0].lstrip().startswith("/*"):
        return 0
    return next((at for at, text in enumerate(lines, 1) if "*/" in text), 0)
