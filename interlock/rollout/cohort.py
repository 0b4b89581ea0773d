"""Which release a subject sees: the same answer in every process, language and engine.

Light on purpose: the request path imports this module.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
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
    """A larger weight only ever adds subjects to a candidate; nobody goes back and forth.

    `about` is what is known of the subject, for the filter. Whom the filter does not let in is
    `outside`, and so is whose place nobody holds: answered by stable, and judged by nobody.
    None is no subject: stable. Which of several candidates it is says `seen`.
    """
    if route.filter and not inside(route.filter, about):
        return "outside"
    if subject is None:
        return "stable"
    if route.arms:
        return _held(route, subject)[0]
    if route.candidate is None:
        return "stable"
    return "candidate" if cohort(route.salt, subject) < route.weight * 2**BITS else "stable"


def seen(
    route: Route, subject: str | None, about: Mapping[str, object] = NOTHING
) -> tuple[Arm, str | None]:
    """The arm of a subject and the release that answers it; None where there is no release."""
    let_in = not route.filter or inside(route.filter, about)
    if route.arms and let_in and subject is not None:
        return _held(route, subject)
    name = arm(route, subject, about)
    return name, route.candidate if name == "candidate" else route.stable


def _held(route: Route, subject: str) -> tuple[Arm, str | None]:
    """Of a subject that is let in, where there are several places."""
    parts = bisect_right(edges(route.weight, len(route.arms)), cohort(route.salt, subject))
    if parts % 2 == 0:
        return "stable", route.stable
    held = route.arms[parts // 2]
    return ("outside", route.stable) if held is None else ("candidate", held.release)


@lru_cache(maxsize=64)
def edges(weight: float, places: int) -> tuple[int, ...]:
    """Where each place begins and ends, as cohorts: [0] to [1] is the first, [2] to [3] the next.

    Each has its own `1 / places` of all cohorts and holds the first `weight` of that. So a larger
    weight takes from the control alone, and nobody goes from one arm to another. One place is
    what a lone candidate has. Exact: a float is a fraction, and edges are rounded up once.
    """
    top, bottom = min(max(weight, 0.0), 1.0).as_integer_ratio()
    whole = 2**BITS
    ends = ((place * bottom, place * bottom + top) for place in range(places))
    return tuple(-(-part * whole // (bottom * places)) for pair in ends for part in pair)


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
    """`arm` and `seen` for all cohorts at once, where a table and not a request asks.

    None without a stable release. Its last range is always there and ends the cohorts, if only
    for those who have no subject. Under a filter another follows for those outside, whatever
    their cohort: it holds none.
    """
    if route.stable is None:
        return ()
    found = tuple(_several(route, route.stable) if route.arms else _one(route, route.stable))
    outside = Range("outside", route.stable, 2**BITS, 2**BITS)
    return (*found, outside) if route.filter else found


def _one(route: Route, stable: str) -> Iterator[Range]:
    share = 0.0 if route.candidate is None else min(max(route.weight, 0.0), 1.0)
    edge = ceil(share * 2**BITS)  # exact: the product only moves the exponent
    if route.candidate is not None and edge:
        yield Range("candidate", route.candidate, 0, edge)
    yield Range("stable", stable, edge, 2**BITS)


def _several(route: Route, stable: str) -> Iterator[Range]:
    marks = (*edges(route.weight, len(route.arms)), 2**BITS)
    for place, held in enumerate(route.arms):
        low, high, end = marks[2 * place : 2 * place + 3]
        if low < high:
            name: Arm = "candidate" if held else "outside"
            yield Range(name, held.release if held else stable, low, high)
        if high < end or end == 2**BITS:
            yield Range("stable", stable, high, end)


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
