"""A plan for people: short, in the order in which one asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from interlock.define.durations import format_duration
from interlock.define.refs import Ref
from interlock.impact.difference import Difference
from interlock.impact.graph import Reached
from interlock.impact.nodes import owner_node
from interlock.plan.plan import Estimate, GateNeed, Importance, Plan, Required, Slot
from interlock.plan.steps import sentence

_SIGN = {"added": "+", "changed": "~", "removed": "-"}
_FEW = 6


def explain(plan: Plan) -> str:
    """The whole plan as text; `nothing to do` when there is nothing."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    against = f"made against {plan.made_against[:12]}" if plan.made_against else "first release"
    against += f", which {plan.after} leads to" if plan.after else ""
    against += f", beside {plan.beside}" if plan.beside else ""
    if plan.empty:
        yield f"{plan.project} in {plan.environment}: nothing to do ({against})"
        yield from _section("notes", plan.notes)
        return
    yield f"plan {plan.digest[:12]} for {plan.project} in {plan.environment}, {against}"
    yield from _section("blocked", plan.objections)
    yield from _section("changes", _direct(plan))
    yield from _section("changes with them", _indirect(plan))
    yield from _section("only reached, no value moves", _merely(plan))
    yield from _section("untouched", _untouched(plan))
    yield from _section("steps", (f"{n}. {sentence(s)}" for n, s in enumerate(plan.steps, 1)))
    yield from _section("must sign", (_signer(required) for required in plan.requirements))
    yield from _section("evidence needed", _evidence(plan.evidence))
    yield from _section("gates, median run", _gates(plan.gates))
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


def _direct(plan: Plan) -> Iterator[str]:
    """What was edited, and how much models rest on the features that move because of it."""
    weights: dict[str, dict[Ref, list[Importance]]] = {}
    for found in plan.importance:
        by_model = weights.setdefault(owner_node(str(found.feature)), {})
        by_model.setdefault(found.model, []).append(found)
    for difference in plan.differences:
        yield from difference_lines(difference)
        for own in weights.get(str(difference.ref), {}).values():
            yield f"    {weight_of(own)}"


def weight_of(found: Sequence[Importance]) -> str:
    """`34 % of what model:late learned rests on temp (20 %), wind (14 %)`; unknown is said."""
    model = found[0].model
    known = [one for one in found if one.share is not None]
    parts = [f"{one.feature.part} ({_percent(one.share or 0.0)})" for one in known[:_FEW]]
    parts += [f"{len(known) - _FEW} more"] if len(known) > _FEW else []
    strange = [str(one.feature.part) for one in found if one.share is None]
    said = []
    if known:
        total = _percent(sum(one.share or 0.0 for one in known))
        said.append(f"{total} of what {model} learned rests on {', '.join(parts)}")
    if strange:
        said.append(f"importance for {model} unknown: {', '.join(strange[:_FEW])}")
    return "; ".join(said)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 or share == 0 else "under 1%"


def _indirect(plan: Plan) -> Iterator[str]:
    """Services first: they are what people answer for; features that start alike are counted."""
    refs = set(plan.indirect)
    found = _in_order([one for one in plan.reached if one.ref in refs])
    features = [one for one in found if one.ref.kind == "feature"]
    for one in found:
        if one.ref.kind != "feature":
            yield one.sentence
        if one.ref.kind == "model":
            weights = [i for i in plan.importance if i.model == one.ref]
            yield from [f"    {weight_of(weights)}"] if weights else []
    yield from (one.sentence for one in features[:_FEW])
    if len(features) > _FEW:
        yield f"and {len(features) - _FEW} more features"
    built = [str(ref) for ref in plan.indirect if ref.kind in ("table", "view")]
    if built:
        more = f" and {len(built) - _FEW} more" if len(built) > _FEW else ""
        yield f"built again: {', '.join(built[:_FEW])}{more}"


def _merely(plan: Plan) -> Iterator[str]:
    refs = set(plan.merely_reached)
    found = _in_order([one for one in plan.reached if one.ref in refs])
    yield from (one.sentence for one in found[:_FEW])
    if len(found) > _FEW:
        yield f"and {len(found) - _FEW} more"


def _in_order(reached: Iterable[Reached]) -> list[Reached]:
    return sorted(reached, key=lambda one: ("service", "model", "feature").index(one.ref.kind))


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


def _gates(gates: Iterable[GateNeed]) -> Iterator[str]:
    """Per stage what each guardrail still needs there; what earlier stages show is counted."""
    by_stage: dict[str, list[GateNeed]] = {}
    for gate in gates:
        by_stage.setdefault(gate.stage, []).append(gate)
    for stage, here in by_stage.items():
        slow = sorted(here, key=lambda g: (g.days is not None, -(g.days or 0.0), g.guardrail))
        yield f"{stage}: {'; '.join(map(_gate, slow))}"


def _gate(gate: GateNeed) -> str:
    if gate.units is None or gate.days is None:
        return f"{gate.guardrail} never"
    return f"{gate.guardrail} {gate.units:,.0f} units, {gate.days:.1f} d"


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
