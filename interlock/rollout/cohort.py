"""Which release a subject sees: the same answer in every process, language and engine.

Light on purpose: the request path imports this module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from math import ceil
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from interlock.define.keys import key_part
from interlock.errors import Unusable

if TYPE_CHECKING:
    from interlock.define.release import Filter, Route
    from interlock.features.dialect import Dialect

WHOLE = frozenset(
    ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER",
     "UBIGINT", "UHUGEINT")
)  # fmt: skip
Arm = Literal["stable", "candidate", "outside"]
NOTHING: Mapping[str, object] = MappingProxyType({})
BITS = 52  # every 52-bit integer is exact in a float, so `weight * 2**52` loses nothing


def cohort(salt: str, subject: str) -> int:
    """The first 52 bits of SHA-256 of `salt:subject`."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{subject}".encode()).digest()[:7], "big") >> 4


def arm(route: Route, subject: str | None, about: Mapping[str, object] = NOTHING) -> Arm:
    """A larger weight only ever adds subjects to the candidate; nobody goes back and forth.

    `about` is what is known of the subject, for the filter. Whom the filter does not let in is
    `outside`: answered by stable, and judged by nobody. None is no subject: stable.
    """
    if route.filter and not inside(route.filter, about):
        return "outside"
    if route.candidate is None or subject is None:
        return "stable"
    return "candidate" if cohort(route.salt, subject) < route.weight * 2**BITS else "stable"


def inside(filter: Filter, about: Mapping[str, object]) -> bool:
    """Whether each column of `filter` has one of its values; what is unknown has none."""
    return all(_text(about.get(column)) in values for column, values in filter)


def unknown(filter: Filter, about: Mapping[str, object]) -> bool:
    """Whether nobody can tell if `filter` lets it in: then it does not."""
    return any(_text(about.get(column)) is None for column, _ in filter)


def _text(value: object) -> str | None:
    try:
        return key_part(value)
    except Unusable:
        return None


class Range(NamedTuple):
    """The cohorts [low, high) of one salt, and what answers them."""

    arm: Arm
    release: str
    low: int
    high: int


def ranges(route: Route) -> tuple[Range, ...]:
    """`arm` for all cohorts at once, where a table and not a request asks; none without stable.

    The stable release is always the last one, if only for those who have no subject. Under a
    filter another follows for those outside, whatever their cohort: its range holds none.
    """
    if route.stable is None:
        return ()
    share = 0.0 if route.candidate is None else min(max(route.weight, 0.0), 1.0)
    edge = ceil(share * 2**BITS)  # exact: the product only moves the exponent
    found: tuple[Range, ...] = (Range("stable", route.stable, edge, 2**BITS),)
    if route.candidate is not None and edge:
        found = (Range("candidate", route.candidate, 0, edge), *found)
    outside = Range("outside", route.stable, 2**BITS, 2**BITS)
    return (*found, outside) if route.filter else found


def cohort_sql(dialect: Dialect, salt: str, subject: str) -> str:
    """`cohort` as SQL over two expressions that give text; NULL for no subject."""
    return dialect.cohort.format(x=f"{salt} || ':' || {subject}")


def subject_sql(dialect: Dialect, columns: Mapping[str, str]) -> str:
    """The text of a subject, as `define.keys.entity_key` makes it, in SQL.

    `columns` are expressions and their engine types. Raises `Unusable` naming every column
    that cannot be part of a key. NULL where any part is.
    """
    parts = {sql: _part(dialect, sql, type.upper()) for sql, type in columns.items()}
    if odd := [f"{sql} ({columns[sql]})" for sql, part in parts.items() if part is None]:
        raise Unusable(
            f"{', '.join(odd)} cannot decide who sees which release",
            help="subjects are text, whole numbers, booleans, dates, instants and UUIDs: cast it",
        )
    return " || '|' || ".join(f"({part})" for part in parts.values())


def inside_sql(dialect: Dialect, columns: Mapping[str, tuple[str, str]], filter: Filter) -> str:
    """`inside` as SQL that is never NULL; `columns` are expressions and engine types by name."""
    tests = [_test(dialect, columns.get(column), values) for column, values in filter]
    return " AND ".join(tests) or "TRUE"


def _test(dialect: Dialect, column: tuple[str, str] | None, values: Sequence[str]) -> str:
    part = key_sql(dialect, *column) if column else None
    return (
        f"coalesce({part} IN ({', '.join(map(dialect.text, values))}), FALSE)" if part else "FALSE"
    )


def key_sql(dialect: Dialect, sql: str, type: str) -> str | None:
    """`key_part` as SQL; None where values of this engine type have no such text."""
    return _part(dialect, sql, type.upper())


def _part(dialect: Dialect, sql: str, type: str) -> str | None:
    if type in WHOLE or type == "UUID":
        return dialect.cast(sql, "string")
    if type == "VARCHAR":
        slash, pair = dialect.text("\\"), dialect.text("\\\\")
        bar = dialect.text("\\|")
        return f"replace(replace({sql}, {slash}, {pair}), '|', {bar})"
    if type == "BOOLEAN":
        return f"CASE WHEN {sql} THEN 'true' WHEN NOT {sql} THEN 'false' END"
    if type == "DATE":
        return dialect.day_text.format(x=sql)
    if type.startswith("TIMESTAMP"):
        plain = dialect.utc.format(x=sql)
        micro = dialect.micro_text.format(x=plain)
        rest = f"CASE WHEN {micro} = '000000' THEN '' ELSE '.' || {micro} END || 'Z'"
        return f"{dialect.second_text.format(x=plain)} || {rest}"
    return None
