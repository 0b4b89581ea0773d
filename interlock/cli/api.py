"""`api schema`: what a server answers, described; `main` registers it."""

from __future__ import annotations

import json
import sys

import typer

app = typer.Typer(help="The control API of a server.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `schema` a command of a group, although it is the only one."""


@app.command()
def schema() -> None:
    """Print the OpenAPI description of the control API."""
    from interlock.web.api.app import schema

    sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
