"""Which evidence a refresh has taken the ground from, and making only that anew.

Plan, slot and signatures stay: the checks are the same, on the rows of today.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from interlock.app.changes import evidence_of, held, keep_evidence, update
from interlock.app.ledger import Ledger, ledger_ref
from interlock.change.change import Change, with_more
from interlock.change.evidence import Evidence, newest
from interlock.define.project import Project
from interlock.errors import Refused
from interlock.features.ranges import FIRST, LAST, Span, without
from interlock.ports import RecordReader

if TYPE_CHECKING:
    from interlock.app.build import Say
    from interlock.app.workspace import Workspace

BEFORE = ("REVIEW", "APPROVED", "SCHEDULED")


def outdated(
    workspace: Workspace, project: Project, evidence: Iterable[Evidence]
) -> dict[str, str]:
    """By digest of evidence, why rows that it was made on are no longer there."""
    address = project.environments[workspace.environment].warehouse
    said = ((one.digest, list(_moved(workspace.record, address, one))) for one in evidence)
    return {digest: _sentence(found) for digest, found in said if found}


def _moved(record: RecordReader, address: str, piece: Evidence) -> Iterator[str]:
    for target, stood in piece.rows.items():
        entry = record.get(ledger_ref(target, address))
        if entry is None:
            continue  # never refreshed since it was built
        where = _behind(Ledger.from_json(entry.body), stood)
        if where:
            yield f"{stood['of']} ({where})"


def _behind(ledger: Ledger, stood: Mapping[str, object]) -> str:
    """Where rows have moved that were looked at; empty where none has."""
    missed = ledger.after(int(str(stood["moves"])))
    if missed is None:
        return "more often than is remembered"
    until = datetime.fromisoformat(str(stood["until"]))
    later = Span(until, LAST)
    found = without([span for change in missed for span in change.spans], [later])
    if not found:
        return ""
    return str(found[0]) if found[0].start > FIRST else "all of it"


def _sentence(found: Sequence[str]) -> str:
    return f"made on rows that were refreshed since: {'; '.join(found)}; run it again"


# --- again ----------------------------------------------------------------------------


def prove_again(workspace: Workspace, id: str, say: Say) -> Change:
    """Make what is outdated or was not run; a change whose evidence all stands is left as it is.

    One that stopped at a layer, or was cut off, goes on from there. Raises `Refused` for a
    change that has no evidence to stand on, or has begun.
    """
    from interlock.app.gather import Gathering, gather, not_run
    from interlock.app.refresh import follow
    from interlock.app.stored import as_promised
    from interlock.app.versions import leads_to, stable

    before = held(workspace.record, id)
    change = before.change
    if change.state in ("PLANNED", "EVIDENCE") and change.plan is not None:
        from interlock.app.rebase import rebase

        return rebase(workspace, before, say)
    if change.state not in BEFORE or change.plan is None or not change.release:
        raise Refused(
            f"{id} is {change.state}: its evidence is not asked for now",
            help=f"`interlock status {id}` says what comes next",
        )
    old, new = stable(workspace), leads_to(workspace, change)
    checks = lost(workspace, (old or new).project, change)
    if not checks:
        return change
    required = tuple(dict.fromkeys((*checks, *change.plan["evidence"])))
    standing = _others(workspace, change, checks)
    gathering = Gathering(workspace, old, new, say)
    lifted = {waiver.check for waiver in change.waivers}
    with as_promised(new.project, workspace.warehouse):
        follow(workspace, new, say)
        found = gather(gathering, required, standing, lifted.__contains__)
    later = list(not_run(gathering, checks, found)) if found.stopped else []
    made = [*found.made, *later]
    keep_evidence(workspace, made, by=change.author)
    return update(workspace, id, change.author, partial(with_more, made=made))


def _others(
    workspace: Workspace, change: Change, checks: Sequence[str]
) -> Callable[[str], Sequence[Evidence]]:
    """By check, what stands of a change that makes `checks` again."""
    pieces = newest(evidence_of(workspace.record, change))

    def standing(check: str) -> Sequence[Evidence]:
        return () if check in checks else [one for one in pieces if one.check == check]

    return standing


def lost(workspace: Workspace, project: Project, change: Change) -> tuple[str, ...]:
    """Names of checks whose newest evidence no longer stands, or that were not run."""
    evidence = evidence_of(workspace.record, change)
    gone = outdated(workspace, project, evidence)
    last = newest(evidence, gone)
    return tuple(dict.fromkeys(p.check for p in last if p.digest in gone or p.not_run))
