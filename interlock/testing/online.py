"""The promises of `OnlineStore` as a test suite: a store proves itself by inheriting it.

    class TestMyStore(OnlineStoreContract):
        def make(self, folder: Path) -> OnlineStore:
            return MyStore(folder / "online")

`make` is called once per test with an empty folder and must give an empty store.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path

import pytest

from interlock.define.digest import digest
from interlock.errors import Unusable
from interlock.ports import OnlineRow, OnlineStore
from interlock.serve.packed import pack

# Fingerprints differ in their first characters, as real ones do.
OLD, NEW = digest("old view"), digest("new view")
WRONG = OnlineRow(20.0, (9.0,), 21.0)
CORRECTED = OnlineRow(20.0, (2.0,), 25.0)


class OnlineStoreContract:
    """The last in order wins, versions live side by side, a read is one snapshot."""

    def make(self, folder: Path) -> OnlineStore:
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[OnlineStore]:
        made = self.make(tmp_path)
        yield made
        made.close()

    def test_answers_stand_in_the_order_asked(self, store: OnlineStore) -> None:
        assert store.write(OLD, [("EWR", OnlineRow(10.0, (1.0, None))), ("JFK", _row(20))]) == 2
        got = store.read([(OLD, "JFK"), (OLD, "LGA"), (OLD, "EWR"), (OLD, "JFK")])
        assert got == [_row(20), None, OnlineRow(10.0, (1.0, None)), _row(20)]
        assert store.read([]) == []

    def test_a_row_comes_back_whole(self, store: OnlineStore) -> None:
        row = OnlineRow(1.5, (0.1, None, -0.0), 2.25, -3.0)
        store.write(OLD, [("EWR", row), ("JFK", OnlineRow(0.0, ()))])
        (got, bare) = store.read([(OLD, "EWR"), (OLD, "JFK")])
        assert got == row
        assert got is not None
        assert str(got.values[2]) == "-0.0"
        assert bare == OnlineRow(0.0, (), -math.inf, 0.0)

    def test_the_stored_form_is_the_row(self, store: OnlineStore) -> None:
        rows = [OnlineRow(1.5, (0.1, None, -0.0), 2.25, -3.0), OnlineRow(2.0, ())]
        store.write(OLD, list(zip("ab", rows, strict=True)))
        asked = [(OLD, key) for key in ("b", "none", "a")]
        assert store.packed(asked) == [pack(rows[1]), None, pack(rows[0])]
        assert store.packed([]) == []

    def test_a_late_older_row_never_overwrites(self, store: OnlineStore) -> None:
        store.write(OLD, [("EWR", _row(20, 2.0))])
        assert store.write(OLD, [("EWR", _row(10, 1.0))]) == 0
        assert store.read([(OLD, "EWR")]) == [_row(20, 2.0)]
        assert store.write(OLD, [("EWR", _row(30, 3.0))]) == 1
        assert store.read([(OLD, "EWR")]) == [_row(30, 3.0)]

    def test_a_late_older_row_does_not_win_by_arriving_late(self, store: OnlineStore) -> None:
        store.write(OLD, [("EWR", OnlineRow(20.0, (2.0,), 21.0))])
        assert store.write(OLD, [("EWR", OnlineRow(10.0, (1.0,), 99.0))]) == 0
        assert store.read([(OLD, "EWR")]) == [OnlineRow(20.0, (2.0,), 21.0)]

    def test_a_wrong_batch_delivered_again_after_its_correction_does_not_win(
        self, store: OnlineStore
    ) -> None:
        for row, kept in ((WRONG, 1), (CORRECTED, 1), (WRONG, 0)):
            assert store.write(OLD, [("EWR", row)]) == kept
        assert store.read([(OLD, "EWR")]) == [CORRECTED]

    def test_the_last_in_order_stays_whatever_the_order_of_arrival(
        self, store: OnlineStore
    ) -> None:
        rows = [
            _row(10, 1.0), WRONG, CORRECTED, OnlineRow(20.0, (3.0,), 25.0, 1.0),
            OnlineRow(20.0, (4.0,), -math.inf, 9.0),
        ]  # fmt: skip
        for number, arrived in enumerate(permutations(rows)):
            one, all_at_once = f"one-{number}", f"all-{number}"
            for row in arrived:
                store.write(OLD, [(one, row)])
            store.write(OLD, [(all_at_once, row) for row in arrived])
            assert store.read([(OLD, one), (OLD, all_at_once)]) == [rows[3], rows[3]]

    def test_the_same_order_again_is_a_correction(self, store: OnlineStore) -> None:
        store.write(OLD, [("EWR", _row(20, 2.0))])
        assert store.write(OLD, [("EWR", _row(20, 2.5))]) == 1
        assert store.read([(OLD, "EWR")]) == [_row(20, 2.5)]

    def test_a_row_stamped_in_the_future_does_not_hide_the_older_one(
        self, store: OnlineStore
    ) -> None:
        rows = [("EWR", _row(10, 1.0)), ("EWR", _row(30, 3.0))]
        assert store.write(OLD, rows, (None, 20.0)) == 1
        assert store.read([(OLD, "EWR")]) == [_row(10, 1.0)]
        assert store.write(OLD, rows, (20.0, 30.0)) >= 1
        assert store.read([(OLD, "EWR")]) == [_row(30, 3.0)]

    def test_versions_live_side_by_side_until_one_is_dropped(self, store: OnlineStore) -> None:
        store.write(OLD, [("EWR", _row(20, 1.0)), ("JFK", _row(20))], (None, 20.0))
        store.write(NEW, [("EWR", _row(10, 9.0))], (None, 20.0))
        assert store.read([(OLD, "EWR"), (NEW, "EWR")]) == [_row(20, 1.0), _row(10, 9.0)]
        store.drop(OLD)
        store.drop(OLD)
        assert store.read([(OLD, "EWR"), (OLD, "JFK"), (NEW, "EWR")]) == [None, None, _row(10, 9.0)]
        assert store.watermarks() == {NEW: 20.0}

    def test_a_watermark_says_up_to_where_nothing_is_missing(self, store: OnlineStore) -> None:
        assert store.watermarks() == {}
        store.write(OLD, [("EWR", _row(10))])
        assert store.watermarks() == {}
        store.write(OLD, [], (5.0, 20.0))
        assert store.watermarks() == {}, "what was before 5 was never written"
        store.write(OLD, [], (None, 20.0))
        store.write(OLD, [("EWR", _row(25))], (20.0, 30.0))
        assert store.watermarks() == {OLD: 30.0}

    def test_a_store_that_missed_a_write_keeps_saying_so(self, store: OnlineStore) -> None:
        store.write(OLD, [], (None, 10.0))
        store.write(OLD, [("EWR", _row(25))], (20.0, 30.0))
        assert store.watermarks() == {OLD: 10.0}
        assert store.read([(OLD, "EWR")]) == [_row(25)]
        store.write(OLD, [], (10.0, 30.0))
        store.write(OLD, [], (5.0, 20.0))
        assert store.watermarks() == {OLD: 30.0}

    def test_null_and_not_a_number_are_two_things(self, store: OnlineStore) -> None:
        store.write(OLD, [("EWR", OnlineRow(1.0, (None, float("nan"), float("-inf"), 0.1)))])
        (got,) = store.read([(OLD, "EWR")])
        assert got is not None
        assert got.values[0] is None
        assert got.values[1] != got.values[1]
        assert got.values[2:] == (float("-inf"), 0.1)

    @pytest.mark.parametrize("row", [OnlineRow(math.nan, ()), OnlineRow(1.0, (), math.nan)])
    def test_a_row_without_a_place_in_time_is_refused(
        self, store: OnlineStore, row: OnlineRow
    ) -> None:
        with pytest.raises(Unusable):
            store.write(OLD, [("EWR", _row(1)), ("JFK", row)])
        assert store.read([(OLD, "EWR"), (OLD, "JFK")]) == [None, None]

    @pytest.mark.parametrize("key", ["", "UA|15|EWR", "a\\|b|c", "Zoë ✈", "x" * 4000, "a\0*?[b]"])
    def test_any_key_text_is_one_key(self, store: OnlineStore, key: str) -> None:
        store.write(OLD, [(key, _row(1)), (key + "~", _row(2))])
        assert store.read([(OLD, key), (OLD, key + "~")]) == [_row(1), _row(2)]

    def test_a_large_batch_is_kept_whole(self, store: OnlineStore) -> None:
        rows = [(f"k{n}", _row(n, n / 7)) for n in range(5000)]
        assert store.write(OLD, rows, (None, 5000.0)) == 5000
        assert store.read([(OLD, key) for key, _ in rows]) == [row for _, row in rows]
        assert store.watermarks() == {OLD: 5000.0}

    def test_a_read_sees_one_moment(self, store: OnlineStore) -> None:
        """A writer moves many keys at once, again and again; no read may see some moved."""
        keys = [f"k{n}" for n in range(20)]
        store.write(OLD, [(key, _row(0)) for key in keys])
        stop = threading.Event()

        def move() -> None:
            for step in range(1, 200):
                store.write(OLD, [(key, _row(step)) for key in keys])
            stop.set()

        mover = threading.Thread(target=move)
        mover.start()
        torn = []
        while not stop.is_set():
            seen = {row.event_time for row in store.read([(OLD, key) for key in keys]) if row}
            if len(seen) != 1:
                torn.append(seen)
        mover.join()
        assert torn == []

    def test_writers_at_the_same_time_do_not_undo_each_other(self, store: OnlineStore) -> None:
        """Each writer brings its own rows in its own order; the last in order must stay."""
        keys = [f"k{n}" for n in range(10)]

        def bring(times: Sequence[int]) -> None:
            for at in times:
                store.write(OLD, [(key, _row(at, at / 3)) for key in keys])

        orders = [range(0, 120, 3), range(118, 0, -3), range(2, 120, 3)]
        threads = [threading.Thread(target=bring, args=(list(times),)) for times in orders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.read([(OLD, key) for key in keys]) == [_row(119, 119 / 3)] * 10


def _row(at: float, value: float = 0.0) -> OnlineRow:
    return OnlineRow(float(at), (value,))
