"""The inbox as its page shows it: the items of `interlock inbox`, with buttons for commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from interlock.app.workspace import Workspace
from interlock.web.inbox_views import Decided, InboxPage, InboxRow, Option, Seen
from interlock.web.thinking import THINKING

if TYPE_CHECKING:
    from interlock.app.inbox import Item


def inbox_page(workspace: Workspace, by: str) -> InboxPage:
    """What waits for `by`. Weighs as `approve` would, so it understands each release once."""
    from interlock.app.inbox import inbox  # plans: no other page pays for it

    with THINKING:
        found = inbox(workspace, by)
    return InboxPage(by, tuple(map(_row, found.waiting)), tuple(map(_row, found.opened)))


def _row(item: Item) -> InboxRow:
    options = tuple(Option(cast(Decided, one.do), one.leads_to) for one in item.choices)
    seen = Seen(item.role, item.team, item.plan) if item.role else None
    return InboxRow(
        item.change, item.title, item.state, item.what, item.why, item.plan, options, seen
    )
