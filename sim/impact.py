"""Verdicts held against execution: generated pairs of queries, run on random tables.

Each case is a query, a mutation of it (a rewriting that means the same, or a change), and
random tables with NULLs and ties. A pair whose row set is called the same must give the
same rows over the columns that are called the same; a mutation that changes the rows on
the data must never be called the same. `python -m sim.impact [--cases 20000] [--seed 1]`.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from interlock.impact.asked import understand
from interlock.impact.query import Promise, QueryDifference, compare_queries
from sim.queries import SCHEMA, Case, mutated, query

PROMISES = {"u": Promise(keys=(("k",),)), "t": Promise(keys=(("id",),), required=("a",))}
TABLES_EVERY = 150  # cases on the same random tables
PAIRS_EACH = 5  # mutations of the same query


@dataclass
class Tally:
    """What was seen, and what was broken: each break is the two queries and what was said."""

    cases: int = 0
    ran: int = 0
    same: int = 0
    unknown: int = 0
    differ: int = 0
    equal_kept: int = 0
    equal: int = 0
    broken: list[str] = field(default_factory=list)


def fill(engine: duckdb.DuckDBPyConnection, rng: random.Random) -> None:
    """New random tables: `t.id` and `u.k` are keys, `t.a` is never NULL, the rest may be."""

    def some(values: Sequence[Any]) -> Any:
        return None if rng.random() < 0.2 else rng.choice(values)

    t = [
        (i, rng.randint(0, 3), some([0, 1, 2, 3]), some(["x", "y", "z"]), some([True, False]),
         some([[1], [1, 2], []]))
        for i in range(rng.randint(4, 12))
    ]  # fmt: skip
    u = [(k, some([0, 1, 2]), some(["x", "y"])) for k in rng.sample(range(6), rng.randint(2, 5))]
    v = [(some([0, 1, 2]), some([1, 2, 3])) for _ in range(rng.randint(2, 7))]
    for name, rows in (("t", t), ("u", u), ("v", v)):
        engine.execute(f"DELETE FROM {name}")
        engine.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def opened() -> duckdb.DuckDBPyConnection:
    """A database with the tables of `SCHEMA`, empty."""
    engine = duckdb.connect()
    engine.execute("SET threads = 1")
    # Tiny tables: planning is all the time there is, and unoptimised plans are the plainest.
    engine.execute("PRAGMA disable_optimizer")
    engine.execute("CREATE TABLE t (id INT, a INT, b INT, s VARCHAR, f BOOLEAN, l INT[])")
    engine.execute("CREATE TABLE u (k INT, x INT, s VARCHAR)")
    engine.execute("CREATE TABLE v (x INT, y INT)")
    return engine


Result = tuple[list[str], list[tuple[Any, ...]]]


def result(engine: duckdb.DuckDBPyConnection, sql: str) -> Result | None:
    """Columns and rows; None when the engine refuses the query."""
    try:
        found = engine.execute(sql)
        return [column[0] for column in found.description], found.fetchall()
    except duckdb.Error:
        return None


def bag(found: Result, names: Sequence[str]) -> Counter[str]:
    """The rows over `names`, with how often each comes."""
    columns, rows = found
    at = [columns.index(name) for name in names]
    return Counter(repr([row[i] for i in at]) for row in rows)


def said_of(one: Case) -> QueryDifference:
    """The verdict on the two queries of a case."""
    old = understand(one.old, SCHEMA, promises=PROMISES)
    new = understand(one.new, SCHEMA, promises=PROMISES)
    return compare_queries(old, new)


def judge(
    engine: duckdb.DuckDBPyConnection, one: Case, tally: Tally, thorough: bool = True
) -> None:
    """One case: what is called the same must be the same. Not `thorough`: run only those."""
    said = said_of(one)
    tally.cases += 1
    same = [name for name, verdict in said.columns.items() if verdict.verdict == "same"]
    every = [name for name, v in said.columns.items() if v.verdict not in ("added", "removed")]
    if said.row_set != "same" and not (thorough or one.equal):
        return  # nothing was promised
    first, second = result(engine, one.old), result(engine, one.new)
    if first is None or second is None:
        return
    before, after = bag(first, every), bag(second, every)
    tally.ran += 1
    tally.unknown += said.row_set == "unknown"
    tally.equal += one.equal
    tally.equal_kept += one.equal and said.same
    tally.differ += before != after
    if one.equal and before != after:
        tally.broken.append(f"a rewriting that is none: {one.mutation}\n  {one.old}\n  {one.new}")
    if said.row_set != "same":
        return
    tally.same += 1
    if bag(first, same) != bag(second, same):
        tally.broken.append(f"{one.mutation}: {said}\n  {one.old}\n  {one.new}")


def play(cases: int, seed: int, thorough: bool = True) -> Tally:
    """`cases` of them, on as many random tables as that takes."""
    rng, tally, engine = random.Random(seed), Tally(), opened()
    for number in range(cases):
        if number % TABLES_EVERY == 0:
            fill(engine, rng)
        if number % PAIRS_EACH == 0:
            old = query(rng)
        judge(engine, mutated(old, rng), tally, thorough)
    engine.close()
    return tally


def main(arguments: Sequence[str] = ()) -> int:
    """Run it, print what was seen; 1 if anything was broken."""
    parser = argparse.ArgumentParser(prog="python -m sim.impact", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    found = play(options.cases, options.seed)
    print(f"{found.cases} pairs, {found.ran} ran; {found.same} row sets called the same, "
          f"{found.unknown} unknown; {found.differ} gave other rows; of {found.equal} rewritings "
          f"{found.equal_kept} are no change; {len(found.broken)} broken")  # fmt: skip
    for text in found.broken[:20]:
        print(text)
    return 1 if found.broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
