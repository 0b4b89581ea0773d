"""How right a model was, day by day, on the answers that people were shown: from arrived labels."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from interlock.app.build import midnight
from interlock.app.ingest import LOG
from interlock.app.versions import Version
from interlock.app.workspace import Workspace
from interlock.define.definitions import Model
from interlock.define.refs import Ref
from interlock.features.dialect import dialect_of
from interlock.impact.sql import substitute
from interlock.ports import Put
from interlock.watch.calibration import DayCells, calibration, cells, window

WEEK = timedelta(days=7)
# A label may come a day after the flight: days younger than this are not judged.
MATURE = timedelta(days=1)


def days_of(
    workspace: Workspace, version: Version, model: Model, now: datetime
) -> tuple[DayCells, ...]:
    """Answers of the live release whose day is over and whose labels have arrived, by day."""
    label, dialect = model.label, dialect_of(workspace.warehouse)
    q, over = dialect.quoted, midnight((now - MATURE).date())
    outcome, known = f"l.{q(label.column)}", f"l.{q(label.available_at)}"
    table = workspace.warehouse.query(
        "WITH first AS (SELECT * FROM (SELECT p.*, "
        f"row_number() OVER (PARTITION BY key ORDER BY served_at) AS place FROM {LOG} AS p "
        f"WHERE release = '{version.release}' AND model = '{model.model}' AND score IS NOT NULL) "
        "AS ranked WHERE place = 1) "
        f"SELECT CAST(asked_at AS DATE) AS day, score, {dialect.cast(outcome, 'double')} AS y "
        f"FROM first JOIN ({substitute(label.sql, {}, dialect.name)}) AS l "
        f"ON l.{q(model.key)} = first.key "
        f"WHERE {known} <= {dialect.instant(now)} AND asked_at < {dialect.instant(over)} "
        f"AND {outcome} IS NOT NULL"
    )
    score, y = (np.asarray(table.column(name), dtype=np.float64) for name in ("score", "y"))
    return cells(table.column("day").to_pylist(), score, y)


def keep_days(workspace: Workspace, version: Version, model: Model, now: datetime) -> None:
    """What pages and scorecards tell: one line per day, of the release that answered most of it."""
    days, ref = days_of(workspace, version, model, now), Ref("note", f"calibration-{model.model}")
    before = workspace.record.get(ref)
    kept = {row["day"]: row for row in (before.body["days"] if before else [])}
    for cell in days:
        one, said = calibration([cell]), kept.get(str(cell.day))
        if said is not None and said["release"] != version.release and said["n"] > one.n:
            continue
        week = calibration(window(days, cell.day + timedelta(days=1), WEEK))
        kept[str(cell.day)] = {
            "day": str(cell.day), "release": version.release, "n": one.n, "ece": one.ece,
            "week_ece": week.ece, "mean_score": one.mean_score, "mean_label": one.mean_label,
        }  # fmt: skip
    body = {"days": [kept[day] for day in sorted(kept)]}
    if before is None or before.body != body:
        put = Put(ref, body, before.version if before else 0)
        workspace.record.write([put], by="watch", at=now)
