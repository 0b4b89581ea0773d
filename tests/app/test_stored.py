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
from interlock.app.changes import evidence_of
from interlock.app.ledger import Ledger
from interlock.app.planning import plan_between, wanted
from interlock.app.propose import possible, propose
from interlock.app.refresh import refresh
from interlock.app.workspace import Workspace
from interlock.change.request import Request
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
    (folder / "policies").mkdir()
    (folder / "policies" / "change.cedar").write_text("permit (principal, action, resource);")
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


TAMPERED = {
    "gone": ("DROP TABLE shop.sales", "the warehouse has no such table"),
    "retyped": (
        "ALTER TABLE shop.sales ALTER amount TYPE VARCHAR",
        "wh.sales.amount is VARCHAR, the contract says integer",
    ),
}


class Others:
    """Who fills the table, and changes it while we work: when we say a sentence of these words."""

    def __init__(self, tills: Workspace, shop: world.Shop, how: str) -> None:
        self.tills, self.shop, self.when = tills, shop, ""
        self.sql, self.told = TAMPERED[how]

    def hear(self, said: str) -> None:
        if said.startswith(self.when):
            self.when = "never again"
            self.tills.warehouse.execute(self.sql)

    def mend(self) -> None:
        self.shop.write(self.tills.folder)
        self.tills.warehouse.load("shop.sales", rows_of(self.shop))


def ledgers(workspace: Workspace) -> dict[str, Ledger]:
    held = [Ledger.from_json(entry.body) for entry in workspace.record.list("ledger")]
    return {str(ledger.of): ledger for ledger in held}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_table_that_changes_in_the_middle_of_a_refresh_stops_it_and_a_retry_completes(
    tills: Workspace, shop: world.Shop, tmp_path: Path, how: str
) -> None:
    others = Others(tills, shop, how)
    shop.step()
    others.mend()
    others.when = "refreshing view:grouped@1"
    with pytest.raises(Refused) as refused:
        refresh(tills, say=others.hear)
    assert others.told in " ".join(refused.value.objections)
    assert "then run this again" in refused.value.help
    failed = {of: ledger for of, ledger in ledgers(tills).items() if ledger.failed}
    assert list(failed) == ["view:grouped@1"]
    others.mend()
    refresh(tills)
    same(tills, tmp_path / "files")
    assert not any(ledger.failed or ledger.doing for ledger in ledgers(tills).values())


@pytest.mark.parametrize("how", TAMPERED)
def test_a_table_that_changes_between_the_look_and_the_build_leaves_nothing_half_right(
    tills: Workspace, shop: world.Shop, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    others, builder = Others(tills, shop, how), world.builder(tills)
    view = tills.project.views["unpromised@1"]
    target = builder.view(view)[1]
    tills.warehouse.execute(f"DROP TABLE {target}")
    real = tills.warehouse.build

    def build(name: str, sql: str) -> int:
        tills.warehouse.execute(others.sql)
        return real(name, sql)

    with monkeypatch.context() as patched:
        patched.setattr(tills.warehouse, "build", build)
        with pytest.raises(Refused) as refused:
            builder.view(view)
    assert others.told in " ".join(refused.value.objections)
    assert not tills.warehouse.has(target)
    assert not tills.warehouse.has(f"{target}__beside")
    others.mend()
    assert tills.warehouse.columns(f"SELECT * FROM {builder.view(view)[1]}")["x"] == "BIGINT"


@pytest.mark.parametrize("how", TAMPERED)
def test_a_table_that_changes_while_a_change_is_proven_is_named_and_it_goes_on_from_there(
    tills: Workspace, shop: world.Shop, how: str
) -> None:
    others = Others(tills, shop, how)
    file = tills.folder / "features" / "plain.sql"
    asked = Request("One more", "ann", "a test", "the same", "any harm", "none")
    file.write_text(file.read_text().replace("amount AS x", "amount + 1 AS x"))
    tills.reread()
    others.when = "building view:plain@1"
    with pytest.raises(Refused) as refused:
        propose(tills, asked, others.hear)
    assert others.told in " ".join(refused.value.objections)
    others.mend()
    change = propose(tills, asked)
    assert (change.id, change.state) == ("CR-1", "REVIEW")
    assert "values:plain@1" in {piece.check for piece in evidence_of(tills.record, change)}


def test_rows_of_a_grown_spine_are_joined_again(tills: Workspace, shop: world.Shop) -> None:
    builder = Builder(tills, tills.project, tills.facts)
    sales = tills.project.tables["wh.sales"]
    before = builder.standing(sales, "ts")
    shop.step()
    tills.warehouse.load("shop.sales", rows_of(shop).slice(1))
    assert builder.standing(sales, "ts") != before
    assert builder.standing(tills.project.tables["wh.tills"], "till") == []
