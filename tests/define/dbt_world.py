"""A small Interlock project on top of a dbt project, as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAIN = """\
name: shop
owners:
  eng: {ada: [data_steward]}
  science: {bo: [model_validator, change_sponsor]}
  ops: {cy: [service_owner]}
environments:
  prod:
    subject: [id]
    stages: [{name: soak, weight: 1, hold: 1d}]
dbt: {manifest: dbt/target/manifest.json, owner: eng}
"""
FILES = {
    "interlock.yaml": MAIN,
    "features/spend.sql": """/*
view: spend
version: 1
owner: science
entity: [customer]
features:
  spend: {type: double, unit: eur}
  orders: {type: integer}
*/
SELECT customer, placed_at AS ts, sum(amount) AS spend, count(*) AS orders
FROM main.orders
GROUP BY customer, placed_at
""",
    "models/returns.yaml": """model: returns
owner: science
spine: main.orders
key: id
time: placed_at
features: ["spend@1:spend"]
label:
  column: refunded
  sql: SELECT id, refunded, placed_at + INTERVAL 1 DAY AS available_at FROM main.raw_orders
training: {entry: "returns.py:train", start: 2024-01-01, end: 2024-02-01}
evaluation: {start: 2024-02-01, end: 2024-03-01}
""",
    "models/returns.py": "def train(rows):\n    return rows\n",
    "services/desk.yaml": """service: desk
owner: ops
models: [returns]
decision_unit: [id]
kpi:
  name: loss
  better: lower
  sql: SELECT id AS unit, CAST(placed_at AS DATE) AS day, p AS value FROM scored
""",
}
DBT = {
    "dbt_project.yml": """name: shop
version: "1.0"
profile: shop
flags: {send_anonymous_usage_stats: false}
""",
    "profiles.yml": """shop:
  target: dev
  outputs:
    dev: {type: duckdb, path: shop.duckdb, schema: main, threads: 1}
""",
    "seeds/raw_orders.csv": (
        "id,customer,placed_at,cents,refunded\n"
        "1,7,2024-01-01 00:00:00,100,false\n2,7,2024-01-02 00:00:00,200,true\n"
    ),
    "models/stg_orders.sql": (
        "{{ config(materialized='view') }}\n"
        "SELECT id, customer, placed_at, CAST(cents / 100.0 AS DOUBLE) AS amount, refunded\n"
        "FROM {{ ref('raw_orders') }}\n"
    ),
    "models/orders.sql": (
        "SELECT id, customer, placed_at, amount FROM {{ ref('stg_orders') }}\n"
        "{% if var('all', true) %} WHERE amount > 0 {% endif %}\n"
    ),
    "models/visits.sql": "SELECT 1 AS visitor, '/' AS page\n",
    "models/schema.yml": """version: 2
seeds:
  - name: raw_orders
    config:
      column_types: {id: bigint, customer: bigint, placed_at: timestamp, cents: bigint, refunded: boolean}
    columns:
      - {name: id, data_type: bigint, data_tests: [not_null, unique]}
      - {name: customer, data_type: bigint}
      - {name: placed_at, data_type: timestamp}
      - {name: cents, data_type: bigint}
      - {name: refunded, data_type: boolean}
models:
  - name: orders
    description: Orders of more than nothing.
    config:
      tags: [core]
      meta: {owner: science, interlock: {key: [id], event_time: placed_at}}
    columns:
      - {name: id, data_type: bigint, data_tests: [not_null, unique]}
      - {name: placed_at, data_type: timestamp}
      - {name: amount, data_type: double, config: {meta: {interlock: {unit: eur}}}}
""",  # noqa: E501  # as it is written in dbt projects
}


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def node(kind: str, name: str, **said: Any) -> tuple[str, dict[str, Any]]:
    """A node of a manifest, as little as dbt would write of it."""
    key = f"{kind}.shop.{name}"
    made = {
        "resource_type": kind, "schema": "main", "name": name, "alias": name,
        "relation_name": f'"dev"."main"."{name}"', "original_file_path": f"models/{name}.sql",
        "language": "sql", "config": {}, "columns": {}, "depends_on": {"nodes": []},
        "package_name": "shop",
    }  # fmt: skip
    return key, {**made, **said}


def columns(**types: str | None) -> dict[str, Any]:
    return {name: {"name": name, "data_type": kind} for name, kind in types.items()}


def manifest(*nodes: tuple[str, dict[str, Any]], adapter: str = "duckdb") -> str:
    """A manifest v12 with these nodes."""
    held = dict(nodes)
    return json.dumps(
        {
            "metadata": {
                "dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json",
                "adapter_type": adapter, "generated_at": "2026-01-01T00:00:00Z",
            },
            "nodes": {k: n for k, n in held.items() if n["resource_type"] != "source"},
            "sources": {k: n for k, n in held.items() if n["resource_type"] == "source"},
            "macros": {"macro.dbt.x": {"macro_sql": "..."}},
        }
    )  # fmt: skip
