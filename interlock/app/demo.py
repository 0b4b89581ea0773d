"""The story of the flights project, on real data: what a change can do, and what stops it.

Every line that says what was proven is computed from the run. When something that should
be refused is let through, or the other way round, the demo fails.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Protocol

from interlock.app import chapters
from interlock.app.storykit import Server, Stage, start_server
from interlock.app.templates import init
from interlock.app.workspace import Workspace
from interlock.errors import Refused

LAST_DAY = date(2013, 7, 1)


class Teller(Protocol):
    """Who tells the story to people."""

    def chapter(self, title: str, text: str = "") -> None: ...
    def step(self, text: str) -> None: ...
    def fact(self, text: str) -> None: ...
    def proven(self, text: str) -> None: ...
    def done(self, seconds: float) -> None: ...


def run_demo(folder: Path, teller: Teller, *, keep_serving: bool = False, port: int = 0) -> None:
    """Write the project into `folder` (an older demo there is replaced) and play the story.

    With `keep_serving` the server runs on afterwards until it is interrupted.
    """
    began = time.monotonic()
    _clear(folder)
    teller.step("reading every flight out of New York in the first half of 2013")
    made = init("flights", folder, until=LAST_DAY)
    workspace = Workspace(folder)
    stage = Stage(workspace, teller.step)
    server: Server | None = None
    try:
        chapters.first_release(stage, teller, made.flights)
        server = start_server(folder, port=port)
        for chapter in _CHAPTERS:
            chapter(stage, teller, server)
        teller.done(time.monotonic() - began)
        if keep_serving:
            teller.fact(f"still serving on {server.url}; stop with Ctrl-C")
            server.process.wait()
    finally:
        if server is not None:
            server.stop()
        workspace.close()


_CHAPTERS: tuple[Callable[[Stage, Teller, Server], None], ...] = (
    chapters.seconds,
    chapters.overdue,
    chapters.class_weight,
    chapters.retrain,
    chapters.shuffled,
    chapters.late_weather,
    chapters.june,
)


def _clear(folder: Path) -> None:
    """Only a folder that an earlier demo wrote is replaced."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / ".interlock").exists() and not (folder / "interlock.yaml").exists():
        raise Refused(f"{folder} is not empty and was not written by the demo")
    shutil.rmtree(folder)
