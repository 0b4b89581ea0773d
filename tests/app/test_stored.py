"""Tables that others fill, read where they stand: built on, refreshed, guarded, never touched."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import refresh_world as world

from interlock.app.build import Builder
from interlock.app.planning import plan_between, wanted
from interlock.app.propose import possible
from interlock.app.refresh import refresh
from interlock.app.workspace import Workspace
from interlock.errors import Refused

SOURCE, STORED = "source: {csv: data/sales.csv}", "stored_as: shop.sales"


def rows_of(shop: world.Shop) -> pa.Table:
    """The sales as others keep them: the same rows as in the file."""
    found: dict[str, list[Any]] = {
        name: [row[name] if row[name] != "" else None for row in shop.sales]
        for name in ("id", "till", "ts", "known_at", "amount")
    }
    for name in ("ts", "known_at"):
        found[name] = [datetime.fromisoformat(text).replace(tzinfo=None) for text in found[name]]
    numbers = {name: pa.array(found[name], pa.int64()) for name in ("id", "till", "amount")}
    stamps = {name: pa.array(found[name], pa.timestamp("us")) for name in ("ts", "known_at")}
    return pa.table({**numbers, **stamps})


@pytest.fixture
def shop() -> world.Shop:
    return world.Shop(seed=8)


@pytest.fixture(params=["duckdb", "postgres"])
def tills(shop: world.Shop, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Workspace]:
    """A released project whose sales stand in the warehouse already."""
    folder = tmp_path / "tills"
    main = world.MAIN.replace("[data_steward]", "[data_steward], bo: [change_sponsor]")
    if request.param == "postgres":
        main += f"    warehouse: {request.getfixturevalue('postgres_database')}\n"
    world.write_project(folder, main)
    shop.write(folder)
    contract = folder / "tables" / "sales.yaml"
    contract.write_text(contract.read_text().replace(SOURCE, STORED))
    with world.opened(folder) as workspace:
        workspace.warehouse.load("shop.sales", rows_of(shop))
        world.release(workspace)
        yield workspace
        for table in set(world.builder(workspace).everything().values()):
            workspace.warehouse.execute(f"DROP TABLE {table}")


def from_files(tills: Workspace, folder: Path) -> world.Held:
    """What a project holds that reads the same sales from a file."""
    world.write_project(folder)
    for name in ("sales", "tills"):
        text = (tills.folder / "data" / f"{name}.csv").read_bytes()
        (folder / "data" / f"{name}.csv").write_bytes(text)
    return world.rebuilt(folder)


def same(tills: Workspace, folder: Path) -> None:
    there, afresh = world.held(tills), from_files(tills, folder)
    for held in (there, afresh):  # columns may stand in another order where others keep them
        held["wh.sales"] = sorted(tuple(sorted(map(str, row))) for row in held["wh.sales"])  # type: ignore[index]
    assert {n for n in there if there[n] != afresh[n]} == set()


def test_views_follow_a_table_that_others_fill(
    tills: Workspace, shop: world.Shop, tmp_path: Path
) -> None:
    assert world.builder(tills).table("wh.sales") == "shop.sales"
    same(tills, tmp_path / "files")
    refresh(tills)
    for _ in range(2):
        for _ in range(3):
            shop.step()
        shop.write(tills.folder)
        tills.warehouse.load("shop.sales", rows_of(shop))
        refresh(tills)
        same(tills, tmp_path / "files")
    assert all(not one.difference.spans for one in refresh(tills).parts)


def test_every_difference_to_the_contract_is_refused_before_a_change_is_opened(
    tills: Workspace, shop: world.Shop
) -> None:
    plan = plan_between(tills, None, wanted(tills))
    rows = rows_of(shop)
    bent = rows.drop_columns(["till"]).set_column(
        0, "id", pa.array([f"s{n}" for n in range(rows.num_rows)])
    )
    tills.warehouse.load("shop.sales", bent)
    with pytest.raises(Refused) as refused:
        possible(tills, plan)
    said = " ".join(refused.value.objections)
    assert "wh.sales.till is not there" in said
    assert "wh.sales.id is VARCHAR, the contract says integer" in said
    tills.warehouse.load("shop.sales", rows)
    assert possible(tills, plan) is plan


def test_a_table_that_goes_away_is_named_and_what_was_built_stays(
    tills: Workspace, shop: world.Shop
) -> None:
    refresh(tills)
    before = world.held(tills)
    tills.warehouse.execute("DROP TABLE shop.sales")
    with pytest.raises(Refused, match=r"cannot be read from shop\.sales") as refused:
        refresh(tills)
    assert "the warehouse has no such table" in refused.value.objections[0]
    tills.warehouse.load("shop.sales", rows_of(shop))
    refresh(tills)
    assert world.held(tills) == before


def test_rows_of_a_grown_spine_are_joined_again(tills: Workspace, shop: world.Shop) -> None:
    builder = Builder(tills, tills.project, tills.facts)
    sales = tills.project.tables["wh.sales"]
    before = builder.standing(sales, "ts")
    shop.step()
    tills.warehouse.load("shop.sales", rows_of(shop).slice(1))
    assert builder.standing(sales, "ts") != before
    assert builder.standing(tills.project.tables["wh.tills"], "till") == []
