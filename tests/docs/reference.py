"""The made parts of `docs/reference`: tables that are read from the code itself.

Run this file to write them again; a test says when that is due.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from interlock import errors, ports
from interlock.cli.main import app
from interlock.cli.remote import HERE_ONLY, NOWHERE
from interlock.define import (
    calendar,
    definitions,
    environment,
    notifications,
    project,
    schedules,
)
from interlock.define.durations import format_duration
from interlock.web.api.app import schema as api_schema

PAGES = Path(__file__).resolve().parents[2] / "docs" / "reference"
_DECLARED = {
    name: thing
    for module in (definitions, environment, calendar, notifications, project, schedules)
    for name, thing in vars(module).items()
    if inspect.isclass(thing) and issubclass(thing, BaseModel)
}
_BLOCK = re.compile(r"(<!-- made: (\w+) ([\w ]+) -->\n)(.*?)(<!-- end -->)", re.S)


def commands() -> Mapping[str, Any]:
    """Every command of the command line, one of a group with the name of the group before it."""
    found = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", {})
        found |= {f"{name} {part}": one for part, one in below.items()} or {name: command}
    return found


def error_classes() -> list[type[errors.InterlockError]]:
    """The tree, from its root down."""
    found: list[type[errors.InterlockError]] = [errors.InterlockError]
    for one in found:
        found.extend(sub for sub in one.__subclasses__() if sub.__module__ == errors.__name__)
    return found


def port_classes() -> list[type]:
    """Everything declared on the page of ports."""
    return [
        thing
        for thing in vars(ports).values()
        if inspect.isclass(thing) and thing.__module__ == ports.__name__
    ]


def options(name: str) -> str:
    """The arguments and options of a command, as a table."""
    lines = ["| argument | | default |", "|---|---|---|"]
    for one in commands()[name].params:
        named = [one.name.upper()] if one.param_type_name == "argument" else one.opts
        shown = " ".join(f"`{text}`" for text in named)
        default = "required" if one.required else _default(one.default)
        if one.envvar:
            default = f"`${one.envvar}`"
        lines.append(f"| {shown} | {one.help} | {default} |")
    return "\n".join(lines) + "\n" if commands()[name].params else "No arguments.\n"


def fields(name: str) -> str:
    """The keys of a definition, as a table."""
    kind: type[BaseModel] = _DECLARED[name]
    lines = ["| key | type | default |", "|---|---|---|"]
    for key, field in kind.model_fields.items():
        if field.exclude:
            continue
        default = (
            "required"
            if field.is_required()
            else _default(field.get_default(call_default_factory=True))
        )
        lines.append(f"| `{key}` | {_type(kind, key)} | {default} |")
    return "\n".join(lines) + "\n"


def methods(name: str) -> str:
    """A port, or a value that crosses one, as it is declared."""
    return f"```python\n{inspect.getsource(getattr(ports, name)).rstrip()}\n```\n"


def exits(name: str) -> str:
    """The tree of errors with codes and exit codes."""
    del name
    lines = ["| code | class | exit | |", "|---|---|---|---|"]
    for one in error_classes():
        said = (inspect.getdoc(one) or "").splitlines()[0]
        lines.append(f"| `{one.code}` | `{one.__name__}` | {one.exit_code} | {said} |")
    return "\n".join(lines) + "\n"


def routes(name: str) -> str:
    """Every route of the control API with the scope that its token needs."""
    del name
    lines = ["| route | scope | key | |", "|---|---|---|---|"]
    for path, ways in api_schema()["paths"].items():
        for method, way in ways.items():
            names = [one["name"] for one in way.get("parameters", ())]
            key = "yes" if "Idempotency-Key" in names else ""
            said = way["description"].splitlines()[0]
            shown = f"`{method.upper()} {path}`"
            lines.append(f"| {shown} | {way['x-interlock-scope']} | {key} | {said} |")
    return "\n".join(lines) + "\n"


def faces(name: str) -> str:
    """Every command that a server does not do for somebody, and why."""
    del name
    lines = ["| command | why |", "|---|---|"]
    lines += [f"| `{one}` | {why} |" for one, why in {**NOWHERE, **HERE_ONLY}.items()]
    return "\n".join(lines) + "\n"


MAKERS: Mapping[str, Callable[[str], str]] = {
    "options": options, "fields": fields, "methods": methods, "errors": exits, "routes": routes,
    "faces": faces,
}  # fmt: skip


def made(text: str) -> str:
    """`text` with every made block written again."""
    return _BLOCK.sub(lambda hit: hit[1] + MAKERS[hit[2]](hit[3]) + hit[5], text)


def _default(value: object) -> str:
    if value in (None, "", (), {}, False):
        return "off" if value is False else ""
    if isinstance(value, BaseModel):
        return "see below"
    if hasattr(value, "total_seconds"):
        return f"`{format_duration(value)}`"  # type: ignore[arg-type]
    return f"`{value}`"


def _type(kind: type[BaseModel], key: str) -> str:
    for base in kind.__mro__:
        text = inspect.get_annotations(base).get(key)
        if text is not None:
            plain = re.sub(r" = .*", "", str(text))
            return f"`{plain}`".replace("|", "\\|")
    raise AssertionError(f"{key} of {kind} has no type")


if __name__ == "__main__":
    for page in sorted(PAGES.glob("*.md")):
        page.write_text(made(page.read_text()))
