"""`outbox`: what people and systems have still to be told; `main` registers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.arguments import HERE, AsJson, Env, Folder, project, say, show
from interlock.errors import Unusable

if TYPE_CHECKING:
    from interlock.app.outbox import Line


def outbox(
    action: Annotated[str, typer.Argument(help="nothing, to list; or `retry`")] = "",
    id: Annotated[str, typer.Argument(help="with `retry`: the message, as msg_...")] = "",
    by: Annotated[str, typer.Option("--by", envvar="INTERLOCK_USER", help="who is acting")] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """What waits to be told or was given up, and why; `outbox retry ID` tries one again now."""
    from interlock.app.outbox import outbox_lines, retry

    refuse_unknown(action, id)
    if action and not by:
        raise Unusable("who asks for it?", help="say --by, or set INTERLOCK_USER")
    with project(folder, environment, looking=not action) as workspace:
        if action:
            say(retry(workspace, id, by=by), as_json)
        else:
            show(outbox_lines(workspace), as_json, lines, lines_json)


def refuse_unknown(action: str, id: str) -> None:
    """Raises `Unusable` for an action that is not one, or is about nothing."""
    if action not in ("", "retry"):
        raise Unusable(f"outbox knows no {action!r}", help="`interlock outbox retry ID`")
    if action and not id:
        raise Unusable("retry which message?", help="`interlock outbox` lists them")


def lines(found: Sequence[Line]) -> str:
    """A table, what was given up first."""
    from interlock.cli.page import page, table

    if not found:
        return "nothing waits"
    rows = [
        (one.delivery.id, one.change, one.delivery.moment, one.delivery.place, one.state,
         one.delivery.attempts, one.delivery.said)
        for one in sorted(found, key=lambda one: one.state)
    ]  # fmt: skip
    return page(table(("id", "change", "moment", "place", "state", "attempts", "why"), rows))


def lines_json(found: Sequence[Line]) -> list[Any]:
    return [one.to_json() for one in found]
