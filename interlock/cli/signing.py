"""`inbox` and `delegate`: what waits for a person, and who signs for them meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.arguments import HERE, AsJson, By, Env, Folder, project, say, show
from interlock.cli.page import bullets, heading, instant, page, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from interlock.app.inbox import Inbox, Item
    from interlock.change.delegation import Delegation


def inbox(
    by: By, folder: Folder = HERE, environment: Env = "prod", as_json: AsJson = False
) -> None:
    """What waits for you, why, and what each decision would lead to."""
    from interlock.app.inbox import inbox as find

    with project(folder, environment, looking=True) as workspace:
        found = find(workspace, by)
    show(found, as_json, waiting, lambda one: one.to_json())


def delegate(
    by: By,
    to: Annotated[str, typer.Option(help="who may sign for you")] = "",
    role: Annotated[str, typer.Option(help="the role that is lent")] = "",
    team: Annotated[str, typer.Option(help="the team it is held in")] = "",
    until: Annotated[str, typer.Option(help="the last day, as 2013-06-01 (UTC)")] = "",
    end: Annotated[bool, typer.Option("--end", help="end it now")] = False,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Lend a role of yours until a day. Without --to: list what is lent."""
    from interlock.app.delegate import Lent, delegations
    from interlock.app.delegate import delegate as lend
    from interlock.app.delegate import end as stop

    with project(folder, environment, looking=not to) as workspace:
        if not to:
            show(delegations(workspace.record), as_json, lent, _lent_json)
            return
        asked = Lent(to, role, team)
        if end:
            made = stop(workspace, asked, by=by)
        else:
            made = lend(workspace, asked, by=by, until=until)
    say(lent_said(made, end), as_json)


def lent_said(made: Delegation, ended: bool) -> str:
    """What became of a role that is lent."""
    who = f"for {made.by} as {made.role} of {made.team}"
    if ended:
        return f"{made.to} signs no longer {who}"
    return f"{made.to} may sign {who} until {instant(made.until)}"


def lent(found: Sequence[Delegation]) -> str:
    """One line each."""
    if not found:
        return "nothing is lent"
    rows = [(d.by, d.to, d.role, d.team, instant(d.since), instant(d.until)) for d in found]
    return page(table(("of", "to", "role", "team", "from", "until"), rows))


def _lent_json(found: Sequence[Delegation]) -> list[Any]:
    return [one.to_json() for one in found]


def waiting(found: Inbox) -> str:
    """What waits for a person, then what they opened."""
    if not found.waiting and not found.opened:
        return f"nothing waits for {found.by}"
    return page(*_lines(found))


def _lines(found: Inbox) -> Iterator[RenderableType]:
    for title, items in (("waits for you", found.waiting), ("opened by you", found.opened)):
        if items:
            yield heading(title)
        for item in items:
            yield from _item(item)


def _item(item: Item) -> Iterator[RenderableType]:
    yield f"\n{item.change} ({item.state.lower()}) {item.title}: {item.what}"
    yield bullets((item.why,))
    yield table(("", ""), [(choice.act, choice.leads_to) for choice in item.choices])
