"""A plan for people: short, in the order in which one asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from interlock.define.durations import format_duration
from interlock.impact.difference import Difference
from interlock.impact.graph import Reached
from interlock.plan.plan import Estimate, Plan, Required, Slot
from interlock.plan.steps import sentence

_SIGN = {"added": "+", "changed": "~", "removed": "-"}
_FEW = 6


def explain(plan: Plan) -> str:
    """The whole plan as text; `nothing to do` when there is nothing."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    against = f"made against {plan.made_against[:12]}" if plan.made_against else "first release"
    if plan.empty:
        yield f"{plan.project} in {plan.environment}: nothing to do ({against})"
        yield from _section("notes", plan.notes)
        return
    yield f"plan {plan.digest[:12]} for {plan.project} in {plan.environment}, {against}"
    yield from _section("blocked", plan.objections)
    yield from _section("changes", (part for d in plan.differences for part in difference_lines(d)))
    yield from _section("reaches", _reached(plan.reached))
    yield from _section("untouched", _untouched(plan))
    yield from _section("steps", (f"{n}. {sentence(s)}" for n, s in enumerate(plan.steps, 1)))
    yield from _section("must sign", (_signer(required) for required in plan.requirements))
    yield from _section("evidence needed", _evidence(plan.evidence))
    yield from _section("notes", plan.notes)
    yield from _section("takes", (_takes(plan.estimate),))
    yield from _section("when", (_slot(plan.slot),))


def _untouched(plan: Plan) -> Iterator[str]:
    """Names while they are few, else how many of each kind."""
    for kind in ("feature", "model", "service"):
        names = [str(ref).partition(":")[2] for ref in plan.untouched if ref.kind == kind]
        if names:
            more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
            yield f"{kind}: {', '.join(names[:_FEW])}{more}"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in found)


def difference_lines(difference: Difference) -> Iterator[str]:
    """One thing that changed, and under it what of it."""
    additive = " (nobody who reads it is affected)" if difference.additive else ""
    plain = difference.change != "changed"
    yield f"{_SIGN[difference.change]} {difference.ref}{'' if plain else additive}"
    if difference.row_set != "same":
        yield f"    rows: {difference.row_set}"
    yield from (f"    {reason}" for reason in difference.reasons)
    yield from (f"    {name} changed (no value moves)" for name in difference.settings)
    for name, verdict in difference.columns.items():
        yield f"    {name}: {verdict.verdict}" + (f", {verdict.reason}" if verdict.reason else "")


def _reached(reached: Iterable[Reached]) -> Iterator[str]:
    """Services first: they are what people answer for; features that start alike are counted."""
    found = sorted(reached, key=lambda one: ("service", "model", "feature").index(one.ref.kind))
    features = [one for one in found if one.ref.kind == "feature"]
    yield from (one.sentence for one in found if one.ref.kind != "feature")
    yield from (one.sentence for one in features[:_FEW])
    if len(features) > _FEW:
        yield f"and {len(features) - _FEW} more features"


def _signer(required: Required) -> str:
    people = " or ".join(required.people)
    return f"{required.role} of {required.team} ({people}): {required.why}"


def _evidence(checks: Iterable[str]) -> Iterator[str]:
    grouped: dict[str, list[str]] = {}
    for check in checks:
        kind, _, name = check.partition(":")
        grouped.setdefault(kind, []).append(name)
    for kind, names in grouped.items():
        yield f"{kind}: {', '.join(names)}"


def _takes(estimate: Estimate) -> str:
    parts = [
        _count(estimate.tables, "table"), _count(estimate.views, "view"),
        _count(estimate.trainings, "training"), _count(estimate.rescorings, "rescoring"),
    ]  # fmt: skip
    rows = f" of about {estimate.rows:,} rows" if estimate.rows is not None else ""
    held = format_duration(timedelta(seconds=estimate.least_s))
    built = ", ".join(filter(None, parts)) or "nothing to build"
    return f"{built}{rows}; {_count(estimate.stages, 'stage')}, {held} at least"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""


def _slot(slot: Slot | None) -> str:
    if slot is None:
        return "not scheduled"
    return f"{slot.start:%d %b %Y %H:%M} to {slot.end:%d %b %Y %H:%M} UTC"
