"""`audit verify`, `audit checkpoint`, `audit prove`, `audit erase`; `main` registers them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.cli.arguments import HERE, AsJson, By, Env, Folder, project, say, show
from interlock.errors import Unavailable

app = typer.Typer(
    help="The audit: verify it, sign its head, prove an entry, forget a person.",
    no_args_is_help=True,
)


@app.command()
def verify(
    against: Annotated[
        list[str] | None,
        typer.Option(help="a file with an earlier checkpoint, or SIZE:ROOT; may be repeated"),
    ] = None,
    key: Annotated[str, typer.Option(help="the public key that must have signed it")] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Verify that nothing in the record was edited, moved, removed or put in since."""
    from interlock.app.answers import audited_json
    from interlock.app.audit import audit
    from interlock.cli import views

    texts = [read_text(name) for name in against or []]
    with project(folder, environment, looking=True) as workspace:
        found = audit(workspace, texts, key)
    show(found, as_json, views.audited, audited_json)
    raise typer.Exit(3 if found.objections else 0)


@app.command()
def checkpoint(
    out: Annotated[Path | None, typer.Option(help="a file to write instead of printing")] = None,
    key: Annotated[
        bool, typer.Option("--key", help="print the public key that signs, and nothing else")
    ] = False,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Sign how far the audit has come. Keep it where the record's writers cannot reach."""
    from interlock.app.audit import checkpoint as sign
    from interlock.app.audit import log_key

    with project(folder, environment) as workspace:
        said = str(log_key(workspace)) if key else sign(workspace)
    give(said.rstrip("\n"), out, as_json)


@app.command()
def prove(
    ref: Annotated[str, typer.Argument(help="an address, as change:CR-12 or route:prod")],
    version: Annotated[int | None, typer.Option(help="not its newest version, but this")] = None,
    out: Annotated[Path | None, typer.Option(help="a file to write instead of printing")] = None,
    folder: Folder = HERE,
    environment: Env = "prod",
) -> None:
    """Prove that an entry is in the audit. `interlock verify` checks it, without the project."""
    from interlock.app.audit import prove as show_that

    with project(folder, environment) as workspace:
        found = show_that(workspace, ref, version)
    give_proof(found, out)


@app.command()
def erase(
    person: Annotated[str, typer.Argument(help="the name, as it stands in the record")],
    by: By,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Forget a person for good: a pseudonym stands for them, and the audit still holds."""
    from interlock.app.audit import erase as forget
    from interlock.cli import views

    with project(folder, environment) as workspace:
        found = forget(workspace, person, by=by)
    show(found, as_json, views.erased, lambda one: dict(one.__dict__))


def read_text(name: str) -> str:
    """A file's text; what names no file is taken as it stands."""
    path = Path(name)
    if not path.is_file():
        return name
    try:
        # As bytes: line ends are part of what was signed.
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"{name} cannot be read: {error}", "is it the right file?") from error


def give_proof(found: Any, out: Path | None) -> None:
    """A proof is JSON, whatever was asked for."""
    give(json.dumps(found, indent=2, ensure_ascii=False), out, False)


def give(text: str, out: Path | None, as_json: bool) -> None:
    """To standard output, or whole into a file."""
    if out is None:
        show(text, as_json, str, lambda said: {"said": said})
        return
    from interlock.app.atomic import replaced

    with replaced(out) as beside:
        beside.write_bytes(f"{text}\n".encode())
    say(f"{out} is written", as_json)
