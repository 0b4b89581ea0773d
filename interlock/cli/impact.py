"""`compare` and `lineage`: what a query changes, and what stands on what; `main` registers them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.arguments import HERE, AsJson, Env, Folder, project, say, show

if TYPE_CHECKING:
    from interlock.impact.compare import Comparison


def compare(
    old: Annotated[Path, typer.Argument(help="the query as it was")],
    new: Annotated[Path, typer.Argument(help="the query as it should be")],
    schema: Annotated[
        Path | None, typer.Option(help="tables, columns, types; keys and NOT NULL if known")
    ] = None,
    dialect: Annotated[
        str, typer.Option(help="duckdb, postgres, spark, snowflake or bigquery")
    ] = "duckdb",
    as_json: AsJson = False,
) -> None:
    """What a new version of a query changes: its rows, and each of its columns, with reasons."""
    from interlock.app.comparing import compare_files

    found = compare_files(old, new, schema, dialect)
    show(found, as_json, compared, lambda made: made.to_json())
    raise typer.Exit(0 if found.same else 2)


def lineage(
    ref: Annotated[str, typer.Argument(help="table:, column:, view:, feature:, model:, service:")],
    upstream: Annotated[bool, typer.Option("--upstream", help="what it stands on")] = False,
    downstream: Annotated[
        bool, typer.Option("--downstream", help="what stands on it (the default)")
    ] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="as a Mermaid flowchart")] = False,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """What a thing reads or who reads it, path by path, with what each edge is for."""
    from interlock.errors import Unusable
    from interlock.impact.lineage import lineage as trace

    if (upstream and downstream) or (mermaid and as_json):
        raise Unusable("two answers at once", help="ask once for each")
    with project(folder, environment, looking=True) as workspace:
        found = trace(workspace.facts, ref, "upstream" if upstream else "downstream")
    if mermaid:
        say(found.mermaid(), as_json=False)
        return
    show(found, as_json, lambda made: made.text(), lambda made: made.to_json())


def compared(found: Comparison) -> str:
    """Rows first: when they change, every reader is affected."""
    rows = f"rows: {found.row_set}" + (f": {found.reason}" if found.reason else "")
    width = max((len(name) for name in found.columns), default=0)
    lines = [
        f"  {name:<{width}}  {said.verdict}" + (f": {said.reason}" if said.reason else "")
        for name, said in found.columns.items()
    ]
    return "\n".join([rows, *lines])
