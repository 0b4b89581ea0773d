"""`--server`: the same commands, done by a server, with the same output and exit codes.

The one place where a command is turned into requests. The options of a command are parsed
as ever; only what it does is replaced. A command that is not in the table works on a
folder of this machine, and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from interlock.app import answers
from interlock.cli import asking, plans, views, watching
from interlock.cli.arguments import say, show
from interlock.cli.asking import Call, Given
from interlock.cli.client import Client, client, part
from interlock.cli.elsewhere import OPTION, VARIABLE
from interlock.cli.progress import progress
from interlock.errors import Unusable

if TYPE_CHECKING:
    from interlock.app.changes import Standing

# What a server cannot do for somebody, and why. Of no environment at all: a variable that
# names a server does not concern them.
NOWHERE: Mapping[str, str] = {
    "init": "it writes a new folder",
    "check": "it reads the files of a folder; `plan` sends them",
    "compare": "it reads two files",
    "contract": "it reads and writes files of a folder",
    "schema": "it writes files for an editor",
    "demo": "it plays the whole story in a folder of its own",
    "serve": "it is the server",
    "verify": "it asks nobody: that is what it is for",
    "version": "it is about the program",
    "api schema": "it is about the program; a server has its own at /api/v1/openapi.json",
}
_ENGINES = "it works on the warehouse, which a server leaves to the controller beside it"
HERE_ONLY: Mapping[str, str] = {
    "tick": "it is the controller, which works where the engines are",
    "traffic": "it plays recorded requests and is the controller meanwhile",
    "watch": _ENGINES,
    "rehearse": _ENGINES,
    "versions": _ENGINES,
    "retire": _ENGINES,
    "refresh": _ENGINES,
    "profile": _ENGINES,
    "replay": _ENGINES,
    "trace": _ENGINES,
    "consistency": _ENGINES,
    "sample": _ENGINES,
    "score": _ENGINES,
    "synth": _ENGINES,
    "dataset build": _ENGINES,
    "reproduce": _ENGINES,
    "drill rollback": _ENGINES,
    "drill list": _ENGINES,
    "adopt": "it writes definitions into a folder",
    "deprecate": "it writes into a file of a folder",
    "audit erase": "it cannot be taken back: who runs the server does it there",
}
_LOOK_SECONDS = 0.3


def run(app: typer.Typer, given: Sequence[str], url: str, said: bool) -> Any:
    """The exit code of the command, as the server does it."""
    group: Any = typer.main.get_command(app)
    for name, command in leaves(group):
        if name in NOWHERE and not said:
            continue
        command.callback = partial(_called, name, url)
        for parameter in command.params:
            if parameter.name == "by":
                parameter.required = False  # it is the person of the token
    return group(list(given), prog_name="interlock", standalone_mode=False)


def leaves(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its name, one of a group with the group's before it."""
    for name, command in group.commands.items():
        if getattr(command, "commands", None):
            yield from leaves(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


def _called(name: str, url: str, **given: Any) -> None:
    call = CALLS.get(name)
    if call is None:
        why = {**NOWHERE, **HERE_ONLY}.get(name, "")
        raise Unusable(
            f"`interlock {name}` works on a folder of this machine: {why}",
            help=f"leave {OPTION} out, or unset {VARIABLE}; run it where the server's project is",
        )
    code = call(client(url, given.get("environment", "prod")), given)
    if code:
        raise typer.Exit(code)


# --- definitions and plans ------------------------------------------------------------


def _files(given: Given) -> dict[str, str]:
    from interlock.app.files import read_folder

    return dict(read_folder(Path(given["folder"])))


def _plan(at: Client, given: Given) -> int:
    from interlock.cli.page import outline
    from interlock.plan.explain import explain

    asked = plans.Asked(given["comment"], given["graph"], given["explain"])
    plans.refuse_two(asked)
    body = {"files": _files(given), "after": given["after"], "beside": given["beside"]}
    if asked.explain:
        said = at.post("/plan", {**body, "show": "explain", "explain": asked.explain})
        show(said, given["as_json"], lambda one: outline(one["said"]), lambda one: one["why"])
        return 0
    if asked.comment:
        said = at.post("/plan", {**body, "show": "comment", "graph": asked.graph})
        kept = {name: said[name] for name in ("marker", "body")}
        show(kept, given["as_json"], lambda one: one["body"], lambda one: one)
        return plans.code_of(said["empty"], said["objections"])
    made = at.post("/plan", body)
    plan = answers.plan_of(made)
    show(made, given["as_json"], lambda _: outline(explain(plan)), lambda one: one)
    return plans.code_of(plan.empty, plan.objections)


def _catalog(at: Client, given: Given) -> int:
    from interlock.app.catalog import Listed
    from interlock.cli.versions import listed

    found = at.get("/catalog", words=" ".join(given["words"] or ()))
    rows = [Listed(**one) for one in found]
    show(found, given["as_json"], lambda _: listed(rows), lambda one: one)
    return 0


def _lineage(at: Client, given: Given) -> int:
    way = "upstream" if given["upstream"] else "downstream"
    if (given["upstream"] and given["downstream"]) or (given["mermaid"] and given["as_json"]):
        raise Unusable("two answers at once", help="ask once for each")
    kind = "mermaid" if given["mermaid"] else "paths" if given["as_json"] else "text"
    found = at.get("/lineage", ref=given["ref"], direction=way, show=kind)
    show(found, given["as_json"], lambda one: one["said"], lambda one: one)
    return 0


# --- changes --------------------------------------------------------------------------


def _propose(at: Client, given: Given) -> int:
    from interlock.app.requested import requested

    said = {
        "title": given["title"], "reason": given["reason"], "expected": given["expected"],
        "risks": given["risks"], "rollback_criteria": given["rollback_when"],
        "metrics": tuple(given["metric"] or ()), "bounds": tuple(given["bound"] or ()),
        "emergency": given["emergency"],
    }  # fmt: skip
    file = Path(given["request"]) if given["request"] else None
    asked = requested(file, given["by"] or "", said)
    placed = {name: given[name] for name in ("after", "beside")}
    job = at.post("/changes", {**asked.__dict__, "files": _files(given), **placed})
    return _followed(at, job, given)


def _replan(at: Client, given: Given) -> int:
    job = at.post(f"/changes/{part(given['change'])}/replan", {"after": given["after"]})
    return _followed(at, job, given)


def _prove(at: Client, given: Given) -> int:
    job = at.post(f"/changes/{part(given['change'])}/prove", {})
    return _followed(at, job, given, views.status)


def _followed(
    at: Client, job: Given, given: Given, human: Callable[[Any], str] = views.proposed
) -> int:
    """Tell what a job says while it works; then what its change is."""
    told = 0
    with progress() as tell:
        while True:
            for line in job["said"][told:]:
                tell(line)
            told = len(job["said"])
            if job["state"] in ("done", "failed"):
                break
            time.sleep(_LOOK_SECONDS)
            job = at.get(f"/jobs/{part(job['id'])}")
    if job["error"]:
        raise answers.error_of(job["error"])
    body = at.get(f"/changes/{part(job['change'])}")
    found = answers.standing_of(body)
    show(body, given["as_json"], lambda _: human(found), lambda one: one)
    return 3 if answers.blocking(found) else 0


def _changes(at: Client, given: Given) -> int:
    found, cursor = [], ""
    while True:
        page = at.get("/changes", cursor=cursor, limit="200")
        found += page["changes"]
        cursor = page["next"]
        if not cursor:
            break
    show(
        found, given["as_json"], lambda _: views.changes(answers.changes_of(found)), lambda one: one
    )
    return 0


def _standing(at: Client, path: str) -> Standing:
    return answers.standing_of(at.get(path))


def _status(at: Client, given: Given) -> int:
    id = given["change"]
    path = f"/changes/{part(id)}" if id else "/status"
    if given["watch"]:
        look = partial(_standing, at, path)
        watching.follow(look, given["every"], given["as_json"])
        return 0
    body = at.get(path)
    show(
        body, given["as_json"], lambda one: views.status(answers.standing_of(one)), lambda one: one
    )
    return 0


def _evidence(at: Client, given: Given) -> int:
    body = at.get(f"/evidence/{part(given['digest'])}")
    found = answers.evidence_of(body)
    show(body, given["as_json"], lambda _: views.evidence(found), lambda one: one)
    return 0


# --- decisions ------------------------------------------------------------------------


def _says(path: str, *names: str) -> Call:
    """A command that does one thing to a change and says one sentence."""

    def call(at: Client, given: Given) -> int:
        body = {name: given[name] or "" for name in (*names, "by")}
        if "resume" in names:
            body["resume"] = bool(given["resume"])
        done = at.post(path.format(part(given["change"])), body)
        say(done["said"], given["as_json"])
        return 0

    return call


def _approve(at: Client, given: Given) -> int:
    path = f"/changes/{part(given['change'])}"
    seen = at.ask("GET", path)
    body = {"role": given["role"], "team": given["team"], "by": given["by"] or ""}
    for word in ("reject", "withdraw"):
        if given[word]:
            body |= {"decision": word, "reason": given[word]}
    say(at.post(f"{path}/signoffs", body, seen.headers.get("etag", ""))["said"], given["as_json"])
    return 0


def _waive(at: Client, given: Given) -> int:
    body = {"check": given["evidence"], **{n: given[n] or "" for n in ("role", "reason", "by")}}
    done = at.post(f"/changes/{part(given['change'])}/waivers", body)
    say(done["said"], given["as_json"])
    return 0


def _apply(at: Client, given: Given) -> int:
    """Start it. Then tell how it goes: the controller at the server drives it."""
    path = f"/changes/{part(given['change'])}"
    said = at.post(f"{path}/apply", {"by": given["by"] or ""})["said"]
    say(said, given["as_json"])
    while given["wait"]:
        found = answers.standing_of(at.get(path)).change
        if found is None or not (found.under_way or found.state in ("ABORTING", "REVERTING")):
            break
        if found.said != said:
            said = found.said
            say(f"{found.id}: {said}", given["as_json"])
        time.sleep(max(_LOOK_SECONDS, float(given["every"])))
    return 0


def _inbox(at: Client, given: Given) -> int:
    from interlock.app.inbox import inbox_of
    from interlock.cli.signing import waiting

    body = at.get("/inbox", by=given["by"] or "")
    found = inbox_of(body)
    show(body, given["as_json"], lambda _: waiting(found), lambda one: one)
    return 0


def _delegate(at: Client, given: Given) -> int:
    from interlock.change.delegation import Delegation
    from interlock.cli.signing import lent, lent_said

    if not given["to"]:
        body = at.get("/delegations")
        found = [Delegation.from_json(one) for one in body]
        show(body, given["as_json"], lambda _: lent(found), lambda one: one)
        return 0
    names = ("to", "role", "team", "until", "end")
    done = at.post("/delegations", {**{n: given[n] for n in names}, "by": given["by"] or ""})
    say(lent_said(Delegation.from_json(done), given["end"]), given["as_json"])
    return 0


# --- tokens ---------------------------------------------------------------------------


def _token_create(at: Client, given: Given) -> int:
    from interlock.app.tokens import Made
    from interlock.change.token import Token
    from interlock.cli.tokens import created

    wish = {
        "person": given["person"], "scopes": list(given["scope"]), "expires": given["expires"],
        "environment": given["only"],
    }  # fmt: skip
    body = at.post("/tokens", wish)
    made = Made(Token.from_json({**body, "salt": "", "hash": ""}), body["token"])
    show(body, given["as_json"], lambda _: created(made), lambda one: one)
    return 0


def _token_list(at: Client, given: Given) -> int:
    from interlock.change.token import Token
    from interlock.cli.tokens import tokens

    body = at.get("/tokens")
    found = [Token.from_json({**one, "salt": "", "hash": ""}) for one in body]
    show(body, given["as_json"], lambda _: tokens(found), lambda one: one)
    return 0


def _token_revoke(at: Client, given: Given) -> int:
    done = at.post(f"/tokens/{part(given['id'])}/revoke", {"reason": given["reason"] or ""})
    say(done["said"], given["as_json"])
    return 0


CALLS: Mapping[str, Call] = {
    **asking.CALLS, "prove": _prove,
    "plan": _plan, "catalog": _catalog, "lineage": _lineage, "propose": _propose,
    "replan": _replan, "changes": _changes, "status": _status, "evidence": _evidence,
    "approve": _approve, "waive": _waive, "apply": _apply,
    "withdraw": _says("/changes/{}/withdraw", "reason"),
    "rollback": _says("/changes/{}/rollback", "reason"),
    "hold": _says("/changes/{}/hold", "reason", "resume"),
    "promote": _says("/changes/{}/promote", "reason"),
    "retry": _says("/changes/{}/retry", "reason"),
    "inbox": _inbox, "delegate": _delegate, "token create": _token_create,
    "token list": _token_list, "token revoke": _token_revoke,
}  # fmt: skip
