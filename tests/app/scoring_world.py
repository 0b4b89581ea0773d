"""The same rows through both doors: asked of a gateway, and scored in batch."""

from __future__ import annotations

from typing import Any

import app_world as world
import httpx
import pyarrow as pa

from interlock.app.scoring import Asked, Batch, score
from interlock.app.traffic import request_columns, tensor
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.serve.spec import ServingSpec

INTO = "ops.late_scores"
COLUMNS = {
    "flight_id": "flight_id, carrier, flight, origin, dest, tailnum, sched_dep, local_hour, "
    "hour_band, dow, distance, block_min, plane_age, plane_seats, local_date",
    "trip_id": "trip_id, place",
}


def due(workspace: Workspace, days: int = 3) -> str:
    """Every flight (or trip) of the next days, as it is to be scored now."""
    model = workspace.project.models[world.MODEL]
    now = f"{workspace.now():%Y-%m-%d %H:%M:%S}"
    return (
        f"SELECT {COLUMNS[model.key]}, CAST('{now}' AS TIMESTAMP) AS cutoff "
        f"FROM {model.spine} AS s WHERE cutoff >= CAST('{now}' AS TIMESTAMP) "
        f"AND cutoff < CAST('{now}' AS TIMESTAMP) + INTERVAL '{days} days'"
    )


def scored(workspace: Workspace, days: int = 3, into: str = INTO) -> Batch:
    return score(workspace, Asked(world.MODEL, due(workspace, days), into))


def shown(workspace: Workspace, into: str = INTO) -> dict[int, dict[str, Any]]:
    """What people see, by key."""
    rows = workspace.warehouse.query(f"SELECT * FROM {into}").to_pylist()
    found = {row[workspace.project.models[world.MODEL].key]: row for row in rows}
    assert len(found) == len(rows) > 0, "each row of the spine once"
    return found


def rows_due(workspace: Workspace, days: int = 3) -> pa.Table:
    """The rows of `due`."""
    key = workspace.project.models[world.MODEL].key
    return workspace.warehouse.query(f"{due(workspace, days)} ORDER BY {key}")


def asked_for(
    workspace: Workspace, given: pa.Table, headers: dict[str, str] | None = None
) -> dict[int, dict[str, Any]]:
    """The same rows, asked of a gateway over HTTP at the same moment."""
    entry = workspace.record.get(Ref("serving", workspace.route().stable or ""))
    assert entry
    spec = ServingSpec.from_json(entry.body)
    names = request_columns(workspace.project.models[world.MODEL], spec)
    types = spec.models[world.MODEL].columns
    now, rows = f"{workspace.now():%Y-%m-%dT%H:%M:%SZ}", given.to_pydict()
    found: dict[int, dict[str, Any]] = {}
    with world.serving(workspace) as (_, url):
        for start in range(0, given.num_rows, 100):
            part = {name: rows[name][start : start + 100] for name in names}
            inputs = [tensor(name, part[name], types[name]) for name in names]
            answer = httpx.post(
                f"{url}/v2/models/{world.MODEL}/infer",
                json={"inputs": inputs, "parameters": {"at": now}},
                headers=headers,
            )
            assert answer.status_code == 200, answer.text
            said = {one["name"]: one["data"] for one in answer.json()["outputs"]}
            for place, key in enumerate(part[workspace.project.models[world.MODEL].key]):
                found[key] = {name: values[place] for name, values in said.items()}
    return found


def same(batch: dict[int, dict[str, Any]], asked: dict[int, dict[str, Any]]) -> int:
    """Both doors said the same of every flight, to the last bit; how many releases they named."""
    assert batch.keys() == asked.keys()
    for key, row in batch.items():
        answer = asked[key]
        for name in ("release", "score", "reason", "stale"):
            assert row[name] == answer[name], f"{name} of {key}"
    return len({row["release"] for row in batch.values()})
