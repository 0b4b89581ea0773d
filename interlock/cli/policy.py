"""`policy`: its tests, the past under other rules, what a change lacks; `main` registers it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.arguments import HERE, AsJson, ChangeId, Env, Folder, project, show
from interlock.cli.page import bullets, heading, instant, page, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from interlock.app.policies import Explained, Replays, Tests

app = typer.Typer(help="Policies: tested, replayed, explained.", no_args_is_help=True)
_REFUSED, _SOMETHING = 3, 2


@app.command("test")
def cases(
    files: Annotated[
        list[Path] | None, typer.Argument(help="test files (default: policies/tests/*.yaml)")
    ] = None,
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Try every case against the policies of the folder; exit 3 when one comes out otherwise."""
    from interlock.app.policies import run_tests

    found = run_tests(folder.resolve(), files or ())
    show(found, as_json, tested, _json)
    raise typer.Exit(_REFUSED if found.failed else 0)


@app.command()
def replay(
    policies: Annotated[
        Path | None, typer.Option(help="a folder of *.cedar files (default: policies/)")
    ] = None,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Which past decisions would have come out otherwise; exit 2 when there is one."""
    from interlock.app.policies import replay_decisions

    with project(folder, environment, looking=True) as workspace:
        found = replay_decisions(workspace, policies)
    show(found, as_json, replayed, _json)
    raise typer.Exit(_SOMETHING if found.differing else 0)


@app.command()
def explain(
    change: ChangeId,
    by: Annotated[str, typer.Option(envvar="INTERLOCK_USER", help="who would act")] = "controller",
    action: Annotated[str, typer.Option(help="only this action, as start")] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """What must still become true before the policies allow each action on a change."""
    from interlock.app.policies import explain as ask

    with project(folder, environment, looking=True) as workspace:
        found = ask(workspace, change, by, action)
    show(found, as_json, explained, _json)


def _json(found: Any) -> Any:
    return found.to_json()


def tested(found: Tests) -> str:
    """A line per case, and the policies that no case hears."""
    return page(*_test_lines(found))


def _test_lines(found: Tests) -> Iterator[RenderableType]:
    rows = [
        ("ok" if one.passes else "FAILS", f"{one.file}:{one.line}", one.name, one.sentence)
        for one in found.cases
    ]
    yield table(("", "where", "case", "says"), rows)
    if found.silent:
        yield heading("no case hears")
        yield bullets(found.silent)
    yield f"\n{len(found.cases)} cases, {len(found.failed)} come out otherwise"


def replayed(found: Replays) -> str:
    """A line per decision that would come out otherwise."""
    rows = [
        (
            one.decision.change, one.decision.action, instant(one.decision.at),
            str(one.decision.principal.get("id")), _answer(one.decision.said), _answer(one.now),
        )
        for one in found.differing
    ]  # fmt: skip
    said = f"{found.asked} decisions asked again, {len(rows)} would come out otherwise"
    if found.same:
        said += "; these policies decided the last of them"
    columns = ("change", "action", "at", "by", "then", "now")
    return page(*([table(columns, rows)] if rows else []), said)


def _answer(said: tuple[str, ...]) -> str:
    return "; ".join(said) or "allowed"


def explained(found: Explained) -> str:
    """Action by action: what policies say, and what would have to become true."""
    return page(*_explained_lines(found))


def _explained_lines(found: Explained) -> Iterator[RenderableType]:
    yield f"{found.change}, asked for {found.by}"
    for one in found.actions:
        yield heading(f"{one.action}: {'allowed' if not one.said else 'refused'}")
        if one.said:
            yield bullets(one.said)
        if one.needs is None:
            yield "  nothing that is still done to this change would help"
        elif one.needs:
            yield bullets(f"still missing: {_missing(name, found.facts)}" for name in one.needs)


def _missing(name: str, facts: Any) -> str:
    held = facts[name]
    if isinstance(held, list) and held:
        return f"{name.replace('_', ' ')}: {'; '.join(map(str, held))}"
    return name.replace("_", " ")
