"""Entity keys: one text offline, online and at the gateway, and no two keys share it."""

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.define.keys import entity_key, entity_keys
from interlock.errors import Unusable

SETTINGS = settings(derandomize=True, max_examples=200, deadline=None)


@SETTINGS
@given(st.lists(st.text(), min_size=1, max_size=4), st.lists(st.text(), min_size=1, max_size=4))
def test_two_different_keys_never_share_a_text(one: list[str], two: list[str]) -> None:
    if len(one) == len(two):
        assert (entity_key(one) == entity_key(two)) == (one == two)


cell = st.one_of(st.none(), st.integers(), st.text(max_size=4), st.booleans())


@SETTINGS
@given(st.lists(st.tuples(cell, cell), min_size=1, max_size=6))
def test_keys_by_column_are_keys_by_row(rows: list[tuple[object, object]]) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    assert entity_keys(columns) == [entity_key(row) for row in rows]


def test_every_spelling_of_a_value_gives_the_same_key() -> None:
    hour = datetime(2013, 4, 1, 6)
    eastern = timezone(timedelta(hours=-4))
    same = [
        hour,  # naive is UTC inside the engines
        hour.replace(tzinfo=UTC),
        datetime(2013, 4, 1, 2, tzinfo=eastern),
        np.datetime64("2013-04-01T06:00:00", "us"),
    ]
    assert {entity_key([value]) for value in same} == {"2013-04-01T06:00:00Z"}
    assert entity_key([np.int64(15), np.float64(15.0), 15]) == "15|15|15"
    assert entity_key([date(2013, 4, 1)]) == "2013-04-01"


def test_a_null_part_is_no_key_and_a_fraction_is_refused() -> None:
    assert entity_key(["UA", None]) is None
    assert entity_key([float("nan")]) is None
    with pytest.raises(Unusable, match=r"1\.5"):
        entity_key([1.5])
