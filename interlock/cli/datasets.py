"""`dataset build` and `reproduce`: what a model is trained on, and trained again; in `main`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.arguments import HERE, AsJson, Env, Folder, project, show

if TYPE_CHECKING:
    from interlock.app.datasets import Written
    from interlock.app.reproduction import Reproduction

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


def reproduce(
    model: Annotated[str, typer.Argument(help="late, or late@ and the beginning of its version")],
    tolerance: Annotated[
        float, typer.Option(help="so far may a score be off; 0 asks for the same bytes", min=0)
    ] = 0.0,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Make a model again from its sources: the same rows, and the same model of them?"""
    from interlock.app.reproduction import reproduce_model
    from interlock.cli.progress import progress

    with project(folder, environment) as workspace, progress() as said:
        found = reproduce_model(workspace, model, tolerance, said)
    show(found, as_json, reproduced, lambda one: one.to_json())
    raise typer.Exit(found.exit_code)


def reproduced(found: Reproduction) -> str:
    """Is it the same model, and if not, what moved?"""
    then, now = found.rows
    same = "the same" if found.same_rows else "NOT THE SAME"
    lines = [
        f"model:{found.model}@{found.version} of release {found.release[:12]}",
        f"  rows   {same}: {then} then, {now} now, every input and label compared",
        *(f"         {said}" for said in found.sources),
        f"  model  {_model(found)}",
    ]
    return "\n".join([*lines, *(f"         {said}" for said in found.libraries)])


def _model(found: Reproduction) -> str:
    if found.artifact is None:
        return "not trained again: other rows make another model"
    if found.artifact.startswith(found.version):
        return "the same, byte for byte"
    said = f"other bytes; no score differs by more than {found.difference:.3g}"
    if found.same:
        return f"{said}, and {found.tolerance:g} is allowed"
    return f"ANOTHER MODEL: {said}; `--tolerance` says how much may"
