"""Which release a subject sees: the same answer in every process, language and engine.

Light on purpose: the request path imports this module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Literal, NamedTuple

from interlock.errors import Unusable

if TYPE_CHECKING:
    from interlock.define.release import Route
    from interlock.features.dialect import Dialect

WHOLE = frozenset(
    ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER",
     "UBIGINT", "UHUGEINT")
)  # fmt: skip
BITS = 52  # every 52-bit integer is exact in a float, so `weight * 2**52` loses nothing


def cohort(salt: str, subject: str) -> int:
    """The first 52 bits of SHA-256 of `salt:subject`."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{subject}".encode()).digest()[:7], "big") >> 4


def arm(route: Route, subject: str) -> Literal["stable", "candidate"]:
    """A larger weight only ever adds subjects to the candidate; nobody goes back and forth."""
    if route.candidate is None or cohort(route.salt, subject) >= route.weight * 2**BITS:
        return "stable"
    return "candidate"


class Range(NamedTuple):
    """The cohorts [low, high) of one salt, and what answers them."""

    arm: Literal["stable", "candidate"]
    release: str
    low: int
    high: int


def ranges(route: Route) -> tuple[Range, ...]:
    """`arm` for all cohorts at once, where a table and not a request asks; none without stable.

    The stable release is always the last one, if only for those who have no subject.
    """
    if route.stable is None:
        return ()
    share = 0.0 if route.candidate is None else min(max(route.weight, 0.0), 1.0)
    edge = ceil(share * 2**BITS)  # exact: the product only moves the exponent
    whole = Range("stable", route.stable, edge, 2**BITS)
    if route.candidate is None or not edge:
        return (whole,)
    return (Range("candidate", route.candidate, 0, edge), whole)


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
