"""What was refused because it was not what it claimed to be: kept, to be known later.

A refusal by policy is kept as a decision. These are the others: a plan, a request or a
checkpoint that somebody made up, sent twice, or took from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from interlock.define.digest import digest
from interlock.define.refs import Ref
from interlock.errors import Stale
from interlock.ports import Json, Put

if TYPE_CHECKING:
    from interlock.app.workspace import Workspace


def keep(workspace: Workspace, what: str, said: Sequence[str], *, by: str, shown: Json) -> None:
    """One entry for each thing that was `shown`; the same again is known already.

    Failing to keep it does not make it less of a refusal.
    """
    ref = Ref("refusal", f"{what}-{digest(dict(shown))[:16]}")
    if workspace.record.get(ref) is not None:
        return
    body = {"what": what, "said": list(said), **shown}
    try:
        workspace.record.write([Put(ref, body, 0)], by=by, at=workspace.now())
    except Stale:
        return  # the same, kept by somebody else in this moment
