"""A shop whose customers are classified: their keys, names, towns and incomes."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

MAIN = """\
name: shop
owners: {eng: {ada: [data_steward]}}
environments:
  prod: {subject: [id], stages: [{name: soak, weight: 1, hold: 1d}]}
"""
CUSTOMERS = """\
name: raw.customers
owner: eng
source: {csv: data/customers.csv}
key: [id]
columns:
  id: {type: string, nullable: false, classification: sensitive}
  mail: {type: string, classification: sensitive, unique: true}
  town: {type: string, classification: sensitive}
  income: {type: double, classification: sensitive}
  age: {type: integer}
  active: {type: boolean}
checks:
  - {name: adult, sql: age >= 18}
"""
ORDERS = """\
name: raw.orders
owner: eng
source: {csv: data/orders.csv}
key: [id]
event_time: ordered_at
available_at: known_at
columns:
  id: {type: integer, nullable: false}
  customer: {type: string, nullable: false}
  amount: {type: double}
  items: {type: integer}
  coupon: {type: string}
  ordered_at: {type: timestamp, nullable: false}
  known_at: {type: timestamp, nullable: false}
checks:
  - {name: known_after, sql: known_at >= ordered_at}
"""
RARE = "atlantis"  # three people live there


def shop(folder: Path, customers: int = 1500, orders: int = 6000) -> Path:
    """Twenty days; weekends are quiet; who earns more spends more; three people are rare."""
    chance = np.random.default_rng(3)
    for name, text in (
        ("interlock.yaml", MAIN),
        ("tables/customers.yaml", CUSTOMERS),
        ("tables/orders.yaml", ORDERS),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    income = np.round(np.exp(chance.normal(10.3, 0.5, customers)), 2)
    age = np.clip(18 + (income / 2500) + chance.normal(10, 8, customers), 18, 95).astype(int)
    ids = [f"C-{n:06d}" for n in chance.permutation(10**6)[:customers]]
    towns = chance.choice(["york", "bath", "leeds"], customers, p=[0.5, 0.3, 0.2])
    towns = np.array([RARE] * 3 + list(towns[3:]), dtype=object)
    rows: list[list[Any]] = [
        [i, f"user{n}@mail{n % 7}.example", t, a or "NA", b, c]
        for n, (i, t, a, b, c) in enumerate(
            zip(ids, towns, income, age, chance.choice(["true", "false"], customers), strict=True)
        )
    ]
    _csv(folder / "data/customers.csv", ["id", "mail", "town", "income", "age", "active"], rows)
    _csv(
        folder / "data/orders.csv",
        ["id", "customer", "amount", "items", "coupon", "ordered_at", "known_at"],
        _orders(chance, orders, ids, income),
    )
    return folder


def _orders(
    chance: np.random.Generator, count: int, ids: list[str], income: Any
) -> list[list[Any]]:
    start, made = datetime(2024, 3, 4), []
    weight = np.array([1.0 if day % 7 < 5 else 0.2 for day in range(20)])
    days = np.sort(chance.choice(20, count, p=weight / weight.sum()))
    who = chance.integers(0, len(ids), count)
    for n in range(count):
        at = start + timedelta(days=int(days[n]), seconds=int(chance.normal(50_000, 9_000)) % 86400)
        amount = round(float(income[who[n]]) / 900 * chance.lognormal(0, 0.3), 2)
        coupon = "NA" if chance.random() < 0.7 else chance.choice(["SPRING", "VIP"])
        late = timedelta(minutes=int(chance.exponential(90)))
        items = 1 + int(amount // 20)
        times = [f"{at:%F %T}", f"{at + late:%F %T}"]
        made.append([n + 1, ids[who[n]], amount, items, coupon, *times])
    return made


def _csv(file: Path, names: list[str], rows: list[list[Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
