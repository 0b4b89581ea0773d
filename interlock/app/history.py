"""Looking back: one stored check, and whether the past is intact."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.app.workspace import Workspace
from interlock.change.audit import Checkpoint, checkpoint, entries_of, verify_audit
from interlock.change.evidence import Evidence
from interlock.errors import NotFound, Unusable

_FEWEST = 4


@dataclass(frozen=True)
class Audited:
    """The audit of a record: how many writes, their root, and what does not add up."""

    size: int
    root: str
    objections: tuple[str, ...]


def audit(workspace: Workspace, kept: str = "") -> Audited:
    """Compare every audit leaf with what the record holds.

    `kept` is `SIZE:ROOT` as an earlier audit gave it, kept where the record's writers
    cannot reach: only that shows a past that was cut off or written anew.
    """
    leaves = workspace.record.audit()
    found = verify_audit(leaves, entries_of(workspace.record), _checkpoint(kept))
    now = checkpoint(leaves)
    return Audited(now.size, now.root, tuple(found))


def _checkpoint(kept: str) -> Checkpoint | None:
    size, _, root = kept.partition(":")
    if not kept:
        return None
    if not size.isdigit() or len(root) != 64:
        raise Unusable(f"{kept!r} is not a checkpoint", help="write SIZE:ROOT as `audit` gave it")
    return Checkpoint(int(size), root)


def evidence(workspace: Workspace, digest: str) -> Evidence:
    """The stored check whose digest starts with `digest`."""
    entries = workspace.record.list("evidence")
    found = [e for e in entries if len(digest) >= _FEWEST and e.ref.name.startswith(digest)]
    if len(found) == 1:
        return Evidence.from_json(found[0].body)
    many = f"{len(found)} checks start" if found else "no check starts"
    raise NotFound(
        f"{many} with {digest}", help="`interlock status CR-n --json` lists checks and digests"
    )
