"""What is happening, while it happens: progress on standard error, and the story of the demo.

Standard output carries only the answer, so that `--json` stays clean. Colour and moving
parts appear on a terminal only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

Say = Callable[[str], None]


@contextmanager
def progress() -> Iterator[Say]:
    """Yields `say`. On a terminal the running step turns until the next; else one line each."""
    if not sys.stderr.isatty():
        yield _plain
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    with console.status("") as status:
        steps = _Steps(console, status)
        try:
            yield steps.say
        finally:
            steps.finish()


def _plain(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal; nothing elsewhere, where it would be noise."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True, highlight=False), transient=True) as shown:
        task = shown.add_task(title)
        yield lambda done, of: shown.update(task, completed=done, total=of)


class _Steps:
    """Steps one after the other: the last one turns, those before it stand with their seconds."""

    def __init__(self, console: Console, status: Status) -> None:
        self._console, self._status = console, status
        self._now = ""
        self._since = time.monotonic()

    def say(self, text: str) -> None:
        self.finish()
        self._now, self._since = text, time.monotonic()
        self._status.update(_escaped(text))

    def finish(self) -> None:
        if self._now:
            took = f"{time.monotonic() - self._since:6.1f} s"
            self._console.print(f"[dim]{took}[/]  {_escaped(self._now)}")
            self._now = ""


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


@contextmanager
def story() -> Iterator[Teller]:
    """Yields the Teller of a long story on standard output."""
    from rich.console import Console

    teller = Teller(Console(highlight=False))
    try:
        yield teller
    finally:
        teller.rest()


class Teller:
    """Tells a story: chapters, the steps between, facts, and the lines that were proven."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._chapters = 0
        self._status: Status | None = None

    def chapter(self, title: str, text: str = "") -> None:
        """A heading with its number, and a paragraph under it."""
        self.rest()
        self._chapters += 1
        self._line("")
        self._line(f"{self._chapters}. {title}", "bold cyan")
        if text:
            self._line(text, indent=3)

    def step(self, text: str) -> None:
        """What is being done now: it turns on a terminal, and is one quiet line elsewhere."""
        if not self._console.is_terminal:
            self._line(text, indent=3)
        elif self._status is None:
            self._status = self._console.status(_escaped(text))
            self._status.start()
        else:
            self._status.update(_escaped(text))

    def fact(self, text: str) -> None:
        """Something that was seen."""
        self._line(text, indent=3)

    def proven(self, text: str) -> None:
        """Something that was checked against the record or the answers, and holds."""
        self._line(text, "bold green", indent=5, mark="✓ ")

    def done(self, seconds: float) -> None:
        """The end."""
        self.rest()
        self._line("")
        self._line(f"The whole story took {seconds:.0f} s.", "bold")

    def rest(self) -> None:
        """Nothing turns any more."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _line(self, text: str, style: str = "", indent: int = 0, mark: str = "") -> None:
        from rich.table import Table
        from rich.text import Text

        if not indent:
            self._console.print(Text(text, style))
            return
        # A grid, so that a long sentence wraps under itself and not under its mark.
        grid = Table.grid()
        grid.add_row(Text(" " * (indent - len(mark)) + mark, style), Text(text, style))
        self._console.print(grid)
