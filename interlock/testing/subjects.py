"""Subjects of every key type, for proving that an engine and Python see the same cohort."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import pyarrow as pa

from interlock.define.keys import entity_keys, key_part
from interlock.features.dialect import dialect_of
from interlock.ports import Warehouse
from interlock.rollout.cohort import cohort, cohort_sql, inside, inside_sql, subject_sql

SALTS = ("", "CR-12", "o'hare \\ é")
# Letters of one to four bytes, what keys escape, what SQL escapes, and what looks like it.
_LETTERS = "aZ09|\\'\"%_ \t\né✈𝄞ßİﬁ\u0301\u200b"
_FIRST = datetime(1, 1, 1)
_SPAN = 9998 * 365 * 86_400
KEYS: Mapping[str, tuple[str, ...]] = {
    "small": ("small",), "whole": ("whole",), "word": ("word",), "yes": ("yes",),
    "day": ("day",), "stamp": ("stamp",), "zoned": ("zoned",), "id": ("id",),
    "composite": ("word", "whole", "day", "stamp", "yes"),
}  # fmt: skip


def subjects(count: int, seed: int = 1) -> pa.Table:
    """`count` rows, a column per key type, one NULL in a hundred; `n` is the place of a row."""
    chance = random.Random(seed)  # drawn for a test, the same each time

    def drawn(draw: object) -> list[object]:
        return [None if chance.random() < 0.01 else draw() for _ in range(count)]  # type: ignore[operator]  # a callable

    def moment() -> datetime:
        micros = chance.choice([0, 0, chance.randrange(1_000_000)])
        return _FIRST + timedelta(seconds=chance.randrange(_SPAN), microseconds=micros)

    def word() -> str:
        return "".join(chance.choices(_LETTERS, k=chance.randrange(9)))

    stamps = drawn(moment)
    columns = {
        "n": pa.array(range(count), pa.int64()),
        "small": pa.array(drawn(lambda: chance.randrange(-(2**31), 2**31)), pa.int32()),
        "whole": pa.array(drawn(lambda: chance.randrange(-(2**63), 2**63)), pa.int64()),
        "word": pa.array(drawn(word), pa.string()),
        "yes": pa.array(drawn(lambda: chance.random() < 0.5), pa.bool_()),
        "day": pa.array(drawn(lambda: moment().date()), pa.date32()),
        "stamp": pa.array(stamps, pa.timestamp("us")),
        "zoned": pa.array(stamps, pa.timestamp("us", "UTC")),
        "id": pa.array(drawn(lambda: str(UUID(int=chance.getrandbits(128)))), pa.string()),
    }
    return pa.table(columns)


def let_in_otherwise(warehouse: Warehouse, table: str, rows: pa.Table) -> Iterator[str]:
    """Per key type, how many of `rows`, loaded as `table`, SQL lets in and Python does not, or so.

    Each filter asks for values of a few rows, whatever stands in them, and for one of none.
    """
    dialect = dialect_of(warehouse)
    types = warehouse.columns(f"SELECT * FROM {table} AS t")
    for name in (one for one in KEYS if one not in ("composite", "id")):
        values = rows.column(name).to_pylist()
        asked = {part for one in values[::7] if (part := key_part(one)) is not None}
        filter = ((name, (*sorted(asked), "of nobody")),)
        where = inside_sql(dialect, {name: (f"t.{dialect.quoted(name)}", types[name])}, filter)
        found = warehouse.query(f"SELECT t.n FROM {table} AS t WHERE {where}").column("n")
        wanted = {at for at, one in enumerate(values) if inside(filter, {name: one})}
        if wrong := wanted ^ set(found.to_pylist()):
            yield f"{len(wrong)} of {name}, the first {values[min(wrong)]!r}"


def differing(
    warehouse: Warehouse, table: str, rows: pa.Table, salts: Sequence[str] = SALTS
) -> Iterator[str]:
    """Per key type and salt, how many of `rows`, loaded as `table`, have another cohort in SQL."""
    dialect = dialect_of(warehouse)
    types = warehouse.columns(f"SELECT * FROM {table} AS t")
    for kind, names in KEYS.items():
        sql = {f"t.{dialect.quoted(name)}": types[name] for name in names}
        if kind == "id" and dialect.name != "spark":  # where there is a type of its own
            sql = {f"CAST(t.{dialect.quoted('id')} AS UUID)": "UUID"}
        subject = subject_sql(dialect, sql)
        keys = entity_keys([rows.column(name).to_pylist() for name in names])
        for salt in salts:
            asked = cohort_sql(dialect, dialect.text(salt), subject)
            found = warehouse.query(f"SELECT t.n, {asked} AS c FROM {table} AS t").sort_by("n")
            wanted = [None if key is None else cohort(salt, key) for key in keys]
            said = found.column("c").to_pylist()
            wrong = [at for at, (a, b) in enumerate(zip(said, wanted, strict=True)) if a != b]
            if wrong:
                yield f"{len(wrong)} of {kind} under {salt!r}, the first {keys[wrong[0]]!r}"
