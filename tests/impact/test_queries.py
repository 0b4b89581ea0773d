"""The corpus: pairs of queries, and what has to be said of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from interlock.impact.asked import understand
from interlock.impact.query import Promise, QueryFacts, compare_queries

SCHEMA = {
    "wh.departures": {
        "flight_id": "integer", "carrier": "string", "origin": "string", "dest": "string",
        "sched_dep": "timestamp", "dep_delay": "double", "cancelled": "boolean",
    },
    "wh.weather": {
        "origin": "string", "temp_f": "double", "wind_mph": "double", "available_at": "timestamp",
    },
    "wh.stations": {"code": "string", "city": "string", "lat": "double"},
}  # fmt: skip
PROMISES = {
    "wh.departures": Promise(keys=(("flight_id",),), required=("carrier",)),
    "wh.stations": Promise(keys=(("code",),)),
}


@dataclass(frozen=True)
class Pair:
    name: str
    old: str
    new: str
    rows: str
    columns: dict[str, str]


def _pairs() -> list[Pair]:
    files = sorted(Path(__file__).parent.glob("*.txt"))
    blocks = [block for file in files for block in file.read_text().split("\n\n")]
    return [_pair(block) for block in blocks if block.strip()]


def _pair(block: str) -> Pair:
    name, _, rest = block.strip().partition("\n")
    old, _, rest = rest.removeprefix("old: ").partition("\nnew: ")
    new, _, rest = rest.partition("\nrows: ")
    rows, _, columns = rest.partition("\ncolumns:")
    said = dict(part.rsplit(" ", 1) for part in columns.strip().split(", ") if part)
    return Pair(name.removeprefix("# "), old, new, rows, said)


def known(sql: str) -> QueryFacts:
    return understand(sql, SCHEMA, promises=PROMISES)


PAIRS = _pairs()


def test_the_corpus_is_large_enough() -> None:
    assert len(PAIRS) >= 150
    assert len({pair.name for pair in PAIRS}) == len(PAIRS)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_pair_of_queries_gets_its_verdict(pair: Pair) -> None:  # R-C2
    old, new = known(pair.old), known(pair.new)
    assert not old.errors
    assert not new.errors
    said = compare_queries(old, new)
    assert said.row_set == pair.rows
    assert {name: verdict.verdict for name, verdict in said.columns.items()} == pair.columns


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_query_compared_with_itself_is_the_same(pair: Pair) -> None:
    for sql in (pair.old, pair.new):
        facts = known(sql)
        assert compare_queries(facts, facts).same


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_the_verdict_on_rows_is_the_same_backwards(pair: Pair) -> None:
    old, new = known(pair.old), known(pair.new)
    assert compare_queries(new, old).row_set == pair.rows
