"""The LMDB store: newest wins, NULL is not NaN, it grows, and says clearly when it cannot."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.adapters.lmdb import LmdbOnlineStore
from interlock.errors import Unavailable
from interlock.ports import OnlineRow
from interlock.serve.packed import NULL, pack, stored_key, unpack

V, W = "1" * 64, "2" * 64
SETTINGS = settings(derandomize=True, max_examples=150, deadline=None)
cells = st.one_of(st.none(), st.floats())
numbers = st.floats(allow_nan=False)
rows = st.builds(OnlineRow, numbers, st.lists(cells, max_size=70).map(tuple), numbers, numbers)


def same(one: OnlineRow, two: OnlineRow) -> bool:
    def bits(row: OnlineRow) -> list[bytes | None]:
        return [
            None if v is None else b"nan" if math.isnan(v) else struct.pack("<d", v)
            for v in row.values
        ]

    return one.order == two.order and bits(one) == bits(two)


@SETTINGS
@given(rows)
def test_a_row_comes_back_as_it_was(row: OnlineRow) -> None:
    assert same(unpack(pack(row)), row)


def test_even_a_nan_spelled_like_null_is_no_null() -> None:
    (disguised,) = struct.unpack("<d", NULL)
    got = unpack(pack(OnlineRow(1.0, (disguised, None)))).values
    assert got[0] is not None
    assert math.isnan(got[0])
    assert got[1] is None


@SETTINGS
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.floats(0, 1)), max_size=20))
def test_the_newest_row_is_kept_whatever_the_order(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int, float]]
) -> None:
    store = LmdbOnlineStore(tmp_path_factory.mktemp("store"), sync=False, map_size=1 << 20)
    expected: dict[str, OnlineRow] = {}
    for key, at, value in events:
        row = OnlineRow(float(at), (value,))
        kept = store.write(V, [(key, row)])
        newer = key not in expected or at >= expected[key].event_time
        assert kept == int(newer)
        if newer:  # an equal time is a correction, an older one is late
            expected[key] = row
    assert store.read([(V, key) for key in "abc"]) == [expected.get(key) for key in "abc"]
    store.close()


def test_versions_live_side_by_side_and_go_alone(tmp_path: Path) -> None:
    store = LmdbOnlineStore(tmp_path, sync=False)
    long = "é" * 400
    for view, value in ((V, 1.0), (W, 2.0)):
        store.write(view, [("a", OnlineRow(0.0, (value,))), (long, OnlineRow(0.0, (value,)))])
    assert len(stored_key(V, long)) < 511
    store.drop(V)
    assert store.read([(V, "a"), (V, long)]) == [None, None]
    assert store.read([(W, "a"), (W, long)]) == [OnlineRow(0.0, (2.0,))] * 2


def test_a_hashed_key_is_never_a_spelled_one() -> None:
    hashed = stored_key(V, "x" * 900)
    assert stored_key(V, hashed[13:].decode()) != hashed


def test_it_grows_until_it_may_not(tmp_path: Path) -> None:
    store = LmdbOnlineStore(tmp_path, sync=False, map_size=1 << 16, map_limit=1 << 20)
    rows = [(f"k{i}", OnlineRow(0.0, (1.0,) * 8)) for i in range(2000)]
    assert store.write(V, rows) == 2000  # about 250 kB in a map that began with 64
    with pytest.raises(Unavailable, match="full"):
        store.write(W, [(f"k{i}", OnlineRow(0.0, (1.0,) * 8)) for i in range(20000)])
    assert store.read([(W, "k0"), (V, "k1999")]) == [None, OnlineRow(0.0, (1.0,) * 8)]


def test_a_reader_elsewhere_sees_what_a_writer_grew(tmp_path: Path) -> None:
    writer = LmdbOnlineStore(tmp_path, sync=False, map_size=1 << 16)
    writer.write(V, [("a", OnlineRow(0.0, (1.0,)))])
    script = (
        "import sys; from interlock.adapters.lmdb import LmdbOnlineStore\n"
        f"store = LmdbOnlineStore({str(tmp_path)!r}, readonly=True, map_size=1 << 16)\n"
        f"print(store.read([({V!r}, 'a')])[0].values, flush=True); sys.stdin.readline()\n"
        f"print(store.read([({V!r}, 'k1999')])[0].values)\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdin is not None
        assert it.stdout is not None
        assert it.stdout.readline() == "(1.0,)\n"
        writer.write(V, [(f"k{i}", OnlineRow(0.0, (2.0,) * 8)) for i in range(2000)])
        it.stdin.write("\n")
        it.stdin.close()
        assert it.stdout.read() == f"{(2.0,) * 8}\n"


def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nowhere"):
        LmdbOnlineStore(tmp_path / "nowhere", readonly=True)
