"""A small project on the wall clock whose files grow, and the same project built afresh."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.app.build import Builder
from interlock.app.files import read_folder
from interlock.app.versions import keep_definitions, release_body
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.ports import Put

START = datetime(2024, 1, 20, tzinfo=UTC)
RELEASE = "r" * 64

MAIN = """
name: tills
owners: {shop: {ann: [data_steward]}}
environments:
  prod:
    subject: [till]
    stages: [{name: full, weight: 1.0, hold: 1h}]
"""
SALES = """
name: wh.sales
owner: shop
source: {csv: data/sales.csv}
key: [id]
event_time: ts
available_at: known_at
columns:
  id: {type: integer, nullable: false}
  till: {type: integer, nullable: false}
  ts: {type: timestamp, nullable: false}
  known_at: {type: timestamp, nullable: false}
  amount: {type: integer}
"""
TILLS = """
name: wh.tills
owner: shop
source: {csv: data/tills.csv}
key: [till]
columns:
  till: {type: integer, nullable: false}
  floor: {type: integer}
"""
HOURLY = """
name: wh.hourly
owner: shop
event_time: ends
incremental: {lookback: 1h}
columns:
  till: {type: integer}
  ends: {type: timestamp}
  known_at: {type: timestamp}
  total: {type: integer}
sql: >
  SELECT till, date_trunc('hour', ts) + INTERVAL 1 HOUR AS ends, max(known_at) AS known_at,
  CAST(sum(amount) AS BIGINT) AS total FROM wh.sales GROUP BY 1, 2
"""
VIEWS = {
    # Named for the shape it has: a window, a group, a join, rows as they are.
    "window": (
        "incremental: {lookback: 48h}",
        "x",
        "SELECT h.till, h.ends AS ts, CAST(sum(o.total) AS BIGINT) AS x FROM wh.hourly AS h "
        "JOIN wh.hourly AS o ON o.till = h.till AND o.ends <= h.ends "
        "AND o.ends >= h.ends - INTERVAL 48 HOUR GROUP BY 1, 2",
    ),
    "grouped": (
        "incremental: {lookback: 24h}\navailable_at: known_at",
        "x",
        "SELECT till, date_trunc('day', ts) + INTERVAL 1 DAY AS ts, max(known_at) AS known_at, "
        "count(*) AS x FROM wh.sales GROUP BY 1, 2",
    ),
    "joined": (
        "incremental: {lookback: 0s}",
        "x",
        "SELECT h.till, h.ends AS ts, h.total * t.floor AS x FROM wh.hourly AS h "
        "JOIN wh.tills AS t ON t.till = h.till",
    ),
    "plain": (
        "incremental: {lookback: 0s}\navailable_at: known_at\ntie_break: id",
        "x",
        "SELECT till, ts, known_at, id, amount AS x FROM wh.sales",
    ),
    "last": (
        "incremental: {lookback: 0s}\navailable_at: known_at\ntie_break: id",
        "x",
        "SELECT till, ts, known_at, id, amount AS x FROM wh.sales",
    ),
    "unpromised": (
        "available_at: known_at\ntie_break: id",
        "x",
        "SELECT till, ts, known_at, id, amount AS x FROM wh.sales",
    ),
}
Row = dict[str, Any]


def write_project(folder: Path, main: str = MAIN) -> None:
    """The definitions; `write` makes the files they read."""
    for part in ("tables", "features", "data"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "interlock.yaml").write_text(main)
    for name, text in (("sales", SALES), ("tills", TILLS), ("hourly", HOURLY)):
        (folder / "tables" / f"{name}.yaml").write_text(text)
    for name, (header, feature, sql) in VIEWS.items():
        last = ", last_known: true" if name == "last" else ""
        text = (
            f"/*\nview: {name}\nversion: 1\nentity: [till]\nevent_time: ts\nowner: shop\n{header}\n"
            f"features:\n  {feature}: {{type: integer{last}}}\n*/\n{sql}\n"
        )
        (folder / "features" / f"{name}.sql").write_text(text)


def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """A file put in its place whole."""
    part = folder / "data" / f"{name}.part"
    with part.open("w", newline="") as lines:
        out = csv.DictWriter(lines, list(rows[0]))
        out.writeheader()
        out.writerows(rows)
    part.replace(folder / "data" / f"{name}.csv")


def sale(rng: random.Random, id: int, day: float) -> Row:
    """One row near `day`; some become known late, one in five has no amount."""
    ts = START + timedelta(hours=int(day * 24) + rng.randrange(24), minutes=rng.randrange(4) * 15)
    late = rng.choice([0, 0, 0, 1, 30, 24 * 20])
    return {
        "id": id, "till": rng.randrange(3), "ts": ts.isoformat(),
        "known_at": (ts + timedelta(hours=late)).isoformat(),
        "amount": rng.choice(["", rng.randrange(100), rng.randrange(100), 7, 7]),
    }  # fmt: skip


class Shop:
    """Rows that only change through operations that real sources know."""

    def __init__(self, seed: int, days: int = 60, rows: int = 80) -> None:
        self.rng, self.days, self.next = random.Random(seed), days, rows
        self.sales = [sale(self.rng, i, self.rng.random() * days) for i in range(rows)]
        self.tills = [{"till": till, "floor": till + 1} for till in range(3)]

    def step(self) -> None:
        kind = self.rng.choice(["append", "late", "correct", "delete", "move", "floor"])
        at = self.rng.randrange(len(self.sales))
        if kind in ("append", "late"):
            for _ in range(self.rng.randrange(1, 4)):
                day = self.days if kind == "append" else self.rng.random() * self.days
                self.sales.append(sale(self.rng, self.next, day))
                self.next += 1
            self.days += kind == "append"
        elif kind == "correct":
            self.sales[at] = {**self.sales[at], "amount": self.rng.randrange(1000)}
        elif kind == "delete":
            del self.sales[at : at + 2]
        elif kind == "move":
            again = sale(self.rng, self.sales[at]["id"], self.rng.random() * self.days)
            self.sales[at] = {**again, "till": self.sales[at]["till"]}
        else:
            self.tills[self.rng.randrange(3)]["floor"] = self.rng.randrange(1, 9)

    def write(self, folder: Path) -> None:
        write(folder, "sales", self.sales)
        write(folder, "tills", self.tills)


def release(workspace: Workspace) -> None:
    """The folder's definitions as the release that runs, built."""
    project = workspace.project
    components = {name: node.fingerprint for name, node in workspace.facts.nodes.items()}
    body = release_body(components, keep_definitions(workspace, project), {}, "CR-1")
    route = Route("prod", stable=RELEASE)
    puts = [Put(Ref("release", RELEASE), body, 0), Put(workspace.route_ref, route.to_json(), 0)]
    workspace.record.write(puts, by="test", at=workspace.now())
    builder(workspace).everything()


def builder(workspace: Workspace) -> Builder:
    return Builder(workspace, workspace.project, workspace.facts)


Held = Mapping[str, list[tuple[Any, ...]]]


def held(workspace: Workspace) -> Held:
    """Every row of every table and view, in an order of its own."""
    found = {}
    for name, table in builder(workspace).everything().items():
        rows = workspace.warehouse.query(f"SELECT * FROM {table}").to_pylist()
        found[name] = sorted((tuple(row.values()) for row in rows), key=repr)
    return found


def rebuilt(folder: Path) -> Held:
    """What a warehouse holds that never held anything else."""
    other = Workspace(folder, "prod")
    other.__dict__["warehouse"] = DuckDBWarehouse(None)
    try:
        return held(other)
    finally:
        other.close()


@contextmanager
def opened(folder: Path) -> Iterator[Workspace]:
    workspace = Workspace(folder, "prod")
    try:
        yield workspace
    finally:
        workspace.close()


def shop_project(folder: Path, shop: Shop, main: str = MAIN) -> Path:
    """A released project, its engines closed."""
    write_project(folder, main)
    shop.write(folder)
    with opened(folder) as workspace:
        assert read_folder(folder)
        release(workspace)
    return folder
