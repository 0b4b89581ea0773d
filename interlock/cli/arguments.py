"""What the commands share: their options, the opened project, and the way to standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

Folder = Annotated[Path, typer.Option("--project", "-C", help="the project's folder")]
Env = Annotated[str, typer.Option("--env", "-e", help="the environment")]
AsJson = Annotated[bool, typer.Option("--json", help="machine-readable output")]
By = Annotated[str, typer.Option("--by", envvar="INTERLOCK_USER", help="who is acting")]
Why = Annotated[str, typer.Option(help="why")]
ChangeId = Annotated[str, typer.Argument(help="the change, as CR-12")]

HERE = Path()


@contextmanager
def project(folder: Path, environment: str, looking: bool = False) -> Iterator[Any]:
    """The opened project; its engines are closed whatever happens. `looking` leaves no trace."""
    from interlock.app.workspace import Workspace

    workspace = Workspace(folder.resolve(), environment, looking=looking, door="cli")
    try:
        yield workspace
    finally:
        workspace.close()


def show(
    value: Any, as_json: bool, human: Callable[[Any], str], to_json: Callable[[Any], Any]
) -> None:
    """The one place that writes to standard output."""
    text = json.dumps(to_json(value), indent=2, default=str) if as_json else human(value)
    sys.stdout.write(text.rstrip() + "\n")
    sys.stdout.flush()


def say(text: str, as_json: bool) -> None:
    """A sentence, on a line of its own."""
    sys.stdout.write((json.dumps({"said": text}) if as_json else text) + "\n")
    sys.stdout.flush()
