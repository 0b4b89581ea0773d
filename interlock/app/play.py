"""Traffic and the controller in one process: requests are played, and the rollout looked after."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from interlock.app.build import Say, quiet
from interlock.app.feed import Feeder
from interlock.app.outbox import telling
from interlock.app.tick import IDLE, tick
from interlock.app.traffic import Played, Replayer
from interlock.errors import Unusable

if TYPE_CHECKING:
    from interlock.app.workspace import Workspace

EVERY = timedelta(hours=6)


def play(
    workspace: Workspace, url: str, start: str, end: str, drive: bool = True, say: Say = quiet
) -> Played:
    """Play the days [start, end), ISO dates, ticking every six hours of recorded time."""
    first, last = _day(start), _day(end)
    if last <= first:
        raise Unusable(f"{end} is not after {start}", help="give the day after the last one")
    models = list(workspace.project.models)
    replayer = Replayer(workspace, url, models[0])
    return play_through(replayer, first, last, say, drive=drive)


def play_through(
    replayer: Replayer,
    start: datetime,
    end: datetime,
    say: Say = quiet,
    *,
    every: timedelta = EVERY,
    drive: bool = True,
    until: Callable[[datetime], bool] | None = None,
) -> Played:
    """Play and tick; stops early when `until(now)` is true after a look."""
    last = ""

    def after_each(now: datetime) -> bool:
        nonlocal last
        said = tick(replayer.workspace) if drive else IDLE
        if said not in (last, IDLE):
            say(f"{now:%d %b %H:%M}  {said}")
            last = said
        return until is not None and until(now)

    with telling(replayer.workspace) if drive else nullcontext():
        return replayer.play(start, end, every, after_each)


def new_replayer(workspace: Workspace, url: str, model: str) -> Replayer:
    """A replayer whose feeder can be told to withhold views (`replayer.feeder.withheld`)."""
    return Replayer(workspace, url, model, feeder=Feeder(workspace.warehouse, workspace.online))


def _day(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise Unusable(f"{text!r} is not a day", help="write it as 2013-06-01") from error
