"""The commands. Each reads arguments, calls one function of `app`, hands the value to a view.

Exit codes: 0 done or nothing to do, 2 there is something to do, 3 refused, invalid or
misspelt, 4 conflict, 5 stale, 6 an engine is away. Refusals are told on standard error,
as JSON when `--json` was asked for. An exception that is not one of ours is a mistake in
Interlock, and keeps its traceback.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock import __version__
from interlock.cli import (
    api,
    audit,
    bundles,
    calendar,
    consistency,
    datasets,
    decisions,
    drills,
    impact,
    lookback,
    policy,
    privacy,
    profiles,
    refresh,
    rehearsals,
    scores,
    serving,
    signing,
    telling,
    tokens,
    traces,
    versions,
    watching,
)
from interlock.cli.alone import alone
from interlock.cli.arguments import HERE, AsJson, By, ChangeId, Env, Folder, project, say, show
from interlock.cli.definitions import contract, schema
from interlock.cli.elsewhere import server_in
from interlock.errors import InterlockError

app = typer.Typer(
    name="interlock",
    help="One change, from warehouse column to the services that act on the prediction.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DEMO = Path("build/demo")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="a new folder")],
    template: Annotated[str, typer.Option(help="what to start from")] = "flights",
    generated_days: Annotated[
        int | None, typer.Option(help="make this many days of data up instead of real flights")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a project that can be edited: definitions, and the data it reads."""
    from interlock.app.templates import init as write

    write(template, folder, generated_days=generated_days)
    say(f"{folder} is ready; next: interlock plan -C {folder}", as_json)


@app.command()
def check(folder: Folder = HERE, environment: Env = "prod", as_json: AsJson = False) -> None:
    """Read every definition and report all problems at once."""
    from interlock.app.catalog import going
    from interlock.cli import views

    with project(folder, environment, looking=True) as workspace:
        found = views.Checked(workspace.project, going(workspace))
        show(found, as_json, views.checked, views.checked_json)


@app.command()
def plan(
    comment: Annotated[bool, typer.Option("--comment", help="as a pull request comment")] = False,
    graph: Annotated[
        bool, typer.Option("--graph", help="with --comment: also a picture of the impact")
    ] = False,
    explain: Annotated[str, typer.Option(help="why this address breaks, moves, or does not")] = "",
    after: Annotated[str, typer.Option(help="plan on what this change leads to")] = "",
    beside: Annotated[str, typer.Option(help="as a candidate beside this change")] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Show what the files would change, what breaks or moves, and who must sign.

    Changes nothing; what was understood of the files may be kept beside the state.
    """
    from interlock.app.planning import look
    from interlock.cli import plans

    asked = plans.Asked(comment, graph, explain)
    with project(folder, environment, looking=True) as workspace:
        found = look(workspace, after, beside)
        show(*plans.shown(found, asked, as_json))
    raise typer.Exit(plans.exit_code(found, asked))


@app.command()
def propose(
    by: By,
    title: Annotated[str, typer.Option(help="one line")] = "",
    reason: Annotated[str, typer.Option(help="why")] = "",
    expected: Annotated[str, typer.Option(help="what should be better afterwards")] = "",
    rollback_when: Annotated[str, typer.Option(help="when it must be taken back")] = "",
    risks: Annotated[str, typer.Option(help="what could go wrong")] = "",
    metric: Annotated[list[str] | None, typer.Option(help="what to watch; repeat it")] = None,
    bound: Annotated[list[str] | None, typer.Option(help="how far it may move")] = None,
    emergency: Annotated[str, typer.Option(help="why it cannot wait")] = "",
    request: Annotated[Path | None, typer.Option(help="a file that says all of this")] = None,
    after: Annotated[str, typer.Option(help="build on this change and wait for it")] = "",
    beside: Annotated[str, typer.Option(help="run in one experiment with this change")] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Open a change (CR-n) from the plan and gather its evidence."""
    from interlock.app import answers
    from interlock.app.beside import Placed
    from interlock.app.changes import describe
    from interlock.app.deferred import propose_after
    from interlock.app.propose import propose
    from interlock.app.requested import requested
    from interlock.cli import views
    from interlock.cli.progress import progress

    said = {
        "title": title, "reason": reason, "expected": expected, "risks": risks,
        "rollback_criteria": rollback_when, "metrics": tuple(metric or ()),
        "bounds": tuple(bound or ()), "emergency": emergency,
    }  # fmt: skip
    asked, placed = requested(request, by, said), Placed(after, beside)
    with project(folder, environment) as workspace:
        with progress() as say_so:
            if placed.after:
                change = propose_after(workspace, asked, after, say_so)
            else:
                change = propose(workspace, asked, say_so, beside=placed.beside)
        found = describe(workspace, change.id)
    show(found, as_json, views.proposed, answers.status_json)
    raise typer.Exit(3 if answers.blocking(found) else 0)


@app.command()
def replan(
    change: ChangeId,
    after: Annotated[str, typer.Option(help="wait for this change instead")] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Plan a deferred change again, once what it waits for is through; gather its evidence."""
    from interlock.app import answers
    from interlock.app.changes import describe
    from interlock.app.deferred import replan as again
    from interlock.cli import views
    from interlock.cli.progress import progress

    with project(folder, environment) as workspace:
        with progress() as said:
            again(workspace, change, said, after)
        found = describe(workspace, change)
    show(found, as_json, views.proposed, answers.status_json)
    raise typer.Exit(3 if answers.blocking(found) else 0)


@app.command()
def prove(
    change: ChangeId, folder: Folder = HERE, environment: Env = "prod", as_json: AsJson = False
) -> None:
    """Make evidence anew whose rows were refreshed since; plan, slot and signatures stay."""
    from interlock.app import answers
    from interlock.app.changes import describe
    from interlock.app.outdated import prove_again
    from interlock.cli import views
    from interlock.cli.progress import progress

    with project(folder, environment) as workspace:
        with progress() as said:
            prove_again(workspace, change, said)
        found = describe(workspace, change)
    show(found, as_json, views.status, answers.status_json)
    raise typer.Exit(3 if answers.blocking(found) else 0)


@app.command()
def changes(folder: Folder = HERE, environment: Env = "prod", as_json: AsJson = False) -> None:
    """Every change, newest first."""
    from interlock.app import answers
    from interlock.app.changes import all_changes
    from interlock.cli import views

    with project(folder, environment, looking=True) as workspace:
        show(all_changes(workspace), as_json, views.changes, answers.changes_json)


app.command()(watching.status)


@app.command()
def evidence(
    digest: Annotated[str, typer.Argument(help="its digest, or how it starts")],
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """One stored check: what it says, how sure it is, and what it was made on."""
    from interlock.app import answers
    from interlock.app.history import evidence as find
    from interlock.cli import views

    with project(folder, environment, looking=True) as workspace:
        show(find(workspace, digest), as_json, views.evidence, answers.evidence_json)


decisions.register(app, decisions.BEFORE)


@app.command()
def tick(folder: Folder = HERE, environment: Env = "prod", as_json: AsJson = False) -> None:
    """One look: read, judge, make at most one step; then tell whom it concerns.

    A refresh that is due is begun and waited for, with further looks meanwhile.
    """
    from interlock.app.outbox import deliver
    from interlock.app.tick import look_until_fresh

    with project(folder, environment) as workspace:
        for said in look_until_fresh(workspace):
            say("; ".join(filter(None, (said, str(deliver(workspace))))), as_json)


decisions.register(app, decisions.AFTER)
for looking_back in (lookback.review, lookback.notes, lookback.scorecard):
    app.command()(looking_back)
app.command()(telling.outbox)
app.command()(signing.inbox)
app.command()(signing.delegate)


app.command()(serving.serve)


@app.command()
def traffic(
    start: Annotated[str, typer.Argument(help="first day, as 2013-06-01")],
    end: Annotated[str, typer.Argument(help="the day after the last")],
    url: Annotated[str, typer.Option(help="the gateway")] = "http://127.0.0.1:8210",
    drive: Annotated[bool, typer.Option(help="also tick the rollout as time passes")] = True,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Play recorded requests against the gateway in accelerated time."""
    from interlock.app.play import play
    from interlock.cli import views
    from interlock.cli.progress import progress

    with project(folder, environment) as workspace, progress() as said:
        played = play(workspace, url, start, end, drive, said)
    show(played, as_json, views.played, views.played_json)


@app.command()
def watch(
    folder: Folder = HERE,
    environment: Env = "prod",
    act: Annotated[bool, typer.Option(help="open a change when a trigger fires")] = False,
    as_json: AsJson = False,
) -> None:
    """Calibration from arrived labels, drift, freshness, and whether a retraining is due."""
    from interlock.app.loop import look_after
    from interlock.cli import views
    from interlock.cli.progress import progress

    with project(folder, environment) as workspace, progress() as said:
        seen = look_after(workspace, act=act, progress=said)
    show(seen, as_json, views.watched, views.watched_json)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="where the demo project is written")] = DEMO,
    serve: Annotated[
        bool, typer.Option("--serve", help="leave the server running at the end")
    ] = False,
    port: Annotated[int, typer.Option(help="the port; 0 picks a free one")] = 0,
) -> None:
    """The whole story on every flight out of New York, in under two minutes."""
    from interlock.app.demo import run_demo
    from interlock.cli.progress import story

    with story() as teller:
        run_demo(folder.resolve(), teller, keep_serving=serve, port=port)


for question in (
    impact.compare,
    impact.lineage,
    rehearsals.rehearse,
    *versions.COMMANDS,
    *calendar.COMMANDS,
):
    app.command()(question)
app.command()(refresh.refresh)
app.command()(profiles.profile)
app.command()(profiles.replay)
app.command()(traces.trace)
app.command()(consistency.consistency)
app.command()(privacy.sample)
app.command()(privacy.synth)
app.command()(scores.score)
app.command()(datasets.reproduce)


app.add_typer(datasets.app, name="dataset")
app.add_typer(drills.app, name="drill")
app.add_typer(audit.app, name="audit")
app.command()(bundles.bundle)
app.command()(bundles.verify)
app.add_typer(tokens.app, name="token")
app.add_typer(api.app, name="api")
app.add_typer(policy.app, name="policy")


app.command()(contract)
app.command()(schema)


@app.command()
def version() -> None:
    """The version of Interlock."""
    sys.stdout.write(f"interlock {__version__}\n")


def _run(given: Sequence[str], url: str, named: bool) -> Any:
    """Here, or at the server that is named."""
    if url and "--help" not in given:
        from interlock.cli import remote

        return remote.run(app, given, url, named)
    called, rest, name = alone(app, given)
    return called(rest, prog_name=name, standalone_mode=False)


def run(arguments: Sequence[str] | None = None) -> None:
    """The entry point: every refusal is told in full, with its exit code."""
    from interlock.cli.failure import tell, tell_usage

    # Definitions are millions of small values that all stay: to search them for rings again
    # and again takes longer than to understand them.
    gc.set_threshold(50_000, 50, 50)
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    as_json = "--json" in given
    if arguments is None and given[0] == "plan":
        # Nobody waits in between, as for an answer; nor need they be searched at the very end.
        gc.set_threshold(400_000, 50, 50)
        atexit.register(gc.freeze)
    try:
        given, url, named = server_in(given)
        # Not standalone: exit codes are ours, and 2 means that there is something to do.
        code = _run(given, url, named)
    except InterlockError as error:
        code = tell(error, as_json)
    except typer.Abort:
        code = 130
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "interlock"
        said = error.format_message() if hasattr(error, "format_message") else str(error)
        code = tell_usage(said, f"{command} --help", as_json)
    sys.exit(code or 0)


if __name__ == "__main__":
    run()
