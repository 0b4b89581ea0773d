"""Records of older schemas are taken over whole, on both engines."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from interlock.adapters.sqlrecord import SqlRecord
from interlock.adapters.sqlrecord.connect import reach
from interlock.change.audit import verify
from interlock.define.refs import Ref
from interlock.ports import Put

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
ROUTE = Ref("route", "prod")
OLD = (Path(__file__).parent / "record-schema-1.sql").read_text()


def test_a_record_of_the_first_schema_is_taken_over_with_its_leaves(tmp_path: Path) -> None:
    file = tmp_path / "record.db"
    with sqlite3.connect(file) as other:
        other.executescript(OLD)
    record = SqlRecord(file)
    found = verify(record)
    assert (found.objections, found.now.size) == ((), 3)
    assert [row["rules"] for row in record.audit()] == [1, 1, 1]
    first = record.history(ROUTE)[0]
    assert (first.body, first.by, first.source) == ({"n": 0}, "dana", "")
    record.write([Put(ROUTE, {"n": 2}, 2)], by="dana", at=NOON)
    assert [row["rules"] for row in record.audit()] == [1, 1, 1, 2]
    assert verify(SqlRecord(file), [found.now]).objections == ()
    assert record.claim("tick", "two", 10) is not None


def test_a_record_of_the_second_schema_gives_up_an_index_and_nothing_else(target: str) -> None:
    record = SqlRecord(target)
    record.write([Put(Ref("route", name), {"n": 0}, 0) for name in "cab"], by="dana", at=NOON)
    record.write([Put(Ref("route", "a"), {"n": 1}, 1)], by="dana", at=NOON)
    leaves, head, listed = record.audit(), record.head(), record.list("route")
    with reach(target).engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX first_leaf")
        connection.exec_driver_sql("CREATE UNIQUE INDEX each_leaf ON leaf (ref, version)")
        connection.exec_driver_sql("UPDATE meta SET value = '2' WHERE name = 'schema'")
    record.close()
    again = SqlRecord(target)
    assert (again.audit(), again.head(), again.list("route")) == (leaves, head, listed)
    assert [entry.ref.name for entry in listed] == ["c", "a", "b"]
    again.write([Put(Ref("route", "a"), {"n": 2}, 2)], by="dana", at=NOON)
    assert verify(again, [head]).objections == ()
    there = sa.inspect(reach(target).engine).get_indexes("leaf", schema=_schema_of(target))
    assert [index["name"] for index in there] == ["first_leaf"]


def _schema_of(target: str) -> str | None:
    return target.rpartition("schema=")[2] if "schema=" in target else None


def test_an_older_program_stops_at_a_record_that_was_taken_over(tmp_path: Path) -> None:
    """It would append leaves that the head does not count."""
    file = tmp_path / "record.db"
    with sqlite3.connect(file) as other:
        other.executescript(OLD)
    SqlRecord(file).close()
    with sqlite3.connect(file) as other, pytest.raises(sqlite3.OperationalError, match="audit"):
        other.execute("SELECT max(seq) FROM audit")
