"""States of a change as people say them, and what happened between two versions of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from interlock.ports import Entry, Json
from interlock.web.views import Move
from interlock.web.words import percent

_LABELS: Mapping[str, str] = {
    "DRAFT": "Draft", "PLANNED": "Planned", "EVIDENCE": "Gathering evidence",
    "REVIEW": "In review", "APPROVED": "Approved", "SCHEDULED": "Scheduled",
    "PREPARING": "Preparing", "SHADOW": "Mirroring", "SOAKING": "Soaking",
    "COMMITTED": "Committed", "RETIRED": "Committed for good", "ABORTING": "Rolling back",
    "REVERTING": "Taking back", "ABORTED": "Rolled back", "UNCHOSEN": "Not chosen",
    "WITHDRAWN": "Withdrawn",
}  # fmt: skip


def state_label(body: Mapping[str, Any]) -> str:
    """The state of a change (its entry's body) in words: `At 25 %`, not `STEP`."""
    state: str = body["state"]
    if state == "STEP":
        rollout = body["details"]["rollout"]
        weight = rollout["stages"][rollout["index"]]["weight"]
        return f"At {percent(weight / rollout.get('places', 1))}"
    return _LABELS.get(state, state.capitalize())


def moves_between(before: Entry | None, entry: Entry) -> Iterator[Move]:
    """What the version `entry` added to the story, oldest first."""
    old: Json = before.body if before else {}
    new = entry.body
    here, there = state_label(old) if old else "", state_label(new)
    for signoff in _added(old, new, "signoffs"):
        yield Move(entry.written_at, "", *_signed(signoff))
    for waiver in _added(old, new, "waivers"):
        said = f"Waived {waiver['check']}"
        yield Move(entry.written_at, "", said, waiver["by"], waiver["reason"])
    asked = new.get("details", {}).get("request")
    if asked and asked != old.get("details", {}).get("request"):
        yield Move(entry.written_at, "", f"Asked to {asked['kind']}", asked["by"], asked["reason"])
    yield from _stood_still(old, entry)
    if here != there:
        yield Move(entry.written_at, here, there, entry.by, new.get("said", ""))


def _added(old: Json, new: Json, name: str) -> list[Json]:
    known = old.get(name, [])
    return [one for one in new.get(name, []) if one not in known]


def _signed(signoff: Json) -> tuple[str, str, str]:
    role, team = signoff["role"].replace("_", " "), signoff["team"]
    word = "Rejected" if signoff["decision"] == "reject" else "Signed"
    return f"{word} as {role} of {team}", signoff["person"], signoff["reason"]


def _stood_still(old: Json, entry: Entry) -> Iterator[Move]:
    """A hold that began; that it ended shows in the next move."""
    was = (old.get("details", {}).get("rollout") or {}).get("hold")
    rollout = entry.body.get("details", {}).get("rollout") or {}
    if rollout.get("hold") and rollout["hold"] != was:
        yield Move(entry.written_at, "", "On hold", entry.by, rollout["said"])
