"""`status`, once or as long as somebody looks: stages, split, evidence, and what is to come."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.arguments import HERE, AsJson, Env, Folder, project, show

if TYPE_CHECKING:
    from rich.console import RenderableType

    from interlock.app.changes import Standing
    from interlock.app.live import Frame, Gauge, Step

Look = Callable[[], "Standing"]


def status(
    change: Annotated[
        str | None, typer.Argument(help="a change; without it, the environment")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="keep looking until the change has ended")
    ] = False,
    every: Annotated[float, typer.Option(min=0.1, help="seconds between two looks")] = 1.0,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Where a change stands, or what the environment is running."""
    from interlock.app import answers
    from interlock.app.changes import describe
    from interlock.cli import views

    def look() -> Standing:
        with project(folder, environment, looking=True) as workspace:
            return describe(workspace, change)

    if watch:
        follow(look, every, as_json)
    else:
        show(look(), as_json, views.status, answers.status_json)


def follow(look: Look, every: float, as_json: bool) -> None:
    """Show each look that says something new, until the change has ended or somebody stops it.

    On a terminal one picture is drawn over; elsewhere, and with `--json`, each is printed.
    """
    from interlock.cli.page import coloured

    frames = _frames(look, every)
    try:
        if coloured() and not as_json:
            _draw(frames)
        else:
            for one in frames:
                text = json.dumps(one.to_json()) if as_json else plain(one)
                typer.echo(text)
    except KeyboardInterrupt:
        return  # whoever looks may stop looking: nothing was refused


def _frames(look: Look, every: float) -> Iterator[Frame]:
    from interlock.app.live import frame

    last = None
    while True:
        now = frame(look())
        if now != last:
            yield now
        if now.ended:
            return
        last = now
        time.sleep(every)


def _draw(frames: Iterator[Frame]) -> None:
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(highlight=False), auto_refresh=False) as shown:
        for one in frames:
            shown.update(picture(one), refresh=True)


def plain(one: Frame) -> str:
    """The picture as text."""
    from interlock.cli.page import page

    return page(*_parts(one))


def picture(one: Frame) -> RenderableType:
    """Stages, guardrails and what was said last, as one thing that can be drawn over."""
    from rich.console import Group

    return Group(*_parts(one))


def _parts(one: Frame) -> Iterator[RenderableType]:
    from interlock.cli.page import facts, heading, table

    held = f", held: {one.hold}" if one.hold else ""
    yield facts(
        (
            (one.change, one.title),
            ("state", f"{one.state}{held}"),
            ("shown to", f"{one.share:.0%} of subjects (epoch {one.epoch})"),
            ("said", one.said),
            ("next", one.help),
            ("runs beside", ", ".join(one.beside)),
        )
    )
    if one.steps:
        yield heading("stages")
        yield table(("", "stage", "share", "at least", "deadline"), map(_step, one.steps))
    if one.gauges:
        harm = f"evidence of harm {_e(one.combined_e)} of {one.harm_at:g}: {one.verdict}"
        yield heading(f"guardrails, {harm}")
        columns = ("", "verdict", "e harm", "e safe", "seen", "to go")
        yield table(columns, map(_gauge, one.gauges))


def _step(step: Step) -> tuple[str, ...]:
    mark = {"done": "done", "here": "->", "ahead": ""}[step.place]
    share = f"{step.weight:.0%} {step.only}".strip()
    return mark, step.name, share, step.least, step.deadline


def _gauge(one: Gauge) -> tuple[str, ...]:
    left = "" if one.to_go is None else f"{one.to_go:,.0f}"
    verdict = one.verdict if one.required else f"({one.verdict})"
    return one.name, verdict, _e(one.e_fail), _e(one.e_pass), f"{one.seen:,.0f}", left


def _e(value: float) -> str:
    return f"{value:,.2f}" if value < 1000 else "over 1,000"
