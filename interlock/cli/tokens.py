"""`token create`, `list` and `revoke`: who may ask a server, and for what; `main` registers it."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.arguments import HERE, AsJson, Env, Folder, project, say, show

if TYPE_CHECKING:
    from interlock.app.tokens import Made
    from interlock.change.token import Token

app = typer.Typer(help="Who may ask a server, and for what.", no_args_is_help=True)
Actor = Annotated[
    str, typer.Option(envvar="INTERLOCK_USER", help="who is acting (default: this login)")
]


@app.command()
def create(
    person: Annotated[str, typer.Option(help="whose token it is: their name in the record")],
    scope: Annotated[
        list[str], typer.Option(help="read, propose, sign, release or admin; may be repeated")
    ],
    expires: Annotated[str, typer.Option(help="the last day it counts, as 2027-01-31")] = "",
    only: Annotated[str, typer.Option("--environment", help="count in this one only")] = "",
    by: Actor = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Make a token. Its text is shown this once, and not kept."""
    from interlock.app.tokens import Wish, create

    wish = Wish(person, scope, expires, only)
    with project(folder, environment) as workspace:
        made = create(workspace, wish, by or getpass.getuser())
    show(made, as_json, created, lambda one: one.to_json())


@app.command("list")
def listing(folder: Folder = HERE, environment: Env = "prod", as_json: AsJson = False) -> None:
    """Every token: whose it is, what it may do, until when, and the day it was last used."""
    from interlock.app.tokens import listed

    with project(folder, environment, looking=True) as workspace:
        show(listed(workspace), as_json, tokens, lambda found: [one.shown() for one in found])


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(help="the token's id, as `token list` shows it")],
    reason: Annotated[str, typer.Option(help="why")] = "",
    by: Actor = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """End a token: it lets nobody in from the next request on."""
    from interlock.app.tokens import revoke

    with project(folder, environment) as workspace:
        gone = revoke(workspace, id, by or getpass.getuser(), reason)
    say(f"token {gone.id} of {gone.person} is revoked", as_json)


def created(made: Made) -> str:
    """The text to hand over, and what it is good for."""
    token = made.token
    until = f"until {token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "without an end"
    return (
        f"{made.text}\n"
        f"token {token.id}: {token.person} may {', '.join(token.scopes)} {until}\n"
        "keep it now: it is not shown again"
    )


def tokens(found: Sequence[Token]) -> str:
    """One line each."""
    from interlock.cli.page import page, table

    if not found:
        return "no token yet: whoever reaches a server acts under the name they type"
    heads = ("token", "person", "may", "where", "until", "last used", "")
    return page(table(heads, [_row(one) for one in found]))


def _row(one: Token) -> tuple[Any, ...]:
    until = f"{one.expires_at:%Y-%m-%d %H:%M}" if one.expires_at else "-"
    gone = f"revoked {one.revoked_at:%Y-%m-%d}" if one.revoked_at else ""
    where = one.environment or "anywhere"
    return one.id, one.person, ", ".join(one.scopes), where, until, one.used_on or "never", gone
