"""Looking back: `review`, `notes`, `scorecard`; `main` registers them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.arguments import HERE, AsJson, ChangeId, Env, Folder, project, show
from interlock.errors import Unusable

if TYPE_CHECKING:
    from interlock.app.lookback import Scorecard
    from interlock.app.reviews import Looked
    from interlock.change.notes import Note
    from interlock.change.releasenotes import ReleaseNote
    from interlock.change.scorecard import Figure


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

    refuse_stray({"action": action, "check": check, "sql": sql,
                  "close": close, "finding": finding})  # fmt: skip
    acts = bool(feedback or action or done or close)
    if acts and not by:
        raise Unusable("who says so?", help="say --by, or set INTERLOCK_USER")
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


def notes(
    about: Annotated[
        str, typer.Argument(help="CR-12, how a release starts, or an address as feature:v@1:f")
    ],
    story: Annotated[
        bool, typer.Option("--story", help="of a change: what was said of each transition")
    ] = False,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Release notes of a change, a release, or everything that was ever done to a thing."""
    from interlock.app.lookback import notes as of
    from interlock.app.outbox import story as told

    if story:
        with project(folder, environment, looking=True) as workspace:
            said = told(workspace, about)
        show(said, as_json, told_lines, lambda many: [one.to_json() for one in many])
        return
    with project(folder, environment, looking=True) as workspace:
        found = of(workspace, about)
    show(found, as_json, noted, lambda many: [one.to_json() for one in many])


def scorecard(
    team: Annotated[str, typer.Option(help="only changes of this team's people")] = "",
    since: Annotated[str, typer.Option(help="the first day, as 2026-06-01 (90 days back)")] = "",
    until: Annotated[str, typer.Option(help="the day after the last (now)")] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """How changes go: lead time, failures, time to restore, false rollbacks, waiting."""
    from interlock.app.lookback import scorecard as of

    with project(folder, environment, looking=True) as workspace:
        found = of(workspace, team, since, until)
    show(found, as_json, scored, lambda card: card.to_json())


def noted(found: Sequence[ReleaseNote]) -> str:
    """Each change under the other."""
    from interlock.cli.page import page

    if not found:
        return "no release has touched it"
    return "\n\n".join(page(*_noted(one)) for one in found)


def told_lines(found: Sequence[Note]) -> str:
    """Each transition as everybody is told it, and as engineers are."""
    from interlock.cli.page import instant

    parts = (f"{instant(n.at)}  {n.title}\n\n{n.summary}\n\n{n.detail}" for n in found)
    return "\n\n\n".join(parts)


def _noted(one: ReleaseNote) -> Iterator[Any]:
    from interlock.cli.page import bullets, facts, heading, instant, short

    yield f"{one.change} {one.title}"
    yield facts([
        ("state", one.state), ("released", instant(one.released_at) or "never"),
        ("release", short(one.release)), ("by", one.author), ("why", one.reason),
        ("urgent", one.urgent), ("expected", one.expected), ("risks", one.risks),
        ("affected", one.affected), ("impact", one.impact), ("goes back when", one.rollback),
        ("went back", one.taken_back), ("beside", one.beside), ("review", one.review),
    ])  # fmt: skip
    tests = [f"{t.check}: {t.verdict}: {t.waived or t.sentence}" for t in one.tests]
    agreed = [f"{a.person} as {a.role} of {a.team}, {instant(a.at)}" for a in one.agreed]
    parts = [("changed", one.differences), ("tests", tests), ("agreed", agreed),
             ("what follows", one.actions)]  # fmt: skip
    for name, lines in parts:
        if lines:
            yield heading(name)
            yield bullets(line.strip() for line in lines)


def scored(card: Scorecard) -> str:
    """Figures, with the number of changes each is of; then each team beside the others."""
    from interlock.cli.page import bullets, heading, page, table

    period = f"{card.period.since:%Y-%m-%d} to {card.period.until:%Y-%m-%d}"
    whose = f" of {card.team}" if card.team else ""
    parts: list[Any] = [
        f"changes{whose}, {period}",
        table(("figure", "value", "n", "what"), [(f.name, f.text, f.n, f.words)
                                                 for f in card.figures]),
    ]  # fmt: skip
    if len(card.teams) > 1:
        columns = ("team", *(f.name for f in card.figures))
        rows = [(name, *map(_brief, many)) for name, many in card.teams.items()]
        parts += [heading("by team"), table(columns, rows)]
    for title, lines in (("models, from labels that came", card.models),
                         ("what services reached", card.services),
                         ("error budgets, last four weeks", card.budgets)):  # fmt: skip
        if lines:
            parts += [heading(title), bullets(one.sentence for one in lines)]
    return page(*parts)


def _brief(figure: Figure) -> str:
    return f"{figure.text} ({figure.n})" if figure.n else figure.text


def refuse_stray(given: Mapping[str, Any]) -> None:
    """Raises `Unusable` for an option whose other half was not given."""
    checks = (given["check"] or given["sql"]) and not given["action"]
    if checks or (given["finding"] and not given["close"]):
        raise Unusable(
            "--check and --sql go with --action, --finding with --close", help="say both"
        )


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
