"""The checks that make evidence about data: contracts, values old against new, replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from interlock.app.build import Builder
from interlock.app.ingest import LOG
from interlock.change.evidence import Evidence, Verdict
from interlock.define.definitions import ColumnType, FeatureView, Model, Table
from interlock.define.refs import Ref
from interlock.features.compare import ValueComparison, compare_sql, judge_values
from interlock.features.compile import point_in_time_sql
from interlock.features.contract import judge_columns, judge_contract
from interlock.features.profile import profile_sql, read_profile
from interlock.features.replay import EXAMPLES, Replay, Spine, Status, pick_cutoffs, run_replay
from interlock.features.timeline import known_column

CUTOFFS = 8
TOGETHER = 40
"""Features compared in one query."""
SPAN = timedelta(days=61)
WEEK = timedelta(days=7)
HISTORY, SERVED = "history", "served"

Step = Callable[[int, int], None]
"""Told how many of how many are done."""


def no_step(done: int, of: int) -> None:
    """Tells nobody."""


def contract(builder: Builder, table: Table, now: datetime) -> Evidence:
    """Does the table keep every promise of its contract?"""
    built = builder.table(table.name)
    warehouse = builder.workspace.warehouse
    columns = warehouse.columns(f"SELECT * FROM {built}")
    findings, seen = judge_columns(table, columns), None
    if all(f.verdict == "pass" for f in findings):
        # What is kept holds no value that somebody may not see.
        shown = builder.masks.contract(table)
        asked = profile_sql(shown, built, dialect=builder.dialect)
        seen = read_profile(table, warehouse.query(asked).to_pylist()[0])
        findings = judge_contract(table, seen, columns)
    broken = [f for f in findings if f.verdict != "pass"]
    verdict: Verdict = "pass"
    if broken:
        verdict = "fail" if any(f.verdict == "fail" for f in broken) else "inconclusive"
    said = broken or findings[-1:]
    return Evidence(
        check=f"contract:{table.name}",
        subjects=_subjects(builder, table.ref),
        verdict=verdict,
        sentence="; ".join(f.sentence for f in said),
        made_at=now,
        n=len(findings),
        value=float(len(broken)),
        details={
            "findings": [asdict(f) for f in findings],
            "profile": seen.to_json() if seen else None,
        },
    )


def values(
    old: Builder, new: Builder, old_view: FeatureView, view: FeatureView, model: Model | None
) -> Evidence:
    """Old and new values of one view on the same rows: equal, or named for what they became.

    The rows are those for which a model would have asked lately, and beside them those for
    which it was asked in production; without a model, the view's own entities and times.
    """
    now = new.workspace.now()
    shared = {name: f.type for name, f in view.features.items() if name in old_view.features}
    gone = sorted(set(old_view.features) - set(view.features))
    samples = _compared(old, new, (old_view, view), shared, model) if shared else {}
    found, served = (
        [new.masks.comparison(view.ref, f) for f in samples.get(name, [])]
        for name in (HISTORY, SERVED)
    )
    moved = [f for f in (*found, *served) if f.verdict != "equal" or f.missing_old or f.missing_new]
    verdict: Verdict = "pass" if found and not moved and not gone else "fail"
    if any(f.verdict == "unknown" for f in moved) and verdict == "fail" and not gone:
        real = [f for f in moved if f.verdict != "unknown"]
        verdict = "fail" if real else "inconclusive"
    rows = max((f.rows for f in found), default=0)
    return Evidence(
        check=f"values:{view.view}@{view.version}",
        subjects=_subjects(new, view.ref),
        verdict=verdict,
        sentence=_value_sentence(found, served, gone),
        made_at=now,
        metric="changed_share",
        n=rows,
        value=max((f.changed_share for f in (*found, *served)), default=None),
        baseline=0.0,
        details={
            "features": [asdict(f) for f in found],
            "served": [asdict(f) for f in served],
            "gone": gone,
        },
    )


def _value_sentence(
    found: Sequence[ValueComparison], served: Sequence[ValueComparison], gone: Sequence[str]
) -> str:
    moved = [f for f in found if f.verdict != "equal" or f.missing_old or f.missing_new]
    said = [f.sentence for f in moved] + [f"{name} is gone" for name in gone]
    # What was asked in production is told where it says something else than history.
    same = {f.feature: f.verdict for f in found}
    said += [f"as served, {f.sentence}" for f in served if f.verdict != same.get(f.feature)]
    if said:
        return "; ".join(said)
    rows = max((f.rows for f in found), default=0)
    asked = f" and on {served[0].rows} that were served" if served else ""
    return f"{len(found)} values are equal on {rows} rows{asked}"


def _compared(
    old: Builder,
    new: Builder,
    views: tuple[FeatureView, FeatureView],
    shared: Mapping[str, ColumnType],
    model: Model | None,
) -> dict[str, list[ValueComparison]]:
    """By sample, one comparison per feature that both versions have; all in one query.

    Of a view with very many features there are several: engines have a limit on columns.
    """
    built, q = (old.view(views[0]), new.view(views[1])), new.dialect.quoted
    if model is None:
        a, b = (f"(SELECT t.*, {q(known_column(v))} AS __at FROM {t} AS t)" for v, t in built)
        on, by = [*views[1].entity, "__at"], None
    else:
        spine = samples_sql(new, model)
        how = new.join(spine)
        a, b = (
            f"({point_in_time_sql(spine, model.key, model.time, [one], how=how)})" for one in built
        )
        on, by = [model.key, "sample_"], "sample_"
    units = {name: f.unit for name, f in views[0].features.items()}
    found: dict[str, list[ValueComparison]] = {}
    for start in range(0, len(shared), TOGETHER):
        part = dict(list(shared.items())[start : start + TOGETHER])
        sql = compare_sql(a, b, on, part, by, new.dialect)
        for row in new.workspace.warehouse.query(sql).to_pylist():
            compared = judge_values(row, part, units)
            found.setdefault(row.get("__by") or HISTORY, []).extend(compared)
    return found


def samples_sql(builder: Builder, model: Model) -> str:
    """Spine rows with the column `sample_`: all of recent history, and what was asked lately.

    The log keeps which row was asked for and when; its values are looked up at that time.
    """
    warehouse, dialect = builder.workspace.warehouse, builder.dialect
    now, q = builder.workspace.now(), dialect.quoted
    text, instant = dialect.text, dialect.instant
    spine = builder.table(model.spine)
    columns = [*map(q, warehouse.columns(f"SELECT * FROM {spine} AS t"))]
    recent = (
        f"SELECT {', '.join(columns)}, {text(HISTORY)} AS sample_ FROM {spine} AS t "
        f"WHERE {q(model.time)} >= {instant(now - SPAN)} AND {q(model.time)} < {instant(now)}"
    )
    if not warehouse.has(LOG):
        return f"({recent})"
    asked = (
        f"SELECT key, max(asked_at) AS at_ FROM {LOG} WHERE model = {text(model.model)} "
        f"AND asked_at >= {instant(now - WEEK)} AND asked_at <= {instant(now)} GROUP BY key"
    )
    then = ", ".join("p.at_" if one == q(model.time) else f"s.{one}" for one in columns)
    return (
        f"({recent} UNION ALL SELECT {then}, {text(SERVED)} "
        f"FROM {spine} AS s JOIN ({asked}) AS p ON p.key = s.{q(model.key)})"
    )


def replay(
    builder: Builder, view: FeatureView, model: Model, cutoffs: int = CUTOFFS, step: Step = no_step
) -> Evidence:
    """Could every training value of this view have been known at its time?"""
    warehouse, tables = builder.workspace.warehouse, builder.project.tables
    now = builder.workspace.now()
    built = builder.view(view)[1]
    spine = Spine(recent_spine(builder, model), model.key, model.time)
    chosen = pick_cutoffs(warehouse, spine, cutoffs)
    bindings = builder.bindings(all_tables(tables, view.sql))
    parts = []
    for place, at in enumerate(chosen):
        step(place, len(chosen))
        parts.append(run_replay(warehouse, view, built, spine, tables, bindings, [at]))
    step(len(chosen), len(chosen))
    found = together(parts or [run_replay(warehouse, view, built, spine, tables, bindings, [])])
    verdicts: Mapping[str, Verdict] = {"clean": "pass", "leak": "fail"}
    return Evidence(
        check=f"replay:{view.view}@{view.version}",
        subjects=_subjects(builder, view.ref),
        verdict=verdicts.get(found.status, "inconclusive"),
        sentence=found.sentence,
        made_at=now,
        metric="mismatches",
        n=found.rows,
        value=float(found.mismatches),
        baseline=0.0,
        details={**asdict(found), "examples": _shown(builder, view, model, found.examples)},
    )


def _shown(
    builder: Builder, view: FeatureView, model: Model, examples: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Examples as everybody may see them: evidence is kept, and read by anybody."""
    spine = (Ref("table", model.spine), model.key)
    text = f"{view.view}@{view.version}"
    return [builder.masks.example(f"{text}:{e['feature']}", spine, e) for e in examples]


def recent_spine(builder: Builder, model: Model) -> str:
    """The rows that a model asked for in recent history, whether or not it was there to ask."""
    dialect, now = builder.dialect, builder.workspace.now()
    time = dialect.quoted(model.time)
    return (
        f"(SELECT * FROM {builder.table(model.spine)} AS t WHERE "
        f"{time} >= {dialect.instant(now - SPAN)} AND {time} < {dialect.instant(now)})"
    )


def together(parts: Sequence[Replay]) -> Replay:
    """Replays of one view at different instants as one."""
    sources = sorted({name for part in parts for name in part.unprovable_sources})
    rows, wrong = sum(part.rows for part in parts), sum(part.mismatches for part in parts)
    status: Status = "leak" if wrong else "unprovable" if sources or not rows else "clean"
    examples = tuple(example for part in parts for example in part.examples)[:EXAMPLES]
    at = sum(part.cutoffs for part in parts)
    return Replay(parts[0].view, rows, wrong, at, status, tuple(sources), examples)


def all_tables(tables: Mapping[str, Table], sql: str) -> set[str]:
    """Every table a query rests on, through tables that are built by SQL."""
    from interlock.impact.sql import tables_read

    found: set[str] = set()
    waiting = list(tables_read(sql))
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        if (table := tables.get(name)) and table.sql:
            waiting += tables_read(table.sql)
    return found


def _subjects(builder: Builder, ref: Any) -> dict[str, str]:
    return {str(ref): builder.facts.fingerprint(ref)}
