"""`refresh`: new data into the live releases; `main` registers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.arguments import HERE, AsJson, Env, Folder, project, show

if TYPE_CHECKING:
    from interlock.app.refresh import Part, Report


def refresh(
    table: Annotated[list[str] | None, typer.Option(help="look only at this file (all)")] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="compute all again and compare: is what is promised so?")
    ] = False,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Read files that have changed, compute again what they reach, and tell the online stores."""
    from interlock.app.refresh import refresh as run
    from interlock.cli.progress import progress

    with project(folder, environment) as workspace, progress() as said:
        found = run(workspace, tuple(table or ()), said, whole)
    show(found, as_json, refreshed, lambda report: report.to_json())


def refreshed(report: Report) -> str:
    """What moved, sources first; then what the stores were told."""
    moved = [part for part in report.parts if part.difference.spans]
    lines = [_line(part) for part in moved]
    same = len(report.parts) - len(moved)
    lines.append(f"{len(moved)} tables and views moved, {same} stayed as they were")
    if report.online:
        lines.append(f"{report.online} rows were sent online again")
    lines += report.unfit
    return "\n".join(lines)


def _line(part: Part) -> str:
    found = part.difference
    where = f"{found.spans[0].start:%Y-%m-%d} to {found.spans[-1].end:%Y-%m-%d}"
    spans = f" in {len(found.spans)} ranges" if len(found.spans) > 1 else ""
    return f"{part.ref}: +{found.added} -{found.removed} rows, {where}{spans}"
