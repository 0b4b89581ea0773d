"""`contract` and `schema`: what the definitions say, for other tools; `main` registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interlock.cli.arguments import HERE, AsJson, Env, Folder, project, say, show


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


def schema(
    kind: Annotated[
        str, typer.Argument(help="project, table, view, model, service, calendar or policy_tests")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="write one file for each kind here")] = None,
    as_json: AsJson = False,
) -> None:
    """JSON Schema of the definition files, for editors: of one kind, or of all of them."""
    from interlock.app.contracts import schema_files, schemas_of

    found = schemas_of(kind)
    if out is None:
        show(found[kind] if kind else found, True, str, lambda made: made)
        return
    for path in schema_files(found, out):
        say(str(path), as_json)
