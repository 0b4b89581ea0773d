"""A small project, built in memory: two raw tables, two built ones, two views, two models."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from interlock.define.definitions import (
    Column,
    CsvSource,
    Evaluation,
    Fallback,
    FeatureValue,
    FeatureView,
    Kpi,
    Label,
    Model,
    Service,
    Table,
    Training,
)
from interlock.define.environment import Environment, Owner, Stage
from interlock.define.project import Project

SPEND_SQL = """SELECT customer, placed_at AS ts,
  sum(amount) OVER w AS spend_30d, count(*) OVER w AS orders_30d
FROM wh.orders
WHERE NOT refunded
WINDOW w AS (PARTITION BY customer ORDER BY placed_at
  RANGE BETWEEN INTERVAL 30 DAYS PRECEDING AND CURRENT ROW)"""
VISITS_SQL = "SELECT customer, seen_at AS ts, pages AS last_pages FROM raw.visits"
ORDERS_SQL = "SELECT id, customer, placed_at, cents / 100.0 AS amount, refunded FROM raw.orders"
SPINE_SQL = "SELECT id AS order_id, customer, placed_at AS cutoff, amount FROM wh.orders"
LABEL_SQL = """SELECT id AS order_id, CASE WHEN refunded THEN 1 ELSE 0 END AS returned,
  amount AS lost, placed_at + INTERVAL 1 DAY AS available_at
FROM wh.orders"""
KPI_SQL = "SELECT order_id AS unit, CAST(cutoff AS DATE) AS day, p * lost AS value FROM scored"


def table(name: str, columns: dict[str, str], sql: str | None = None, **more: Any) -> Table:
    made = {key: Column(type=kind) for key, kind in columns.items()}  # type: ignore[arg-type]  # texts of ColumnType
    source = None if sql else CsvSource(csv=f"data/{name}.csv")
    values = {"name": name, "owner": "eng", "columns": made, "sql": sql, "source": source}
    return Table(**{**values, "file": f"tables/{name}.yaml", **more})


def view(name: str, sql: str, features: dict[str, str], **more: Any) -> FeatureView:
    made = {key: FeatureValue(unit=unit or None) for key, unit in features.items()}
    values = {"view": name, "version": 1, "entity": ("customer",), "ttl": timedelta(days=30),
              "features": made, "sql": sql, "owner": "science"}  # fmt: skip
    return FeatureView(**{**values, "file": f"features/{name}.sql", **more})


def model(name: str, features: tuple[str, ...], **more: Any) -> Model:
    training = Training(
        entry="train.py:train", start=date(2024, 1, 1), end=date(2024, 6, 1), code="# fit"
    )
    values = {
        "model": name, "spine": "wh.spine", "key": "order_id", "time": "cutoff",
        "features": features, "request": ("amount",), "owner": "science",
        "label": Label(sql=LABEL_SQL, column="returned"), "training": training,
        "evaluation": Evaluation(start=date(2024, 6, 1), end=date(2024, 7, 1)),
    }  # fmt: skip
    return Model(**{**values, "file": f"models/{name}.yaml", **more})


def service(name: str, models: tuple[str, ...], **more: Any) -> Service:
    kpi = Kpi(name="loss", sql=KPI_SQL, better="lower")
    values = {"service": name, "models": models, "decision_unit": ("order_id",), "kpi": kpi,
              "owner": f"ops-{name}"}  # fmt: skip
    return Service(**{**values, "file": f"services/{name}.yaml", **more})


RAW_ORDERS = table(
    "raw.orders",
    {"id": "integer", "customer": "integer", "placed_at": "timestamp", "cents": "integer",
     "refunded": "boolean", "note": "string"},
)  # fmt: skip
RAW_VISITS = table(
    "raw.visits", {"customer": "integer", "seen_at": "timestamp", "pages": "integer"}
)
ORDERS = table(
    "wh.orders",
    {"id": "integer", "customer": "integer", "placed_at": "timestamp", "amount": "double",
     "refunded": "boolean"},
    ORDERS_SQL,
)  # fmt: skip
SPINE = table(
    "wh.spine",
    {"order_id": "integer", "customer": "integer", "cutoff": "timestamp", "amount": "double"},
    SPINE_SQL,
)
SPEND = view("spend", SPEND_SQL, {"spend_30d": "eur", "orders_30d": ""})
VISITS = view("visits", VISITS_SQL, {"last_pages": ""})
RETURNS = model("returns", ("spend@1:spend_30d", "visits@1:last_pages"))
BROWSE = model("browse", ("visits@1:last_pages",))
DESK = service("desk", ("returns",))
SHELF = service("shelf", ("browse",))

OWNERS = (
    Owner(name="eng", people={"ada": ("data_steward",)}),
    Owner(name="science", people={"bo": ("model_validator",)}),
    Owner(name="ops-desk", people={"cy": ("service_owner",)}),
    Owner(name="ops-shelf", people={"di": ("service_owner",)}),
    Owner(name="product", people={"ed": ("change_sponsor",)}),
)
PROD = Environment(
    subject=("order_id",),
    stages=(
        Stage(name="shadow", weight=0, hold=timedelta(days=1)),
        Stage(name="half", weight=0.5, hold=timedelta(days=2)),
        Stage(name="soak", weight=1, hold=timedelta(days=1)),
    ),
)


def shop(*changed: Table | FeatureView | Model | Service, **more: Any) -> Project:
    """The project with `changed` definitions in place of those with the same address."""
    things = (RAW_ORDERS, RAW_VISITS, ORDERS, SPINE, SPEND, VISITS, RETURNS, BROWSE, DESK, SHELF)
    by_ref = {str(thing.ref): thing for thing in (*things, *changed)}
    held = by_ref.values()
    values: dict[str, Any] = {
        "name": "shop", "owners": OWNERS, "environments": {"prod": PROD},
        "tables": {t.name: t for t in held if isinstance(t, Table)},
        "views": {f"{v.view}@{v.version}": v for v in held if isinstance(v, FeatureView)},
        "models": {m.model: m for m in held if isinstance(m, Model)},
        "services": {s.service: s for s in held if isinstance(s, Service)},
        "texts": {"shop.txt": repr(sorted(map(str, by_ref.values())))},
    }  # fmt: skip
    return Project(**{**values, **more})


def with_unit(table: Table, column: str, unit: str) -> Table:
    """`table` with another unit of one column."""
    made = table.columns[column].model_copy(update={"unit": unit})
    return table.model_copy(update={"columns": {**table.columns, column: made}})


def with_fallback(view: FeatureView, name: str, value: float) -> FeatureView:
    """`view` with another fallback of one feature."""
    made = view.features[name].model_copy(update={"fallback": Fallback(value=value)})
    return view.model_copy(update={"features": {**view.features, name: made}})
