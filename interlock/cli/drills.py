"""`drill`: what one hopes never to need, tried on a copy; `main` registers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.arguments import HERE, AsJson, Env, Folder, project, show
from interlock.cli.page import page, table
from interlock.ports import Json

if TYPE_CHECKING:
    from interlock.app.drill import Drilled

app = typer.Typer(help="Drills: the way back, tried on a copy.", no_args_is_help=True)
_SHOWN = 5
_MOMENTS = {
    "route": "the Route had moved",
    "everything": "names and states had followed",
    "gateway": "a new gateway was ready",
}


@app.command()
def rollback(
    by: Annotated[str, typer.Option(envvar="INTERLOCK_USER", help="who is drilling")],
    change: Annotated[str, typer.Argument(help="as CR-12 (the last that can be taken back)")] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Take a change back on a copy: does everything come back as it was, and how fast?"""
    from interlock.app.drill import drill_rollback
    from interlock.cli.progress import progress

    with project(folder, environment) as workspace, progress() as said:
        found = drill_rollback(workspace, change, by=by, say=said)
    show(found, as_json, drilled, lambda one: one.to_json())
    raise typer.Exit(0 if found.passed else 3)


@app.command("list")
def list_(folder: Folder = HERE, environment: Env = "prod", as_json: AsJson = False) -> None:
    """Every drill, the newest first."""
    from interlock.app.drill import drills

    with project(folder, environment, looking=True) as workspace:
        found = drills(workspace)
    show(found, as_json, listed, list)


def drilled(found: Drilled) -> str:
    """What came back, what did not, and how long it took."""
    way = f"from {found.back_from[:12]} to {found.back_to[:12]}"
    lines = [f"{found.id}: {found.change} taken back on a copy, {way}", ""]
    for part in found.parts:
        said = f"{len(part.wrong)} NOT AS BEFORE" if part.wrong else "as before"
        lines.append(f"  {part.name:<28} {part.count:>6}  {said if part.count else 'none to try'}")
        lines += [f"    {one}" for one in part.wrong[:_SHOWN]]
        more = len(part.wrong) - _SHOWN
        lines += [f"    and {more} more"] if more > 0 else []
    took = [f"  {_MOMENTS[name]} after {after:.2f} s" for name, after in found.seconds.items()]
    return "\n".join([*lines, "", *took, f"  {_verdict(found)}"])


def _verdict(found: Drilled) -> str:
    if found.passed:
        return "the release came back whole"
    if any(part.wrong for part in found.parts):
        return "THE RELEASE DID NOT COME BACK AS IT WAS"
    return "not shown: no request is logged that could be asked again"


def listed(found: Sequence[Json]) -> str:
    """A line each."""
    if not found:
        return "no drill yet: interlock drill rollback"
    rows = [
        (one["id"], one["change"], "passed" if one["passed"] else "FAILED",
         f"{one['seconds']['everything']:.2f} s", one["back_to"][:12])
        for one in found
    ]  # fmt: skip
    return page(table(("drill", "change", "", "took", "back to"), rows))
