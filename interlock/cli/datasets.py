"""`dataset build`: the training set alone; `main` registers it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.arguments import HERE, AsJson, Env, Folder, project, show

if TYPE_CHECKING:
    from interlock.app.datasets import Written

app = typer.Typer(help="Training sets, for whoever wants nothing else.", no_args_is_help=True)


@app.command()
def build(
    model: Annotated[str, typer.Argument(help="the model whose features are wanted")],
    out: Annotated[Path, typer.Option(help="the file: .parquet, .csv or .arrow")],
    spine: Annotated[
        str, typer.Option(help="rows to fill: a file, or a SELECT (default: training rows)")
    ] = "",
    zone: Annotated[
        str | None, typer.Option(help="what times without an offset mean, as Europe/Berlin")
    ] = None,
    label: Annotated[bool, typer.Option(help="join the outcome, as far as it is known")] = True,
    by: Annotated[
        str, typer.Option(envvar="INTERLOCK_USER", help="who is asking, where values are masked")
    ] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Write every row of a spine with the features as they were known at its time."""
    from interlock.app.datasets import Ask, write_dataset
    from interlock.cli.progress import progress

    ask = Ask(model, given(spine), zone, label, by)
    with project(folder, environment) as workspace, progress() as said:
        found = write_dataset(workspace, ask, out.resolve(), said)
    show(found, as_json, written, lambda made: made.to_json())


def given(spine: str) -> Path | str | None:
    """Text with a space is SQL; what is left is a file."""
    if not spine:
        return None
    return spine if any(c.isspace() for c in spine.strip()) else Path(spine)


def written(found: Written) -> str:
    """What is where."""
    facts: dict[str, Any] = {
        "rows": found.rows,
        "columns": len(found.columns),
        "known by": found.known_by,
        "sha256": found.sha256,
        "manifest": f"{found.file.name}.manifest.json",
    }
    lines = [f"  {name:<9} {value}" for name, value in facts.items()]
    return "\n".join([f"{found.file.name}: features of model:{found.model}", *lines])
