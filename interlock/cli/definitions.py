"""`contract` and `schema`: what the definitions say, for other tools; `main` registers them."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.arguments import HERE, AsJson, Env, Folder, project, show


def contract(
    table: Annotated[str, typer.Argument(help="the table, as wh.flights")],
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """A table's contract as an Open Data Contract Standard 3.1 document."""
    from interlock.app.contracts import contract as find

    with project(folder, environment, looking=True) as workspace:
        found = find(workspace.project, table)
    show(found, as_json, lambda made: made.text, lambda made: made.to_json())
