"""From a parsed file to a definition, with every error at its line, and JSON Schema for editors."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError

from interlock.define.base import Definition, Name
from interlock.define.calendar import Calendar
from interlock.define.dbt import DbtProject
from interlock.define.definitions import FeatureView, Model, Service, Table
from interlock.define.environment import Environment, Role
from interlock.define.notifications import Notification
from interlock.define.privacy import Privacy
from interlock.define.yaml import Document, Path
from interlock.errors import Problem

Kind = TypeVar("Kind", bound=BaseModel)
MOST = 40  # names in a list of what is known


class ProjectFile(Definition):
    """`interlock.yaml`: the name, the teams (`team: {person: [roles]}`), the environments,
    who may see what, and who is told of what happens.
    """

    name: str = Field(min_length=1)
    owners: Mapping[str, Mapping[str, tuple[Role, ...]]] = Field(min_length=1)
    environments: Mapping[Name, Environment] = Field(min_length=1)
    dbt: DbtProject | None = None
    privacy: Privacy = Privacy()
    notifications: Mapping[Name, Notification] = Field(default_factory=dict)


# What Interlock fills in itself: a file that says it is mistaken.
_OURS: Mapping[type[BaseModel], frozenset[Path]] = {
    Table: frozenset({("file",), ("line",), ("within",), ("odcs",), ("outside",)}),
    FeatureView: frozenset({("file",), ("line",), ("sql",)}),
    Model: frozenset({("file",), ("line",), ("training", "code")}),
    Service: frozenset({("file",), ("line",)}),
    Calendar: frozenset({("file",)}),
}
_FORMS: Mapping[str, type[BaseModel]] = {
    "interlock.yaml": ProjectFile,
    "tables/*.yaml": Table,
    "features/*.sql": FeatureView,
    "models/*.yaml": Model,
    "services/*.yaml": Service,
    "calendar.yaml": Calendar,
}
_HIDDEN = frozenset(path[-1] for paths in _OURS.values() for path in paths) - {"sql"}


def schemas() -> dict[str, Any]:
    """JSON Schema by the files it describes (for `features/*.sql`: the header)."""
    return {files: _schema(kind) for files, kind in _FORMS.items()}


def validate(
    kind: type[Kind], document: Document, filled: Mapping[str, Any] | None = None
) -> tuple[Kind | None, list[Problem]]:
    """`document` as a `kind`, or everything wrong with it; `filled` fields are ours."""
    problems = [
        Problem(document.file, document.line(path), *_unknown(kind, path))
        for path in sorted(_OURS.get(kind, ()), key=str)
        if path in document.lines
    ]
    try:
        made = kind.model_validate({**document.value, **(filled or {})})
    except ValidationError as error:
        errors = _without_echoes(kind, error.errors())
        return None, problems + [_problem(kind, document, one) for one in errors]
    return (None if problems else made), problems


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """A fix for a word nobody knows: the nearest known one, else all of them."""
    names = sorted(known)
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    more = [f"and {len(names) - MOST} more"] if len(names) > MOST else []
    known = ", ".join([*names[:MOST], *more])
    return otherwise or (f"known: {known}" if names else "declare it first")


def near(fix: str) -> bool:
    """Whether a fix of `did_you_mean` names one word: a slip, not something that is missing."""
    return fix.startswith("did you mean")


def _schema(kind: type[BaseModel]) -> dict[str, Any]:
    made = kind.model_json_schema()
    for path in _OURS.get(kind, ()):
        holder = made if len(path) == 1 else made["$defs"][str(path[0]).title()]
        holder["properties"].pop(path[-1], None)
        if path[-1] in holder.get("required", ()):
            holder["required"].remove(path[-1])
    return made


def _without_echoes(kind: type[BaseModel], errors: list[Any]) -> list[Any]:
    """A misspelt key is one mistake, though a key is unknown and another is missing."""
    meant = set()
    for error in errors:
        *around, key = error["loc"] or ("",)
        if error["type"] == "extra_forbidden":
            near = get_close_matches(str(key), _fields(kind, tuple(around)), n=1, cutoff=0.6)
            meant |= {(*around, name) for name in near}
    return [e for e in errors if e["type"] != "missing" or tuple(e["loc"]) not in meant]


def _problem(kind: type[BaseModel], document: Document, error: Any) -> Problem:
    path: Path = tuple(step for step in error["loc"] if step != "[key]")
    return Problem(document.file, document.line(path), *_said(kind, path, error))


def _said(kind: type[BaseModel], path: Path, error: Any) -> tuple[str, str]:
    """The message and the fix."""
    context = error.get("ctx", {})
    where = _dotted(path)
    match error["type"]:
        case "missing":
            return f"`{where}` is missing", f"add `{path[-1]}:`{_described(kind, path)}"
        case "extra_forbidden":
            return _unknown(kind, path)
        case "literal_error":
            known = [
                one.strip("'") for one in context["expected"].replace(" or ", ", ").split(", ")
            ]
            wrong = f"`{where}`: {error['input']!r} is not one of {', '.join(known)}"
            return wrong, did_you_mean(str(error["input"]), known)
        case "string_pattern_mismatch" if r"\$" in context["pattern"]:
            # Not repeated: it may be the very secret that should not stand in a file.
            other = " or an address of the right kind" if "|" in context["pattern"] else ""
            return f"`{where}` is not written as a variable{other}", "write ${NAME_OF_A_VARIABLE}"
        case "string_pattern_mismatch":
            example = "schema.table" if r"\." in context["pattern"] else "a_name_2"
            return (
                f"`{where}`: {error['input']!r} is not a name",
                f"write lower-case letters, digits and _, like {example}",
            )
        case "value_error":
            return f"`{where}`: {context['error']}", "write it as shown"
    return f"`{where}`: {error['msg'][:1].lower()}{error['msg'][1:]}", _found(error["input"])


def _unknown(kind: type[BaseModel], path: Path) -> tuple[str, str]:
    key = str(path[-1])
    known = _fields(kind, path[:-1]) - {key}
    # {description: one, two} has two keys: the comma ends the text.
    fix = "quote the text that holds the comma" if " " in key else did_you_mean(key, known)
    return f"unknown key `{_dotted(path)}`", fix


def _found(value: Any) -> str:
    text = repr(value)
    return f"found {text if len(text) <= 60 else text[:57] + '...'}"


def _dotted(path: Path) -> str:
    return ".".join(str(step) for step in path) or "the file"


def _described(kind: type[BaseModel], path: Path) -> str:
    near = sorted(_fields(kind, path[:-1]))
    return f" (keys here: {', '.join(near)})" if near else ""


def _fields(kind: type[BaseModel], path: Path) -> set[str]:
    """The keys that may stand at `path` of a `kind`; none when it is no mapping of ours."""
    at: Any = kind
    for step in path:
        at = _inside(_bare(at), step)
    at = _bare(at)
    if isinstance(at, type) and issubclass(at, BaseModel):
        return set(at.model_fields) - _HIDDEN - ({"sql"} if at is FeatureView else set())
    return set()


def _bare(annotation: Any) -> Any:
    """Without `Annotated` and `| None`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _bare(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return _bare(next(arg for arg in get_args(annotation) if arg is not type(None)))
    return annotation


def _inside(annotation: Any, step: str | int) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(step))
        return field.annotation if field else None
    held = get_args(annotation)
    return held[0 if isinstance(step, int) else -1] if held else None
