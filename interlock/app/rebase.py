"""A change carried over to the release that runs now, with the evidence that this leaves standing.

What others released meanwhile comes in file by file. Two edits of one file are for people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from interlock.app.beside import Placed
from interlock.app.build import Say, quiet
from interlock.app.changes import Held
from interlock.app.outdated import BEFORE
from interlock.app.planning import plan_between, wanted
from interlock.app.proposable import asked_for
from interlock.app.propose import possible
from interlock.app.prove import prove
from interlock.app.refresh import follow
from interlock.app.stored import as_promised
from interlock.app.versions import leads_to, stable, stored
from interlock.change.change import Change
from interlock.change.request import request_of
from interlock.errors import Refused

if TYPE_CHECKING:
    from interlock.app.workspace import Workspace

Texts = Mapping[str, str]

_CUT_OFF = ("PLANNED", "EVIDENCE")  # proving it was cut off, or stopped at a layer


def rebase(workspace: Workspace, before: Held, say: Say = quiet) -> Change:
    """`before` planned on what runs now; its time is kept for it, its signatures are void.

    One whose proof was cut off or stopped goes on, on what it was planned on or what runs now.

    Raises `Refused` when nothing else runs than it was planned on, and with every file that
    was edited on both sides.
    """
    change, runs = before.change, workspace.route().stable
    if change.state not in (*BEFORE, *_CUT_OFF) or change.plan is None:
        raise Refused(
            f"{change.id} is {change.state}: it is not planned again",
            help=f"`interlock status {change.id}` says what comes next",
        )
    if change.made_against == runs and change.state not in _CUT_OFF:
        raise Refused(
            f"{change.id} is planned on what runs already: it waits for no other change",
            help=f"`interlock prove {change.id}` makes evidence anew that no longer stands",
        )
    texts = _carried(workspace, change, runs)
    mine = leads_to(workspace, change)
    with as_promised(mine.project, workspace.warehouse):
        follow(workspace, mine, say)
    return again(workspace, before, texts, say)


def again(workspace: Workspace, before: Held, texts: Texts, say: Say = quiet) -> Change:
    """`before` with the definitions `texts`, planned and proven on what runs now."""
    there = workspace.with_texts(texts)
    old, new = stable(there), wanted(there)
    beside = (before.change.plan or {}).get("beside", "")
    made = plan_between(there, old, new, Placed(beside=beside, instead_of=before.change.id))
    plan = possible(there, asked_for(made, request_of(before.change), (old or new).project))
    return prove(there, before, (old, new), plan, say)


def _carried(workspace: Workspace, change: Change, runs: str | None) -> Texts:
    """The files of `change` on top of those of release `runs`."""
    mine = leads_to(workspace, change).project.texts
    base = stored(workspace, change.made_against).project.texts if change.made_against else {}
    theirs = stored(workspace, runs).project.texts if runs else {}
    both = sorted({*base, *mine, *theirs})
    clashes = [name for name in both if _clash(base.get(name), mine.get(name), theirs.get(name))]
    if clashes:
        raise Refused(
            f"{change.id} and what was released since edit the same files",
            help=f"put both together in the folder, propose that, and withdraw {change.id}",
            objections=[f"{name} is edited by both" for name in clashes],
        )
    return dict(_merged(base, mine, theirs))


def _clash(base: str | None, mine: str | None, theirs: str | None) -> bool:
    return base not in (mine, theirs) and mine != theirs


def _merged(base: Texts, mine: Texts, theirs: Texts) -> Iterator[tuple[str, str]]:
    for name in sorted({*mine, *theirs}):
        text = theirs.get(name) if mine.get(name) == base.get(name) else mine.get(name)
        if text is not None:
            yield name, text
