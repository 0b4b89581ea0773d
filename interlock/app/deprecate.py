"""Write into a view's header until when it may be read and what takes its place.

Only these words are put in; every other byte of the file stays. The result is read again
before it is laid down: an edit that would say anything else is refused and nothing written.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from interlock.app.atomic import replaced
from interlock.app.workspace import Workspace
from interlock.define.definitions import Deprecation, FeatureView
from interlock.define.load import read
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.define.schema import did_you_mean
from interlock.define.yaml import Document, parse
from interlock.errors import NotFound, Refused, Unusable
from interlock.plan.deprecation import readers

_KEY = "deprecation"


@dataclass(frozen=True)
class Deprecated:
    """What now stands in the file. `changed` is false when it stood there already."""

    view: str
    until: date
    replacement: str
    file: str
    changed: bool
    readers: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "until": self.until.isoformat(), "readers": list(self.readers)}


def deprecate(workspace: Workspace, view: str, until: str, replacement: str) -> Deprecated:
    """Mark version `view` (`view:name@1`). Raises `Refused` with every objection at once."""
    project = workspace.project
    found, instead = _view(project, view), _view(project, replacement)
    day = _day(until)
    objections = tuple(_objections(found, instead, day, workspace.now().date()))
    if objections:
        raise Refused(f"{found.ref} cannot be deprecated like this", "mend these", objections)
    said = Deprecation(date=day, replacement=f"{instead.view}@{instead.version}")
    changed = found.deprecation != said
    if changed:
        _write(workspace, found, said)
    names = tuple(map(str, readers(project, found)))
    return Deprecated(str(found.ref), day, f"view:{said.replacement}", found.file, changed, names)


def _view(project: Project, text: str) -> FeatureView:
    ref = Ref.parse(text)
    known = {str(view.ref): view for view in project.views.values()}
    if ref.kind != "view":
        raise Unusable(f"{ref} has no versions side by side", help="name a view, as view:name@1")
    if str(ref) not in known:
        raise NotFound(f"{ref} is not declared", help=did_you_mean(str(ref), known))
    return known[str(ref)]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise Unusable(f"{text!r} is not a day", help="write it as 2026-12-31") from error


def _objections(view: FeatureView, instead: FeatureView, day: date, today: date) -> Iterator[str]:
    if instead.ref == view.ref:
        yield f"{view.ref} cannot take its own place"
    elif instead.deprecation:
        gone = instead.deprecation
        yield f"{instead.ref} is deprecated itself, until {gone.date}: use view:{gone.replacement}"
    if instead.entity != view.entity:
        keys = f"({', '.join(instead.entity)}), not ({', '.join(view.entity)})"
        yield f"{instead.ref} is looked up by {keys}: it is no replacement for {view.ref}"
    if day < today:
        yield f"{day} is over (it is {today} there): give readers time to move"


# --- the file ----------------------------------------------------------------------------


def _write(workspace: Workspace, view: FeatureView, said: Deprecation) -> None:
    path = (workspace.folder / view.file).resolve()
    text = path.read_bytes().decode("utf-8")
    line = f"{_KEY}: {{date: {said.date}, replacement: {said.replacement}}}"
    edited = with_line(text, view.file, line)
    if edited is None or not _says_only(workspace.project, view, edited, said):
        raise Refused(
            f"the header of {view.file} is not written one key per line",
            help=f"write it in yourself: {line}",
        )
    _lay_down(path, edited)
    workspace.reread()


def with_line(text: str, file: str, line: str) -> str | None:
    """`text` with `line` in its header, in place of the one before; None when it has no place."""
    start, end = text.find("/*"), text.find("*/")
    document, problems = parse(text[start + 2 : end], file, text[:start].count("\n"))
    if document is None or problems:
        return None
    lines = text.splitlines(keepends=True)
    span = _old(document, lines) or _place(document, lines)
    if span is None:
        return None
    first, after, indent = span
    ending = "\r\n" if lines[first - 1].endswith("\r\n") else "\n"
    return "".join([*lines[:first], f"{indent}{line}{ending}", *lines[after:]])


Span = tuple[int, int, str]  # lines kept before, where the kept ones go on, the indent


def _old(document: Document, lines: Sequence[str]) -> Span | None:
    """The lines of an earlier deprecation: its key, and all that is indented deeper."""
    at = document.lines.get((_KEY,))
    indent = _indent(lines, at, _KEY) if at else None
    if at is None or indent is None:
        return None
    end = at
    while end < len(lines) and lines[end].strip() and _deeper(lines[end], indent):
        end += 1
    return at - 1, end, indent


def _deeper(line: str, indent: str) -> bool:
    inside = len(line) - len(line.lstrip()) > len(indent)
    return inside and not line.lstrip().startswith("*/")


def _place(document: Document, lines: Sequence[str]) -> Span | None:
    """Below `version`, whose value is one number on its own line."""
    at = document.lines.get(("version",))
    indent = _indent(lines, at, "version") if at else None
    return None if at is None or indent is None else (at, at, indent)


def _indent(lines: Sequence[str], at: int, key: str) -> str | None:
    found = re.match(rf"([ ]*){key}[ ]*:", lines[at - 1])
    return found[1] if found else None


def _says_only(project: Project, view: FeatureView, text: str, said: Deprecation) -> bool:
    """Read again: the same project, but for this one deprecation."""
    texts = {**project.texts, view.file: text.removeprefix("\ufeff").replace("\r\n", "\n")}
    again = read(texts).project
    if again is None:
        return False
    name = f"{view.view}@{view.version}"
    wanted = project.views[name].model_copy(update={"deprecation": said})
    same = {**project.views, name: wanted} == dict(again.views)
    rest: dict[str, Any] = {"views": {}, "texts": {}}
    return same and project.model_copy(update=rest) == again.model_copy(update=rest)


def _lay_down(path: Path, text: str) -> None:
    with replaced(path) as beside:
        beside.write_bytes(text.encode("utf-8"))
        shutil.copymode(path, beside)
