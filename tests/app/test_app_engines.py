"""One project, one SQL, three warehouses: the same tables, views and training rows."""

from __future__ import annotations

import csv
import math
import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from interlock.adapters.duckdb import DuckDBWarehouse, source_sql
from interlock.app.build import Builder
from interlock.app.datasets import Ask, read_dataset, write_dataset
from interlock.app.engines import refuse_unable
from interlock.app.planning import plan_between, wanted
from interlock.app.propose import possible
from interlock.app.sample import Asked, sample
from interlock.app.workspace import Workspace
from interlock.define.definitions import Push
from interlock.errors import Invalid, NotFound, Refused, Unavailable, Unusable
from interlock.features.compile import build_view_sql

if TYPE_CHECKING:
    from interlock.adapters.spark import SparkWarehouse

START = datetime(2024, 1, 1, tzinfo=UTC)
STAGES = "stages: [{name: shadow, weight: 0, hold: 1d}, {name: soak, weight: 1, hold: 1d}]"
FILES = {
    "interlock.yaml": f"""name: shop
owners:
  data: {{ada: [data_steward], bo: [model_validator, change_sponsor]}}
environments:
  prod: {{subject: [order_id], {STAGES}}}
  server: {{warehouse: "${{SHOP_WAREHOUSE}}", subject: [order_id], {STAGES}}}
  cluster: {{warehouse: "spark:local[2]", subject: [order_id], {STAGES}}}
""",
    "tables/raw_orders.yaml": """name: raw.orders
owner: data
columns:
  order_id: {type: integer}
  customer: {type: string}
  placed_at: {type: timestamp}
  booked_at: {type: timestamp}
  cents: {type: integer}
  gift: {type: boolean}
key: [order_id]
source: {csv: data/orders.csv}
""",
    # Whole numbers divided, an interval, a CASE: what dialects say differently.
    "tables/wh_orders.yaml": """name: wh.orders
owner: data
columns:
  order_id: {type: integer}
  customer: {type: string}
  placed_at: {type: timestamp}
  booked_at: {type: timestamp}
  euros: {type: double}
  day: {type: date}
key: [order_id]
event_time: placed_at
available_at: booked_at
sql: >-
  SELECT order_id, customer, placed_at, booked_at, cents / 100 AS euros,
    CAST(date_trunc('day', placed_at) AS DATE) AS day
  FROM raw.orders WHERE cents IS NOT NULL AND NOT gift
""",
    "features/last_order.sql": """/*
view: last_order
version: 1
owner: data
entity: [customer]
event_time: placed_at
available_at: booked_at
tie_break: order_id
ttl: 36h
features:
  last_euros: {unit: eur}
  last_day: {type: date}
  last_big: {unit: eur, last_known: true}
*/
SELECT customer, placed_at, booked_at, order_id, euros AS last_euros, day AS last_day,
  CASE WHEN euros > 50 THEN euros END AS last_big
FROM wh.orders
""",
    "features/spend_3d.sql": """/*
view: spend_3d
version: 1
owner: data
entity: [customer]
features:
  spend_3d: {unit: eur}
  orders_3d: {type: integer}
*/
SELECT customer, booked_at AS ts, sum(sum(euros)) OVER recent AS spend_3d,
  CAST(sum(count(*)) OVER recent AS BIGINT) AS orders_3d
FROM wh.orders
GROUP BY customer, booked_at
WINDOW recent AS (PARTITION BY customer ORDER BY booked_at
  RANGE BETWEEN INTERVAL 3 DAY PRECEDING AND CURRENT ROW)
""",
    "models/gift.py": "def train(rows, options):\n    return None\n",
    "models/gift.yaml": """model: gift
owner: data
spine: raw.orders
key: order_id
time: placed_at
features: [last_order@1:last_euros, last_order@1:last_day, last_order@1:last_big,
  spend_3d@1:spend_3d, spend_3d@1:orders_3d]
label:
  sql: SELECT order_id, booked_at AS available_at, CASE WHEN gift THEN 1 ELSE 0 END AS gift_
    FROM raw.orders
  column: gift_
training: {entry: "gift.py:train", start: 2024-01-01, end: 2024-01-20}
evaluation: {start: 2024-01-20, end: 2024-02-01}
""",
}


def orders(count: int = 800) -> list[list[Any]]:
    rng = random.Random(5)
    rows = []
    for number in range(count):
        placed = START + timedelta(hours=rng.randrange(24 * 28))
        booked = placed + timedelta(hours=rng.choice([0, 0, 1, 30, -2]))
        cents = rng.choice(["", rng.randrange(1, 9999)])
        gift = rng.random() < 0.2
        rows.append([number, f"c{rng.randrange(20)}", placed.isoformat(), booked.isoformat(),
                     cents, str(gift).lower()])  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("shop"))


def write_shop(folder: Path, count: int = 800) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "data").mkdir()
    with (folder / "data" / "orders.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["order_id", "customer", "placed_at", "booked_at", "cents", "gift"])
        writer.writerows(orders(count))
    return folder


def training_rows(workspace: Workspace) -> tuple[list[dict[str, Any]], dict[str, str]]:
    builder = Builder(workspace, workspace.project, workspace.facts)
    workspace.warehouse.point(builder.everything())
    model = workspace.project.models["gift"]
    name = builder.rows(model, model.training.start, model.training.end)
    sql = f"SELECT * FROM {name} ORDER BY order_id"
    return workspace.warehouse.query(sql).to_pylist(), workspace.warehouse.columns(sql)


@pytest.fixture(scope="module")
def embedded(shop: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    workspace = Workspace(shop)
    try:
        return training_rows(workspace)
    finally:
        workspace.close()


@pytest.mark.parametrize("environment", ["server", "cluster"])
def test_training_rows_are_the_same_whatever_the_warehouse(
    shop: Path,
    embedded: tuple[list[dict[str, Any]], dict[str, str]],
    environment: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = Workspace(shop, environment)
    if environment == "cluster":
        warehouse: SparkWarehouse = request.getfixturevalue("spark_warehouse")
        workspace.__dict__["warehouse"] = warehouse  # one session per process
    else:
        monkeypatch.setenv("SHOP_WAREHOUSE", request.getfixturevalue("postgres_url"))
    rows, types = training_rows(workspace)
    assert types == embedded[1]
    assert len(rows) == len(embedded[0]) > 500
    for mine, theirs in zip(rows, embedded[0], strict=True):
        assert {n: v for n, v in mine.items() if not same(v, theirs[n])} == {}
    # Both answers were seen, of values that grow old and of values that are remembered.
    for name in ("last_euros", "last_day", "last_big", "spend_3d"):
        assert 20 < sum(row[name] is None for row in rows) < len(rows) - 20
    live = workspace.warehouse.query("SELECT count(*) AS n FROM features.last_order_v1")
    assert live.to_pylist()[0]["n"] > 200


def asked_for(workspace: Workspace) -> list[list[dict[str, Any]]]:
    """The same rows from a SELECT and from a table of one's own, with what is known of each."""
    sql = "SELECT * FROM raw.orders WHERE order_id % 3 = 0"
    rows = read_dataset(workspace, Ask("gift", sql)).sort_by("order_id")
    own = rows.select(["order_id", "customer", "placed_at"])
    again = read_dataset(workspace, Ask("gift", own.slice(0, 50), zone="UTC"))
    assert again.column("order_id").to_pylist() == own.column("order_id").to_pylist()[:50]
    found = [rows.to_pylist(), again.to_pylist()]
    assert any(row["label"] for row in found[0])
    return found


def test_a_training_set_for_ones_own_rows_is_the_same_on_postgres(
    shop: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_WAREHOUSE", postgres_url)
    found = []
    for environment in ("prod", "server"):
        workspace = Workspace(shop, environment)
        found.append(asked_for(workspace))
        workspace.close()
    for mine, theirs in zip(*found, strict=True):
        assert len(mine) == len(theirs) > 40
        for one, other in zip(mine, theirs, strict=True):
            assert {n: v for n, v in one.items() if not same(v, other[n])} == {}


@pytest.mark.parametrize("environment", ["prod", "server"])
@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("DROP TABLE shop.orders", "the warehouse has no such table"),
        (
            "ALTER TABLE shop.orders ALTER booked_at TYPE VARCHAR",
            "raw.orders.booked_at is VARCHAR, the contract says timestamp",
        ),
    ],
)
def test_a_table_that_changes_while_a_training_set_is_made_is_named(
    shop: Path, tmp_path: Path, environment: str, sql: str, told: str,
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Read where others keep it, and changed when everything was looked at and built."""
    monkeypatch.setenv("SHOP_WAREHOUSE", request.getfixturevalue("postgres_database"))
    folder = shutil.copytree(shop, tmp_path / "shop", ignore=shutil.ignore_patterns(".interlock"))
    file, out = folder / "tables" / "raw_orders.yaml", tmp_path / "rows.parquet"
    rows = DuckDBWarehouse(None).query(
        source_sql(Workspace(shop).project.tables["raw.orders"], shop)
    )
    file.write_text(
        file.read_text().replace("source: {csv: data/orders.csv}", "stored_as: shop.orders")
    )
    workspace = Workspace(folder, environment)
    workspace.warehouse.load("shop.orders", rows)

    def others(said: str) -> None:
        if said.startswith("joining features"):
            workspace.warehouse.execute(sql)

    with pytest.raises(Refused) as refused:
        write_dataset(workspace, Ask("gift"), out, others)
    assert told in " ".join(refused.value.objections)
    assert "then run this again" in refused.value.help
    assert list(tmp_path.glob("*rows*")) == []
    workspace.warehouse.load("shop.orders", rows)
    again = write_dataset(workspace, Ask("gift"), out)
    plain = Workspace(shop)
    assert again.rows == read_dataset(plain, Ask("gift")).num_rows > 400
    plain.close()
    workspace.close()


def same(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, float) and isinstance(theirs, float):
        return math.isclose(mine, theirs, rel_tol=1e-12)  # sums in another order
    return bool(mine == theirs)


def test_what_another_engine_cannot_say_is_refused_and_never_left_out(
    shop: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_WAREHOUSE", postgres_url)
    workspace = Workspace(shop, "server")
    builder = Builder(workspace, workspace.project, workspace.facts)
    sql = "SELECT customer, booked_at AS ts, last_value(euros IGNORE NULLS) OVER w AS spend_3d, " \
          "1 AS orders_3d FROM wh.orders WINDOW w AS (ORDER BY booked_at)"  # fmt: skip
    view = workspace.project.views["spend_3d@1"].model_copy(update={"sql": sql, "version": 2})
    with pytest.raises(Unusable, match=r"cannot be written for postgres: .*IGNORE NULLS"):
        build_view_sql(view, {}, builder.dialect)
    workspace.close()


def test_what_an_engine_cannot_do_is_refused_and_says_what_to_write_down(
    shop: Path, spark_warehouse: SparkWarehouse
) -> None:
    workspace = Workspace(shop, "cluster")
    workspace.__dict__["warehouse"] = spark_warehouse
    plan = plan_between(workspace, None, wanted(workspace))
    assert plan.steps
    with pytest.raises(Refused, match="cannot be released on spark") as refused:
        possible(workspace, plan)
    (said,) = refused.value.objections
    assert "write reason and name under pointers_one_by_one of cluster" in said
    pushed = {"push": Push(), "source": None}
    table = workspace.project.tables["raw.orders"].model_copy(update=pushed)
    tables = {**workspace.project.tables, "raw.orders": table}
    project = workspace.project.model_copy(update={"tables": tables})
    with pytest.raises(Refused, match="takes pushed rows runs on DuckDB and Postgres only"):
        Builder(workspace, project, workspace.facts).table("raw.orders")
    with pytest.raises(Refused) as refused:
        refuse_unable(project, "cluster", spark_warehouse)
    assert len(refused.value.objections) == 2


PRIVACY = """
privacy:
  key: ${SHOP_MASK_KEY}
  clearance: {data_steward: sensitive}
  columns:
    raw.orders.customer: {mask: hash}
    raw.orders.cents: {mask: bucket, width: 500}
"""


def looks(workspace: Workspace) -> list[Any]:
    """What a viewer and somebody who is cleared see of tables, views, features and queries."""
    joined = (
        "WITH big AS (SELECT customer, max(cents) AS cents FROM raw.orders WHERE cents > 0 "
        "GROUP BY customer) SELECT b.customer, b.cents, count(*) AS n FROM big AS b "
        "JOIN raw.orders AS o ON o.customer = b.customer GROUP BY b.customer, b.cents "
        "ORDER BY b.customer"
    )
    found: list[Any] = []
    for by in ("eve", "ada"):
        for ref in ("table:raw.orders", "view:last_order@1", "feature:last_order@1:last_euros"):
            seen = sample(workspace, Asked(by, ref, rows=1000))
            found.append((seen.columns, sorted(seen.rows, key=repr), seen.masked, seen.clear))
        found.append(sample(workspace, Asked(by, sql=joined, rows=100)).rows)
    return found


def test_people_see_the_same_masked_rows_whatever_the_warehouse(
    shop: Path, tmp_path: Path, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_WAREHOUSE", postgres_database)
    monkeypatch.setenv("SHOP_MASK_KEY", "a long enough secret of this test")
    folder = shutil.copytree(shop, tmp_path / "shop", ignore=shutil.ignore_patterns(".interlock"))
    main, orders_ = folder / "interlock.yaml", folder / "tables" / "raw_orders.yaml"
    main.write_text(main.read_text() + PRIVACY)
    text = orders_.read_text()
    for name, kind in (("customer", "string"), ("cents", "integer")):
        text = text.replace(f"{name}: {{type: {kind}", f"{name}: {{type: {kind}, classification: sensitive")  # fmt: skip  # noqa: E501  # one edit
    orders_.write_text(text)
    found = []
    for environment in ("prod", "server"):
        workspace = Workspace(folder, environment)
        found.append(looks(workspace))
        before = len(workspace.record.audit())
        sample(workspace, Asked("ada", "table:raw.orders"))
        assert len(workspace.record.audit()) == before + 1, "a clear look is on record"
        workspace.close()
    viewer, cleared = found[1][:4], found[1][4:]
    assert all(row[1].startswith("h:") and (row[4] or 0) % 500 == 0 for row in viewer[0][1])
    assert "h:" not in repr(cleared)
    assert {row[1] for row in cleared[0][1]} == {f"c{n}" for n in range(20)}
    # Doubles of views are sums in another order.
    assert found[0][0] == found[1][0]
    assert found[0][3:5] == found[1][3:5]
    for mine, theirs in zip(found[1], found[0], strict=True):
        assert len(mine) == len(theirs)
    with pytest.raises(NotFound, match="no table pg_stats"):
        sample(Workspace(folder, "server"), Asked("eve", sql="SELECT * FROM pg_stats"))


def test_an_address_that_is_not_set_or_not_there_is_said(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHOP_WAREHOUSE", raising=False)
    with pytest.raises(Unusable, match="SHOP_WAREHOUSE is not set") as unset:
        _ = Workspace(shop, "server").warehouse
    assert "the warehouse is at" in str(unset.value)
    monkeypatch.setenv("SHOP_WAREHOUSE", "postgresql://ada:s3cret@127.0.0.1:1/none")
    with pytest.raises(Unavailable, match="cannot be reached") as away:
        _ = Workspace(shop, "server").warehouse
    assert "s3cret" not in str(away.value)


def test_an_engine_that_nobody_speaks_to_is_a_mistake_in_the_file(shop: Path) -> None:
    texts = dict(Workspace(shop).project.texts)
    texts["interlock.yaml"] = texts["interlock.yaml"].replace("spark:local[2]", "oracle://db")
    with pytest.raises(Invalid, match="warehouse"):
        Workspace(shop).learn(texts)


def test_a_file_of_ones_own_is_seen_from_the_project(shop: Path) -> None:
    text = (shop / "interlock.yaml").read_text()
    (shop / "interlock.yaml").write_text(text.replace("spark:local[2]", "duckdb://own.duckdb"))
    workspace = Workspace(shop, "cluster")
    workspace.warehouse.execute("SELECT 1")
    workspace.close()
    (shop / "interlock.yaml").write_text(text)
    assert (shop / "own.duckdb").is_file()
