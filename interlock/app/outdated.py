"""Which evidence a refresh has taken the ground from, and making only that anew.

Plan, slot and signatures stay: the checks are the same, on the rows of today.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
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
    from interlock.app.versions import Version
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
    """Make what is outdated anew; a change whose evidence all stands is left as it is.

    Raises `Refused` for a change that has no evidence to stand on, or has begun.
    """
    from interlock.app.propose import gather, measure
    from interlock.app.refresh import follow
    from interlock.app.stored import as_promised
    from interlock.app.versions import stable, stored
    from interlock.plan.plan import Plan

    change = held(workspace.record, id).change
    if change.state not in BEFORE or change.plan is None or not change.release:
        raise Refused(
            f"{id} is {change.state}: its evidence is not asked for now",
            help=f"`interlock status {id}` says what comes next",
        )
    old, new = stable(workspace), stored(workspace, change.release)
    checks = lost(workspace, (old or new).project, change)
    if not checks:
        return change
    with as_promised(new.project, workspace.warehouse):
        follow(workspace, new, say)
        plan = replace(Plan.from_json(change.plan), evidence=checks)
        models = [new.project.models[name] for name in _models_of(new, checks)]
        measured = {m.model: measure(workspace, old, new, m, say) for m in models}
        made = gather(workspace, old, new, plan, measured, say)
    keep_evidence(workspace, made, by=change.author)
    return update(workspace, id, change.author, partial(with_more, made=made))


def lost(workspace: Workspace, project: Project, change: Change) -> tuple[str, ...]:
    """Names of checks that were made, and whose newest evidence no longer stands."""
    evidence = evidence_of(workspace.record, change)
    gone = outdated(workspace, project, evidence)
    return tuple(dict.fromkeys(p.check for p in newest(evidence, gone) if p.digest in gone))


def _models_of(version: Version, checks: Sequence[str]) -> tuple[str, ...]:
    """Models that have to be scored again for `checks`."""
    asked = [check.partition(":")[::2] for check in checks]
    found = {name for kind, name in asked if kind in ("model_comparison", "null_rehearsal")}
    services = [version.project.services[name] for kind, name in asked if kind == "kpi"]
    found |= {name for service in services for name in service.models}
    return tuple(name for name in version.project.models if name in found)
