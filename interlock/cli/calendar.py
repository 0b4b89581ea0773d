"""`calendar` and `book`: what is booked, by whom and when, and how to move it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.arguments import HERE, AsJson, By, ChangeId, Env, Folder, project, say, show

if TYPE_CHECKING:
    from interlock.app.agenda import Shown
    from interlock.change.agenda import Booked, Line


def calendar(
    days: Annotated[int, typer.Option(help="how far ahead", min=1, max=366)] = 30,
    ics: Annotated[Path | None, typer.Option(help="write all of it to this .ics file")] = None,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Show what is booked, by whom, when and until when; freezes, open hours and schedules."""
    from datetime import timedelta

    from interlock.app.agenda import agenda, save_feed

    with project(folder, environment, looking=True) as workspace:
        if ics is not None:
            say(f"the calendar is in {save_feed(workspace, ics)}", as_json)
            return
        show(agenda(workspace, timedelta(days=days)), as_json, shown, lambda one: one.to_json())


def book(
    change: ChangeId,
    by: By,
    at: Annotated[str, typer.Option(help="when it begins, as 2026-11-24T09:00 (UTC)")] = "",
    next: Annotated[bool, typer.Option("--next", help="where it is free next")] = False,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Move a change that has not started to another time; it is signed for that time again."""
    from interlock.app.booking import book as move
    from interlock.app.returned import booked_json

    start = begins(at, next)
    with project(folder, environment) as workspace:
        show(move(workspace, change, by=by, at=start), as_json, booked, booked_json)


COMMANDS = (calendar, book)


def begins(at: str, next_free: bool) -> datetime | None:
    """The instant that was asked for; None for the next free one."""
    if bool(at) == next_free:
        raise typer.BadParameter("say --at TIME, or --next")
    if next_free:
        return None
    try:
        said = datetime.fromisoformat(at)
    except ValueError as error:
        raise typer.BadParameter(f"{at!r} is no time; write 2026-11-24T09:00") from error
    return said.astimezone(UTC) if said.tzinfo else said.replace(tzinfo=UTC)


# --- how it looks ------------------------------------------------------------------------


def shown(found: Shown) -> str:
    """A table of changes with their phases, then one of windows and schedules."""
    from interlock.cli.page import page, table

    changes = [line for line in found.lines if line.kind == "change"]
    others = [line for line in found.lines if line.kind != "change"]
    parts: list[Any] = []
    if changes:
        names = ("change", "state", "from (UTC)", "to (UTC)", "by", "owners", "after")
        parts.append(table(names, [_row(line) for line in changes]))
        parts += [text for line in changes for text in _more(line)]
    else:
        parts.append("no change is booked")
    if others:
        parts.append(table(("kind", "what", "from (UTC)", "to (UTC)", "for"), _grouped(others)))
    return page(*parts, *(f"! {said}" for said in found.meets))


def _row(line: Line) -> tuple[str, ...]:
    together = (*line.after, *line.group)
    return (
        line.name, line.standing, _when(line.start), _when(line.end), line.by,
        ", ".join(line.owners), ", ".join(together),
    )  # fmt: skip


def _more(line: Line) -> Iterator[str]:
    yield f"{line.name}: {line.title}"
    if line.phases:
        yield "  " + ", ".join(f"{name} to {_when(time.end)}" for name, time in line.phases)
    yield from (f"  done when: {said}" for said in line.criteria)


def _grouped(lines: list[Line]) -> list[tuple[str, ...]]:
    """One row per window or schedule: its next time, and how many follow."""
    held: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        held.setdefault((line.kind, line.name), []).append(line)
    rows: list[tuple[str, ...]] = []
    for (kind, name), found in held.items():
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        first = found[0]
        title = first.title if first.title != name else name
        rows.append((kind, f"{name}: {title}" if title != name else name, _when(first.start),
                     _when(first.end) + more, ", ".join(first.owners)))  # fmt: skip
    return rows


def booked(found: Booked) -> str:
    """One booking, phase by phase."""
    from interlock.change.agenda import PHASES

    times = found.booking.phases
    held = [(name, times.phase(name)) for name in PHASES if times.phase(name).length]
    lines = [f"{found.booking.change} is booked from {_when(times.start)} UTC ({found.why})"]
    lines += [f"  {name:<9} {_when(time.start)} to {_when(time.end)}" for name, time in held]
    if found.booking.group:
        lines.append(f"  a rollback takes it together with {', '.join(found.booking.group)}")
    return "\n".join([*lines, "next: its signatures, for this time"])


def _when(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
