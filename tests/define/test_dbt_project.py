"""A project that dbt really built, read here: check, lineage, and the plan after an edit."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dbt_world import DBT, FILES, write

import interlock
from interlock.app.files import read_folder
from interlock.app.workspace import Workspace
from interlock.plan.explain import explain
from interlock.plan.make import Side, Where, make_plan
from interlock.plan.plan import Plan

pytestmark = pytest.mark.slow
PINS = Path(__file__).with_name("dbt_environment.txt")
BUILD = Path(interlock.__file__).parent.parent / "build"
QUIET = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DBT_USE_COLORS": "false"}


@pytest.fixture(scope="module")
def dbt() -> Path:
    """dbt-core and dbt-duckdb in an environment of their own, made once for these pins."""
    folder = BUILD / f"dbt-{hashlib.sha256(PINS.read_bytes()).hexdigest()[:12]}"
    command = folder / "bin" / "dbt"
    ready = folder / "ready"
    if not ready.exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "-r", str(PINS)]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode and os.environ.get("CI"):
            pytest.fail(f"CI must be able to install dbt: {done.stderr[-2000:]}")
        if done.returncode:
            pytest.skip(f"dbt cannot be installed here: {done.stderr[-300:]}")
        ready.write_text("\n")
    return command


@pytest.fixture(scope="module")
def folder(dbt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Interlock project beside a dbt project that was built."""
    made: Path = tmp_path_factory.mktemp("shop")
    write(made, FILES)
    write(made / "dbt", DBT)
    run(dbt, made, "build")
    return made


def run(dbt: Path, folder: Path, command: str) -> None:
    done = subprocess.run(
        [str(dbt), "--quiet", command, "--profiles-dir", "."],
        cwd=folder / "dbt", env=QUIET, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def ask(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "interlock.cli.main", *words, "-C", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def version(folder: Path) -> Side:
    workspace = Workspace(folder, looking=True)
    project, facts = workspace.learn(read_folder(folder))
    return Side(project, facts, "1" * 64)


def plan(old: Side, new: Side) -> Plan:
    return make_plan(new, old, Where("prod", datetime(2024, 7, 1, tzinfo=UTC)))


def test_what_dbt_built_is_read_with_its_promises_and_lineage(folder: Path) -> None:
    done = ask(folder, "check")
    assert done.returncode == 0, done.stderr
    told = ask(folder, "lineage", "column:main.raw_orders.cents", "--downstream")
    assert told.returncode == 0, told.stderr
    for name in ("feature:spend@1:spend", "model:returns", "service:desk"):
        assert name in told.stdout
    orders = version(folder).project.tables["main.orders"]
    assert (orders.key, orders.owner, orders.columns["id"].unique) == (("id",), "science", True)
    assert orders.columns["amount"].unit == "eur"


def test_a_changed_dbt_model_names_all_that_it_reaches(dbt: Path, folder: Path) -> None:
    old = version(folder)
    model = folder / "dbt/models/stg_orders.sql"
    before = model.read_text()
    run(dbt, folder, "compile")
    assert plan(old, version(folder)).empty, "dbt ran again, and nothing was edited"
    model.write_text(before.replace("cents / 100.0", "cents / 1000.0"))
    run(dbt, folder, "compile")
    made = plan(old, version(folder))
    model.write_text(before)
    said = {str(one.ref): one.verdict for one in made.reached}
    assert said == {
        "feature:spend@1:spend": "moves", "feature:spend@1:orders": "moves",
        "model:returns": "moves", "service:desk": "moves",
    }  # fmt: skip
    assert [str(one.ref) for one in made.differences] == ["table:main.stg_orders"]
    text = explain(made)
    assert "main.stg_orders" in text
    assert "service:desk" in text
