"""What the commands show: each value once for people and once as JSON.

Nothing here reads or decides; a view that needs to know more means that a value of
`app` says too little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from interlock.app.answers import next_of
from interlock.change.change import Change
from interlock.cli.page import (
    bullets,
    facts,
    heading,
    instant,
    number,
    outline,
    page,
    short,
    table,
)
from interlock.define.release import Route, said_of
from interlock.plan.plan import Plan

if TYPE_CHECKING:
    from rich.console import RenderableType

    from interlock.app.adopt import Adopted
    from interlock.app.audit import Audited, Erased
    from interlock.app.bundle import Verified
    from interlock.app.changes import Standing
    from interlock.app.traffic import Played
    from interlock.change.accountable import LayerStanding
    from interlock.change.evidence import Evidence
    from interlock.define.project import Project

Json = dict[str, Any]


class Watched(Protocol):
    """What looking after models found."""

    @property
    def sentences(self) -> Sequence[str]: ...
    def to_json(self) -> Any: ...


# --- definitions and plans ----------------------------------------------------------


@dataclass(frozen=True)
class Checked:
    """A project without problems, and what its readers should know."""

    project: Project
    warnings: Sequence[str]


def checked(found: Checked) -> str:
    """One line that says what was read, then a line for each warning."""
    parts = ", ".join(f"{n} {noun}" for noun, n in _counts(found.project).items())
    warned = (f"warning: {said}" for said in found.warnings)
    return "\n".join([f"{found.project.name}: {parts}: no problems", *warned])


def checked_json(found: Checked) -> Json:
    return {
        "project": found.project.name, **_counts(found.project), "problems": [],
        "warnings": list(found.warnings),
    }  # fmt: skip


def _counts(project: Project) -> dict[str, int]:
    return {name: len(getattr(project, name)) for name in ("tables", "views", "models", "services")}


def plan(made: Plan) -> str:
    """The plan as `plan.explain` says it."""
    from interlock.plan.explain import explain

    return outline(explain(made))


# --- changes ------------------------------------------------------------------------


def changes(found: Sequence[Change]) -> str:
    """Every change on one line."""
    if not found:
        return "no change yet\nnext: interlock propose"
    rows = [(c.id, c.state, instant(c.opened_at)[:10], c.author, c.title) for c in found]
    return page(table(("change", "state", "opened", "by", "title"), rows))


def proposed(found: Standing) -> str:
    """The change that was just opened: its plan, then where it stands."""
    assert found.change is not None
    return f"{plan(Plan.from_json(found.change.plan or {}))}\n{status(found)}"


def status(found: Standing) -> str:
    """The environment, or one change."""
    return page(*(_one(found, found.change) if found.change else _environment(found)))


def _candidates(route: Route) -> str:
    """Each candidate with its share of subjects, the change that brings it, and the stage."""
    who = f", {said_of(route.filter)}" if route.filter else ""
    told = []
    for one in route.candidates:
        share = route.share_of(one.change)
        shown = f"{share:.0%} of subjects" if share else "mirrored, shown to nobody"
        told.append(f"{short(one.release)}: {shown}{who} ({one.change}, {route.stage})")
    return "; ".join(told)


def _environment(found: Standing) -> Iterator[RenderableType]:
    route = found.route
    yield facts(
        (
            ("environment", f"{found.environment}, epoch {route.epoch}"),
            ("stable", short(route.stable)),
            ("candidate", _candidates(route)),
            ("blocked", ", ".join(map(short, route.blocked))),
            ("online stores", "; ".join(found.stores.sentences or map(_store, found.stores[0]))),
        )
    )
    if found.refreshes:
        yield heading("refreshes")
        yield bullets(found.refreshes)
    if found.budgets:
        yield heading("error budgets, last four weeks")
        yield bullets(found.budgets)
    yield heading("changes")
    yield changes(found.changes)


def _store(standing: Json) -> str:
    return f"{standing['store']} {'is read' if standing['reading'] else 'stands by'}"


def _one(found: Standing, change: Change) -> Iterator[RenderableType]:
    beside = ("runs beside", ", ".join(found.beside))
    yield facts((*_about(change), beside))
    rollout = change.details.get("rollout")
    if rollout:
        yield from _rollout(rollout)
    if found.judgement:
        yield from _judged(found.judgement)
    if found.evidence:
        yield from _checks(found.evidence)
    if found.layers:
        yield heading("layers, in order")
        yield table(("layer", "", "answers for it", "signed"), map(_layer, found.layers))
    if change.signoffs or change.waivers:
        yield heading("signed")
        yield bullets(_signatures(change))
    if found.objections:
        yield heading("still open")
        yield bullets(found.objections)
    yield f"\nnext: {next_of(found, change)}"


def _layer(one: LayerStanding) -> tuple[str, ...]:
    return one.layer, one.word, ", ".join(one.accountable), ", ".join(one.signed)


def _about(change: Change) -> Iterator[tuple[str, object]]:
    yield change.id, change.title
    yield "state", f"{change.state}{': ' if change.said else ''}{change.said}"
    yield "opened", f"{instant(change.opened_at)} by {change.author}"
    yield "why", change.reason
    yield "expected", change.expected
    yield "take back", change.rollback_criteria
    yield "risks", change.risks
    yield "watch", "; ".join(change.metrics)
    yield "within", "; ".join(change.bounds)
    yield "emergency", change.emergency
    yield "review due", change.review_due
    yield "because", (change.because or {}).get("sentence")
    against = short(change.made_against, "nothing: it is the first release")
    yield "plan", f"{short(change.plan_digest)} against {against}" if change.plan else "none yet"
    yield "release", short(change.release, "")


def _rollout(rollout: Mapping[str, Any]) -> Iterator[RenderableType]:
    moves = [
        (instant(move["at"]), move["stage"] or move["state"], move["sentence"])
        for move in rollout["history"]
    ]
    yield heading("rollout")
    if moves:
        yield table(("at", "stage", "why"), moves)
    if rollout["hold"]:
        yield f"held ({rollout['hold']}): {rollout['said']}"


def _judged(judgement: Mapping[str, Any]) -> Iterator[RenderableType]:
    where = f"{judgement['stage']}, {instant(judgement['at'])}"
    yield heading(f"judged ({where}): {judgement['sentence']}")
    yield table(
        ("guardrail", "verdict", "stable", "candidate", "difference"),
        [
            (
                one["name"], one["verdict"].replace("_", " "), number(one["mean_stable"]),
                number(one["mean_candidate"]), _interval(one["interval"]),
            )
            for one in judgement["per_guardrail"]
        ],
    )  # fmt: skip


def _interval(bounds: Sequence[float] | None) -> str:
    return f"[{number(bounds[0])}, {number(bounds[1])}]" if bounds else "-"


def _checks(evidence: Sequence[Evidence]) -> Iterator[RenderableType]:
    """What did not pass or was measured with bounds, in full; the rest is counted."""
    told = [piece for piece in evidence if piece.verdict != "pass" or piece.interval]
    counts: dict[str, int] = {}
    for piece in evidence:
        if piece not in told:
            kind = piece.check.partition(":")[0]
            counts[kind] = counts.get(kind, 0) + 1
    yield heading("evidence")
    if told:
        rows = [(e.verdict, e.check, e.sentence) for e in told]
        yield table(("verdict", "check", "what it says"), rows)
    if counts:
        also = ", ".join(f"{n} {kind}" for kind, n in counts.items())
        yield f"{'also ' if told else ''}passed: {also}"


def _signatures(change: Change) -> Iterator[str]:
    for signoff in change.signoffs:
        void = "" if signoff.plan_digest == change.plan_digest else " (another plan: void)"
        why = f": {signoff.reason}" if signoff.reason else ""
        yield f"{signoff.decision} by {signoff.person}, {signoff.role} of {signoff.team}{why}{void}"
    yield from map(str, change.waivers)


# --- one piece of evidence, the audit -----------------------------------------------


def evidence(found: Evidence) -> str:
    """One check: what it says, how sure it is, and exactly what it was made on."""
    parts: list[RenderableType] = [
        facts(
            (
                ("check", found.check),
                ("verdict", found.verdict),
                ("says", found.sentence),
                ("measured", number(found.value) if found.value is not None else ""),
                ("between", _interval(found.interval) if found.interval else ""),
                ("baseline", number(found.baseline) if found.baseline is not None else ""),
                ("on", f"{number(found.n)} rows" if found.n is not None else ""),
                ("made", instant(found.made_at)),
                ("expires", instant(found.expires_at)),
                ("digest", found.digest),
            )
        ),
        heading("made on"),
        bullets(f"{ref} {short(digest)}" for ref, digest in sorted(found.subjects.items())),
    ]
    return page(*parts)


def audited(found: Audited) -> str:
    """The root to keep elsewhere, and everything that does not add up."""
    held = f"{found.against} checkpoint" + ("s" if found.against > 1 else "")
    back = f"{found.backwards} writes are dated before an earlier one: a clock went back"
    said = facts(
        (
            ("writes", found.size),
            ("root", found.root),
            ("held against", held if found.against else ""),
            ("clock", back if found.backwards else ""),
        )
    )
    if not found.objections:
        return page(said, "every write is there and unchanged")
    return page(said, heading("does not add up"), bullets(found.objections))


def verified(found: Verified) -> str:
    """What a file proves, whose word that is, and everything against it."""
    whose = "as you said" if found.trusted else "its own: whose it is, only --key tells"
    said = facts(
        (("file", found.what), ("key", found.key), ("trusted", whose), ("writes", found.size))
    )
    if not found.objections:
        return page(said, "every byte is as it was signed")
    return page(said, heading("does not hold"), bullets(found.objections))


def erased(found: Erased) -> str:
    """Who stands there now, and where the name still stands."""
    said = f"{found.pseudonym} stands for this person now, and nothing leads back"
    if not found.left:
        return page(said)
    return page(said, heading("the name still stands here"), bullets(found.left))


# --- traffic and watching -----------------------------------------------------------


def played(found: Played) -> str:
    """What callers were told."""
    each = (f"{short(release)}: {n:,}" for release, n in sorted(found.releases.items()))
    why = (f"{reason}: {n:,}" for reason, n in sorted(found.reasons.items()))
    mixed = f"{found.mixed:,} of {found.flags_asked:,} comparisons told two releases at once"
    said = facts(
        (
            ("requests", f"{found.requests:,} with {found.rows:,} rows"),
            ("releases", ", ".join(each)),
            ("reasons", ", ".join(why)),
            ("stale rows", f"{found.stale:,}"),
            ("mean score", number(found.mean_score)),
            ("mixed", mixed),
        )
    )
    return page(said, *([heading("errors"), bullets(found.errors)] if found.errors else []))


def played_json(found: Played) -> Json:
    return {**asdict(found), "mean_score": found.mean_score}


def watched(found: Watched) -> str:
    """One sentence for each thing that was looked at."""
    return "\n".join(found.sentences) or "nothing is live yet"


def watched_json(found: Watched) -> Any:
    return found.to_json()


def adopted(found: Adopted) -> str:
    """What was done to the folder, file by file."""
    lines = [
        *(f"wrote {file}" for file in found.written),
        *(f"removed {file}" for file in found.removed),
    ]
    kept = [f"kept {file}, which {found.change} does not have" for file in found.kept]
    return "\n".join([*(lines or [f"the folder says what {found.change} says"]), *kept])


def adopted_json(found: Adopted) -> Json:
    return asdict(found)


def said(text: str) -> str:
    """A sentence as it is."""
    return text
