"""One command without the others: Typer makes every option of every command before it calls one."""

from __future__ import annotations

from collections.abc import Sequence

import typer

PROGRAM = "interlock"


def alone(app: typer.Typer, given: Sequence[str]) -> tuple[typer.Typer, list[str], str]:
    """What to call, with which arguments, under which name.

    That is the one command which `given` names, and everything where it names none or a group.
    """
    named = [one for one in app.registered_commands if given[:1] == [_name(one)]]
    if len(named) != 1:
        return app, list(given), PROGRAM
    one = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    one.registered_commands = named
    return one, list(given[1:]), f"{PROGRAM} {given[0]}"


def _name(command: typer.models.CommandInfo) -> str:
    said = command.callback.__name__ if command.callback else ""
    return command.name or said.lower().replace("_", "-")
