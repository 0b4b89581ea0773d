"""The rows, their coding and their identity, on DuckDB."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.define.definitions import Label
from interlock.errors import Unusable
from interlock.models.dataset import (
    Manifest,
    Source,
    categories_of,
    checksum,
    matrix,
    profile,
)
from interlock.models.labelled import Interval, duplicate_labels_sql, model_sql

LABEL = Label(sql="SELECT id, available_at, late FROM labels;", column="late")


def at(day: int) -> datetime:
    return datetime(2013, 4, day, tzinfo=UTC)


@pytest.fixture
def engine() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute(
        "CREATE TABLE pit AS SELECT * FROM (VALUES "
        "(3, TIMESTAMP '2013-04-02', 1.5), (1, TIMESTAMP '2013-04-01', 2.5), "
        "(2, TIMESTAMP '2013-04-03', NULL), (4, TIMESTAMP '2013-04-02 12:00', 9.0)) t(id, t, x)"
    )
    con.execute(
        "CREATE TABLE labels AS SELECT * FROM (VALUES "
        "(1, TIMESTAMP '2013-04-01 09:00', 1), (2, TIMESTAMP '2013-04-03 09:00', 0), "
        "(3, TIMESTAMP '2013-04-05 09:00', 1), (4, NULL, 1)) t(id, available_at, late)"
    )
    return con


def test_only_labels_known_by_then_train(engine: duckdb.DuckDBPyConnection) -> None:  # R-B2
    sql = model_sql("SELECT * FROM pit;", LABEL, "id", "t", Interval(at(1), at(4), at(4)))
    assert [row[0] for row in engine.execute(sql).fetchall()] == [1, 2]
    later = model_sql("pit", LABEL, "id", "t", Interval(at(1), at(4), at(6)))
    # Row 4 stays out: a label without an instant is never known.
    assert [row[0] for row in engine.execute(later).fetchall()] == [1, 3, 2]


def test_the_interval_is_open_at_its_end(engine: duckdb.DuckDBPyConnection) -> None:
    sql = model_sql("pit", LABEL, "id", "t", Interval(at(1), at(3), at(9)))
    assert [row[0] for row in engine.execute(sql).fetchall()] == [1, 3]


def test_two_labels_of_one_key_are_counted(engine: duckdb.DuckDBPyConnection) -> None:
    assert engine.execute(duplicate_labels_sql(LABEL, "id")).fetchall() == [(0,)]
    engine.execute("INSERT INTO labels VALUES (1, TIMESTAMP '2013-04-02', 0)")
    assert engine.execute(duplicate_labels_sql(LABEL, "id")).fetchall() == [(1,)]


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(Unusable, match="no zone"):
        model_sql("pit", LABEL, "id", "t", Interval(datetime(2013, 4, 1), at(4), at(4)))


def test_a_category_never_seen_in_training_is_missing() -> None:
    known = {"carrier": categories_of(["UA", "AA", None, "UA"])}
    assert known["carrier"] == ("AA", "UA")
    found = matrix({"x": [1, None], "carrier": ["UA", "ZZ"]}, ["carrier", "x"], known)
    np.testing.assert_array_equal(found, [[1.0, 1.0], [np.nan, np.nan]])


@given(st.lists(st.none() | st.integers(-5, 5), min_size=1, max_size=30))
@settings(max_examples=50, derandomize=True, deadline=None)
def test_a_code_does_not_depend_on_how_the_value_travelled(values: list[int | None]) -> None:
    known = {"dow": categories_of(values)}
    forms = (
        values,
        [None if v is None else float(v) for v in values],
        [None if v is None else str(v) for v in values],
        np.array([np.nan if v is None else float(v) for v in values]),
    )
    first = matrix({"dow": forms[0]}, ["dow"], known)
    for form in forms[1:]:
        np.testing.assert_array_equal(matrix({"dow": form}, ["dow"], known), first)


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(Unusable, match="lack the inputs y"):
        matrix({"x": [1]}, ["x", "y"], {})
    with pytest.raises(Unusable, match="input x holds values that are not numbers"):
        matrix({"x": ["calm"]}, ["x"], {})


def test_the_checksum_sees_one_value_and_not_the_kind_of_nan() -> None:
    rows = np.array([[1.0, np.nan], [0.0, 2.0]])
    other = np.array([[1.0, -np.nan], [-0.0, 2.0]])
    y = np.array([0.0, 1.0])
    assert checksum(rows, y) == checksum(other, y)
    assert checksum(rows, y) != checksum(rows[::-1], y)
    assert checksum(rows, y) != checksum(rows, y[::-1])


def test_a_manifest_survives_json_and_changes_with_its_content() -> None:  # R-B2
    rows = np.array([[1.0, np.nan], [0.0, np.nan]])
    source = Source("table:wh.flights", "ab" * 32, "rows 2", "2013-04-03T00:00:00Z")
    manifest = Manifest(
        "late", (source,), "2013-01-08", "2013-04-01", "2013-04-01T00:00:00Z", 0.999, 2, 1,
        ("x", "carrier"), {"carrier": ("AA",)}, checksum(rows, np.ones(2)),
        profile(rows, ["x", "carrier"]),
    )  # fmt: skip
    again = Manifest.from_json(json.loads(json.dumps(manifest.to_json())))
    assert again == manifest
    assert again.digest == manifest.digest
    assert manifest.nulls == {"x": 0, "carrier": 2}
    moved = Manifest.from_json({**manifest.to_json(), "labels_known_by": "2013-04-02T00:00:00Z"})
    assert moved.digest != manifest.digest
