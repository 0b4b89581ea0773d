"""Online resolution against the offline rule, and batches against single rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_world import COLUMNS, HOUR, LATE, NOW, WEATHER, model_spec

from interlock.errors import Unusable
from interlock.ports import OnlineRow
from interlock.serve.answer import resolve
from interlock.serve.assemble import Assembler
from interlock.serve.packed import pack
from interlock.serve.spec import Fallback, FeatureInput, Lookup, ModelSpec

SETTINGS = settings(derandomize=True, max_examples=200, deadline=None)
PLAIN = Lookup("v@1", "9" * 64, ("k",), 10.0, ("a", "b"), (None, None))
times = st.integers(-30, 30).map(float)
value = st.one_of(st.none(), st.floats(-5, 5))


def offline(rows: list[OnlineRow], at: float, ttl: float | None) -> tuple[float | None, ...]:
    """The point-in-time join, written as its definition."""
    known = [row for row in rows if row.event_time <= at]
    newest = max(known, key=lambda row: row.event_time, default=None)
    if newest is None or (ttl is not None and at - newest.event_time > ttl):
        return (None, None)
    return newest.values


@SETTINGS
@given(
    st.lists(st.builds(OnlineRow, times, st.tuples(value, value)), max_size=5),
    times,
    st.one_of(st.none(), st.sampled_from([0.0, 5.0, 10.0])),
)
def test_online_equals_offline(rows: list[OnlineRow], at: float, ttl: float | None) -> None:
    # R-B3. What the store holds at `at`: the newest row that had happened by then.
    lookup = Lookup("v@1", "9" * 64, ("k",), ttl, ("a", "b"), (None, None))
    happened = sorted((r for r in rows if r.event_time <= at), key=lambda row: row.event_time)
    firsts = {row.event_time: row for row in reversed(happened)}  # one row per entity and ts
    held = firsts[max(firsts)] if firsts else None
    assert resolve(lookup, held, at).values == offline(list(firsts.values()), at, ttl)


def test_the_ttl_is_inclusive_and_a_later_row_is_never_used() -> None:
    row = OnlineRow(0.0, (1.0, None))
    assert resolve(PLAIN, row, 10.0).statuses == ("fresh", "null")
    assert resolve(PLAIN, row, 10.0).age == 10.0
    assert resolve(PLAIN, row, 10.000001).statuses == ("stale", "stale")
    ahead = resolve(PLAIN, row, -0.001)
    assert (ahead.values, ahead.statuses, ahead.age) == ((None, None), ("missing",) * 2, None)


@SETTINGS
@given(st.integers(1_300_000_000_000_000, 1_900_000_000_000_000), st.integers(0, 10**13))
def test_the_ttl_is_exact_to_the_microsecond(happened: int, ttl: int) -> None:
    lookup = replace(PLAIN, ttl=timedelta(microseconds=ttl).total_seconds())
    row = OnlineRow(seconds(happened), (1.0, 2.0))
    for late, status in ((0, "fresh"), (1, "stale")):
        at = seconds(happened + ttl + late)
        assert resolve(lookup, row, at).statuses == (status, status)


def seconds(micros: int) -> float:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).timestamp()


def test_whatever_stood_in_is_named_and_whatever_did_not_is_too() -> None:
    missing = resolve(WEATHER, None, NOW)
    assert missing.values == (50.0, None)
    assert (missing.fallbacks, missing.absent) == (("temp",), ("wind",))
    late = resolve(WEATHER, OnlineRow(NOW - 6 * HOUR, (40.0, 7.0)), NOW)
    assert late.values == (50.0, 7.0)  # wind may be served two hours over its TTL, temp may not
    assert (late.fallbacks, late.absent, late.age) == (("temp", "wind"), (), 6 * HOUR)
    too_late = resolve(WEATHER, OnlineRow(NOW - 6 * HOUR - 1, (40.0, 7.0)), NOW)
    assert too_late.values == (50.0, None)


def test_a_stale_value_kept_by_its_fallback_counts_even_when_it_is_null() -> None:
    lookup = Lookup("v@1", "9" * 64, ("k",), 1.0, ("a",), (Fallback(3.0, 5.0),))
    assert resolve(lookup, OnlineRow(0.0, (None,)), 2.0).values == (None,)
    assert resolve(lookup, OnlineRow(0.0, (None,)), 7.0).values == (3.0,)


@SETTINGS
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["EWR", "JFK", None, "XXX"]),
            st.sampled_from(["UA", "B6", "ZZ", None]),
            st.one_of(st.none(), st.floats(0, 5000)),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_a_batch_is_its_rows(rows: list[tuple[str | None, str | None, float | None]]) -> None:
    held = {
        (WEATHER.fingerprint, "EWR"): OnlineRow(NOW - HOUR, (40.0, None)),
        (WEATHER.fingerprint, "JFK"): OnlineRow(NOW - 5 * HOUR, (30.0, 3.0)),
        (LATE.fingerprint, "UA|EWR"): OnlineRow(NOW - 90 * HOUR, (0.5,)),
    }
    stored = {pair: pack(row) for pair, row in held.items()}

    def read(wanted: object) -> list[bytes | None]:
        return [stored.get(pair) for pair in wanted]  # type: ignore[attr-defined]  # a list of pairs

    made = Assembler(model_spec("x", "1"))
    columns = dict(
        zip(("origin", "carrier", "distance"), map(list, zip(*rows, strict=True)), strict=True)
    )
    whole = made.assemble(columns, len(rows), NOW, read)
    for i in range(len(rows)):
        one = made.assemble({name: [column[i]] for name, column in columns.items()}, 1, NOW, read)
        assert np.array_equal(whole.matrix[i], one.matrix[0], equal_nan=True)
        assert (whole.oldest[i], whole.stale[i]) == (one.oldest[0], one.stale[0])
        assert (whole.fallbacks[i], whole.absent[i]) == (one.fallbacks[0], one.absent[0])
    assert whole.matrix.flags["C_CONTIGUOUS"]
    assert set(columns) <= set(COLUMNS)


REMEMBERING = Lookup(
    "r@1", "7" * 64, ("k",), 10.0, ("c", "d"), (None, Fallback(8.0)), remembered=(1,)
)
ROW = st.tuples(times, st.one_of(st.tuples(value, value), st.tuples(value, value, st.just(3.0))))
STORED = st.one_of(st.none(), ROW.map(lambda said: OnlineRow(*said)))


def outcome(ask: Callable[[], object]) -> object:
    """What came of it; a row that does not fit its view is refused, whoever asks."""
    try:
        return ask()
    except Unusable:
        return "refused"


@SETTINGS
@given(st.lists(st.tuples(STORED, STORED), min_size=1, max_size=4), st.booleans())
def test_the_gathered_matrix_is_each_row_resolved(
    found: list[tuple[OnlineRow | None, OnlineRow | None]], keyless: bool
) -> None:
    lookups = (PLAIN, REMEMBERING)
    inputs = tuple(
        FeatureInput(name, at, i)
        for at, said in enumerate(lookups)
        for i, name in enumerate(said.features)
    )
    made = Assembler(ModelSpec("m", "1", "", "", "k", inputs, lookups, {"k": "string"}))
    keys: list[str | None] = [str(i) for i in range(len(found))]
    if keyless:
        keys, found = [*keys, None], [*found, (None, None)]
    columns = [[pair[at] for pair in found] for at in range(len(lookups))]
    stored = {
        (lookup.fingerprint, key): row and pack(row)
        for lookup, column in zip(lookups, columns, strict=True)
        for key, row in zip(keys, column, strict=True)
    }

    def one_by_one() -> list[list[float]]:
        return [
            [np.nan if v is None else v for at, said in enumerate(lookups)
             for v in resolve(said, pair[at], 5.0).values]
            for pair in found
        ]  # fmt: skip

    gathered = outcome(
        lambda: made.assemble(
            {"k": keys}, len(keys), 5.0, lambda wanted: [stored[pair] for pair in wanted]
        ).matrix.tolist()
    )
    same = outcome(lambda: made.of_rows({}, columns, [5.0] * len(keys)).matrix.tolist())
    assert repr(gathered) == repr(same)
    assert repr(gathered) == repr(outcome(one_by_one))


def test_values_land_in_matrix_order() -> None:
    held = {
        (WEATHER.fingerprint, "EWR"): OnlineRow(NOW, (40.0, 7.0)),
        (LATE.fingerprint, "DL|EWR"): OnlineRow(NOW - 5, (0.5,)),
    }
    made = Assembler(model_spec("x", "1"))
    columns = {"origin": ["EWR"], "carrier": ["DL"], "distance": [9]}
    got = made.assemble(columns, 1, NOW, lambda wanted: [pack(held[pair]) for pair in wanted])
    assert got.matrix.tolist() == [[40.0, 0.5, 1.0, 9.0, 7.0]]
    assert got.oldest == [5.0]
