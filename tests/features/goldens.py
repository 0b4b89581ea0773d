"""SQL for engines nobody has run here. `python tests/features/goldens.py` writes it anew."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from interlock.define.definitions import FeatureValue, FeatureView
from interlock.features.compile import (
    build_view_sql,
    duplicates_sql,
    point_in_time_sql,
    view_rows_sql,
)
from interlock.features.dialect import DIALECTS, Dialect
from interlock.features.join import Join

FOLDER = Path(__file__).parent / "golden"
NOT_EXECUTED = ("snowflake", "bigquery", "trino")
VIEW = FeatureView(
    owner="data", view="orders", version=1, entity=("customer", "shop"), event_time="placed_at",
    available_at="booked_at", tie_break="seq", ttl=timedelta(hours=36),
    features={
        "amount": FeatureValue(unit="eur"),
        "coupon": FeatureValue(type="string", last_known=True),
    },
    sql="SELECT o.customer, o.shop, o.placed_at, o.booked_at, o.seq, o.cents / 100 AS amount, "
    "o.coupon FROM wh.orders AS o WHERE o.placed_at >= TIMESTAMP '2024-01-01'",
)  # fmt: skip
PLAIN = FeatureView(
    owner="data", view="visits", version=2, entity=("customer",),
    features={"pages": FeatureValue(type="integer")}, sql="SELECT * FROM wh.visits",
)  # fmt: skip
SPINE = ("id", "customer", "shop", "asked_at")


def golden(dialect: Dialect) -> str:
    """Every kind of statement, as `dialect` would run it."""
    bound = {"wh.orders": "il.wh_orders__1", "wh.visits": "il.wh_visits__1"}
    built = [(VIEW, "il.orders_1__1"), (PLAIN, "il.visits_2__1")]
    how = Join(dialect, SPINE, stamps=True)
    parts = {
        "rows that nothing orders": duplicates_sql(
            VIEW, f"({view_rows_sql(VIEW, bound, dialect)})", dialect=dialect
        ),
        "a view with an order": build_view_sql(VIEW, bound, dialect),
        "a plain view": build_view_sql(PLAIN, bound, dialect),
        "training rows": point_in_time_sql("il.spine", "id", "asked_at", built, None, how),
    }
    state = "executed in tests" if dialect.executed else "NOT executed by anybody here"
    said = [f"-- {dialect.name}: {state}. Sessions must be in UTC."]
    said += [f"\n-- {what}\n{_lines(sql)};" for what, sql in parts.items()]
    return "\n".join(said) + "\n"


def _lines(sql: str) -> str:
    """One CTE or clause a line, so that a difference can be read."""
    for mark in (" FROM (", " UNION ALL ", " LEFT JOIN ", " WHERE ", " ORDER BY s."):
        sql = sql.replace(mark, f"\n{mark[1:]}")
    return sql.replace("), ", "),\n")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, dialect in DIALECTS.items():
        (FOLDER / f"{name}.sql").write_text(golden(dialect))
