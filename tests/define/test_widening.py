"""The lattice of types: what holds what, and that unknown is never safe."""

from __future__ import annotations

from itertools import product

import pytest

from interlock.define.widening import (
    TypeChange,
    contract_type,
    exact,
    holds,
    parse_type,
    type_change,
)

TABLE: list[tuple[str, str, TypeChange]] = [
    ("int8_t", "SMALLINT", "wider"),
    ("INTEGER", "BIGINT", "wider"),
    ("int", "int4", "same"),
    ("BIGINT", "INTEGER", "narrower"),
    ("INTEGER", "UINTEGER", "other"),
    ("UINTEGER", "BIGINT", "wider"),
    ("UBIGINT", "BIGINT", "other"),
    ("INTEGER", "DOUBLE", "wider"),
    ("INTEGER", "REAL", "other"),  # 2^24 + 1 is no REAL
    ("SMALLINT", "REAL", "wider"),
    ("BIGINT", "DOUBLE", "other"),  # 2^53 + 1 is no DOUBLE
    ("BIGINT", "HUGEINT", "wider"),
    ("INTEGER", "DECIMAL(10, 0)", "wider"),
    ("INTEGER", "DECIMAL(9,0)", "narrower"),
    ("BIGINT", "DECIMAL(19, 0)", "wider"),
    ("BIGINT", "numeric(20,2)", "other"),
    ("DECIMAL(9)", "INTEGER", "wider"),
    ("DECIMAL(10,2)", "DECIMAL(12,2)", "wider"),
    ("DECIMAL(10,2)", "DECIMAL(12,4)", "wider"),
    ("DECIMAL(10,2)", "DECIMAL(10,4)", "other"),  # two digits fewer before the point
    ("DECIMAL(12,2)", "DECIMAL(10,2)", "narrower"),
    ("DECIMAL(10,2)", "DOUBLE", "other"),
    ("DECIMAL(15,0)", "DOUBLE", "wider"),
    ("REAL", "DOUBLE", "wider"),
    ("DOUBLE", "REAL", "narrower"),
    ("DOUBLE", "DECIMAL(38,10)", "other"),
    ("float", "double", "other"),  # `float` has one width here and another there
    ("VARCHAR(10)", "VARCHAR(20)", "wider"),
    ("VARCHAR(20)", "varchar( 20 )", "same"),
    ("VARCHAR(20)", "TEXT", "wider"),
    ("TEXT", "VARCHAR(20)", "narrower"),
    ("character varying", "varchar", "same"),
    ("CHAR(10)", "VARCHAR(10)", "other"),  # blanks at the end
    ("INTEGER", "VARCHAR", "other"),
    ("BOOLEAN", "INTEGER", "other"),
    ("DATE", "TIMESTAMP", "wider"),
    ("TIMESTAMP", "DATE", "narrower"),
    ("DATE", "TIMESTAMPTZ", "other"),
    ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "other"),
    ("TIMESTAMP_S", "TIMESTAMP_MS", "wider"),
    ("timestamp(3)", "timestamp(6)", "wider"),
    ("timestamp(6)", "TIMESTAMP", "same"),
    ("timestamp(3) with time zone", "timestamptz", "wider"),
    ("TIMESTAMP", "TIMESTAMP_NS", "other"),  # nanoseconds end in the year 2262
    ("STRUCT(a INTEGER)", "struct(a  integer)", "same"),
    ("STRUCT(a INTEGER)", "STRUCT(a BIGINT)", "other"),
    ("geography", "geometry", "other"),
]


@pytest.mark.parametrize(("old", "new", "said"), TABLE)
def test_a_change_of_type_and_its_way_back(old: str, new: str, said: TypeChange) -> None:
    back = {"wider": "narrower", "narrower": "wider"}.get(said, said)
    assert type_change(parse_type(old), parse_type(new)) == said
    assert type_change(parse_type(new), parse_type(old)) == back


def test_holding_is_an_order() -> None:
    every = {parse_type(name) for row in TABLE for name in row[:2]}
    for one in every:
        assert holds(one, one)
    for one, two in product(every, every):
        assert not (holds(one, two) and holds(two, one)) or one == two
    for one, two, three in product(every, every, every):
        assert not (holds(one, two) and holds(two, three)) or holds(one, three)


@pytest.mark.parametrize(
    ("type", "physical", "same"),
    [
        ("integer", None, "bigint"), ("double", None, "double"), ("string", None, "text"),
        ("timestamp", None, "timestamp"), ("integer", "SMALLINT", "int2"),
    ],
)  # fmt: skip
def test_a_contract_type_is_the_widest_that_it_may_be(type: str, physical: str, same: str) -> None:
    assert exact(type, physical) == parse_type(same)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("physical", "type"),
    [
        ("NUMERIC(10,2)", "double"), ("int4", "integer"), ("varchar(3)", "string"),
        ("timestamptz", "timestamp"), ("JSON", "other"), ("DECIMAL(2,9)", "other"), ("", "other"),
    ],
)  # fmt: skip
def test_an_engines_type_has_a_contract_type(physical: str, type: str) -> None:
    assert contract_type(physical) == type
