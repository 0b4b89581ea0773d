"""What gateways logged, into the warehouse: each answer and each mirrored score of it once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from interlock.app.workspace import Workspace
from interlock.errors import Unavailable
from interlock.features.dialect import dialect_of
from interlock.ports import Replacement, Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

LOG = "il.predictions"
MIRRORED = "il.mirrored"
CURSOR = "il.predictions_read"
_INCOMING = "il.predictions_new"
_MIRRORED_INCOMING = "il.mirrored_new"

_TYPES = {
    "id": "string", "asked_at": "timestamp", "served_at": "double", "model": "string",
    "subject": "string", "key": "int64", "epoch": "int64", "stage": "string",
    "change": "string", "arm": "string", "release": "string", "score": "double",
    "reason": "string", "stale": "bool", "oldest_s": "double", "fallback": "bool",
    "error": "bool", "latency_us": "double", "mirror_release": "string",
    "mirror_score": "double", "mirror_error": "bool", "mirror_us": "double",
}  # fmt: skip
ANSWER = tuple(name for name in _TYPES if not name.startswith("mirror_"))
_MIRRORED_TYPES = {
    "id": "string", "release": "string", "score": "double", "error": "bool",
    "fallback": "bool", "us": "double",
}  # fmt: skip


def ingest(workspace: Workspace) -> int:
    """Copy what gateways logged since last time into the warehouse; the number of answers.

    Rows and cursor are written at one instant, so a kill repeats and loses nothing.
    """
    warehouse = workspace.warehouse
    prepare_log(warehouse)
    cursor = _cursor(warehouse)
    # The mirrors first: the answers they belong to were logged before them.
    scores, mirrored = workspace.mirrored.read(cursor.get("mirrored", {}))
    rows, answered = workspace.predictions.read(cursor)
    if not rows and not scores:
        return 0
    warehouse.load(_INCOMING, _table([_flat(row) for row in rows], _TYPES))
    mirrors = [_flat_mirror(row) for row in scores]
    warehouse.load(_MIRRORED_INCOMING, _table(mirrors, _MIRRORED_TYPES))
    said = json.dumps({**answered, "mirrored": mirrored})
    warehouse.replace(
        [
            Replacement(LOG, "FALSE", f"SELECT * FROM {_INCOMING}"),
            Replacement(MIRRORED, "FALSE", f"SELECT * FROM {_MIRRORED_INCOMING}"),
            Replacement(CURSOR, "TRUE", f"SELECT {dialect_of(warehouse).text(said)}"),
        ]
    )
    return len(rows)


def prepare_log(warehouse: Warehouse) -> None:
    """The copy of the log, empty, where there is none yet."""
    import pyarrow as pa

    if not warehouse.has(MIRRORED):
        warehouse.load(MIRRORED, _table([], _MIRRORED_TYPES))
    if warehouse.has(CURSOR):
        return
    # The cursor's table last: where it is, the log has been there from the beginning.
    warehouse.load(LOG, _table([], _TYPES))
    warehouse.load(CURSOR, pa.table({"cursor": pa.array([], pa.string())}))


def _cursor(warehouse: Warehouse) -> Any:
    said = warehouse.query(f"SELECT cursor FROM {CURSOR}").to_pylist()
    return json.loads(said[0]["cursor"]) if said else {}


def _table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> pa.Table:
    import pyarrow as pa

    types = {
        "string": pa.string(), "timestamp": pa.timestamp("us"), "int64": pa.int64(),
        "bool": pa.bool_(), "double": pa.float64(),
    }  # fmt: skip
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    return pa.Table.from_pylist(list(rows), schema=schema)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    same = ("id", "served_at", "model", "epoch", "stage", "change", "arm", "release",
            "score", "reason", "stale", "oldest_s", "latency_us")  # fmt: skip
    return {
        **{name: row[name] for name in same},
        # Not every engine keeps this character, and one row must not keep all others out.
        "subject": row["subject"].replace("\x00", "\ufffd"),
        "key": _key(row["key"]),
        "asked_at": datetime.fromisoformat(row["at"]).replace(tzinfo=None),
        "fallback": bool(row["fallbacks"]),
        "error": row["error"] is not None,
        **(_beside(row["mirror"]) if row.get("mirror") else {}),
    }


def _key(said: object) -> int | None:
    """A whole number that an engine can hold; any other key has no label to be joined with."""
    try:
        found = int(said)  # type: ignore[call-overload]  # whatever somebody sent
    except (TypeError, ValueError):
        return None
    return found if -(2**63) <= found < 2**63 else None


def _beside(mirror: Mapping[str, Any]) -> dict[str, Any]:
    """As gateways logged it before mirrors had lines of their own."""
    return {
        "mirror_release": mirror["release"], "mirror_score": mirror["score"],
        "mirror_error": mirror["error"] is not None, "mirror_us": mirror["latency_us"],
    }  # fmt: skip


def _flat_mirror(row: Mapping[str, Any]) -> dict[str, Any]:
    same = ("id", "release", "score", "fallback")
    wrong = row["error"] is not None
    return {**{name: row[name] for name in same}, "error": wrong, "us": row["latency_us"]}


def packed(workspace: Workspace) -> str:
    """Old segments of the logs as Parquet, one of each at a look, and to where old ones are kept.

    Why not, when that failed.
    """
    try:
        for log in (workspace.predictions, workspace.mirrored):
            log.pack()
            log.ship()
    except Unavailable as error:
        return error.message
    return ""
