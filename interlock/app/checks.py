"""The checks that make evidence about data: contracts, values old against new, replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from interlock.app.build import Builder
from interlock.change.evidence import Evidence, Verdict
from interlock.define.definitions import FeatureView, Model, Table
from interlock.features.compare import ValueComparison, compare_sql, judge_values
from interlock.features.compile import Built, point_in_time_sql
from interlock.features.contract import judge_columns, judge_contract
from interlock.features.profile import profile_sql, read_profile
from interlock.features.replay import Spine, pick_cutoffs, run_replay
from interlock.features.timeline import known_column

CUTOFFS = 8
HISTORY = timedelta(days=61)


def contract(builder: Builder, table: Table, now: datetime) -> Evidence:
    """Does the table keep every promise of its contract?"""
    built = builder.table(table.name)
    warehouse = builder.workspace.warehouse
    columns = warehouse.columns(f"SELECT * FROM {built}")
    findings = judge_columns(table, columns)
    if all(f.verdict == "pass" for f in findings):
        row = warehouse.query(profile_sql(table, built)).to_pylist()[0]
        findings = judge_contract(table, read_profile(table, row), columns)
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
        details={"findings": [asdict(f) for f in findings]},
    )


def values(
    old: Builder, new: Builder, old_view: FeatureView, view: FeatureView, model: Model | None
) -> Evidence:
    """Old and new values of one view on the same rows: equal, or named for what they became.

    The rows are those for which a model asked lately, so that what is compared is what
    would be served; without a model, the view's own entities and times.
    """
    now = new.workspace.now()
    shared = {name: f.type for name, f in view.features.items() if name in old_view.features}
    gone = sorted(set(old_view.features) - set(view.features))
    if not shared:
        found: list[ValueComparison] = []
    else:
        a, b, on = _relations(old, new, (old_view, view), model, now)
        sql = compare_sql(a, b, on, shared)
        units = {name: f.unit for name, f in old_view.features.items()}
        found = judge_values(new.workspace.warehouse.query(sql).to_pylist()[0], shared, units)
    moved = [f for f in found if f.verdict != "equal" or f.missing_old or f.missing_new]
    verdict: Verdict = "pass" if found and not moved and not gone else "fail"
    if any(f.verdict == "unknown" for f in moved) and verdict == "fail" and not gone:
        real = [f for f in moved if f.verdict != "unknown"]
        verdict = "fail" if real else "inconclusive"
    rows = max((f.rows for f in found), default=0)
    return Evidence(
        check=f"values:{view.view}@{view.version}",
        subjects=_subjects(new, view.ref),
        verdict=verdict,
        sentence=_value_sentence(found, moved, gone),
        made_at=now,
        metric="changed_share",
        n=rows,
        value=max((f.changed_share for f in found), default=None),
        baseline=0.0,
        details={"features": [asdict(f) for f in found], "gone": gone},
    )


def _value_sentence(
    found: Sequence[ValueComparison], moved: Sequence[ValueComparison], gone: Sequence[str]
) -> str:
    said = [f.sentence for f in moved] + [f"{name} is gone" for name in gone]
    if said:
        return "; ".join(said)
    rows = max((f.rows for f in found), default=0)
    return f"{len(found)} values are equal on {rows} rows"


def _relations(
    old: Builder,
    new: Builder,
    views: tuple[FeatureView, FeatureView],
    model: Model | None,
    now: datetime,
) -> tuple[str, str, list[str]]:
    """Old and new rows to compare, and the columns that make a row unique in both."""
    built_old, built_new = old.view(views[0]), new.view(views[1])
    if model is None:
        a, b = (
            f"(SELECT *, {known_column(v)} AS __at FROM {t})" for v, t in (built_old, built_new)
        )
        return a, b, [*views[1].entity, "__at"]
    since = now - HISTORY
    spine = (
        f"(SELECT * FROM {new.table(model.spine)} WHERE {model.time} >= "
        f"TIMESTAMP '{since:%Y-%m-%d %H:%M:%S}' AND {model.time} < "
        f"TIMESTAMP '{now:%Y-%m-%d %H:%M:%S}')"
    )

    def at(built: Built) -> str:
        return f"({point_in_time_sql(spine, model.key, model.time, [built])})"

    return at(built_old), at(built_new), [model.key]


def replay(builder: Builder, view: FeatureView, model: Model) -> Evidence:
    """Could every training value of this view have been known at its time?"""
    workspace, tables = builder.workspace, builder.project.tables
    now = workspace.now()
    built = builder.view(view)[1]
    needed = _all_tables(tables, view.sql)
    spine = Spine(
        f"(SELECT * FROM {builder.table(model.spine)} WHERE {model.time} >= "
        f"TIMESTAMP '{now - HISTORY:%Y-%m-%d %H:%M:%S}' AND {model.time} < "
        f"TIMESTAMP '{now:%Y-%m-%d %H:%M:%S}')",
        model.key,
        model.time,
    )
    cutoffs = pick_cutoffs(workspace.warehouse, spine, CUTOFFS)
    bindings = builder.bindings(needed)
    found = run_replay(workspace.warehouse, view, built, spine, tables, bindings, cutoffs)
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
        details={**asdict(found), "examples": [dict(e) for e in found.examples]},
    )


def _all_tables(tables: Mapping[str, Table], sql: str) -> set[str]:
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
