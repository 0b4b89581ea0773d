"""The promises of a Warehouse as a test suite: an engine proves itself by inheriting it.

What an engine declares it cannot do must fail here: a gap that is closed and still
declared, is an error too.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pytest

from interlock.errors import Unusable
from interlock.features.dialect import dialect_of
from interlock.features.snapshot import snapshot_sql
from interlock.ports import Abilities, Replacement, Warehouse
from interlock.testing.subjects import differing, let_in_otherwise, subjects

FIRST, LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)
ZONED = pa.timestamp("us", "UTC")
EVERY_TYPE = pa.table(
    {
        "yes": pa.array([True, False, None]),
        "n": pa.array([2**62, -(2**62), None], pa.int64()),
        "x": pa.array([0.1, math.inf, None], pa.float64()),
        "word": pa.array(["é'\"\\\n✈", "", None]),
        "day": pa.array([date(1, 1, 1), date(9999, 12, 31), None]),
        "stamp": pa.array([FIRST, LAST, None], pa.timestamp("us")),
        "zoned": pa.array([datetime(2013, 7, 1, 8, tzinfo=UTC), None, None], ZONED),
        "line": pa.array([1, 2, 3], pa.int64()),
    }
)  # fmt: skip
SPELLED = {
    "yes": "BOOLEAN", "n": "BIGINT", "x": "DOUBLE", "word": "VARCHAR", "day": "DATE",
    "stamp": "TIMESTAMP", "zoned": "TIMESTAMP WITH TIME ZONE", "line": "BIGINT",
}  # fmt: skip


def must_fail(request: pytest.FixtureRequest, able: bool, gap: str) -> None:
    """Mark the test as one that a declared gap breaks, strictly."""
    if not able:
        request.applymarker(pytest.mark.xfail(reason=f"declared: {gap}", strict=True))


class WarehouseContract:
    """Tables whole or not at all, values as they were, honest refusals."""

    def make(self, folder: Path) -> Warehouse:
        raise NotImplementedError

    @pytest.fixture
    def warehouse(self, tmp_path: Path) -> Iterator[Warehouse]:
        made = self.make(tmp_path)
        yield made
        made.close()

    @pytest.fixture
    def s(self) -> str:
        """A schema of the test's own: engines that outlive a test meet no leftovers."""
        return f"t{uuid4().hex[:10]}"

    def numbers(self, warehouse: Warehouse, name: str, count: int = 5) -> None:
        warehouse.load(name, pa.table({"x": pa.array(range(count), pa.int64())}))

    def test_abilities_are_declared_as_such(self, warehouse: Warehouse) -> None:
        assert isinstance(warehouse.abilities, Abilities)
        assert warehouse.abilities.dialect

    def test_every_value_comes_back_as_it_was(self, warehouse: Warehouse, s: str) -> None:
        warehouse.load(f"{s}.every", EVERY_TYPE)
        found = warehouse.query(f"SELECT * FROM {s}.every ORDER BY line")
        assert found.schema.names == EVERY_TYPE.schema.names
        assert found.schema.types == EVERY_TYPE.schema.types
        assert found.to_pylist() == EVERY_TYPE.to_pylist()

    def test_not_a_number_is_not_null(self, warehouse: Warehouse, s: str) -> None:
        warehouse.load(f"{s}.a", pa.table({"x": pa.array([math.nan, None], pa.float64())}))
        found = warehouse.query(f"SELECT count(x) AS n, count(*) AS every FROM {s}.a")
        assert found.to_pylist() == [{"n": 1, "every": 2}]

    def test_finer_times_are_kept_or_refused_never_cut(
        self, warehouse: Warehouse, s: str, request: pytest.FixtureRequest
    ) -> None:
        """Cut to the microsecond, a row would be seen before it existed."""
        fine = pa.table({"stamp": pa.array([1_000_000_000_000_000_400], pa.timestamp("ns"))})
        if not warehouse.abilities.nanoseconds:
            with pytest.raises(Unusable):
                warehouse.load(f"{s}.fine", fine)
            assert not warehouse.has(f"{s}.fine")
        must_fail(request, warehouse.abilities.nanoseconds, "microseconds are the finest")
        warehouse.load(f"{s}.fine", fine)
        assert warehouse.query(f"SELECT stamp FROM {s}.fine").column("stamp").cast(
            "int64"
        ).to_pylist() == [1_000_000_000_000_000_400]

    def test_whole_nanoseconds_are_loaded_everywhere(self, warehouse: Warehouse, s: str) -> None:
        warehouse.load(f"{s}.a", pa.table({"stamp": pa.array([3_000], pa.timestamp("ns"))}))
        found = warehouse.query(f"SELECT CAST(stamp AS TIMESTAMP) AS moved FROM {s}.a").to_pylist()
        assert found == [{"moved": datetime(1970, 1, 1, 0, 0, 0, 3)}]

    def test_a_zoned_time_is_cast_to_utc(self, warehouse: Warehouse, s: str) -> None:
        warehouse.load(f"{s}.every", EVERY_TYPE)
        sql = f"SELECT CAST(zoned AS TIMESTAMP) AS moved FROM {s}.every WHERE line = 1"
        assert warehouse.query(sql).to_pylist() == [{"moved": datetime(2013, 7, 1, 8)}]

    def test_a_subject_has_the_cohort_that_python_gives_it(
        self, warehouse: Warehouse, s: str
    ) -> None:
        """20,000 subjects of every key type: the same release by a table as by a gateway."""
        rows = subjects(20_000)
        warehouse.load(f"{s}.subjects", rows)
        assert list(differing(warehouse, f"{s}.subjects", rows)) == []
        few = rows.slice(0, 300)
        warehouse.load(f"{s}.few", few)
        assert list(let_in_otherwise(warehouse, f"{s}.few", few)) == []

    def test_a_built_table_is_replaced_whole_and_counted(
        self, warehouse: Warehouse, s: str
    ) -> None:
        self.numbers(warehouse, f"{s}.n", 7)
        assert warehouse.build(f"{s}.a", f"SELECT x FROM {s}.n WHERE x < 5") == 5
        assert warehouse.build(f"{s}.a", f"SELECT x, 'b' AS y FROM {s}.n") == 7
        assert warehouse.build(f"{s}.a", f"SELECT x FROM {s}.a WHERE x > 5") == 1
        assert warehouse.query(f"SELECT * FROM {s}.a").to_pylist() == [{"x": 6}]

    def test_a_build_or_load_that_fails_leaves_what_was_there(
        self, warehouse: Warehouse, s: str
    ) -> None:
        warehouse.load(f"{s}.n", pa.table({"v": ["1", "zz"]}))
        self.numbers(warehouse, f"{s}.a", 1)
        with pytest.raises(Unusable, match="zz"):
            warehouse.build(f"{s}.a", f"SELECT CAST(v AS INTEGER) AS x FROM {s}.n")
        with pytest.raises(Unusable):
            warehouse.load(f"{s}.a", pa.table({"other": [1]}), append=True)
        with pytest.raises(Unusable, match="zz"):
            warehouse.build(f"{s}.new", f"SELECT CAST(v AS INTEGER) AS x FROM {s}.n")
        assert warehouse.query(f"SELECT * FROM {s}.a").to_pylist() == [{"x": 0}]
        assert not warehouse.has(f"{s}.new")

    def test_parts_of_tables_are_replaced_all_or_none(
        self, warehouse: Warehouse, s: str, request: pytest.FixtureRequest
    ) -> None:
        able = warehouse.abilities.parts_atomic
        for name, count in (("a", 5), ("b", 3), ("n", 9)):
            self.numbers(warehouse, f"{s}.{name}", count)
        if not able:
            with pytest.raises(Unusable):
                warehouse.replace([Replacement(f"{s}.a", "x > 2", f"SELECT x FROM {s}.n")])
        must_fail(request, able, "parts are replaced one after the other")
        good = Replacement(f"{s}.a", "x > 2", f"SELECT x FROM {s}.n WHERE x > 6")
        with pytest.raises(Unusable):
            warehouse.replace([good, Replacement(f"{s}.b", "TRUE", f"SELECT y FROM {s}.n")])
        assert self.held(warehouse, f"{s}.a") == [0, 1, 2, 3, 4]
        warehouse.point({f"{s}.look": f"{s}.a"})
        warehouse.replace([good, Replacement(f"{s}.b", "TRUE", f"SELECT x FROM {s}.n WHERE x > 9")])
        assert self.held(warehouse, f"{s}.look") == [0, 1, 2, 7, 8]
        assert self.held(warehouse, f"{s}.b") == []

    def test_parts_are_replaced_again_and_again(self, warehouse: Warehouse, s: str) -> None:
        """Each time on what the last one left; rows may also be loaded and built over it."""
        if not warehouse.abilities.parts_atomic:
            pytest.skip("declared: parts are replaced one after the other")
        warehouse.load(f"{s}.a", pa.table({"x": [1], "y": ["p"]}))
        for turn in (2, 3):
            more = f"SELECT CAST({turn} AS BIGINT) AS x, CAST(NULL AS VARCHAR(9)) AS y"
            warehouse.replace([Replacement(f"{s}.a", "FALSE", more)])
        none = f"SELECT x, y FROM {s}.a WHERE x < 0"
        warehouse.replace([Replacement(f"{s}.a", "y IS NULL AND x > 2", none)])
        warehouse.load(f"{s}.a", pa.table({"x": [9]}), append=True)
        assert self.held(warehouse, f"{s}.a") == [1, 2, 9]
        assert warehouse.columns(f"SELECT * FROM {s}.a") == {"x": "BIGINT", "y": "VARCHAR"}
        warehouse.build(f"{s}.a", f"SELECT x FROM {s}.a WHERE x > 1")
        warehouse.replace([Replacement(f"{s}.a", "x = 2", "SELECT CAST(4 AS BIGINT) AS x")])
        assert self.held(warehouse, f"{s}.a") == [4, 9]

    def test_what_is_dropped_is_gone_with_all_it_held(self, warehouse: Warehouse, s: str) -> None:
        for name in ("a", "b", "c"):
            self.numbers(warehouse, f"{s}.{name}")
        warehouse.point({f"{s}.look": f"{s}.c"})
        if warehouse.abilities.parts_atomic:
            warehouse.replace([Replacement(f"{s}.b", "x > 2", f"SELECT x FROM {s}.a")])
        for name in ("look", "a", "b", "never_there"):
            warehouse.drop(f"{s}.{name}")
            assert not warehouse.has(f"{s}.{name}")
        warehouse.drop(f"no{s}.a")
        self.numbers(warehouse, f"{s}.b", 2)
        assert self.held(warehouse, f"{s}.b") == [0, 1]

    def held(self, warehouse: Warehouse, name: str) -> list[int]:
        column = warehouse.query(f"SELECT x FROM {name} ORDER BY x").column("x")
        return [int(x) for x in column.to_pylist()]

    def test_loaded_rows_replace_or_append_by_column_name(
        self, warehouse: Warehouse, s: str
    ) -> None:
        warehouse.load(f"{s}.a", pa.table({"x": [1], "y": ["p"]}), append=True)
        warehouse.load(f"{s}.a", pa.table({"y": ["q"], "x": [2]}), append=True)
        found = warehouse.query(f"SELECT x, y FROM {s}.a ORDER BY x").to_pylist()
        assert found == [{"x": 1, "y": "p"}, {"x": 2, "y": "q"}]
        warehouse.load(f"{s}.a", pa.table({"x": [9]}))
        assert warehouse.query(f"SELECT * FROM {s}.a").to_pylist() == [{"x": 9}]

    def test_a_snapshot_tells_rows_and_not_their_order(self, warehouse: Warehouse, s: str) -> None:
        rows = EVERY_TYPE
        turned = rows.take(list(reversed(range(rows.num_rows))))
        twice = pa.concat_tables([rows, rows.slice(0, 1)])
        for name, held in (("a", rows), ("b", turned), ("c", twice), ("d", rows.slice(1))):
            warehouse.load(f"{s}.{name}", held)
        dialect = dialect_of(warehouse)
        a, b, c, d = (
            warehouse.query(snapshot_sql(f"{s}.{name}", dialect=dialect)).to_pylist()[0]
            for name in "abcd"
        )
        assert a == b
        assert (a["n"], c["n"], d["n"]) == (3, 4, 2)
        assert len({one["digest"] for one in (a, c, d)}) == 3

    def test_an_empty_table_has_its_columns(self, warehouse: Warehouse, s: str) -> None:
        warehouse.load(f"{s}.a", EVERY_TYPE.slice(0, 0))
        assert warehouse.query(f"SELECT * FROM {s}.a").num_rows == 0
        assert warehouse.columns(f"SELECT * FROM {s}.a") == SPELLED

    def test_columns_are_known_without_running_the_query(
        self, warehouse: Warehouse, s: str
    ) -> None:
        warehouse.load(f"{s}.every", EVERY_TYPE)
        assert warehouse.columns(f"SELECT * FROM {s}.every") == SPELLED
        boom = f"SELECT CAST(word AS INTEGER) AS boom, line FROM {s}.every"
        assert warehouse.columns(boom) == {"boom": "INTEGER", "line": "BIGINT"}

    def test_has_knows_tables_and_pointers_by_their_whole_name(
        self, warehouse: Warehouse, s: str
    ) -> None:
        self.numbers(warehouse, f"{s}.a")
        warehouse.point({f"{s}_live.p": f"{s}.a"})
        assert (warehouse.has(f"{s}.a"), warehouse.has(f"{s}_live.p")) == (True, True)
        assert (warehouse.has(f"{s}_live.a"), warehouse.has(f"{s}.p")) == (False, False)
        assert not warehouse.has(f"no{s}.a")

    def test_pointers_move_to_tables_of_any_shape_or_not_at_all(
        self, warehouse: Warehouse, s: str
    ) -> None:
        for name in ("a1", "b1"):
            self.numbers(warehouse, f"{s}.{name}", 1)
        warehouse.load(f"{s}.a2", pa.table({"other": ["two"], "x": ["2"]}))
        warehouse.point({f"{s}.a": f"{s}.a1", f"{s}.b": f"{s}.b1"})
        with pytest.raises(Unusable, match="b2"):
            warehouse.point({f"{s}.a": f"{s}.a2", f"{s}.b": f"{s}.b2"})
        assert warehouse.query(f"SELECT * FROM {s}.a").to_pylist() == [{"x": 0}]
        warehouse.point({f"{s}.a": f"{s}.a2"})
        assert warehouse.query(f"SELECT * FROM {s}.a").to_pylist() == [{"other": "two", "x": "2"}]
        warehouse.point({f"{s}.a": f"{s}.a1"})
        assert warehouse.query(f"SELECT * FROM {s}.a").to_pylist() == [{"x": 0}]

    def test_a_pointer_never_replaces_a_table(self, warehouse: Warehouse, s: str) -> None:
        self.numbers(warehouse, f"{s}.a", 1)
        self.numbers(warehouse, f"{s}.b", 2)
        with pytest.raises(Unusable):
            warehouse.point({f"{s}.a": f"{s}.b"})
        assert warehouse.query(f"SELECT count(*) AS n FROM {s}.a").to_pylist() == [{"n": 1}]

    def test_no_reader_sees_half_of_a_move(
        self, warehouse: Warehouse, s: str, request: pytest.FixtureRequest
    ) -> None:
        must_fail(request, warehouse.abilities.pointers_atomic, "pointers move one by one")
        for v in (1, 2):
            warehouse.load(f"{s}.v{v}", pa.table({"x": [v]}))
        names = [f"{s}.p{n}" for n in range(6)]
        warehouse.point(dict.fromkeys(names, f"{s}.v1"))
        both = f"SELECT f.x AS f, l.x AS l FROM {names[0]} AS f, {names[-1]} AS l"
        stop = threading.Event()

        def move() -> None:
            for turn in range(6):
                warehouse.point(dict.fromkeys(names, f"{s}.v{2 - turn % 2}"))
            stop.set()

        mover = threading.Thread(target=move)
        mover.start()
        torn = []
        while not stop.is_set():
            (row,) = warehouse.query(both).to_pylist()
            torn += [row] if row["f"] != row["l"] else []
        mover.join()
        assert torn == []

    def test_batches_hold_the_rows_of_the_query_in_order(
        self, warehouse: Warehouse, s: str
    ) -> None:
        count = 120_000
        warehouse.load(
            f"{s}.a",
            pa.table({"x": pa.array(range(count), pa.int64()), "pad": ["p" * 200] * count}),
        )
        sql = f"SELECT x, pad, 1 AS one FROM {s}.a ORDER BY x"
        sizes, seen = [], []
        with warehouse.batches(sql) as reader:
            for batch in reader:
                sizes.append(batch.num_rows)
                seen += batch.column("x").to_pylist()
        assert seen == list(range(count))
        assert max(sizes) < count, "one batch holds everything: memory would grow with the rows"
        every = warehouse.batches(f"SELECT * FROM {s}.a WHERE x < 0")
        assert every.schema.names == ["x", "pad"]
        assert every.read_all().num_rows == 0

    def test_batches_keep_types_too(self, warehouse: Warehouse, s: str) -> None:
        warehouse.load(f"{s}.every", EVERY_TYPE)
        found = warehouse.batches(f"SELECT * FROM {s}.every ORDER BY line").read_all()
        assert found.schema.types == EVERY_TYPE.schema.types
        assert found.to_pylist() == EVERY_TYPE.to_pylist()

    def test_a_reader_that_stops_halfway_disturbs_nobody(
        self, warehouse: Warehouse, s: str
    ) -> None:
        self.numbers(warehouse, f"{s}.a", 100_000)
        reader = warehouse.batches(f"SELECT x FROM {s}.a")
        reader.read_next_batch()
        assert warehouse.query(f"SELECT count(*) AS n FROM {s}.a").to_pylist() == [{"n": 100_000}]
        del reader
        self.numbers(warehouse, f"{s}.a", 3)
        assert warehouse.query(f"SELECT count(*) AS n FROM {s}.a").to_pylist() == [{"n": 3}]

    def test_threads_do_not_meet(self, warehouse: Warehouse, s: str) -> None:
        self.numbers(warehouse, f"{s}.a", 100)
        found: dict[int, list[int]] = {}

        def ask(n: int) -> None:
            for _ in range(5):
                rows = warehouse.query(f"SELECT x FROM {s}.a WHERE x = {n}").to_pylist()
                found.setdefault(n, []).extend(row["x"] for row in rows)

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {n: [n] * 5 for n in range(4)}

    @pytest.mark.parametrize("wrong", ["SELECT x FROM nowhere_at_all", "SELEKT 1", "SELECT nope"])
    def test_bad_sql_is_refused_in_one_line_and_work_goes_on(
        self, warehouse: Warehouse, wrong: str
    ) -> None:
        for ask in (warehouse.query, warehouse.columns):
            with pytest.raises(Unusable) as refused:
                ask(wrong)
            assert "\n" not in refused.value.message
        with pytest.raises(Unusable):
            warehouse.batches(wrong).read_all()
        assert warehouse.query("SELECT 1 AS one").to_pylist() == [{"one": 1}]

    def test_two_names_that_differ_at_the_end_are_two_tables(
        self, warehouse: Warehouse, s: str
    ) -> None:
        """Names as `physical` makes them: as long as the strictest engine takes."""
        long = f"{s}." + "n" * 62
        self.numbers(warehouse, long + "1", 1)
        self.numbers(warehouse, long + "2", 2)
        assert warehouse.query(f"SELECT count(*) AS n FROM {long}1").to_pylist() == [{"n": 1}]
