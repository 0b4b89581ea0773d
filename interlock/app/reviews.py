"""Reviews in the record: opened with the transition that asks for one, and added to by people.

What follows from them reaches the next plan: the checks of open actions are asked of every plan
that touches what the reviewed change touched, and made like all other evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from interlock.change.change import Change
from interlock.change.evidence import Evidence
from interlock.change.review import (
    ACTION,
    QUESTIONS,
    Action,
    Comparison,
    Feedback,
    Finding,
    Review,
    Section,
    asked,
    closed,
    compared,
    done,
    heard,
    opened,
    reasons,
    with_action,
)
from interlock.define.refs import Ref
from interlock.errors import InterlockError, NotFound, Refused, Stale
from interlock.ports import Put, RecordReader

if TYPE_CHECKING:
    from interlock.app.build import Builder
    from interlock.app.workspace import Workspace
    from interlock.change.notes import Note
    from interlock.define.project import Project
    from interlock.plan.plan import Plan

ATTEMPTS = 5


def opening(workspace: Workspace, before: Change | None, after: Change) -> list[Put]:
    """What must be written with a transition so that its review is there, or nothing."""
    because = reasons(before, after)
    if not because:
        return []
    entry = workspace.record.get(Ref("review", after.id))
    known = Review.from_json(entry.body) if entry else None
    body = opened(known, after, because, workspace.now()).to_json()
    return [Put(Ref("review", after.id), body, entry.version if entry else 0)]


def high_risk(plan: Plan, project: Project, environment: str) -> list[str]:
    """Why `plan` is looked back at even when nothing goes wrong, in sentences."""
    rule = project.environments[environment].review
    names = [r.ref.name for r in plan.reached if r.ref.kind == "service" and
             r.verdict in ("breaks", "moves")]  # fmt: skip
    tiers = {name: project.services[name].tier for name in names if name in project.services}
    found = [
        f"it reaches {name}, a service of tier {tier}"
        for name, tier in sorted(tiers.items())
        if tier <= rule.tier
    ]
    if rule.services is not None and len(names) > rule.services:
        found.append(f"it reaches {len(names)} services, more than {rule.services}")
    return found


# --- the next plan --------------------------------------------------------------------


def reviews_of(record: RecordReader) -> list[Review]:
    """Every review, the oldest first."""
    return [Review.from_json(entry.body) for entry in record.list("review")]


def with_actions(record: RecordReader, plan: Plan) -> Plan:
    """`plan` with the checks that open actions ask of it; they are part of its digest."""
    if plan.empty:
        return plan
    touched = {
        *map(str, plan.writes), *(str(one.ref) for one in plan.reached),
        *(str(step.ref) for step in plan.steps if hasattr(step, "ref")),
    }  # fmt: skip
    more = asked(reviews_of(record), frozenset(touched))
    every = tuple(dict.fromkeys((*plan.evidence, *more.checks)))
    return replace(plan, evidence=every, notes=(*plan.notes, *more.notes))


def prove_action(builder: Builder, check: str) -> Evidence:
    """Run the query of an open action on the new version: a row that comes back is a fault."""
    from interlock.impact.sql import substitute, tables_read

    workspace = builder.workspace
    action = action_of(workspace.record, check)
    tables = sorted(tables_read(action.sql))
    known = [name for name in tables if name in builder.project.tables]
    subjects = {f"table:{n}": builder.facts.fingerprint(Ref("table", n)) for n in known}
    sql = substitute(action.sql, builder.bindings(known), builder.dialect.name)
    query = f"SELECT count(*) AS n FROM ({sql}) AS faults"
    made: dict[str, Any] = {
        "check": check,
        "subjects": subjects,
        "made_at": workspace.now(),
        "query": query,
    }
    try:
        faults = int(workspace.warehouse.query(query).to_pylist()[0]["n"])
    except InterlockError as error:
        return Evidence(**made, verdict="inconclusive", sentence=f"not run: {error.message}")
    said = "no row is at fault" if not faults else f"{faults} rows are at fault"
    return Evidence(
        **made, verdict="fail" if faults else "pass", sentence=f"{said}: {action.text}",
        metric="faults", n=1, value=float(faults), baseline=0.0,
    )  # fmt: skip


def action_of(record: RecordReader, check: str) -> Action:
    for review in reversed(reviews_of(record)):
        for action in review.actions:
            if action.check == check and action.open:
                return action
    raise NotFound(f"no open action has the check {check}", help="plan again")


# --- people ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Looked:
    """A review as people read it: the numbers beside what was planned, and what happened."""

    change: Change
    review: Review
    compared: tuple[Comparison, ...]
    timeline: tuple[Note, ...]
    leaves: Mapping[int, int]

    def to_json(self) -> dict[str, Any]:
        return {
            **self.review.to_json(),
            "title": self.change.title,
            "expected": self.change.expected,
            "metrics": list(self.change.metrics),
            "bounds": list(self.change.bounds),
            "compared": [dict(one.__dict__) for one in self.compared],
            "timeline": [
                {**one.to_json(), "audit": self.leaves.get(one.version)} for one in self.timeline
            ],
            "questions": dict(QUESTIONS),
        }


def look_back(workspace: Workspace, id: str) -> Looked:
    """The review of a change; `NotFound` says when one is opened."""
    from interlock.app.changes import evidence_of, held
    from interlock.app.outbox import story

    review, _ = _held(workspace, id)
    change = held(workspace.record, id).change
    judged = workspace.record.get(Ref("judgement", id))
    evidence = evidence_of(workspace.record, change)
    leaves = {
        leaf["version"]: leaf["seq"]
        for leaf in workspace.record.audit()
        if leaf["ref"] == str(change.ref)
    }
    numbers = compared(change, judged.body if judged else None, evidence)
    return Looked(change, review, numbers, story(workspace, id), leaves)


def give_feedback(
    workspace: Workspace, id: str, text: str, *, by: str, section: Section = "system"
) -> Review:
    """What `by` says; it counts for each team asked in which they are a service owner."""
    teams = [
        owner.name for owner in _owners(workspace) if "service_owner" in owner.people.get(by, ())
    ]
    now = workspace.now().isoformat()

    def step(review: Review) -> Review:
        for team in [name for name in teams if name in review.teams] or [""]:
            review = heard(review, Feedback(by, text, now, team, section))
        return review

    return _update(workspace, id, by, step)


def add_action(
    workspace: Workspace, id: str, text: str, *, by: str, check: str = "", sql: str = ""
) -> Review:
    """Something to do; with `check`, asked of later plans that touch what `id` touched."""
    from interlock.app.changes import held

    if sql:
        _refuse_query(workspace, check, sql)
    change = held(workspace.record, id).change
    plan = change.plan or {}
    services = [one["ref"] for one in plan.get("reached", ()) if one["ref"].startswith("service:")]
    about = tuple(dict.fromkeys((*change.details.get("writes", ()), *services)))
    action = Action(0, text, by, workspace.now().isoformat(), check, sql, about)
    return _update(workspace, id, by, lambda review: with_action(review, action))


def mark_done(workspace: Workspace, id: str, number: int, *, by: str) -> Review:
    """Action `number` is done: its check is asked of no plan any more."""
    return _update(workspace, id, by, lambda review: done(review, number, by, workspace.now()))


def close(workspace: Workspace, id: str, *, by: str, finding: Finding) -> Review:
    """Closed, once every team asked was heard."""
    return _update(workspace, id, by, lambda review: closed(review, finding, by, workspace.now()))


def _refuse_query(workspace: Workspace, check: str, sql: str) -> None:
    """A query that cannot be read, or reads what is not declared, would block for ever."""
    from interlock.app.versions import stable
    from interlock.impact.compare import errors_in
    from interlock.impact.sql import tables_read

    found = [f"{error.message} ({error.fix})" for error in errors_in(sql, "duckdb")]
    runs = stable(workspace)
    known = runs.project.tables if runs else workspace.project.tables
    if not found:
        read = tables_read(sql)
        found += [f"no table {name}" for name in sorted(read) if name not in known]
        found += [] if read else ["it reads no table, so it would prove nothing"]
    taken = [a.check for r in reviews_of(workspace.record) for a in r.actions if a.open]
    if f"{ACTION}{check}" in taken:
        found.append(f"an open action has the check {check} already")
    if found:
        raise Refused("this query cannot be a check", "mend it; a fault is a row it gives", found)


def _owners(workspace: Workspace) -> Sequence[Any]:
    project = workspace.released or workspace.project
    return project.owners


def _held(workspace: Workspace, id: str) -> tuple[Review, int]:
    entry = workspace.record.get(Ref("review", id))
    if entry is None:
        raise NotFound(
            f"{id} has no review",
            help="one is opened by itself when a change was taken back, could not wait, or is "
            "done and of high risk",
        )
    return Review.from_json(entry.body), entry.version


def _update(workspace: Workspace, id: str, by: str, step: Callable[[Review], Review]) -> Review:
    """Read, change, write; again when somebody else was faster."""
    for _ in range(ATTEMPTS):
        review, version = _held(workspace, id)
        after = step(review)
        put = Put(Ref("review", id), after.to_json(), version)
        try:
            workspace.record.write([put], by=by, at=workspace.now())
        except Stale:
            continue
        return after
    raise Stale(f"the review of {id} is being written by others", help="try again")
