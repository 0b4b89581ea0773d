"""Looking back, calendar, policies and proofs asked of a server; `remote` has the table.

Each function is a command: it sends what the command was given, and shows what came back
as the command shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from interlock.cli.arguments import say, show
from interlock.cli.client import Client, part

Given = Mapping[str, Any]
Call = Callable[[Client, Given], int]


def _same(body: Any) -> Any:
    return body


def _shown(
    body: Any, given: Given, human: Callable[[Any], str], value: Callable[[Any], Any]
) -> Any:
    """Show `body` as the command here would; gives the value it stands for."""
    found = value(body)
    show(body, given["as_json"], lambda _: human(found), _same)
    return found


# --- looking back ---------------------------------------------------------------------


def _notes(at: Client, given: Given) -> int:
    from interlock.app import returned
    from interlock.cli import lookback

    if given["story"]:
        body = at.get(f"/changes/{part(given['about'])}/story")
        _shown(body, given, lookback.told_lines, returned.stories_of)
        return 0
    body = at.get("/notes", about=given["about"])
    _shown(body, given, lookback.noted, returned.notes_of)
    return 0


def _scorecard(at: Client, given: Given) -> int:
    from interlock.app.returned import scorecard_of
    from interlock.cli.lookback import scored

    body = at.get("/scorecard", **{name: given[name] for name in ("team", "since", "until")})
    _shown(body, given, scored, scorecard_of)
    return 0


def _review(at: Client, given: Given) -> int:
    from interlock.app.returned import looked_of
    from interlock.cli import lookback

    lookback.refuse_stray(given)
    path, by = f"/changes/{part(given['change'])}/review", {"by": given["by"] or ""}
    if given["feedback"]:
        said = {"text": given["feedback"], "section": given["section"]}
        at.post(f"{path}/feedback", {**said, **by})
    if given["action"]:
        wanted = {"text": given["action"], "check": given["check"], "sql": given["sql"]}
        at.post(f"{path}/actions", {**wanted, **by})
    if given["done"]:
        at.post(f"{path}/actions/{given['done']}/done", by)
    if given["close"]:
        at.post(f"{path}/close", {"finding": given["finding"], **by})
    _shown(at.get(path), given, lookback.reviewed, looked_of)
    return 0


# --- the calendar, and what is told ---------------------------------------------------


def _calendar(at: Client, given: Given) -> int:
    from interlock.app.atomic import replaced
    from interlock.app.returned import shown_of
    from interlock.cli.calendar import shown

    if given["ics"] is None:
        _shown(at.get("/agenda", days=str(given["days"])), given, shown, shown_of)
        return 0
    text = at.fetch("/calendar.ics")
    with replaced(given["ics"]) as beside:
        beside.write_bytes(text)
    say(f"the calendar is in {given['ics']}", given["as_json"])
    return 0


def _book(at: Client, given: Given) -> int:
    from interlock.app.returned import booked_of
    from interlock.cli.calendar import begins, booked

    start = begins(given["at"], given["next"])
    body = {"by": given["by"] or "", "at": start.isoformat() if start else None}
    made = at.post(f"/changes/{part(given['change'])}/booking", body)
    _shown(made, given, booked, lambda one: booked_of(one, given["environment"]))
    return 0


def _outbox(at: Client, given: Given) -> int:
    from interlock.app.returned import outbox_of
    from interlock.cli import telling

    telling.refuse_unknown(given["action"], given["id"])
    if given["action"]:
        done = at.post(f"/outbox/{part(given['id'])}/retry", {"by": given["by"] or ""})
        say(done["said"], given["as_json"])
    else:
        _shown(at.get("/outbox"), given, telling.lines, outbox_of)
    return 0


# --- proofs ---------------------------------------------------------------------------


def _audit_verify(at: Client, given: Given) -> int:
    from interlock.app.returned import audited_of
    from interlock.cli import audit, views

    texts = [audit.read_text(name) for name in given["against"] or []]
    body = at.get("/audit", against=texts, key=given["key"])
    found = _shown(body, given, views.audited, audited_of)
    return 3 if found.objections else 0


def _checkpoint(at: Client, given: Given) -> int:
    from interlock.cli.audit import give

    said = at.get("/audit/key" if given["key"] else "/audit/checkpoint")["said"]
    give(said, given["out"], given["as_json"])
    return 0


def _prove(at: Client, given: Given) -> int:
    from interlock.cli.audit import give_proof

    found = at.get("/audit/proof", ref=given["ref"], version=str(given["version"] or ""))
    give_proof(found, given["out"])
    return 0


def _bundle(at: Client, given: Given) -> int:
    from interlock.cli.bundles import keep

    data = at.fetch(f"/changes/{part(given['change'])}/bundle")
    keep(data, given["change"], given["out"], given["as_json"])
    return 0


# --- policies -------------------------------------------------------------------------


def _policy_test(at: Client, given: Given) -> int:
    from interlock.app.policies import about_policies, given_texts
    from interlock.app.returned import tests_of
    from interlock.cli.policy import tested

    folder = Path(given["folder"]).resolve()
    body = {"files": about_policies(folder), "cases": given_texts(given["files"] or ())}
    found = _shown(at.post("/policies/test", body), given, tested, tests_of)
    return 3 if found.failed else 0


def _policy_replay(at: Client, given: Given) -> int:
    from interlock.app.returned import replays_of
    from interlock.app.weighing import policies_in
    from interlock.cli.policy import replayed

    policies = policies_in(given["policies"] or Path(given["folder"]).resolve() / "policies")
    body = at.post("/policies/replay", {"files": policies})
    found = _shown(body, given, replayed, replays_of)
    return 2 if found.differing else 0


def _policy_explain(at: Client, given: Given) -> int:
    from interlock.app.returned import explained_of
    from interlock.cli.policy import explained

    path = f"/changes/{part(given['change'])}/policies"
    body = at.get(path, by=given["by"], action=given["action"])
    _shown(body, given, explained, explained_of)
    return 0


CALLS: Mapping[str, Call] = {
    "notes": _notes, "scorecard": _scorecard, "review": _review, "calendar": _calendar,
    "book": _book, "outbox": _outbox, "audit verify": _audit_verify,
    "audit checkpoint": _checkpoint, "audit prove": _prove, "bundle": _bundle,
    "policy test": _policy_test, "policy replay": _policy_replay,
    "policy explain": _policy_explain,
}  # fmt: skip
