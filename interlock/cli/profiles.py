"""`profile` and `replay`: what data holds, and whether it could have been known; `main`
registers them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from interlock.cli.arguments import HERE, AsJson, Env, Folder, project, show

if TYPE_CHECKING:
    from interlock.app.profiles import Profiled
    from interlock.app.replays import Replayed
    from interlock.change.evidence import Evidence
    from interlock.features.profile import ColumnProfile, Frame, TableProfile

_ID = re.compile("(prediction:)?[0-9a-f]{32,}")
_BARS = " ▁▂▃▄▅▆▇█"
_CELLS = 12


def profile(
    name: Annotated[str, typer.Argument(help="a table or a view, as wh.flights or weather@1")],
    by: Annotated[str, typer.Option("--slice", help="a column: one profile per value")] = "",
    since: Annotated[str, typer.Option(help="a day, or a duration back as 7d")] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """What a table or view holds, its checks, its missing days, and what stands behind it."""
    from interlock.app.profiles import profile as make
    from interlock.cli.progress import progress

    with project(folder, environment) as workspace, progress() as said:
        found = make(workspace, name, by, since, said)
    show(found, as_json, profiled, lambda made: made.to_json())
    raise typer.Exit(3 if found.broken or found.gaps else 0)


def profiled(found: Profiled) -> str:
    """A line per column; then what is broken or missing, and who suffers."""
    lines = [_head(found.ref, found.whole), *_table(found.frame, found.whole, found.moved)]
    for name, part in found.slices.items():
        lines += ["", _head(f"{found.by} = {name}", part), *_table(found.frame, part, {})]
    lines += [f"{finding.verdict}: {finding.sentence}" for finding in found.broken]
    lines += [f"gap: {sentence}" for sentence in found.gaps]
    kept = len(found.findings) - len(found.broken)
    lines.append(f"{kept} of {len(found.findings)} promises kept" if found.findings else "")
    lines.append(f"behind it: {', '.join(found.at_risk) or 'no model or service'}")
    return "\n".join(line for line in lines if line)


def replay(
    what: Annotated[str, typer.Argument(help="a view, as view:weather@1, or a prediction's id")],
    cutoffs: Annotated[int, typer.Option(help="how many instants are replayed", min=1)] = 20,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Prove that a view's values could have been known; or make one prediction again."""
    if _ID.fullmatch(what):
        _prediction(what, folder, environment, as_json)
    from interlock.app.replays import replay_view
    from interlock.cli.progress import bar

    with project(folder, environment) as workspace, bar(f"replaying {what}") as step:
        found = replay_view(workspace, what, cutoffs, step)
    show(found, as_json, replayed, lambda made: {n: e.to_json() for n, e in vars(made).items()})
    verdicts = {piece.verdict for piece in vars(found).values()}
    raise typer.Exit(3 if "fail" in verdicts else 2 if "inconclusive" in verdicts else 0)


def _prediction(id: str, folder: Path, environment: str, as_json: bool) -> NoReturn:
    from interlock.app.reproduce import reproduce
    from interlock.cli.traces import reproduced

    with project(folder, environment, looking=True) as workspace:
        found = reproduce(workspace, id)
    show(found, as_json, reproduced, lambda one: one.to_json())
    raise typer.Exit(found.exit_code)


def replayed(found: Replayed) -> str:
    """What was proven, with the values that could not have been known."""
    replay, missing = found.replay, found.missingness
    lines = [_line(replay)]
    for example in replay.details["examples"]:
        lines.append(
            "    {feature} of {key} at {at}: trained on {trained}, then known {replayed}".format(
                **{name: "nothing" if v is None else v for name, v in example.items()}
            )
        )
    for source in replay.details["unprovable_sources"]:
        lines.append(f"    declare available_at on table:{source}, or read a table that has it")
    return "\n".join([*lines, _line(missing)])


def _line(piece: Evidence) -> str:
    return f"{piece.verdict:<12}  {piece.check}\n    {piece.sentence}"


def _head(name: str, seen: TableProfile) -> str:
    newest = seen.newest_available or seen.newest_event
    said = f", the newest of {newest:%d %b %Y %H:%M} UTC" if newest else ""
    days = f", {len(seen.days)} days" if seen.days else ""
    return f"{name}: {seen.rows} rows{days}{said}"


def _table(frame: Frame, seen: TableProfile, moved: Any) -> list[str]:
    rows = [("column", "null", "zero", "distinct", "values", "low .. high", "moved")]
    for name, column in seen.columns.items():
        rows.append(
            (
                name,
                _share(column.nulls, seen.rows),
                _share(column.zeros, seen.rows),
                f"~{column.distinct}" if column.distinct is not None else "-",
                _shape(column, frame.edges.get(name, ()), seen.rows),
                f"{_short(column.low)} .. {_short(column.high)}" if column.low is not None else "-",
                f"{moved[name]:.2f}" if moved.get(name, 0) >= 0.005 else "",
            )
        )
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _share(count: int | None, rows: int) -> str:
    return "-" if count is None or not rows else f"{count / rows:.1%}"


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:19]


def _shape(column: ColumnProfile, edges: Sequence[float], rows: int) -> str:
    """A small histogram between the outer edges, or the most frequent values."""
    if column.values is not None:
        top = sorted(column.values.items(), key=lambda item: (-item[1], item[0]))[:3]
        return ", ".join(f"{name or '(others)'} {_share(n, rows)}" for name, n in top if n)
    if column.bins is None or len(edges) < 2:
        return ""
    return "".join(_block(height) for height in _heights(column.bins, edges))


def _heights(bins: Sequence[int], edges: Sequence[float]) -> list[float]:
    """Rows per cell of equal width, 1 for the fullest; zero is told in a column of its own."""
    low, high = edges[0], edges[-1]
    width = (high - low) / _CELLS
    cells = [0.0] * _CELLS
    for rows, (a, b) in zip(bins[3:-1], pairwise(edges), strict=True):
        for at in range(_CELLS):
            left, right = low + at * width, low + (at + 1) * width
            cells[at] += rows * max(0.0, min(b, right) - max(a, left)) / (b - a)
    most = max(cells)
    return [cell / most if most else 0.0 for cell in cells]


def _block(height: float) -> str:
    return _BARS[0 if height <= 0 else max(1, round(height * (len(_BARS) - 1)))]
