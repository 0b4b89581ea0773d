"""Watch what happened, and start the next change when a model is due.

Calibration comes from arrived labels of the answers people were shown; drift is told
beside it and decides nothing. A trigger that fires writes down the facts that made it
true, and the challenger it asks for is a change like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from interlock.app import alerts, health
from interlock.app.accuracy import MATURE, WEEK, days_of
from interlock.app.alerts import Wrong
from interlock.app.build import Say, quiet
from interlock.app.changes import all_changes
from interlock.app.ingest import ingest
from interlock.app.lateness import age_of, behind_time
from interlock.app.propose import propose
from interlock.app.reliability import keep
from interlock.app.risk import behind, missing_days
from interlock.app.stores import stores_now
from interlock.app.training import histograms, numbers_of
from interlock.app.versions import Version, stable
from interlock.app.workspace import Workspace
from interlock.change.request import Request
from interlock.define.definitions import Model, Table
from interlock.define.refs import Ref
from interlock.define.yaml import parse
from interlock.errors import Refused, Stale
from interlock.features.histogram import bin_counts, counts_sql
from interlock.ports import Put
from interlock.retrain.due import Facts, Proposal, Ruling, consider
from interlock.retrain.due import propose as propose_window
from interlock.watch.calibration import Calibration, DayCells, calibration, window
from interlock.watch.drift import Drift, ranking


@dataclass(frozen=True)
class Seen:
    """One model in the last week: its calibration, what drifted most, and what was decided."""

    model: str
    calibration: Calibration
    drift: tuple[Drift, ...]
    ruling: Ruling
    change: str | None = None


@dataclass(frozen=True)
class Watched:
    """What watching found. `sentences` say it; worst first."""

    at: datetime
    seen: tuple[Seen, ...]
    stale: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    sentences: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "stale": list(self.stale),
            "gaps": list(self.gaps),
            "models": [
                {
                    "model": s.model,
                    "calibration": {k: _plain(v) for k, v in s.calibration.__dict__.items()},
                    "drift": [{"feature": d.feature, "psi": d.psi} for d in s.drift],
                    "due": s.ruling.due.sentence if s.ruling.due else None,
                    "held": list(s.ruling.held),
                    "change": s.change,
                }
                for s in self.seen
            ],
        }


def look_after(workspace: Workspace, act: bool = False, progress: Say = quiet) -> Watched:
    """Look at the last week; with `act`, open a change for every model that is due."""
    version = stable(workspace)
    if version is None:
        raise Refused("nothing is live in this environment", help="apply a first change")
    ingest(workspace)
    now = workspace.now()
    seen = []
    for model in version.project.models.values():
        found = _look_at(workspace, version, model, now)
        if act and found.ruling.due:
            change = retrain(workspace, version, model, found, progress)
            found = Seen(found.model, found.calibration, found.drift, found.ruling, change)
        seen.append(found)
    budgets, stores = keep(workspace, version), stores_now(workspace).sentences
    health.keep(workspace, version)
    wrong = _late_tables(workspace, version, now), _lost_days(workspace, version, now)
    alerts.keep(workspace, (*(Wrong(one, one) for one in stores), *wrong[0], *wrong[1]))
    late, lost = ([one.sentence for one in each] for each in wrong)
    said = [*stores, *lost, *late]
    said += [line for one in seen for line in _sentences(one)]
    said += [one.sentence for one in budgets.services]
    return Watched(now, tuple(seen), tuple(late), tuple(lost), tuple(said))


def _look_at(workspace: Workspace, version: Version, model: Model, now: datetime) -> Seen:
    days = days_of(workspace, version, model, now)
    week = calibration(window(days, now.date(), WEEK))
    drift = _drift(workspace, version, model, now)
    facts = _facts(workspace, version, model, days, drift)
    return Seen(model.model, week, drift, consider(facts, model.triggers, now))


def _facts(
    workspace: Workspace,
    version: Version,
    model: Model,
    days: tuple[DayCells, ...],
    drift: Sequence[Drift],
) -> Facts:
    runs = [e for e in workspace.record.list("trigger") if e.body["model"] == model.model]
    busy = any(
        change.open and (change.because or {}).get("model") == model.model
        for change in all_changes(workspace)
    )
    return Facts(
        model=model.model,
        trained_until=model.training.end,
        live_since=days[0].day if days else workspace.now().date(),
        cells=days,
        new_rows=sum(sum(cell.n) for cell in days if cell.day >= model.training.end),
        psi={d.feature: d.psi for d in drift},
        last_run=max((datetime.fromisoformat(e.body["at"]) for e in runs), default=None),
        running=busy,
    )


def _drift(
    workspace: Workspace, version: Version, model: Model, now: datetime
) -> tuple[Drift, ...]:
    """The last week's features against those the model was trained on: a ranking."""
    builder = version.builder(workspace)
    trained = version.models[model.model]
    names = [name for name in trained.inputs if name not in trained.categories]
    kept = trained.manifest.get("histograms", {})
    lacking = [name for name in names if name not in kept]
    before = {**kept, **histograms(builder, model, lacking)}
    week = builder.rows(model, (now - WEEK).date(), now.date())
    edges = {name: tuple(before[name]["edges"]) for name in names}
    rows = numbers_of(builder, week, names)
    new = workspace.warehouse.query(counts_sql(rows, edges, builder.dialect)).to_pylist()[0]
    return ranking(
        {name: before[name]["counts"] for name in names},
        {name: bin_counts(new[name], edges[name]) for name in names},
    )


def _late_tables(workspace: Workspace, version: Version, now: datetime) -> list[Wrong]:
    """Tables whose rows are older than promised or do not come in time, with who is behind them."""
    said: list[Wrong] = []
    for table in version.project.tables.values():
        age, risk = age_of(workspace, table, now), _at_risk(version, table)
        late = {f"old {table.ref}": age.sentence} if age is not None and age.status != "ok" else {}
        for n, sentence in enumerate(behind_time(workspace, table, now)):
            late[f"late {table.ref} {n}"] = sentence
        said += [Wrong(name, f"{it}; {risk}", table.owner) for name, it in late.items()]
    return said


def _lost_days(workspace: Workspace, version: Version, now: datetime) -> list[Wrong]:
    """Days of the last week that a table lacks rows of, with what stands behind it."""
    return [
        Wrong(
            f"lost {table.ref} {gap.day}",
            f"{gap.sentence}; {_at_risk(version, table)}",
            table.owner,
        )
        for table in version.project.tables.values()
        for gap in missing_days(workspace.warehouse, table, table.name, now)
    ]


def _at_risk(version: Version, table: Table) -> str:
    return f"at risk: {', '.join(behind(version.facts, str(table.ref))) or 'nothing'}"


def _sentences(seen: Seen) -> list[str]:
    week = seen.calibration
    if not week.n:
        return [f"{seen.model}: no labels have arrived for last week's answers"]
    said = (
        f"{seen.model}: calibration error {week.ece:.3f} on {week.n} answers of {week.days} days "
        f"(predicted {week.mean_score:.3f}, true {week.mean_label:.3f})"
    )
    if seen.drift:
        top = seen.drift[0]
        said += f"; {top.feature} drifted most (PSI {top.psi:.2f}), which decides nothing"
    due = [f"{seen.model} is due: {seen.ruling.due.sentence}"] if seen.ruling.due else []
    opened = [f"{seen.change} was opened by the trigger"] if seen.change else []
    return [*due, *opened, said, *seen.ruling.held]


# --- the next change ----------------------------------------------------------------


def retrain(
    workspace: Workspace, version: Version, model: Model, seen: Seen, say: Say = quiet
) -> str:
    """Write down why, then open the change; the id of a change that is there already."""
    assert seen.ruling.due is not None
    now = workspace.now()
    proposal = propose_window(model, seen.ruling.due, (now - MATURE).date())
    ref = Ref("trigger", f"{model.model}-{proposal.key[:12]}")
    entry = workspace.record.get(ref)
    if entry is not None and entry.body.get("change"):
        return str(entry.body["change"])
    body = {
        "model": model.model,
        "environment": workspace.environment,
        "teams": [model.owner],
        "at": now.isoformat(),
        "fired_at": now.isoformat(),
        "sentence": proposal.sentence,
        "facts": dict(seen.ruling.due.facts),
        "change": None,
    }
    if entry is None:
        try:
            workspace.record.write([Put(ref, body, 0)], by="retraining", at=now)
        except Stale:
            return ""  # somebody else fired for the same facts: one storm, one run
    challenger = workspace.with_texts(moved_windows(version.project.texts, model, proposal))
    request = Request(
        f"Retrain {model.model} until {proposal.train_end}",
        "retraining",
        seen.ruling.due.sentence,
        "calibration back to what it was",
        "any guardrail of the rollout shows harm",
        "a challenger that forgot a season; it meets the incumbent on days neither has seen",
    )
    because = {"trigger": str(ref), "model": model.model, "sentence": proposal.sentence}
    change = propose(challenger, request, say, because)
    version_now = workspace.record.get(ref)
    assert version_now is not None
    put = Put(ref, {**body, "change": change.id}, version_now.version)
    workspace.record.write([put], by="retraining", at=now)
    return change.id


def moved_windows(texts: Mapping[str, str], model: Model, proposal: Proposal) -> dict[str, str]:
    """The definitions with this model's windows moved, every other byte as it was."""
    document, _ = parse(texts[model.file], model.file)
    assert document is not None
    lines = texts[model.file].split("\n")
    wanted: dict[tuple[str, str], date] = {
        ("training", "end"): proposal.train_end,
        ("evaluation", "start"): proposal.evaluate_start,
        ("evaluation", "end"): proposal.evaluate_end,
    }
    for path, day in wanted.items():
        at = document.line(path) - 1
        key, _, _ = lines[at].partition(f"{path[1]}:")
        lines[at] = f"{key}{path[1]}: {day.isoformat()}"
    return {**texts, model.file: "\n".join(lines)}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value
