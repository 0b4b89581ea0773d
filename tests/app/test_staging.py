"""Made-up rows in another environment: there under the right name, never over real ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from app_world import command
from synth_world import shop

from interlock.app.build import Builder
from interlock.app.staging import synth_into
from interlock.app.synthesis import Asked
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.errors import Refused
from interlock.ports import Put

ELSEWHERE = (
    '  {name}: {{warehouse: "duckdb://{name}.duckdb", subject: [id], '
    "stages: [{{name: soak, weight: 1, hold: 1d}}]}}\n"
)
SAME = "  shadow: {subject: [id], stages: [{name: soak, weight: 1, hold: 1d}]}\n"


@pytest.fixture
def real(tmp_path: Path) -> Path:
    folder = shop(tmp_path / "real", customers=200, orders=500)
    main = folder / "interlock.yaml"
    more = "".join(ELSEWHERE.format(name=name) for name in ("staging", "prod_eu"))
    main.write_text(main.read_text() + more + SAME)
    return folder


def put(folder: Path, environment: str, out: Path) -> list[str]:
    workspace = Workspace(folder, "prod")
    try:
        made = synth_into(workspace, environment, Asked(out), lambda _: None)
        return [one.table for one in made]
    finally:
        workspace.close()


def refused(folder: Path, environment: str, out: Path) -> str:
    with pytest.raises(Refused) as caught:
        put(folder, environment, out)
    return "; ".join(caught.value.objections)


# R-B13
def test_a_release_finds_the_made_up_rows(real: Path, tmp_path: Path) -> None:
    assert command(real, "synth", "--into", "staging", "--out", str(tmp_path / "out")).code == 0
    there = Workspace(real, "staging")
    try:
        table = Builder(there, there.project, there.facts).table("raw.customers")
        rows = there.warehouse.query(f"SELECT mail FROM {table}").column("mail").to_pylist()
        named = there.warehouse.query("SELECT count(*) AS n FROM raw.orders").to_pylist()
    finally:
        there.close()
    made = (tmp_path / "out" / "data/customers.csv").read_text()
    assert len(rows) == 200
    assert named == [{"n": 500}]
    assert all(mail in made for mail in rows)
    assert not set(rows) & set((real / "data/customers.csv").read_text().replace(",", "\n").split())


def test_never_over_real_rows(real: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "where the real ones are" in refused(real, "prod", out)
    assert "where the real ones are" in refused(real, "shadow", out)
    assert set(put(real, "prod_eu", out)) == {"raw.customers", "raw.orders"}, "it was empty"
    said = refused(real, "prod_eu", out)
    assert "prod_eu has raw.customers" in said
    assert "prod_eu has raw.orders" in said


def test_not_under_a_release_that_runs(real: Path, tmp_path: Path) -> None:
    workspace = Workspace(real, "staging")
    body = Route("staging", stable="r" * 64).to_json()
    workspace.record.write([Put(Ref("route", "staging"), body, 0)], by="test", at=workspace.now())
    workspace.close()
    assert "release rrrrrrrrrrrr runs in staging" in refused(real, "staging", tmp_path / "out")
