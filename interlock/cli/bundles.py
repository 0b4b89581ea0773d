"""`bundle` and `verify`: one change as one signed file, and checking it; `main` registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interlock.cli.arguments import HERE, AsJson, ChangeId, Env, Folder, project, say, show


def bundle(
    change: ChangeId,
    out: Annotated[Path, typer.Option(help="the archive to write")],
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Export everything about a change as one signed archive that anybody can check."""
    from interlock.app.bundle import bundle as export

    with project(folder, environment) as workspace:
        data = export(workspace, change)
    keep(data, change, out, as_json)


def keep(data: bytes, change: str, out: Path, as_json: bool) -> None:
    """An archive in its file, whole or not at all."""
    from interlock.app.atomic import replaced

    with replaced(out) as beside:
        beside.write_bytes(data)
    say(f"{out} holds {change}; check it anywhere: interlock verify {out}", as_json)


def verify(
    file: Annotated[Path, typer.Argument(help="a bundle, or a proof of `audit prove`")],
    key: Annotated[
        str, typer.Option(help="the public key it must be signed with: `audit checkpoint --key`")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Check a bundle or a proof, without the project and without asking anybody."""
    from interlock.app.bundle import verify_file
    from interlock.cli import views

    found = verify_file(file, key)
    show(found, as_json, views.verified, lambda one: dict(one.__dict__))
    raise typer.Exit(3 if found.objections else 0)
