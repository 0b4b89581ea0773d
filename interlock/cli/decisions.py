"""The commands by which people decide about a change; `main` registers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from interlock.cli.arguments import (
    HERE,
    AsJson,
    By,
    ChangeId,
    Env,
    Folder,
    Why,
    project,
    say,
    show,
)


def approve(
    change: ChangeId,
    by: By,
    role: Annotated[str, typer.Option(help="change_sponsor, data_steward, ...")],
    team: Annotated[str, typer.Option(help="the team signed for")],
    reject: Annotated[str, typer.Option(help="reject instead, with this reason")] = "",
    withdraw: Annotated[str, typer.Option(help="take your signature back, and why")] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Sign exactly the plan of a change, in one role for one team."""
    from interlock.app.decide import sign, unsign

    with project(folder, environment) as workspace:
        if withdraw:
            signed = unsign(workspace, change, by=by, role=role, team=team, reason=withdraw)
        else:
            signed = sign(workspace, change, by=by, role=role, team=team, reject=reject)
    say(signed, as_json)


def waive(
    change: ChangeId,
    evidence: Annotated[str, typer.Argument(help="the check, as model_comparison:late")],
    by: By,
    role: Annotated[str, typer.Option(help="the role that takes responsibility")],
    reason: Annotated[str, typer.Option(help="why the check may be skipped")],
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Let one check not block, under your name and with your reason; it stays visible."""
    from interlock.app.decide import waive as lift

    with project(folder, environment) as workspace:
        lift(workspace, change, evidence, by=by, role=role, reason=reason)
    say(f"{evidence} is waived for {change} by {by}", as_json)


def withdraw(
    change: ChangeId,
    by: By,
    reason: Why,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Close a change that has not started. It stays in the record with its evidence."""
    from interlock.app.decide import withdraw as close

    with project(folder, environment) as workspace:
        close(workspace, change, by=by, reason=reason)
    say(f"{change} is withdrawn by {by}", as_json)


def apply(
    change: ChangeId,
    by: By,
    wait: Annotated[bool, typer.Option(help="keep ticking until it is finished")] = True,
    every: Annotated[float, typer.Option(help="seconds between two looks")] = 1.0,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Start the release of an approved change and drive it, step by step, until it ends."""
    from interlock.app.decide import apply as start
    from interlock.app.tick import drive

    with project(folder, environment) as workspace:
        say(start(workspace, change, by=by), as_json)
        for said in drive(workspace, every=every) if wait else ():
            say(said, as_json)


def rollback(
    change: ChangeId,
    by: By,
    reason: Why,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Take a change back now, in one step. Never waits for a freeze or a sign-off."""
    from interlock.app.decide import rollback as back

    with project(folder, environment) as workspace:
        say(back(workspace, change, by=by, reason=reason), as_json)


def hold(
    change: ChangeId,
    by: By,
    reason: Why,
    resume: Annotated[bool, typer.Option("--resume", help="let it go on")] = False,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Stop a rollout where it is, or let it go on."""
    from interlock.app.decide import hold as stop

    with project(folder, environment) as workspace:
        say(stop(workspace, change, by=by, reason=reason, resume=resume), as_json)


def promote(
    change: ChangeId,
    by: By,
    reason: Annotated[str, typer.Option(help="why what is still open may stay open")],
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Waive what a stage has not shown yet and go on. Never waives harm, nor silence."""
    from interlock.app.decide import promote as go_on

    with project(folder, environment) as workspace:
        say(go_on(workspace, change, by=by, reason=reason), as_json)


def retry(
    change: ChangeId,
    by: By,
    reason: Annotated[str, typer.Option(help="why waiting longer would help")],
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Begin the stage of a rollout again: more time for what is open. Evidence stays."""
    from interlock.app.decide import retry as again

    with project(folder, environment) as workspace:
        say(again(workspace, change, by=by, reason=reason), as_json)


def adopt(
    change: ChangeId,
    force: Annotated[
        bool, typer.Option("--force", help="overwrite edits of the folder's own")
    ] = False,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Write the definitions of a change into the folder, as when a trigger proposed it."""
    from interlock.app.adopt import adopt as take_over
    from interlock.cli import views

    with project(folder, environment) as workspace:
        show(take_over(workspace, change, force=force), as_json, views.adopted, views.adopted_json)


Commands = tuple[Callable[..., None], ...]
BEFORE: Commands = (approve, waive, withdraw, apply)
AFTER: Commands = (rollback, hold, promote, retry, adopt)


def register(app: typer.Typer, commands: Commands) -> None:
    """Add `commands` to `app`, so that help lists them where they stand in a change's life."""
    for command in commands:
        app.command()(command)
