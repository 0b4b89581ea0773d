"""One change as its page shows it: stages, steps, differences, the graph, the judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from interlock.change.change import Change
from interlock.change.releasenotes import difference_words
from interlock.change.windows import holder
from interlock.define.environment import Owner
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.plan.steps import RouteTo, sentence, step_from_json
from interlock.ports import Json
from interlock.web.figures import Edge, Graph, Lane, Node, StageDot
from interlock.web.views import Action, Difference, Guardrail, StepRow
from interlock.web.words import percent

Progress = Literal["done", "now", "ahead", "failed"]

BACK = ("ABORTING", "REVERTING", "ABORTED")
GOOD = ("COMMITTED", "RETIRED")
_LANES: Mapping[str, Lane] = {
    "tables": "Tables", "views": "Views", "models": "Models", "services": "Services",
}  # fmt: skip
_FEW_ADDED = 6


def rollout_of(change: Change) -> Json:
    """Where the rollout stands, as stored; empty before it began."""
    found: Json = change.details.get("rollout") or {}
    return found


def team_of(change: Change, owners: Sequence[Owner]) -> str:
    """The author's team; a trigger has none."""
    return next((owner.name for owner in owners if change.author in owner.people), "no team")


# --- stages ---------------------------------------------------------------------------


def stages_of(change: Change) -> list[Json]:
    """The stages to walk, `name` and `weight`: as they run, else as they are planned."""
    stages = rollout_of(change).get("stages")
    if stages and change.made_against:
        return list(stages)
    planned = (change.plan or {}).get("steps", ())
    # The first release has nobody to be compared with: it walks only what its plan says.
    return [{"name": s["stage"], "weight": s["weight"]} for s in planned if s["do"] == "RouteTo"]


def places_of(change: Change) -> int:
    """How many candidates share a stage that divides."""
    planned = change.details.get("judge", {}).get("arms", 1)
    return int(rollout_of(change).get("places", planned))


def stage_label(stage: Mapping[str, Any], alone: bool = False, places: int = 1) -> str:
    """`Mirror`, `25 %` or `Soak`."""
    if stage["weight"] == 0:
        return "Mirror"
    if stage["weight"] < 1:
        return percent(stage["weight"] / places)
    return percent(stage["weight"]) if alone else "Soak"


def dots(change: Change) -> tuple[StageDot, ...]:
    """The way from preparation to the commit; what was reached when it went back is failed."""
    stages = stages_of(change)
    if not stages:
        return ()
    alone, places = len(stages) == 1, places_of(change)
    labels = ["Build", *(stage_label(s, alone, places) for s in stages), "Commit"]
    return tuple(StageDot(label, _at(change, i - 1)) for i, label in enumerate(labels))


def _at(change: Change, index: int) -> Progress:
    """How far stage `index` is; -1 is the preparation, one past the last the commit."""
    rollout = rollout_of(change)
    if not rollout:
        return "ahead"
    if change.state in GOOD:
        return "done"
    here = rollout["index"] if change.state != "REVERTING" else len(rollout["stages"])
    if index == here and change.state == "UNCHOSEN":
        return "done"
    if index == here:
        return "failed" if change.state in BACK else "now"
    return "done" if index < here else "ahead"


def weight_of(change: Change, route: Route) -> float:
    """The share of subjects that this change's release answers now."""
    if route.stable and route.stable == change.release:
        return 1.0 - sum(route.share_of(one.change) or 0.0 for one in route.candidates)
    return route.share_of(change.id) or 0.0


def beside(change: Change, route: Route) -> float:
    """The share of subjects that candidates compared with this one answer now."""
    mine = route.share_of(change.id)
    return 0.0 if mine is None else (len(route.candidates) - 1) * mine


# --- steps ----------------------------------------------------------------------------


def steps(change: Change) -> tuple[StepRow, ...]:
    """The plan, with how far each step is."""
    names = [stage["name"] for stage in stages_of(change)]
    entered = {m["stage"]: m["at"] for m in reversed(rollout_of(change).get("history", ()))}
    return tuple(
        _step(change, body, names, entered) for body in (change.plan or {}).get("steps", ())
    )


def _step(change: Change, body: Json, names: Sequence[str], entered: Mapping[str, str]) -> StepRow:
    step = step_from_json(body)
    text = " ".join(sentence(step).split())
    state, at = _progress(change, body, names), None
    if isinstance(step, RouteTo) and state != "ahead" and step.stage in entered:
        at = datetime.fromisoformat(entered[step.stage])
    return StepRow(text[:1].upper() + text[1:], state, at)


def _progress(change: Change, body: Json, names: Sequence[str]) -> Progress:
    match body["do"]:
        case "RouteTo":
            return _at(change, names.index(body["stage"]))
        case "TrainModel" | "RescoreModel":
            # Done before the change could be proposed: its evidence is about the result.
            return "done"
        case "Retire":
            return "done" if change.state == "RETIRED" else "ahead"
        case _:
            return _at(change, -1)


# --- what may be done -----------------------------------------------------------------


def actions(change: Change, judgement: Mapping[str, Any] | None) -> tuple[Action, ...]:
    """The buttons; none before the start and none after the end."""
    if change.under_way:
        return (
            Action("hold", "Hold", _held(change)),
            Action("rollback", "Roll back"),
            Action("promote", _onward(change), _no_promotion(change, judgement)),
        )
    # What went before the first release is nothing, and nobody can be sent there.
    back = change.state == "COMMITTED" and change.made_against
    return (Action("rollback", "Roll back"),) if back else ()


def _held(change: Change) -> str:
    asked = change.details.get("request")
    return f"{asked['by']} holds it" if asked and asked["kind"] == "hold" else ""


def _onward(change: Change) -> str:
    stages, index = stages_of(change), rollout_of(change)["index"] + 1
    if index >= len(stages):
        return "Commit now"
    if rollout_of(change).get("hold") == "choice":
        return "Choose this one"
    if places_of(change) > 1 and index > 0 and stages[index]["weight"] == 1:
        return "Waive what is open"
    weight = stages[index]["weight"]
    if weight == 0:
        return "Promote to mirroring"
    return f"Promote to {percent(weight if weight == 1 else weight / places_of(change))}"


def _no_promotion(change: Change, judgement: Mapping[str, Any] | None) -> str:
    if change.state == "PREPARING":
        hooked = rollout_of(change).get("hold") == "hook"
        return "" if hooked else "its versions are still being built"
    if _held(change):
        return ""  # promoting is also how a hold is ended
    if judgement is None or judgement["measured"] <= 0:
        return "nothing was measured in this stage, and silence cannot be waived"
    return "harm was seen, and harm cannot be waived" if judgement["verdict"] == "harm" else ""


def hold_sentence(change: Change) -> str:
    """Why nothing moves forward; empty when nothing holds."""
    if not change.under_way:
        return ""
    asked = change.details.get("request")
    if rollout_of(change).get("hold"):
        said: str = rollout_of(change)["said"]
        return said[:1].upper() + said[1:]
    if asked and asked["kind"] == "hold":
        return f"{asked['by']} asked for it: {asked['reason']}"
    return ""


def criteria(change: Change) -> tuple[str, ...]:
    """When it goes back: what was written, and what the judge was told to watch."""
    written = [line.strip(" -*") for line in change.rollback_criteria.splitlines()]
    judge = change.details.get("judge")
    watched = _watched(judge) if judge and change.made_against else []
    return (*filter(None, written), *watched)


def _watched(judge: Json) -> list[str]:
    names = ", ".join(g["name"].replace("_", " ") for g in judge["guardrails"] if g["weight"] > 0)
    return [
        f"The controller sees harm in {names}; all of them together may take back a harmless "
        f"release with a chance of at most {percent(judge['alpha'])}."
    ]


# --- the judge ------------------------------------------------------------------------


def judged(judgement: Mapping[str, Any] | None) -> tuple[Guardrail, ...]:
    """One row per guardrail, what this stage waits for first."""
    rulings = (judgement or {}).get("per_guardrail", ())
    return tuple(_guardrail(r) for r in sorted(rulings, key=lambda r: not r["required"]))


def _guardrail(ruling: Json) -> Guardrail:
    low, high = ruling["interval"] or (None, None)
    return Guardrail(
        ruling["name"].replace("_", " "), ruling["verdict"].replace("_", " "), _words(ruling),
        ruling["e_fail"], ruling["e_pass"], ruling["n_stable"], ruling["n_candidate"],
        ruling["mean_stable"], ruling["mean_candidate"], low, high,
    )  # fmt: skip


def _words(ruling: Json) -> str:
    """What the judge said, without what stands in the other cells of the row."""
    if ruling["verdict"] == "error":
        said: str = ruling["sentence"]
    else:
        said = ruling["sentence"].removeprefix(f"{ruling['name']} ").partition(" (evidence")[0]
        said = said[:1].upper() + said[1:]
    return said if ruling["required"] else f"{said}. This stage does not wait for it."


# --- differences ----------------------------------------------------------------------


def differences(change: Change) -> tuple[Difference, ...]:
    """What differs from the release it was planned against, with every path of its reach."""
    plan = change.plan or {}
    found = list(plan.get("differences", ()))
    added = [d["ref"] for d in found if d["change"] == "added"]
    if len(added) > _FEW_ADDED:
        found = [d for d in found if d["change"] != "added"]
    else:
        added = []
    rows = [
        Difference(
            d["ref"], _kind(d), "; ".join(difference_words(d)), _paths(d["ref"], plan["reached"])
        )
        for d in found
    ]
    return (*rows, *_together(added))


def _together(added: Sequence[str]) -> Iterator[Difference]:
    """Many new things in a line per kind: nobody reads a page of "new in this release"."""
    by_kind: dict[str, list[str]] = {}
    for ref in added:
        kind, _, name = ref.partition(":")
        by_kind.setdefault(kind, []).append(name)
    for kind, names in by_kind.items():
        noun = kind if len(names) == 1 else f"{kind}s"
        yield Difference(f"{len(names)} {noun}", "added", ", ".join(names))


def _kind(difference: Json) -> str:
    verdicts = {verdict for verdict, _ in difference["columns"].values()}
    moved = difference["row_set"] != "same" or difference["reasons"]
    if difference["change"] == "added":
        return "added"
    if difference["change"] == "removed" or verdicts & {"removed", "retyped"}:
        return "breaking"
    if not moved and not verdicts:
        return "settings only"
    return "additive" if verdicts == {"added"} and not moved else "changed"


def _paths(ref: str, reached: Sequence[Json]) -> tuple[str, ...]:
    order = ("service", "model", "feature")
    found = sorted(reached, key=lambda one: order.index(one["ref"].partition(":")[0]))
    return tuple(one["sentence"] for one in found if one["path"] and _of(one["cause"]) == ref)


def _of(cause: str) -> str:
    return str(holder(Ref.parse(cause)))


# --- the graph ------------------------------------------------------------------------


def graph(drawn: Json) -> Graph:
    """What is touched, and what that reads directly; the rest of the project is left out."""
    owner = {c["id"]: node["id"] for node in drawn["nodes"] for c in node["columns"]}
    pairs: dict[tuple[str, str], bool] = {}
    for edge in drawn["edges"]:
        ends = owner.get(edge["source"], edge["source"]), owner.get(edge["target"], edge["target"])
        if ends[0] != ends[1]:
            pairs[ends] = pairs.get(ends, False) or edge["state"] != "untouched"
    nodes = [_node(node) for node in drawn["nodes"]]
    marks = {node.ref: node.mark for node in nodes}
    kept = {ref for ref, mark in marks.items() if mark != "untouched"}
    shown = kept | {source for source, target in pairs if target in kept}
    edges = tuple(
        Edge(source, target, hot and marks[target] != "untouched")
        for (source, target), hot in pairs.items()
        if {source, target} <= shown and target in kept
    )
    return Graph(tuple(node for node in nodes if node.ref in shown), edges)


def _node(node: Json) -> Node:
    mark: Literal["changed", "reached", "untouched"] = "untouched"
    if node["change"]:
        mark = "changed"
    elif node["state"] != "untouched":
        mark = "reached"
    return Node(node["id"], node["label"], _LANES[node["lane"]], mark)
