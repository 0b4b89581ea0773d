"""Made-up data keeps contracts, keys and times, looks like the real, and copies nobody."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import app_world as world
import pytest
from synth_world import RARE, shop

from interlock.app.build import Builder
from interlock.app.checks import contract
from interlock.app.planning import look
from interlock.app.synthesis import Asked, Made, synth
from interlock.errors import NotFound, Refused
from interlock.features.shapes import shape_of

Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shop(tmp_path_factory.mktemp("shop") / "real")


def run(folder: Path, out: Path, **more: Any) -> dict[str, Made]:
    with world.opened(folder) as workspace:
        return {made.table: made for made in synth(workspace, Asked(out, **more))}


@pytest.fixture(scope="module")
def made(real: Path) -> tuple[Path, dict[str, Made]]:
    out = real.parent / "made"
    return out, run(real, out)


def rows(folder: Path, name: str) -> Rows:
    with (folder / f"data/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    real: Path, made: tuple[Path, dict[str, Made]], tmp_path: Path
) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    run(real, again)
    run(real, other, seed=2)
    for name in ("data/customers.csv", "data/orders.csv", "synth.json"):
        assert (again / name).read_bytes() == (made[0] / name).read_bytes()
        assert (other / name).read_bytes() != (made[0] / name).read_bytes()


def test_the_same_rows_on_a_server_give_the_same_bytes(
    real: Path, made: tuple[Path, dict[str, Made]], tmp_path: Path, postgres_database: str
) -> None:
    folder = world.copied(real, tmp_path / "server")
    shutil.rmtree(folder / ".interlock", ignore_errors=True)
    main = (folder / "interlock.yaml").read_text().replace(
        "prod: {", f'prod: {{warehouse: "{postgres_database}", '
    )  # fmt: skip
    (folder / "interlock.yaml").write_text(main)
    run(folder, tmp_path / "made")
    for name in ("data/customers.csv", "data/orders.csv", "synth.json"):
        assert (tmp_path / "made" / name).read_bytes() == (made[0] / name).read_bytes()


def test_no_row_key_or_rare_value_of_a_classified_table_is_copied(
    real: Path, made: tuple[Path, dict[str, Made]]
) -> None:
    before, after = rows(real, "customers"), rows(made[0], "customers")
    assert made[1]["raw.customers"].classified == ("id", "income", "mail", "town")
    assert len(after) == len(before)
    assert not {tuple(r.values()) for r in before} & {tuple(r.values()) for r in after}
    for name in ("id", "mail"):
        assert not {r[name] for r in before} & {r[name] for r in after}
    assert RARE in {r["town"] for r in before}
    assert {r["town"] for r in after} == {"york", "bath", "leeds"}
    incomes = [sorted(float(r["income"]) for r in held) for held in (before, after)]
    assert incomes[1][0] > incomes[0][0], "the poorest is one person"
    assert incomes[1][-1] < incomes[0][-1], "the richest is one person"
    assert all(len(f"{value}".partition(".")[2]) <= 2 for value in incomes[1]), "cents, as before"
    # Of texts only the shapes that ten people share: mail1@... is alone with its shape.
    assert {shape_of(r["id"]) for r in after} == {"A-999999"}
    shapes = Counter(shape_of(r["mail"]) for r in before)
    assert {shapes[shape_of(r["mail"])] >= 10 for r in after} == {True}


def test_keys_are_unique_and_who_refers_to_one_finds_it(
    real: Path, made: tuple[Path, dict[str, Made]]
) -> None:
    customers, orders = rows(made[0], "customers"), rows(made[0], "orders")
    keys = {r["id"] for r in customers}
    assert len(keys) == len(customers)
    assert len({r["id"] for r in orders}) == len(orders)
    assert {r["customer"] for r in orders} <= keys
    assert not {r["customer"] for r in orders} & {r["customer"] for r in rows(real, "orders")}


def test_time_order_lags_and_rows_per_day_are_kept(
    real: Path, made: tuple[Path, dict[str, Made]]
) -> None:
    before, after = rows(real, "orders"), rows(made[0], "orders")
    assert all(r["known_at"] >= r["ordered_at"] for r in after)
    days = [Counter(r["ordered_at"][:10] for r in held) for held in (before, after)]
    assert days[0].keys() == days[1].keys()
    assert max(abs(days[0][d] - days[1][d]) for d in days[0]) < 0.25 * max(days[0].values())
    weekend, monday = days[1]["2024-03-09"], days[1]["2024-03-04"]
    assert weekend < monday / 2


def test_it_says_how_close_it_is(made: tuple[Path, dict[str, Made]]) -> None:
    for one in made[1].values():
        far = {c.column: c.distance for c in one.closeness if c.distance is not None}
        far.pop("customer", None)  # a thousand of them, four orders each
        assert max(far.values()) < 0.05, one.table
        assert max(abs(c.null_real - c.null_made) for c in one.closeness) < 0.03
        assert one.correlation[1] < 0.12
        assert one.privacy.nearer_share is not None
        assert 0.4 < one.privacy.nearer_share < 0.6
        assert one.copied == 0
    kept = json.loads((made[0] / "synth.json").read_text())
    assert [t["table"] for t in kept["tables"]] == ["raw.customers", "raw.orders"]
    assert "not remembered" in kept["tables"][0]["sentence"]


def test_more_rows_than_there_are_and_fewer(real: Path, tmp_path: Path) -> None:
    found = run(real, tmp_path / "more", rows=4000, tables=("raw.customers",))
    assert found["raw.customers"].rows == 4000
    found = run(real, tmp_path / "fewer", rows=200)
    assert {one.rows for one in found.values()} == {200}
    keys = {r["id"] for r in rows(tmp_path / "fewer", "customers")}
    assert {r["customer"] for r in rows(tmp_path / "fewer", "orders")} <= keys


def test_nothing_real_is_overwritten(real: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="the real data"):
        run(real, real)
    other = shop(tmp_path / "other", customers=20, orders=20)
    with pytest.raises(Refused, match="not made here"):
        run(real, other)
    with pytest.raises(NotFound, match=r"raw\.order"):
        run(real, tmp_path / "x", tables=("raw.order",))
    assert not (tmp_path / "x").exists()


@pytest.fixture(scope="module")
def flights(small_flights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flights made up from flights, in which aircraft are classified; set up to be released."""
    folder = world.copied(small_flights, tmp_path_factory.mktemp("synth") / "flights")
    for name in ("raw_flights", "raw_planes"):
        world.edit(folder, f"tables/{name}.yaml", "tailnum: {type: string", "tailnum: {type: string, classification: sensitive")  # fmt: skip  # noqa: E501  # one edit
    out = folder.parent / "made"
    found = run(folder, out)
    assert found["raw.planes"].copied == found["raw.flights"].copied == 0
    tails = {r["tailnum"] for r in rows(folder, "planes")}
    assert not tails & {r["tailnum"] for name in ("flights", "planes") for r in rows(out, name)}
    world.configure(out)
    return out


def test_made_up_flights_keep_every_contract(flights: Path) -> None:
    with world.opened(flights) as workspace:
        builder = Builder(workspace, workspace.project, workspace.facts)
        found = [contract(builder, t, workspace.now()) for t in workspace.project.tables.values()]
        assert {e.check: e.sentence for e in found if e.verdict != "pass"} == {}
        assert not look(workspace).plan.objections
        joined = workspace.warehouse.query(
            f"SELECT count(p.tailnum) / count(f.tailnum) AS share FROM "
            f"{builder.table('wh.flights')} f LEFT JOIN {builder.table('wh.planes')} p "
            f"ON p.tailnum = f.tailnum"
        ).to_pylist()[0]["share"]
        assert joined > 0.5, "aircraft are still found"


def test_a_release_can_be_proposed_on_made_up_flights(flights: Path) -> None:
    with world.opened(flights) as workspace:
        change = world.proposed(workspace, "First release")
        assert change.state == "REVIEW"
