"""From the prediction log and the labels that have arrived to the judge's buckets.

All counting is one query per metric group in the warehouse. A flight asked for twice in
one rollout counts once, by its first answer: the unit is the subject, not the request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isclose, sqrt
from typing import TYPE_CHECKING, Any

from interlock.app.workspace import Workspace
from interlock.define.definitions import Model, Service
from interlock.ports import Bucket, Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

LOG = "il.predictions"
CURSOR = "il.predictions_read"
BUCKET_S = 3600
DAY_S = 86400

_TYPES = {
    "id": "string", "asked_at": "timestamp", "served_at": "double", "model": "string",
    "subject": "string", "key": "int64", "epoch": "int64", "stage": "string",
    "change": "string", "arm": "string", "release": "string", "score": "double",
    "reason": "string", "stale": "bool", "oldest_s": "double", "fallback": "bool",
    "error": "bool", "latency_us": "double", "mirror_release": "string",
    "mirror_score": "double", "mirror_error": "bool", "mirror_us": "double",
}  # fmt: skip


def ingest(workspace: Workspace) -> int:
    """Copy what gateways logged since last time into the warehouse; the number of rows.

    Rows and cursor are written in one transaction, so a kill repeats and loses nothing.
    """
    warehouse = workspace.warehouse
    _prepare(warehouse)
    rows, cursor = workspace.predictions.read(_cursor(warehouse))
    if not rows:
        return 0
    warehouse.load("il.predictions_new", _table(rows))
    import json

    said = json.dumps(cursor).replace("'", "''")
    warehouse.execute(
        f"BEGIN; INSERT INTO {LOG} SELECT * FROM il.predictions_new; DELETE FROM {CURSOR}; "
        f"INSERT INTO {CURSOR} VALUES ('{said}'); COMMIT"
    )
    return len(rows)


def _prepare(warehouse: Warehouse) -> None:
    if warehouse.has(CURSOR):
        return
    names = {"string": "VARCHAR", "timestamp": "TIMESTAMP", "int64": "BIGINT", "bool": "BOOLEAN"}
    columns = ", ".join(f"{c} {names.get(t, 'DOUBLE')}" for c, t in _TYPES.items())
    warehouse.execute(
        f"CREATE SCHEMA IF NOT EXISTS il; CREATE TABLE IF NOT EXISTS {LOG} ({columns}); "
        f"CREATE TABLE IF NOT EXISTS {CURSOR} (cursor VARCHAR)"
    )


def _cursor(warehouse: Warehouse) -> Any:
    import json

    said = warehouse.query(f"SELECT cursor FROM {CURSOR}").to_pylist()
    return json.loads(said[0]["cursor"]) if said else {}


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    flat = [_flat(row) for row in rows]
    types = {
        "string": pa.string(), "timestamp": pa.timestamp("us"), "int64": pa.int64(),
        "bool": pa.bool_(), "double": pa.float64(),
    }  # fmt: skip
    schema = pa.schema([(name, types[kind]) for name, kind in _TYPES.items()])
    return pa.Table.from_pylist(flat, schema=schema)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    mirror = row["mirror"] or {}
    same = ("id", "served_at", "model", "subject", "epoch", "stage", "change", "arm", "release",
            "score", "reason", "stale", "oldest_s", "latency_us")  # fmt: skip
    return {
        **{name: row[name] for name in same},
        "key": int(row["key"]) if row["key"] is not None else None,
        "asked_at": datetime.fromisoformat(row["at"]).replace(tzinfo=None),
        "fallback": bool(row["fallbacks"]),
        "error": row["error"] is not None,
        "mirror_release": mirror.get("release"),
        "mirror_score": mirror.get("score"),
        "mirror_error": mirror.get("error") is not None if mirror else None,
        "mirror_us": mirror.get("latency_us"),
    }


@dataclass(frozen=True)
class Measuring:
    """What one rollout is measured by: thresholds frozen before it started.

    `score_threshold` is the incumbent's p90; `slow_us` the promised latency; `kpi_weights`
    the mean weight of a unit, by service whose KPI is a share; `mirrored` names the stages
    that show nothing of the candidate; `now` decides which labels
    have arrived.
    """

    change: str
    release: str
    model: Model
    services: tuple[Service, ...]
    score_threshold: float
    slow_us: float
    maturity_s: float
    kpi_weights: Mapping[str, float]
    mirrored: tuple[str, ...]
    now: datetime


def buckets_of(warehouse: Warehouse, it: Measuring) -> list[Bucket]:
    """Every bucket of the rollout so far, recomputed from the log: late labels find their place."""
    found = [_bucket(row) for row in warehouse.query(_answers_sql(it)).to_pylist()]
    found += [_bucket(row) for row in warehouse.query(_labels_sql(it)).to_pylist()]
    for service in it.services:
        found += [_bucket(row) for row in warehouse.query(_kpi_sql(it, service)).to_pylist()]
    return found


def settled(stored: Sequence[Bucket], measured: Sequence[Bucket]) -> list[Bucket]:
    """`measured`, where nothing but the last bits moved as it was stored.

    The warehouse adds in whatever order its threads come; what was judged once is not to
    be judged again because of that.
    """
    before = {(b.stage, b.metric, b.arm, b.at, b.slice): b for b in stored}
    found = []
    for new in measured:
        old = before.get((new.stage, new.metric, new.arm, new.at, new.slice))
        found.append(old if old is not None and _same(old, new) else new)
    return found


def _same(old: Bucket, new: Bucket) -> bool:
    # Sums of both signs may cancel: their error goes with the sizes that were added.
    size = sqrt(old.n * old.squares)
    return (
        old.n == new.n
        and isclose(old.total, new.total, rel_tol=0, abs_tol=1e-9 * size)
        and isclose(old.squares, new.squares, rel_tol=1e-9)
    )


def _bucket(row: Mapping[str, Any]) -> Bucket:
    return Bucket(
        stage=row["stage"], metric=row["metric"], arm=row["arm"], at=int(row["bucket"]),
        n=float(row["n"]), total=float(row["total"] or 0), squares=float(row["squares"] or 0),
    )  # fmt: skip


def _first_answers(it: Measuring) -> str:
    """One row per unit and stage: its first answer in this rollout."""
    return (
        f"SELECT * FROM {LOG} WHERE change = '{it.change}' AND model = '{it.model.model}' "
        "AND arm IN ('stable', 'candidate') "
        "QUALIFY row_number() OVER (PARTITION BY stage, key ORDER BY served_at, id) = 1"
    )


def _arms(it: Measuring) -> str:
    """Both arms of every unit as rows: in shadow the candidate's side is its mirrored answer."""
    names = ", ".join(f"'{name}'" for name in it.mirrored) or "NULL"
    hidden = f"coalesce(stage IN ({names}), false)"
    seen = f"""SELECT stage, asked_at, key, arm, score, error, fallback, latency_us AS us
        FROM first WHERE NOT {hidden} OR arm = 'stable'"""
    mirrored = f"""SELECT stage, asked_at, key, 'candidate', mirror_score, mirror_error, fallback,
        mirror_us FROM first WHERE {hidden} AND mirror_release IS NOT NULL"""
    return f"first AS ({_first_answers(it)}), arms AS ({seen} UNION ALL {mirrored})"


def _group(metric: str, value: str, source: str, arm: str = "arm", bucket: int = BUCKET_S) -> str:
    return (
        f"SELECT stage, '{metric}' AS metric, {arm} AS arm, "
        f"floor(epoch(asked_at) / {bucket}) * {bucket} AS bucket, count(*) AS n, "
        f"sum({value}) AS total, sum(({value}) * ({value})) AS squares "
        f"FROM {source} GROUP BY ALL"
    )


def _answers_sql(it: Measuring) -> str:
    metrics = {
        "errors": "error::INT",
        "slow": f"(us > {it.slow_us})::INT",
        "fallbacks": "fallback::INT",
        "units": "1",
    }
    parts = [_group(name, value, "arms") for name, value in metrics.items()]
    shift = f"(score > {it.score_threshold})::INT"
    parts.append(_group("score_shift", shift, "arms WHERE score IS NOT NULL"))
    return f"WITH {_arms(it)} " + " UNION ALL ".join(parts)


def _arrived(it: Measuring) -> str:
    """Labels known by now, by key."""
    label = it.model.label
    return (
        f"labels AS (SELECT * FROM ({label.sql}) WHERE {label.available_at} <= "
        f"TIMESTAMP '{it.now:%Y-%m-%d %H:%M:%S}' AND {label.column} IS NOT NULL)"
    )


def _labels_sql(it: Measuring) -> str:
    y, key = it.model.label.column, it.model.key
    loss = f"CASE WHEN l.{y} = 1 THEN -ln({{p}}) ELSE -ln(1 - {{p}}) END"
    clipped = "least(greatest({}, 1e-4), 1 - 1e-4)"
    own = loss.format(p=clipped.format("a.score"))
    stable, candidate = (
        loss.format(p=clipped.format(f"a.{side}")) for side in ("stable_score", "candidate_score")
    )
    ripe = (
        f"asked_at < TIMESTAMP '{it.now:%Y-%m-%d %H:%M:%S}' - INTERVAL {int(it.maturity_s)} SECOND"
    )
    return f"""WITH {_arms(it)}, {_arrived(it)}, {_pairs()},
        judged AS (SELECT a.*, {own} AS loss FROM arms a JOIN labels l ON l.{key} = a.key
                   WHERE a.score IS NOT NULL),
        paired AS (SELECT a.*, ({candidate}) - ({stable}) AS diff
                   FROM pairs a JOIN labels l ON l.{key} = a.key),
        came AS (SELECT a.*, l.{key} IS NULL AS missing FROM arms a
                 LEFT JOIN labels l ON l.{key} = a.key WHERE {ripe})
        {_group("log_loss", "loss", "judged")}
        UNION ALL {_group("log_loss_paired", "diff", "paired", "'paired'")}
        UNION ALL {_group("label_missing", "missing::INT", "came")}"""


def _pairs() -> str:
    """Units scored by both releases, whichever of them was shown."""
    return """pairs AS (SELECT stage, asked_at, key,
            CASE WHEN arm = 'stable' THEN score ELSE mirror_score END AS stable_score,
            CASE WHEN arm = 'stable' THEN mirror_score ELSE score END AS candidate_score
        FROM first WHERE score IS NOT NULL AND mirror_score IS NOT NULL)"""


def _kpi_sql(it: Measuring, service: Service) -> str:
    """The KPI of whole decision units under either release's scores, differenced per unit.

    Only days that are over and whose labels are due: half a unit is not a unit. A share
    is differenced at the planned mean weight, so that the mean is the change of the share.
    """
    key = it.model.key
    source = (
        f" FROM pairs JOIN {it.model.spine} s ON s.{key} = pairs.key "
        f"JOIN labels ON labels.{key} = pairs.key"
    )
    sides = {
        side: f"(WITH scored AS (SELECT s.*, pairs.{side} AS p, labels.* EXCLUDE ({key}){source}) "
        f"SELECT * FROM ({service.kpi.sql}))"
        for side in ("stable_score", "candidate_score")
    }
    over = (
        f"TIMESTAMP '{it.now:%Y-%m-%d %H:%M:%S}' - INTERVAL {int(it.maturity_s)} SECOND "
        "- INTERVAL 1 DAY"
    )
    weight = it.kpi_weights.get(service.service, 1.0)
    metric = f"kpi:{service.service}"
    source = "staged WHERE stage IS NOT NULL"
    return f"""WITH first AS ({_first_answers(it)}), {_pairs()}, {_arrived(it)},
        stages AS (SELECT asked_at::DATE AS day, arg_max(stage, asked_at) AS stage
                   FROM pairs GROUP BY 1),
        units AS (SELECT o.unit, o.day, (n.value - o.value) / {weight} AS diff
                  FROM {sides["stable_score"]} o JOIN {sides["candidate_score"]} n
                  ON o.unit = n.unit AND o.day = n.day WHERE o.day < {over}),
        staged AS (SELECT diff, units.day::TIMESTAMP AS asked_at, stage
                   FROM units LEFT JOIN stages USING (day) WHERE diff IS NOT NULL)
        {_group(metric, "diff", source, "'paired'", DAY_S)}"""


def slow_threshold(services: Sequence[Service]) -> float:
    """Microseconds: the tightest promise of any service that is served."""
    return min((s.slo.latency.total_seconds() for s in services), default=0.25) * 1e6
