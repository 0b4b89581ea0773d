"""How a value becomes text: as wide as the terminal, coloured only where a person will see it."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

TONES = {
    "pass": "green", "safe": "green", "fail": "red", "harm": "red", "error": "red",
    "inconclusive": "yellow", "needs data": "yellow",
}  # fmt: skip
_NARROWEST = 60
_LONGEST = 14  # letters of a word that a column of a table makes room for
_LINE_STYLES = (
    (re.compile(r"^  \+ "), "green"),
    (re.compile(r"^  ~ "), "yellow"),
    (re.compile(r"^  - "), "red"),
    (re.compile(r"^blocked:"), "bold red"),
    (re.compile(r"^(plan |\S.*:$)"), "bold"),
)


def coloured() -> bool:
    """May colour be used on standard output?"""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def page(*parts: RenderableType) -> str:
    """`parts` under each other as text."""
    from rich.console import Console

    console = Console(
        file=io.StringIO(),
        force_terminal=coloured(),
        no_color=not coloured(),
        width=max(shutil.get_terminal_size().columns, _NARROWEST),
        highlight=False,
        legacy_windows=False,
    )
    with console.capture() as captured:
        console.print(*parts, sep="\n")
    # Rich fills every line of a grid; nobody needs the spaces.
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def outline(text: str) -> str:
    """A plan as it was explained: on a terminal wrapped and coloured, else line by line."""
    if not sys.stdout.isatty():
        return text
    width = max(shutil.get_terminal_size().columns, _NARROWEST)
    return "\n".join(_styled(part) for line in text.splitlines() for part in _wrapped(line, width))


def _wrapped(line: str, width: int) -> list[str]:
    inside = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(line, width, subsequent_indent=inside, break_long_words=False) or [""]


def _styled(line: str) -> str:
    from rich.text import Text

    style = next((style for pattern, style in _LINE_STYLES if pattern.match(line)), "")
    return page(Text(line, style)) if style and coloured() else line


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table without lines; the last column takes what is left and wraps.

    A column is as wide as its longest word where that is not too long: words are not cut.
    """
    from rich.table import Table
    from rich.text import Text

    written = [[str(cell) for cell in row] for row in rows]
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for at, name in enumerate(columns):
        name, last = name.replace("_", " "), at + 1 == len(columns)
        words = [word for row in (*written, [name] * len(columns)) for word in row[at].split()]
        least = min(max(map(len, words), default=1), _LONGEST)
        wraps = last and max((len(row[at]) for row in written), default=0) > _LONGEST
        made.add_column(name, overflow="fold", ratio=1 if wraps else None, min_width=least)
    for row in written:
        made.add_row(*(Text(cell, TONES.get(cell, "")) for cell in row))
    return made


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """Names and values under each other; pairs without a value are left out."""
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value not in ("", None):
            made.add_row(name, Text(str(value)))
    return made


def bullets(lines: Iterable[str]) -> Table:
    """A list whose long sentences wrap under themselves."""
    from rich.table import Table
    from rich.text import Text

    made = Table.grid()
    for line in lines:
        made.add_row("  - ", Text(line))
    return made


def heading(text: str) -> RenderableType:
    """A line that stands over a part."""
    from rich.text import Text

    return Text(f"\n{text}", "bold")


def instant(at: datetime | str | None) -> str:
    """To the minute, UTC."""
    at = datetime.fromisoformat(at) if isinstance(at, str) else at
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at else ""


def short(digest: str | None, otherwise: str = "nothing yet") -> str:
    """A digest as people compare it."""
    return digest[:12] if digest else otherwise


def number(value: float | None) -> str:
    """Four digits; a dash for what was not measured, never a zero."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
