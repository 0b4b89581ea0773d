"""`rehearse`: the whole path on a staging copy, harmed on purpose; `main` registers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.arguments import HERE, AsJson, ChangeId, Env, Folder, project, show

if TYPE_CHECKING:
    from interlock.change.evidence import Evidence


def rehearse(
    change: ChangeId,
    inject: Annotated[
        list[str] | None,
        typer.Option(help="gap, outage, late, latency, outliers, duplicates (all)"),
    ] = None,
    table: Annotated[list[str] | None, typer.Option(help="harm only this table (all)")] = None,
    days: Annotated[int, typer.Option(help="how much of the recent past", min=1)] = 7,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Build staging, harm its data on purpose, and measure what reaches the services."""
    from interlock.app.rehearse import Asked
    from interlock.app.rehearse import rehearse as run
    from interlock.cli.progress import progress

    asked = Asked(tuple(inject or ()), tuple(table or ()), days)
    with project(folder, environment) as workspace, progress() as said:
        found = run(workspace, change, asked, said)
    show(found, as_json, rehearsed, lambda pieces: [piece.to_json() for piece in pieces])
    raise typer.Exit(0 if all(piece.verdict == "pass" for piece in found) else 3)


def rehearsed(found: Sequence[Evidence]) -> str:
    """Worst first, with what it means underneath."""
    lines = [f"{piece.verdict:<12}  {piece.check}\n    {piece.sentence}" for piece in found]
    failed = sum(piece.verdict != "pass" for piece in found)
    lines.append(f"{len(found)} injections, {failed} of them do not pass; kept as evidence")
    return "\n".join(lines)
