"""What commands answer as JSON, and the way back: one shape at the terminal and over HTTP.

Nothing here reads or decides. Who asks a server gets the values of `app` again from
what it said, so that they are shown as if the command had run here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from interlock.change.change import Change
from interlock.errors import InterlockError, Invalid, Problem

if TYPE_CHECKING:
    from interlock.app.audit import Audited
    from interlock.app.changes import Standing
    from interlock.change.evidence import Evidence
    from interlock.plan.plan import Plan

Json = dict[str, Any]
_BRIEF = ("id", "title", "author", "environment", "state", "said", "plan_digest", "release")


def plan_json(made: Plan) -> Json:
    """The plan as data, with the digest by which people sign it."""
    return {**made.to_json(), "digest": made.digest}


def plan_of(body: Mapping[str, Any]) -> Plan:
    """The inverse of `plan_json`."""
    from interlock.plan.plan import Plan

    return Plan.from_json({name: said for name, said in body.items() if name != "digest"})


def changes_json(found: Sequence[Change]) -> list[Json]:
    """Changes in brief: what a list shows."""
    return [
        {**{name: getattr(one, name) for name in _BRIEF}, "opened_at": one.opened_at.isoformat()}
        for one in found
    ]


def changes_of(body: Sequence[Mapping[str, Any]]) -> list[Change]:
    """The inverse of `changes_json`; what is not brief is not there."""
    return [Change.from_json(one) for one in body]


def blocking(found: Standing) -> tuple[str, ...]:
    """Checks the plan asks for, that were made and do not pass, and that nobody waived."""
    change = found.change
    needed = (change.plan or {}).get("evidence", ()) if change else ()
    waived = {waiver.check for waiver in change.waivers} if change else set()
    failed = [piece.check for piece in found.evidence if piece.verdict != "pass"]
    return tuple(dict.fromkeys(c for c in failed if c in needed and c not in waived))


def next_of(found: Standing, change: Change) -> str:
    """What moves this change on: a command, or what has to happen first."""
    stuck = blocking(found)
    match change.state:
        case "EVIDENCE" if stopped := change.details.get("stopped"):
            return f"mend what {stopped[0]} found or waive it, then interlock prove {change.id}"
        case "DRAFT" | "PLANNED" | "EVIDENCE":
            return "interlock propose, again: gathering its evidence did not end"
        case "DEFERRED":
            return f"interlock replan {change.id}, when what it waits for is through"
        case "REVIEW" if stuck:
            return f"mend what {stuck[0]} found and propose again, or `interlock waive` it"
        case "REVIEW":
            return f"interlock approve {change.id} --by NAME --role ROLE --team TEAM"
        case "APPROVED" | "SCHEDULED":
            return f"interlock apply {change.id} --by NAME"
        case _ if help := _held(change):
            return help
        case "PREPARING" | "SHADOW" | "STEP" | "SOAKING" | "ABORTING" | "REVERTING":
            return "interlock tick"
        case "COMMITTED":
            return f"nothing; while its rollback window lasts: interlock rollback {change.id}"
        case _:
            return "nothing: it has ended"


def _held(change: Change) -> str:
    from interlock.rollout.help import help_of
    from interlock.rollout.state import HoldReason

    rollout = change.details.get("rollout")
    if rollout is None or not change.open:
        return ""
    hold = rollout["hold"] and HoldReason(rollout["hold"])
    return help_of(change.id, hold, rollout["said"])


def status_json(found: Standing) -> Json:
    """All that `status` knows; a list of changes is brief, one change is whole."""
    body: Json = {"environment": found.environment, "route": found.route.to_json()}
    if found.change is None:
        if found.stores.standing:
            said = list(found.stores.sentences)
            body |= {"stores": list(found.stores.standing), "stores_said": said}
        if found.refreshes:
            body["refreshes"] = list(found.refreshes)
        if found.budgets:
            body["budgets"] = list(found.budgets)
        return {**body, "changes": changes_json(found.changes)}
    return {
        **body,
        "change": found.change.to_json(),
        "evidence": [evidence_json(one) for one in found.evidence],
        "blocking": list(blocking(found)),
        "judgement": found.judgement,
        "objections": list(found.objections),
        "next": next_of(found, found.change),
        "layers": [one.to_json() for one in found.layers],
        **({"beside": list(found.beside)} if found.beside else {}),
    }


def standing_of(body: Mapping[str, Any]) -> Standing:
    """The inverse of `status_json`."""
    from interlock.app.changes import Standing
    from interlock.app.stores import Stores
    from interlock.change.accountable import LayerStanding
    from interlock.define.release import Route

    change = body.get("change")
    return Standing(
        body["environment"],
        Route.from_json(body["route"]),
        tuple(changes_of(body.get("changes", ()))),
        Change.from_json(change) if change else None,
        tuple(map(evidence_of, body.get("evidence", ()))),
        body.get("judgement"),
        tuple(body.get("objections", ())),
        Stores(tuple(body.get("stores", ())), tuple(body.get("stores_said", ()))),
        tuple(body.get("refreshes", ())),
        tuple(map(LayerStanding.from_json, body.get("layers", ()))),
        tuple(body.get("budgets", ())),
        tuple(body.get("beside", ())),
    )


def evidence_json(found: Evidence) -> Json:
    """One check with its address."""
    return {**found.to_json(), "digest": found.digest}


def evidence_of(body: Mapping[str, Any]) -> Evidence:
    """The inverse of `evidence_json`."""
    from interlock.change.evidence import Evidence

    return Evidence.from_json({name: said for name, said in body.items() if name != "digest"})


def error_json(error: InterlockError) -> Json:
    """All that an error says."""
    problems = error.problems if isinstance(error, Invalid) else ()
    return {
        "error": error.code,
        "message": error.message,
        "help": error.help,
        "objections": list(error.objections),
        "problems": [dict(problem.__dict__) for problem in problems],
        "notes": list(getattr(error, "__notes__", ())),
    }


def error_of(body: Mapping[str, Any]) -> InterlockError:
    """The inverse of `error_json`; a code that is not known here is told as it is."""
    kind = _kinds(InterlockError).get(str(body.get("error")), InterlockError)
    said = (str(body.get("message")), str(body.get("help", "")), tuple(body.get("objections", ())))
    problems = tuple(Problem(**one) for one in body.get("problems", ()))
    error = kind(*said, problems) if issubclass(kind, Invalid) else kind(*said)
    for note in body.get("notes", ()):
        error.add_note(note)
    return error


def _kinds(root: type[InterlockError]) -> dict[str, type[InterlockError]]:
    below = (_kinds(kind) for kind in root.__subclasses__() if kind.__module__ == root.__module__)
    return {root.code: root, **{code: kind for found in below for code, kind in found.items()}}


def audited_json(found: Audited) -> Json:
    """The size, the root, and what does not add up."""
    return asdict(found)
