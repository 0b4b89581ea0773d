"""Looking back: `review`; `main` registers it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.arguments import HERE, AsJson, ChangeId, Env, Folder, project, show
from interlock.errors import Unusable

if TYPE_CHECKING:
    from interlock.app.reviews import Looked


def review(
    change: ChangeId,
    feedback: Annotated[str, typer.Option(help="what you have to say of it")] = "",
    section: Annotated[
        str, typer.Option(help="what it is about: well, difficult, surprise, system")
    ] = "system",
    action: Annotated[str, typer.Option(help="something to do")] = "",
    check: Annotated[
        str, typer.Option(help="with --action: the check later plans must pass until it is done")
    ] = "",
    sql: Annotated[str, typer.Option(help="with --check: a query; each row is a fault")] = "",
    done: Annotated[int, typer.Option(help="the number of an action that is done")] = 0,
    close: Annotated[bool, typer.Option("--close", help="close it")] = False,
    finding: Annotated[
        str, typer.Option(help="with --close: harmful, fine or unclear, looking back")
    ] = "",
    by: Annotated[str, typer.Option("--by", envvar="INTERLOCK_USER", help="who is acting")] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Look back at a change: planned against measured, feedback, and what follows from it."""
    from interlock.app import reviews

    acts = bool(feedback or action or done or close)
    _usable(acts, by, stray=bool(((check or sql) and not action) or (finding and not close)))
    with project(folder, environment, looking=not acts) as workspace:
        if feedback:
            reviews.give_feedback(workspace, change, feedback, by=by, section=section)  # type: ignore[arg-type]  # refused there
        if action:
            reviews.add_action(workspace, change, action, by=by, check=check, sql=sql)
        if done:
            reviews.mark_done(workspace, change, done, by=by)
        if close:
            reviews.close(workspace, change, by=by, finding=finding)  # type: ignore[arg-type]  # refused there
        found = reviews.look_back(workspace, change)
    show(found, as_json, reviewed, lambda looked: looked.to_json())


def _usable(acts: bool, by: str, stray: bool) -> None:
    if stray:
        raise Unusable(
            "--check and --sql go with --action, --finding with --close", help="say both"
        )
    if acts and not by:
        raise Unusable("who says so?", help="say --by, or set INTERLOCK_USER")


def reviewed(looked: Looked) -> str:
    """Why, the numbers, what was said, what follows, and the timeline."""
    from interlock.cli.page import bullets, facts, heading, page, table

    review, change = looked.review, looked.change
    state = f"closed by {review.closed_by}: {review.finding}" if review.closed_by else "open"
    parts: list[Any] = [
        facts([("change", f"{change.id} {change.title}"), ("review", state),
               ("because", "; ".join(review.because)), ("expected", change.expected),
               ("still to say something", ", ".join(review.silent))])
    ]  # fmt: skip
    rows = [tuple(_row(one)) for one in looked.compared]
    if rows:
        columns = ("number", "before", "after", "difference", "said", "promised")
        parts += [heading("planned against measured"), table(columns, rows)]
    parts += [heading("feedback"), bullets(_said(looked))]
    parts += [heading("what follows"), bullets(_follows(looked))]
    parts += [heading("timeline"), bullets(_timeline(looked))]
    return page(*parts)


def _row(one: Any) -> Iterator[str]:
    from interlock.cli.page import number

    yield one.name
    yield number(one.stable)
    yield number(one.candidate)
    yield "-" if one.low is None else f"{number(one.low)} to {number(one.high)}"
    yield one.verdict
    yield one.promise


def _said(looked: Looked) -> Iterator[str]:
    for one in looked.review.feedback:
        whose = f"{one.by} for {one.team}" if one.team else one.by
        yield f"{whose} ({one.section}): {one.text}"
    if not looked.review.feedback:
        yield "nobody has said anything yet"


def _follows(looked: Looked) -> Iterator[str]:
    for one in looked.review.actions:
        how = f"done by {one.done_by}" if one.done_by else "open"
        check = f"; plans must pass {one.check}" if one.check and one.open else ""
        yield f"{one.number}. {one.text} ({how}{check})"
    if not looked.review.actions:
        yield "nothing yet"


def _timeline(looked: Looked) -> Iterator[str]:
    for one in looked.timeline:
        leaf = looked.leaves.get(one.version, "?")
        yield f"{one.at:%Y-%m-%d %H:%M}  {one.title.partition(': ')[2]} (by {one.by}, audit {leaf})"
