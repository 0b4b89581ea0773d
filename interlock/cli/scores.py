"""`score`: predictions by the second door, into a table of the warehouse; `main` registers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.arguments import HERE, AsJson, Env, Folder, project, show
from interlock.cli.datasets import given

if TYPE_CHECKING:
    from interlock.app.scoring import Batch


def score(
    model: Annotated[str, typer.Argument(help="the model that scores")],
    spine: Annotated[str, typer.Option(help="the rows: a file, or a SELECT over the tables")],
    into: Annotated[str, typer.Option(help="the view to read, as ops.late_scores")],
    zone: Annotated[
        str | None, typer.Option(help="what times without an offset mean, as Europe/Berlin")
    ] = None,
    by: Annotated[
        str, typer.Option(envvar="INTERLOCK_USER", help="who is asking, where keys are masked")
    ] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Score rows in the warehouse, under the same Route as requests."""
    from interlock.app.scoring import Asked
    from interlock.app.scoring import score as make
    from interlock.cli.progress import bar

    rows = given(spine)
    if rows is None:
        raise typer.BadParameter("--spine is empty: name a file or write a SELECT")
    asked = Asked(model, rows, into, zone, by)
    with project(folder, environment) as workspace, bar(f"scoring into {into}") as step:
        found = make(workspace, asked, step=step)
    show(found, as_json, scored, lambda made: made.to_json())


def scored(found: Batch) -> str:
    """Who scored how much, and what people see."""
    lines = [f"{found.into}: {found.rows} rows scored by model:{found.model}"]
    for release, rows in found.releases.items():
        lines.append(f"  release {release[:12]}  {rows} scores")
    for one in found.shown:
        more = f", {one['without']} without a score" if one["without"] else ""
        more += f", {one['fallbacks']} by a stand-in" if one["fallbacks"] else ""
        lines.append(f"  shown   {one['release'][:12]}  {one['n']} rows ({one['arm']}){more}")
    if found.counted:
        lines.append(f"  {found.counted} rows are counted as answers of this Route")
    return "\n".join(lines)
