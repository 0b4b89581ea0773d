"""What is told that is no transition of a change: a trigger that fired, and alerts of watching.

Pure functions of what the record holds. A trigger is told once, however often its entry is
written again; alerts when one begins and when one is over, and not while they go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from interlock.change.notes import Note
from interlock.ports import Entry, Json

Alerts = Mapping[str, Json]
"""By what is wrong: its `sentence`, the `team` that answers for it, `since` when."""


def notes_of(history: Sequence[Entry], after: int) -> list[Note]:
    """What the versions newer than `after` tell; `history` may begin with the one before."""
    found, before = [], None
    for one in history:
        if one.version > after:
            told = _trigger(one) if one.ref.kind == "trigger" else _alerts(before, one)
            found += [told] if told else []
        before = one
    return found


def _trigger(entry: Entry) -> Note | None:
    if entry.version > 1:
        return None  # only the change that it led to was added
    body = entry.body
    facts = "\n".join(f"{name}: {value}" for name, value in body.get("facts", {}).items())
    return Note(
        "", entry.version, "TRIGGER", entry.written_at, entry.by,
        f"Retraining of {body['model']} is due",
        f"What: {body['sentence']}.\nNext: a change is opened for it; nothing is released unasked.",
        f"{entry.ref}\n{facts}".rstrip(),
        tuple(body.get("teams", ())),
        about=str(entry.ref),
    )  # fmt: skip


def _alerts(before: Entry | None, entry: Entry) -> Note | None:
    was: Alerts = before.body["alerts"] if before else {}
    now: Alerts = entry.body["alerts"]
    new = {name: one for name, one in now.items() if name not in was}
    over = {name: one for name, one in was.items() if name not in now}
    if not new and not over:
        return None
    lines = [f"Now: {one['sentence']}." for one in new.values()]
    lines += [f"No longer seen: {one['sentence']}." for one in over.values()]
    count = f"{len(new)} new" if new else f"{len(over)} no longer seen"
    teams = {one["team"] for one in (*new.values(), *over.values()) if one["team"]}
    return Note(
        "", entry.version, "ALERT", entry.written_at, entry.by,
        f"Alerts: {count}, {len(now)} in all",
        "\n".join(lines),
        "\n".join(f"{name} since {one['since']}" for name, one in now.items()) or "none is left",
        tuple(sorted(teams)),
        about=str(entry.ref),
    )  # fmt: skip
