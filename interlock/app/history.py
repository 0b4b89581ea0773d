"""Looking back: one stored check."""

from __future__ import annotations

from interlock.app.workspace import Workspace
from interlock.change.evidence import Evidence
from interlock.errors import NotFound

_FEWEST = 4


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
