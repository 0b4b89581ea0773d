"""The promises of evidence as a test suite: every engine gives the answers of the embedded one.

Values that engines treat differently are in the rows: NULL, not-a-number, minus zero, infinity,
whole numbers past the exact doubles, first and last days, letters of every script.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pytest

from interlock.define.definitions import Check, Column, ColumnType, FeatureValue, FeatureView, Table
from interlock.features.compare import compare_sql, judge_values
from interlock.features.compile import build_view_sql
from interlock.features.dialect import dialect_of
from interlock.features.histogram import bin_counts, counts_sql, edges_sql, freeze
from interlock.features.missingness import missingness_sql, read_missingness
from interlock.features.profile import Frame, frame_sql, profile_sql, read_frame, read_profile
from interlock.features.replay import Spine, pick_cutoffs, run_replay
from interlock.ports import Warehouse

ROWS = 12_000  # more than engines look at when they guess
START = datetime(2024, 1, 1)
WORDS = ("rain", "snow", "Ærø 'fog'", "雨\\n", "a\tb", "", "🌧:1", "NULL")
FEATURES: dict[str, ColumnType] = {
    "same": "double", "scaled": "double", "affine": "double", "noise": "double",
    "hour": "integer", "code": "integer", "huge": "integer", "flag": "boolean",
    "word": "string", "id": "string", "day": "date", "stamp": "timestamp", "gaps": "double",
    "zeros": "double", "odd": "double", "empty": "double", "wide": "double",
}  # fmt: skip
# One of each type, and what is counted in another way: some engines take long over all of them.
SOME = ("scaled", "hour", "flag", "word", "day", "stamp", "zeros")
UNITS = {"scaled": "mph", "affine": "degF"}
# What must be seen of a feature, on every engine.
NAMED: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "same": lambda v: v["changed_share"] == 0 < v["missing_new"],
    "scaled": lambda v: v["name"] == "mph -> km/h (x1.609344)",
    "affine": lambda v: v["name"] == "Fahrenheit -> Celsius",
    "hour": lambda v: v["name"].startswith("hour of day in another time zone"),
    "code": lambda v: v["name"] == "values relabelled one to one",
    "huge": lambda v: abs(v["changed_share"] - 0.5) < 0.01,
    "word": lambda v: v["spread"]["unseen"] > 0.2,
    "gaps": lambda v: v["null_new"] > 0.25 > v["null_old"],
    "zeros": lambda v: v["zero_old"] > 0.75 > v["zero_new"] > 0.6,
    "noise": lambda v: v["spread"]["wasserstein"] > 0,
}
PROFILED = Table(
    name="wh.p",
    owner="a",
    key=("k", "part"),
    columns={
        "k": Column(type="integer"),
        "part": Column(type="string"),
        "born": Column(type="timestamp"),
        **{name: Column(type=type) for name, type in FEATURES.items()},
    },
    event_time="born",
    available_at="stamp",
    checks=(
        Check(name="warm", sql="affine > 0"),
        Check(name="known", sql="word IN ('rain', 'snow') AND hour // 2 >= 0"),
    ),
)


def _holes(values: Any, chance: np.random.Generator, share: float = 0.05) -> list[Any]:
    hidden = chance.random(len(values)) < share
    return [None if gone else value for gone, value in zip(hidden, values, strict=True)]


def sides(count: int = ROWS, seed: int = 3) -> tuple[pa.Table, pa.Table]:
    """The same rows under an old and a new definition, and some that only one side has."""
    rng = np.random.default_rng(seed)
    base, odd = (
        rng.normal(50, 20, count),
        rng.choice([math.nan, math.inf, -0.0, 1e-300, 3.5], count),
    )
    hour, code = rng.integers(0, 24, count), rng.integers(0, 6, count)
    zeros = np.where(rng.random(count) < 0.8, 0.0, np.round(rng.gamma(2, 3, count), 3))
    words, more = rng.choice(np.array(WORDS[:5]), count), rng.choice(np.array(WORDS), count)
    stamps = [START + timedelta(minutes=int(m)) for m in rng.integers(0, 60_000, count)]
    old: dict[str, Any] = {
        "same": _holes(np.round(base, 3), rng), "scaled": _holes(base, rng), "affine": base,
        "noise": base, "hour": hour, "code": _holes(code, rng),
        "huge": rng.integers(2**61, 2**62, count), "flag": _holes(rng.random(count) < 0.3, rng),
        "word": _holes(words, rng), "id": [f"id{n}" for n in range(count)],
        "day": [date(1, 1, 1) if n % 97 == 0 else s.date() for n, s in enumerate(stamps)],
        "stamp": stamps, "gaps": base, "zeros": zeros, "odd": _holes(odd, rng),
        "empty": [None] * count, "wide": rng.normal(0, 1, count) * 1e200,
    }  # fmt: skip
    new = {
        **old,
        "same": [None if v is None else v * (1 + 1e-13) for v in old["same"]],
        "scaled": [None if v is None else v * 1.609344 for v in old["scaled"]],
        "affine": (base - 32) / 1.8, "noise": base + rng.normal(0, 5, count),
        "hour": (hour + 5) % 24,
        "code": [None if c is None else (c * 5 + 2) % 6 for c in old["code"]],
        "huge": [int(v) + (n % 2) for n, v in enumerate(old["huge"])],
        "flag": [v if v is None or n % 9 else not v for n, v in enumerate(old["flag"])],
        "word": _holes(more, rng, 0.1), "stamp": [s + timedelta(hours=1) for s in stamps],
        "gaps": _holes(base, rng, 0.3), "zeros": np.where(rng.random(count) < 0.1, 1.5, zeros),
        "wide": np.asarray(old["wide"]) * 2,
    }  # fmt: skip
    born = [START + timedelta(minutes=5 * n) for n in range(count)]
    keys = {"k": pa.array([None if n == count // 2 else n for n in range(count)]),
            "part": ["a" if n % 3 else "b" for n in range(count)], "born": born}  # fmt: skip
    tables = [pa.table({**keys, **_arrays(side)}) for side in (old, new)]
    return tables[0].slice(0, count - count // 50), tables[1].slice(count // 100)


def _arrays(side: Mapping[str, Any]) -> dict[str, pa.Array]:
    types = {
        "double": pa.float64(), "integer": pa.int64(), "boolean": pa.bool_(),
        "string": pa.string(), "date": pa.date32(), "timestamp": pa.timestamp("us"),
    }  # fmt: skip
    return {
        name: pa.array(
            [None if v is None else v.item() if hasattr(v, "item") else v for v in side[name]],
            types[type],
        )
        for name, type in FEATURES.items()
    }


def alike(mine: Any, theirs: Any, room: float = 1e-7) -> bool:
    """Equal, or two numbers as near as sums in another order come; NaN is NaN."""
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        return mine.keys() == theirs.keys() and all(alike(mine[k], theirs[k], room) for k in mine)
    if isinstance(mine, list | tuple) and isinstance(theirs, list | tuple):
        pairs = zip(mine, theirs, strict=False)
        return len(mine) == len(theirs) and all(alike(a, b, room) for a, b in pairs)
    if isinstance(mine, float) or isinstance(theirs, float):
        if mine is None or theirs is None or math.isnan(mine) or math.isnan(theirs):
            return str(mine) == str(theirs)
        return math.isclose(mine, theirs, rel_tol=room, abs_tol=room)
    return bool(mine == theirs)


class EvidenceContract:
    """All evidence: rows by bin and by label, old against new values, profiles and replays.

    Subclass it with a fixture `warehouse`; `embedded` is the engine that says what is right.
    """

    @pytest.fixture(scope="class")
    @classmethod
    def embedded(cls) -> Iterator[Warehouse]:
        from interlock.adapters.duckdb import DuckDBWarehouse

        opened = DuckDBWarehouse(None)
        yield opened
        opened.close()

    @pytest.fixture(scope="class")
    @classmethod
    def both(cls, warehouse: Warehouse, embedded: Warehouse) -> tuple[Warehouse, Warehouse]:
        return warehouse, embedded

    @pytest.fixture(scope="class")
    @classmethod
    def rows(cls, both: tuple[Warehouse, Warehouse]) -> str:
        """A schema, the same in both, with `old` and `new`, and with `none`, which has no row."""
        schema = f"e{uuid4().hex[:10]}"
        old, new = sides()
        for one in both:
            one.load(f"{schema}.old", old)
            one.load(f"{schema}.new", new)
            one.load(f"{schema}.none", old.slice(0, 0))
        return schema

    def test_bins_over_frozen_edges_hold_the_same_rows(
        self, both: tuple[Warehouse, Warehouse], rows: str
    ) -> None:
        names = ["same", "zeros", "odd", "huge", "empty"]
        edges = {
            **freeze(both[1].query(edges_sql(f"{rows}.old", names)).to_pylist()[0]), "gaps": ()
        }  # fmt: skip
        mine, theirs = (
            one.query(counts_sql(f"{rows}.new", edges, dialect_of(one))).to_pylist()[0]
            for one in both
        )
        for name, cuts in edges.items():
            assert bin_counts(mine[name], cuts) == bin_counts(theirs[name], cuts), name
            assert sum(bin_counts(mine[name], cuts)) == ROWS - ROWS // 100

    def test_missing_values_tell_the_label_alike(
        self, both: tuple[Warehouse, Warehouse], rows: str
    ) -> None:
        names = {name: name for name in FEATURES}
        for table in ("new", "none"):
            relation = f"(SELECT t.*, CASE WHEN gaps IS NULL OR k % 5 = 0 THEN 1 ELSE 0 END AS y " \
                       f"FROM {rows}.{table} AS t)"  # fmt: skip
            mine, theirs = (
                read_missingness(
                    [(one.query(missingness_sql(relation, "y", list(names), dialect_of(one)))
                      .to_pylist()[0], names)]
                )
                for one in both
            )  # fmt: skip
            assert mine == theirs
            told = {m.column for m in mine if m.says == "tells"}
            assert told == ({"gaps"} if table == "new" else set())

    def compared(
        self, one: Warehouse, old: str, new: str, by: str | None, names: Iterable[str] = SOME
    ) -> dict[Any, dict[str, Any]]:
        features = {name: FEATURES[name] for name in names}
        sql = compare_sql(old, new, ["k", "part"], features, by, dialect_of(one))
        return {
            row.get("__by"): {v.feature: asdict(v) for v in judge_values(row, features, UNITS)}
            for row in one.query(sql).to_pylist()
        }

    @pytest.mark.parametrize("by", [None, "part"])
    def test_old_and_new_values_compare_alike(
        self, both: tuple[Warehouse, Warehouse], rows: str, by: str | None
    ) -> None:
        names = SOME if by else tuple(FEATURES)
        mine, theirs = (self.compared(one, f"{rows}.old", f"{rows}.new", by, names) for one in both)
        assert mine.keys() == theirs.keys()
        for group, features in theirs.items():
            for name, right in features.items():
                # Of days that lie 2,000 years apart the intercept is what is left of them.
                room = {"intercept": 1e-9 * (right["std_old"] or 0) + 1e-9}
                wrong = {
                    k: (mine[group][name][k], v)
                    for k, v in right.items()
                    if k != "sentence" and not alike(mine[group][name][k], v, room.get(k, 1e-7))
                }
                assert not wrong, f"{name} of {group}"
        (one, *_) = mine.values()
        for name, holds in NAMED.items():
            assert name not in one or holds(one[name]), name

    def test_nothing_compares_to_nothing(
        self, both: tuple[Warehouse, Warehouse], rows: str
    ) -> None:
        for old, new in (("none", "none"), ("old", "none"), ("none", "new")):
            mine, theirs = (
                self.compared(one, f"{rows}.{old}", f"{rows}.{new}", None) for one in both
            )
            assert alike(mine, theirs)
            assert {one["verdict"] for one in mine[None].values()} == {"unknown"}

    def profiled(self, one: Warehouse, rows: str, frame: Frame, by: str | None) -> dict[str, Any]:
        sql = profile_sql(PROFILED, rows, frame, by, dialect_of(one))
        found = {}
        for row in one.query(sql).to_pylist():
            seen = read_profile(PROFILED, row, frame).to_json()
            # An estimate, and each engine's own.
            distinct = {n: seen["columns"][n].pop("distinct") for n in seen["columns"]}
            assert distinct["word"] in range(4, 9) or not seen["rows"]
            found[str(row.get("__slice"))] = seen
        return found

    @pytest.mark.parametrize(("table", "by"), [("old", None), ("new", "part"), ("none", None)])
    def test_a_profile_counts_alike(
        self, both: tuple[Warehouse, Warehouse], rows: str, table: str, by: str | None
    ) -> None:
        mine, theirs = (self.frame(one, f"{rows}.old") for one in both)
        assert mine.edges == theirs.edges
        assert {n: set(v) for n, v in mine.values.items() if n == "word"} == {
            n: set(v) for n, v in theirs.values.items() if n == "word"
        }
        found, right = (self.profiled(one, f"{rows}.{table}", theirs, by) for one in both)
        assert found.keys() == right.keys()
        for part, seen in right.items():
            for name, value in seen["columns"].items():
                assert alike(found[part]["columns"].pop(name), value), name
            seen["columns"] = {}
            assert found[part] == seen

    def frame(self, one: Warehouse, rows: str) -> Frame:
        sql = frame_sql(PROFILED, rows, dialect=dialect_of(one))
        return read_frame(PROFILED, one.query(sql or "").to_pylist()[0])

    @pytest.mark.parametrize("honest", [True, False])
    def test_a_replay_finds_the_same_leaks(
        self, both: tuple[Warehouse, Warehouse], rows: str, honest: bool
    ) -> None:
        shift = 0 if honest else 90  # minutes: the view stamps its rows before they were known
        view = FeatureView(
            view="w", version=1, owner="a", entity=("part", "code"), event_time="ts",
            available_at=None, ttl=timedelta(days=20), tie_break="line",
            sql=f"SELECT part, code, born - INTERVAL {shift} MINUTE AS ts, k AS line, same, word "
            "FROM wh.src",
            features={"same": FeatureValue(), "word": FeatureValue(type="string")},
        )  # fmt: skip
        table = Table(
            name="wh.src", owner="a", available_at="born",
            columns={"born": Column(type="timestamp")},
        )  # fmt: skip
        found = []
        for one in both:
            bound = {"wh.src": f"{rows}.old"}
            built = f"{rows}.view_{shift}"
            one.build(built, build_view_sql(view, bound, dialect_of(one)))
            spine = f"(SELECT k, part, code, born FROM {rows}.old WHERE k % 7 = 0)"
            where = Spine(spine, "k", "born")
            at = pick_cutoffs(one, where, 4)
            found.append(run_replay(one, view, built, where, {"wh.src": table}, bound, at))
            assert all(moment.tzinfo is UTC for moment in at)
        mine, theirs = found
        assert (mine.rows, mine.mismatches, mine.status) == (
            theirs.rows, theirs.mismatches, theirs.status
        )  # fmt: skip
        assert mine.rows == 4
        assert mine.status == ("clean" if honest else "leak")
        assert [(e["key"], e["feature"], e["at"]) for e in mine.examples] == [
            (e["key"], e["feature"], e["at"]) for e in theirs.examples
        ]
