"""SQL for six engines as it stands in files: a change of it is seen and read, engine by engine."""

from __future__ import annotations

import pytest
import sqlglot
from goldens import FOLDER, NOT_EXECUTED, golden

from interlock.define.definitions import ColumnType
from interlock.errors import Unusable
from interlock.features.dialect import DIALECTS, DUCKDB, TRINO

AGAIN = "python tests/features/goldens.py writes it anew; read the difference"


@pytest.mark.parametrize("name", DIALECTS)
def test_the_compiled_sql_is_the_one_in_the_file(name: str) -> None:
    assert golden(DIALECTS[name]) == (FOLDER / f"{name}.sql").read_text(), AGAIN


@pytest.mark.parametrize("name", DIALECTS)
def test_each_statement_is_one_select_of_its_dialect(name: str) -> None:
    """What the parser of that dialect makes of it; no proof that the engine agrees."""
    trees = [tree for tree in sqlglot.parse((FOLDER / f"{name}.sql").read_text(), name) if tree]
    assert len(trees) == 4
    assert all(isinstance(tree, sqlglot.exp.Query) for tree in trees)


def test_what_was_not_executed_is_marked_so() -> None:
    assert {name for name, one in DIALECTS.items() if not one.executed} == set(NOT_EXECUTED)
    for name in NOT_EXECUTED:
        assert "NOT executed" in (FOLDER / f"{name}.sql").read_text().splitlines()[0]


def test_every_dialect_has_every_type() -> None:
    wanted = set(ColumnType.__args__)  # type: ignore[attr-defined]
    assert all(set(dialect.types) == wanted for dialect in DIALECTS.values())


def test_a_duration_that_an_engine_cannot_count_is_refused() -> None:
    from datetime import timedelta

    odd = timedelta(microseconds=1500)
    assert "to_microseconds(1500)" in DUCKDB.within("a", odd, "b")
    with pytest.raises(Unusable, match="trino cannot count"):
        TRINO.within("a", odd, "b")
