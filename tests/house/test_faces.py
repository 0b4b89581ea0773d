"""Every command can be asked of a server, or says why it cannot: from one table."""

from __future__ import annotations

import typer

from interlock.cli import remote
from interlock.cli.main import app


def test_no_command_is_forgotten() -> None:
    """A new command takes its place in `remote.CALLS`, or in `HERE_ONLY` with the reason."""
    known = {name for name, _ in remote.leaves(typer.main.get_command(app))}
    parts = [set(remote.CALLS), set(remote.NOWHERE), set(remote.HERE_ONLY)]
    placed = set().union(*parts)
    assert sorted(known - placed) == [], "say in cli/remote.py where these are done"
    assert sorted(placed - known) == [], "these are no commands"
    assert len(placed) == sum(map(len, parts)), "a command stands in one place"
    assert all({**remote.NOWHERE, **remote.HERE_ONLY}.values())
