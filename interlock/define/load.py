"""From the texts of a project folder to a Project, or to everything that is wrong with it."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.define.base import Declared
from interlock.define.calendar import Absence, Calendar, Freeze
from interlock.define.check import check, hidden_in
from interlock.define.dbt import read_manifest
from interlock.define.definitions import FeatureView, Model, Service, Table
from interlock.define.environment import Owner
from interlock.define.held import Held, Things
from interlock.define.ics import windows_in
from interlock.define.memory import Memory
from interlock.define.odcs import is_odcs, tables_in
from interlock.define.privacy import Privacy
from interlock.define.project import Project
from interlock.define.recall import fresh, path_beside, recalled, remember, statement
from interlock.define.schema import Kind, ProjectFile, did_you_mean, validate
from interlock.define.yaml import Document, Path, parse
from interlock.errors import Problem

MAIN = "interlock.yaml"
_NAMED = (MAIN, "calendar.yaml")
_FOLDERS = ("tables", "models", "services", "policies")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Reading:
    """`project` is None exactly when there are problems.

    `partial` is what could be read in either case, so that its SQL can be checked too.
    """

    project: Project | None
    problems: tuple[Problem, ...]
    partial: Project
    hidden: frozenset[str] = frozenset()  # names that stand in files with a problem


@dataclass
class _Found:
    """What has been read so far, and where it stands."""

    files: Mapping[str, str]
    variables: Mapping[str, str] | None
    main: ProjectFile | None = None
    memory: Memory | None = None
    calendar: Calendar = field(default_factory=Calendar)
    declared: dict[str, Held[Any]] = field(default_factory=dict)
    read_now: dict[str, list[Declared]] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def say(self, document: Document, path: Path, message: str, fix: str) -> None:
        self.problems.append(Problem(document.file, document.line(path), message, fix))

    def document(self, file: str, text: str, above: int = 0) -> Document | None:
        document, problems = parse(text, file, above)
        self.problems += problems
        if document:
            self.documents[file] = document
        return document

    def keep(self, thing: Declared | None) -> None:
        if thing is not None:
            self.read_now.setdefault(thing.file, []).append(thing)
            self.hold(str(thing.ref), fresh(self.memory, self.files, thing))  # type: ignore[attr-defined]  # every Declared has one

    def hold(self, name: str, held: Held[Any]) -> None:
        first = self.declared.setdefault(name, held)
        if first is not held:
            file, thing = first.thing.file, held.thing
            message = f"{name} is already declared in {file}"
            fix = f"remove it from {file} or from {thing.file}, or rename one"
            self.problems.append(Problem(thing.file, thing.line, message, fix))


def read(
    files: Mapping[str, str],
    variables: Mapping[str, str] | None = None,
    memory: Memory | None = None,
) -> Reading:
    """The project in `files` (relative path -> text).

    `${VAR}` in the environments is taken from `variables`; None leaves it as text, which is
    how a stored snapshot, that holds no secrets, is read again. Files that `memory` knows
    are not read again, unless something is wrong: then each line is needed.
    """
    reading = _read(_Found(files, variables, memory=memory))
    if reading.problems and memory is not None:
        return _read(_Found(files, variables))
    return reading


def _read(found: _Found) -> Reading:
    files = found.files
    if MAIN not in files:
        found.problems.append(Problem(MAIN, 0, "is missing", "write name, owners, environments"))
    for file in sorted(files):
        reader = _reader_of(file)
        again = recalled(found.memory, files, file) if reader and found.memory else None
        for name, held in again or ():
            found.hold(name, held)
        if reader and again is None:
            reader(found, file)
    from_files = dict(found.read_now)
    _read_dbt(found)
    project = _project(found)
    hidden = hidden_in(found.documents, found.problems)
    found.problems += check(project, found.documents, found.problems)
    problems = tuple(sorted(set(found.problems)))
    if found.memory is not None and not problems:
        for file, things in from_files.items():
            remember(found.memory, files, file, things)
    return Reading(None if problems else project, problems, project, hidden)


def _read_main(found: _Found, file: str) -> None:
    document = found.document(file, found.files[file])
    if document:
        _resolve(found, document)
        found.main = _validated(found, ProjectFile, document)


def _read_calendar(found: _Found, file: str) -> None:
    document = found.document(file, found.files[file])
    if document:
        calendar = _validated(found, Calendar, document, file=file)
        found.calendar = _with_imports(found, document, calendar) if calendar else found.calendar


def _with_imports(found: _Found, document: Document, calendar: Calendar) -> Calendar:
    """The calendar with what its .ics files say."""
    freezes, absences = list(calendar.freezes), list(calendar.absences)
    for i, wanted in enumerate(calendar.imports):
        if wanted.file not in found.files:
            fix = "put the .ics file into the project, and name it from its root"
            found.say(document, ("imports", i, "file"), f"{wanted.file} is not there", fix)
            continue
        if wanted.kind == "absence" and not wanted.person:
            fix = "add `person:`, as owners name them"
            found.say(document, ("imports", i), "an absence is somebody's", fix)
            continue
        windows, problems = windows_in(found.files[wanted.file], wanted)
        found.problems += problems
        freezes += [one for one in windows if isinstance(one, Freeze)]
        absences += [one for one in windows if isinstance(one, Absence)]
    return calendar.model_copy(update={"freezes": tuple(freezes), "absences": tuple(absences)})


def _read_table(found: _Found, file: str) -> None:
    document = found.document(file, found.files[file])
    if document is None:
        return
    if is_odcs(document):
        _read_contract(found, document)
        return
    table = _validated(found, Table, document, file=file)
    if table is not None:
        _keep_table(found, document, table)


def _read_contract(found: _Found, document: Document) -> None:
    """A document of the data contract standard: any number of tables, said in our words."""
    tables, problems = tables_in(document)
    found.problems += problems
    lines = dict(document.lines)
    for said in tables if not problems else ():
        lines |= {(*said.within, *path): line for path, line in said.lines.items()}
        ours = Document(document.file, said.value, said.lines)
        line = document.line(said.within)
        filled = {"file": document.file, "line": line, "within": said.within}
        table = _validated(found, Table, ours, **filled, odcs=document.value)
        if table is not None:
            _keep_table(found, ours, table)
    found.documents[document.file] = Document(document.file, document.value, lines)


def _keep_table(found: _Found, document: Document, table: Table) -> None:
    every = ("source", "stored_as", "push", "sql_file", "sql")
    ways = [way for way in every if getattr(table, way)]
    if len(ways) != 1:
        message = f"{table.name} has {' and '.join(ways) or 'no rows: nothing says what fills it'}"
        fix = f"give one of {', '.join(every)}"
        found.say(document, (ways[-1],) if ways else (), message, fix)
    if table.sql_file:
        path = _beside(found, document, ("sql_file",), table.sql_file)
        table = table.model_copy(update={"sql": statement(found.files[path]) if path else None})
    found.keep(table)


def _read_dbt(found: _Found) -> None:
    """The tables that dbt builds, when the project names a manifest."""
    declared = found.main.dbt if found.main else None
    if found.main is None or declared is None:
        return
    main, path = found.documents[MAIN], posixpath.normpath(declared.manifest)
    if declared.owner not in found.main.owners:
        fix = did_you_mean(declared.owner, found.main.owners)
        found.say(main, ("dbt", "owner"), f"no team {declared.owner}", fix)
    if posixpath.isabs(path) or path.startswith(".."):
        message = f"{declared.manifest} is outside of the project's folder"
        found.say(main, ("dbt", "manifest"), message, "keep the dbt project in a folder beside")
        return
    if path not in found.files:
        fix = "run `dbt compile`, or mend the path"
        found.say(main, ("dbt", "manifest"), f"{path} is not there", fix)
        return
    teams = frozenset(found.main.owners)
    tables, problems = read_manifest(found.files[path], path, declared, teams)
    found.problems += problems
    for table in tables:
        found.keep(table)


def _read_view(found: _Found, file: str) -> None:
    text = found.files[file]
    start, end = text.find("/*"), text.find("*/")
    if start < 0 or end < 0 or text[:start].strip():
        message = "has no header: the file must open with a /* ... */ comment"
        found.problems.append(Problem(file, 1, message, "put view, version, entity, ... in it"))
        return
    above = text[:start].count("\n")
    document = found.document(file, text[start + 2 : end], above)
    if document is None:
        return
    sql = statement(text[end + 2 :])
    if not sql:
        line = text[:end].count("\n") + 1
        found.problems.append(Problem(file, line, "has no SELECT", "write it after the header"))
    found.keep(_validated(found, FeatureView, document, file=file, line=above + 1, sql=sql))


def _read_model(found: _Found, file: str) -> None:
    document = found.document(file, found.files[file])
    model = _validated(found, Model, document, file=file) if document else None
    if document and model:
        code = _entry_code(found, document, model.training.entry)
        training = model.training.model_copy(update={"code": code})
        found.keep(model.model_copy(update={"training": training}))


def _read_service(found: _Found, file: str) -> None:
    document = found.document(file, found.files[file])
    if document:
        found.keep(_validated(found, Service, document, file=file))


def _read_yml(found: _Found, file: str) -> None:
    if file.removesuffix("yml") + "yaml" not in _NAMED and file.split("/")[0] not in _FOLDERS:
        return  # somebody else's file
    # Passing over it in silence would leave a definition out of every plan.
    fix = f"rename it to {file.removesuffix('.yml')}.yaml"
    found.problems.append(Problem(file, 0, "is not read: it ends in .yml", fix))


_READERS: Mapping[str, Callable[[_Found, str], None]] = {
    MAIN: _read_main,
    "calendar.yaml": _read_calendar,
    "tables/*.yaml": _read_table,
    "features/*.sql": _read_view,
    "models/*.yaml": _read_model,
    "services/*.yaml": _read_service,
    "*.yml": _read_yml,
}


def _reader_of(file: str) -> Callable[[_Found, str], None] | None:
    """By its name, or by its ending in one of our folders and whatever folder is inside."""
    top, _, _ = file.partition("/")
    ending = file.rpartition(".")[2]
    return _READERS.get(file) or _READERS.get(f"{top}/*.{ending}") or _READERS.get(f"*.{ending}")


def _validated(found: _Found, kind: type[Kind], document: Document, **filled: Any) -> Kind | None:
    made, problems = validate(kind, document, filled)
    found.problems += problems
    return made


def _beside(found: _Found, document: Document, at: Path, name: str) -> str | None:
    """The path of `name` in the folder of `document`, when it is there."""
    folder, path = posixpath.dirname(document.file), path_beside(document.file, name)
    if path in found.files:
        return path
    near = [other for other in found.files if posixpath.dirname(other) == folder]
    names = [posixpath.basename(other) for other in near]
    fix = did_you_mean(name, names, otherwise=f"create {path}")
    found.say(document, at, f"{name} is not in {folder}/", fix)
    return None


def _entry_code(found: _Found, document: Document, entry: str) -> str:
    """The text of the training file, once it is sure that the function stands in it."""
    at: Path = ("training", "entry")
    name, _, function = entry.partition(":")
    if not function:
        found.say(document, at, f"{entry!r} names no function", "write file.py:function")
        return ""
    path = _beside(found, document, at, name)
    if path is None:
        return ""
    try:
        tree = ast.parse(found.files[path])
    except SyntaxError as error:
        problem = Problem(path, error.lineno or 1, f"not Python: {error.msg}", "mend this line")
        found.problems.append(problem)
        return ""
    except (RecursionError, MemoryError, ValueError):
        # Too deep for the parser's stack; ValueError for a NUL before Python 3.12.
        problem = Problem(path, 1, "cannot be read by Python", "is it a program at all?")
        found.problems.append(problem)
        return ""
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if function not in functions:
        found.say(
            document, at, f"{path} has no function {function}", did_you_mean(function, functions)
        )
    return found.files[path]


def _resolve(found: _Found, document: Document) -> None:
    if found.variables is not None and "environments" in document.value:
        held = document.value["environments"]
        document.value["environments"] = _filled(found, document, held, ("environments",))


def _filled(found: _Found, document: Document, value: Any, path: Path) -> Any:
    """`value` with each `${VAR}` replaced; one not set is a problem, never an empty text."""
    if isinstance(value, dict):
        # A hook's secret is read by who asks it, when it is asked.
        return {
            key: held if key == "hooks" else _filled(found, document, held, (*path, key))
            for key, held in value.items()
        }
    if isinstance(value, list):
        return [_filled(found, document, held, (*path, i)) for i, held in enumerate(value)]
    if not isinstance(value, str):
        return value
    known = found.variables or {}
    for name in _VARIABLE.findall(value):
        if name not in known:
            found.say(document, path, f"${{{name}}} is not set", f"set {name} in the environment")
    return _VARIABLE.sub(lambda hit: known.get(hit[1], hit[0]), value)


def _project(found: _Found) -> Project:
    """What could be read, so that cross-references are checked even when a file is wrong."""
    main = found.main
    return Project(
        name=main.name if main else "",
        owners=tuple(Owner(name=n, people=p) for n, p in main.owners.items()) if main else (),
        environments=main.environments if main else {},
        tables=_of_kind(found, "table"),
        views=_of_kind(found, "view"),
        models=_of_kind(found, "model"),
        services=_of_kind(found, "service"),
        policies={
            file: text
            for file, text in found.files.items()
            if file.startswith("policies/") and file.endswith(".cedar")
        },
        privacy=main.privacy if main else Privacy(),
        notifications=main.notifications if main else {},
        calendar=found.calendar,
        texts=dict(found.files),
    )


def _of_kind(found: _Found, kind: str) -> Things[Any]:
    named = (name.partition(":") for name in found.declared)
    return Things({name: found.declared[f"{k}:{name}"] for k, _, name in named if k == kind})
