"""The whole path on a staging copy, with the harm of production done to it on purpose.

Staging is a warehouse of its own, filled with the recent rows of the tables that the views
read. For each injection one table is replaced by its harmed copy; features are built, rows
joined, scored, and handed to the services' KPIs, exactly as in production, and compared
with the same path unharmed. Staging is thrown away; what was measured stays as evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from interlock.app import checks
from interlock.app.build import Builder, Say, quiet
from interlock.app.changes import held, keep_evidence, update
from interlock.app.modelchecks import Scored, Side, kpi_rows
from interlock.app.risk import arrivals
from interlock.app.scratch import scratch
from interlock.app.training import Labelled, column_values, evaluation_rows, input_columns, scorer
from interlock.app.versions import Version, stored
from interlock.app.workspace import Workspace
from interlock.change.change import with_more
from interlock.change.evidence import Evidence, Verdict
from interlock.define.definitions import Model, Table
from interlock.errors import InterlockError, NotFound, Refused, Unusable
from interlock.features.compile import physical
from interlock.features.inject import (
    INJECTIONS,
    Window,
    applicable,
    harmed_sql,
    injected,
    stamp_of,
)
from interlock.features.text import instant, quoted
from interlock.impact.sql import tables_read
from interlock.models.compare import MOVED
from interlock.models.dataset import Floats, matrix
from interlock.models.kpi import compare_kpi
from interlock.models.metrics import log_loss
from interlock.ports import Warehouse
from interlock.watch.freshness import freshness, gaps, newest_sql, per_day_sql

DAYS = 7
LOOKBACK = timedelta(days=35)
TOLERANCE = 0.10
"""Relative worsening of log-loss that is accepted when no check at the source saw the harm."""


@dataclass(frozen=True)
class Asked:
    """What to rehearse; empty means everything that applies."""

    injections: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    days: int = DAYS


@dataclass(frozen=True)
class Answer:
    """One pass through staging: a score per key of the spine, in the order they came out."""

    keys: tuple[int, ...]
    scores: Floats


@dataclass(frozen=True)
class Found:
    """What one injection did. `worse` is the relative change of log-loss, when it was measured."""

    verdict: Verdict
    sentence: str
    worse: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rehearsed:
    """One model with its labelled rows and its answers on unharmed staging."""

    side: Side
    rows: Labelled
    clean: Answer


def rehearse(workspace: Workspace, id: str, asked: Asked, say: Say = quiet) -> list[Evidence]:
    """Rehearse a change and keep one piece of evidence per injection; worst first."""
    change = held(workspace.record, id).change
    if not change.release:
        raise Refused(f"{id} has no plan yet", help=f"it is {change.state}; propose it again")
    version = stored(workspace, change.release)
    found: list[Evidence] = []
    for model in version.project.models.values():
        found += _model(workspace, version, model, asked, say)
    if not found:
        raise Unusable("no injection applies", help=f"they are {', '.join(INJECTIONS)}")
    keep_evidence(workspace, found, by="rehearsal")
    update(workspace, id, "rehearsal", lambda now: with_more(now, found))
    order = ("fail", "inconclusive", "pass")
    return sorted(found, key=lambda piece: (order.index(piece.verdict), -abs(piece.value or 0)))


def _model(
    workspace: Workspace, version: Version, model: Model, asked: Asked, say: Say
) -> Iterator[Evidence]:
    end = workspace.now()
    window = Window(end - timedelta(days=asked.days), end)
    tables = _published(version, model)
    say(f"copying {len(tables)} tables to staging")
    with scratch(workspace.state, "staging") as folder:
        rows = _copied(workspace, version, tables, window)
        with _staging(workspace, Path(folder) / "clean", rows) as staging:
            before = _clean(staging, version, model, window)
            for table, name in _wanted(version, tables, model, asked):
                say(f"rehearsing {name} of table:{table.name}")
                with _staging(workspace, Path(folder) / "harmed", rows) as harmed:
                    target = physical(table.name, version.facts.fingerprint(table.ref))
                    if _harm(harmed.warehouse, target, table, name, window):
                        yield _passed_through(harmed, version, before, (table, name), window)
                    else:
                        say(f"table:{table.name} has no row that {name} could harm")


def _published(version: Version, model: Model) -> tuple[str, ...]:
    """The tables at which staging begins: what views, label and spine read."""
    views = [version.project.views[f"{r.name}@{r.version}"] for r in model.view_refs]
    read = {name for view in views for name in tables_read(view.sql)}
    return tuple(sorted(read | set(tables_read(model.label.sql)) | {model.spine}))


def _wanted(
    version: Version, tables: Sequence[str], model: Model, asked: Asked
) -> list[tuple[Table, str]]:
    """Each table that is data, not the question, with each injection that applies to it."""
    strange = [name for name in asked.injections if name not in INJECTIONS]
    strange += [name for name in asked.tables if name not in tables]
    if strange:
        known = f"injections: {', '.join(INJECTIONS)}; tables: {', '.join(tables)}"
        raise NotFound(f"nothing here is called {', '.join(strange)}", help=known)
    return [
        (version.project.tables[table], name)
        for table in tables
        if table != model.spine and (not asked.tables or table in asked.tables)
        for name in applicable(version.project.tables[table])
        if not asked.injections or name in asked.injections
    ]


def _copied(
    workspace: Workspace, version: Version, tables: Sequence[str], window: Window
) -> dict[str, Any]:
    """Physical name -> recent rows. What the window of a view needs lies before its end."""
    builder, found = version.builder(workspace), {}
    for name in tables:
        table = version.project.tables[name]
        stamp = stamp_of(table)
        since = f" WHERE {quoted(stamp)} >= {instant(window.start - LOOKBACK)}" if stamp else ""
        built = builder.table(name)
        found[built] = workspace.warehouse.query(f"SELECT * FROM {built}{since}")
    return found


@contextmanager
def _staging(workspace: Workspace, file: Path, rows: dict[str, Any]) -> Iterator[Workspace]:
    """The workspace with a warehouse of its own; production's cannot be reached through it."""
    from interlock.adapters.duckdb import DuckDBWarehouse

    warehouse = DuckDBWarehouse(file)
    try:
        for name, table in rows.items():
            warehouse.load(name, table)
        other = Workspace(workspace.folder, workspace.environment)
        for name in ("record", "artifacts", "clock"):
            other.__dict__[name] = getattr(workspace, name)
        other.__dict__["warehouse"] = warehouse
        yield other
    finally:
        warehouse.close()
        file.unlink()


def _harm(warehouse: Warehouse, target: str, table: Table, name: str, window: Window) -> int:
    """Replace `target` by its harmed copy; the number of rows that were taken or made."""
    warehouse.build("il.harmed", injected(name, table, target, window))
    count = warehouse.query(harmed_sql(target, "il.harmed")).to_pylist()[0]["rows"]
    warehouse.build(target, "SELECT * FROM il.harmed")
    return int(count)


def _clean(staging: Workspace, version: Version, model: Model, window: Window) -> Rehearsed:
    evaluated = model.evaluation.model_copy(
        update={"start": window.start.date(), "end": window.end.date()}
    )
    model = model.model_copy(update={"evaluation": evaluated})
    side = Side(version.builder(staging), model, version.models[model.model])
    return Rehearsed(side, evaluation_rows(side.builder, model), _answer(staging, version, model))


def _answer(staging: Workspace, version: Version, model: Model) -> Answer:
    builder = version.builder(staging)
    name = builder.rows(model, model.evaluation.start, model.evaluation.end)
    names = [model.key, *input_columns(model)]
    table = staging.warehouse.query(f"SELECT {', '.join(map(quoted, names))} FROM {name}")
    trained = version.models[model.model]
    columns = {n: column_values(table.column(n)) for n in names}
    x = matrix(columns, trained.inputs, trained.categories)
    scores = np.asarray(scorer(builder, trained).score(x), dtype=np.float64)
    order = np.argsort(columns[model.key], kind="stable")
    return Answer(tuple(int(columns[model.key][i]) for i in order), scores[order])


def _passed_through(
    staging: Workspace,
    version: Version,
    before: Rehearsed,
    harm: tuple[Table, str],
    window: Window,
) -> Evidence:
    """The evidence of one injection. A path that breaks is a finding, not a crash."""
    (table, name), model = harm, before.side.model
    # What rings without any harm as well has noticed nothing.
    usual = _alarms(before.side.builder, table, window)
    rings = _alarms(version.builder(staging), table, window)
    alarms = {check: said for check, said in rings.items() if check not in usual}
    try:
        found = _judged(before, _answer(staging, version, model), bool(alarms))
    except InterlockError as error:
        # To stop is right where a check says why; anywhere else nobody would know.
        why = "; ".join((error.message, *error.objections[:1]))
        verdict: Verdict = "pass" if alarms else "fail"
        found = Found(verdict, f"the path stops: {why}", None, {"stops": [str(error)]})
    known = f"seen by {', '.join(alarms)}" if alarms else "no check at the source sees it"
    return Evidence(
        check=f"rehearsal:{name}:{table.name}",
        subjects={str(ref): version.facts.fingerprint(ref) for ref in (model.ref, table.ref)},
        verdict=found.verdict,
        sentence=f"{table.name}: {INJECTIONS[name].said}; {found.sentence}; {known}",
        made_at=window.end,
        metric="log_loss_relative",
        n=len(before.clean.keys),
        value=found.worse,
        baseline=TOLERANCE,
        details={**found.details, "alarms": alarms},
    )


def _alarms(builder: Builder, table: Table, window: Window) -> dict[str, str]:
    """The checks at the source that notice the harm, with what they say."""
    found = {}
    seen = checks.contract(builder, table, window.end)
    if seen.verdict == "fail":
        found["contract"] = seen.sentence
    built, stamp = builder.table(table.name), stamp_of(table) or ""
    query = builder.workspace.warehouse.query
    if table.freshness is not None:
        newest = query(newest_sql(built, stamp, window.end)).to_pylist()[0]["newest"]
        at = newest.replace(tzinfo=UTC) if newest else None
        age = freshness(table.name, at, table.freshness, window.end)
        found |= {"freshness": age.sentence} if age.status != "ok" else {}
    late = arrivals(builder.workspace.warehouse, table, built, window.end)
    found |= {one.check: one.sentence for one in late if one.verdict == "fail"}
    days = query(per_day_sql(built, stamp, window.start, window.end)).to_pylist()
    counts = {row["day"]: int(row["n"]) for row in days}
    missing = gaps(table.name, counts, window.start.date(), window.end.date())
    return found | ({"rows per day": missing[0].sentence} if missing else {})


def _judged(before: Rehearsed, after: Answer, seen: bool) -> Found:
    """Rows first, then numbers, then harm; nothing to measure is never a pass."""
    if after.keys != before.clean.keys:
        lost = f"{len(before.clean.keys)} rows were asked for and {len(after.keys)} answered"
        return Found("fail", lost)
    if not np.isfinite(after.scores).all():
        return Found("fail", "some scores are not numbers")
    shift = np.abs(after.scores - before.clean.scores)
    moved: dict[str, Any] = {
        "mean_shift": float(shift.mean()),
        "moved_share": float(np.mean(shift > MOVED)),
    }
    said = f"{moved['moved_share']:.1%} of scores move by more than {MOVED:g}"
    if not len(before.rows.y):
        return Found("inconclusive", f"{said}, and no label is known yet", None, moved)
    at = dict(zip(after.keys, range(len(after.keys)), strict=True))
    key = [int(k) for k in before.rows.columns[before.side.model.key]]
    place = [at[k] for k in key]
    old, new = before.clean.scores[place], after.scores[place]
    loss = [float(log_loss(before.rows.y, scores).mean()) for scores in (old, new)]
    worse = loss[1] / loss[0] - 1
    verdict: Verdict = "pass" if seen or worse <= TOLERANCE else "fail"
    kpis = _kpis(before.side, Scored(before.rows, old, new, key))
    said += f", log-loss {worse:+.1%}"
    said += "".join(f", {name} {change:+.1%}" for name, change in kpis.items())
    return Found(verdict, said, worse, {**moved, "kpi": kpis})


def _kpis(clean: Side, scored: Scored) -> dict[str, float]:
    """Relative change of each service's own number; the truth is the unharmed one."""
    found = {}
    for service in clean.builder.project.services.values():
        if clean.model.model in service.models:
            old, new = (kpi_rows(clean, service, scored, s) for s in (scored.old, scored.new))
            found[service.kpi.name] = compare_kpi(old, new, service.kpi).change.value
    return found
