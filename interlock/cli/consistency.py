"""`consistency`: what was served against what training would have seen; `main` registers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.arguments import HERE, AsJson, Env, Folder, project, show
from interlock.cli.page import page, table

if TYPE_CHECKING:
    from interlock.app.consistency import Asked
    from interlock.watch.consistency import Consistency


def consistency(
    sample: Annotated[int, typer.Option(help="at most so many requests of each release")] = 1000,
    since: Annotated[str, typer.Option(help="only requests from this instant or day on")] = "",
    bound: Annotated[float, typer.Option(help="the share of wrong values that passes")] = 0.001,
    tolerance: Annotated[float, typer.Option(help="relative difference that is none")] = 1e-9,
    lag: Annotated[str, typer.Option(help="values that were right so long ago are late")] = "0s",
    views: Annotated[str, typer.Option(help="compare two versions instead: load@1,load@2")] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Replay sampled requests offline and compare every feature value that was served."""
    from interlock.app.consistency import compare_versions
    from interlock.app.consistency import consistency as replay

    asked = _asked(sample, since, bound, tolerance, lag)
    with project(folder, environment) as workspace:
        if views:
            found = [compare_versions(workspace, *_pair(views), asked)]
        else:
            found = replay(workspace, asked)
    show(found, as_json, _text, lambda many: [one.to_json() for one in many])
    raise typer.Exit(0 if all(one.verdict == "pass" for one in found) else 3)


def _asked(sample: int, since: str, bound: float, tolerance: float, lag: str) -> Asked:
    from datetime import UTC, datetime

    from interlock.app.consistency import Asked
    from interlock.define.durations import parse_duration
    from interlock.errors import Unusable

    if sample < 1 or not 0 <= bound <= 1 or tolerance < 0:
        raise Unusable(
            "--sample is at least 1, --bound a share, --tolerance not negative",
            help="see interlock consistency --help",
        )
    try:
        start = datetime.fromisoformat(since) if since else None
        late = parse_duration(lag)
    except ValueError as error:
        raise Unusable(f"{error}", help="--since 2013-03-01 or an instant; --lag 5m") from error
    if start is not None and start.tzinfo is None:
        start = start.replace(tzinfo=UTC)
    return Asked(sample, start, bound, tolerance, late)


def _pair(text: str) -> tuple[str, str]:
    from interlock.errors import Unusable

    old, comma, new = text.partition(",")
    if not comma:
        raise Unusable(f"{text!r} is not two views", help="--views load@1,load@2")
    return old.strip(), new.strip()


def _text(found: Sequence[Consistency]) -> str:
    return "\n\n".join(_one(one) for one in found)


def _one(found: Consistency) -> str:
    rows: list[tuple[Any, ...]] = [
        (f.feature, str(f.n), str(f.mismatch), str(f.missing), str(f.extra), str(f.late))
        for f in found.features
        if f.mismatch or f.missing or f.extra or f.late
    ]
    if not rows:
        return found.sentence
    shown = table(("feature", "requests", "wrong", "missing", "extra", "late"), rows)
    return f"{found.sentence}\n{page(shown)}"
