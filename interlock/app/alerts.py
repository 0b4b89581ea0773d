"""What watching found wrong, kept while it is so: pages show it, and people are told once.

A sentence may count hours and so be another at every look. What is wrong has a name of its
own, and only when a name comes or goes is anything written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from interlock.change.alerted import Alerts
from interlock.define.refs import Ref
from interlock.errors import Stale
from interlock.ports import Put, RecordReader

if TYPE_CHECKING:
    from interlock.app.workspace import Workspace


@dataclass(frozen=True)
class Wrong:
    """Something that is wrong now: under which name, in words, and which team answers for it."""

    name: str
    sentence: str
    team: str = ""


def address(environment: str) -> Ref:
    """Where the alerts of an environment stand."""
    return Ref("note", f"alerts-{environment}")


def standing(record: RecordReader, environment: str) -> Alerts:
    """The alerts that were there when somebody watched last."""
    entry = record.get(address(environment))
    return entry.body["alerts"] if entry else {}


def keep(workspace: Workspace, found: Iterable[Wrong]) -> None:
    """Write down what is wrong now, unless the same was wrong before."""
    ref, now = address(workspace.environment), workspace.now()
    entry = workspace.record.get(ref)
    before: Alerts = entry.body["alerts"] if entry else {}
    alerts = {one.name: _alert(one, before, now) for one in found}
    if alerts.keys() == before.keys():
        return
    put = Put(ref, {"alerts": alerts}, entry.version if entry else 0)
    try:
        workspace.record.write([put], by="watch", at=now)
    except Stale:
        return  # somebody else watched in the same moment


def _alert(one: Wrong, before: Alerts, now: datetime) -> dict[str, str]:
    since = before[one.name]["since"] if one.name in before else now.isoformat()
    return {"sentence": one.sentence, "team": one.team, "since": since}
